//! Asking a gRPC server by `grpc.health.v1.Health/Check`.
//!
//! One unary call over plain HTTP/2, on a connection of its own. The request has one field (the service's name,
//! a string) and the answer has one (an enum), so that the messages are read and written here by hand.
//!
//! As with a kubelet's client, which waits for the connection, a connection that does not come about is tried
//! again until the time is over, and only then a failure; one counts from the server's first SETTINGS frame.
//!
//! Source: kubelet `pkg/probe/grpc/grpc.go`; gRPC's `PROTOCOL-HTTP2.md`; grpc-go for the words and the waiting
//! between two tries (1 s, then 1.6 times as long each time).

use std::{
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http2,
    header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::{MAX_ANSWER, USER_AGENT_VALUE, dial::join, wire::Wire, words};
use crate::Outcome;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_GROWTH: f64 = 1.6;

/// gRPC status codes with a meaning of their own here.
const OK: u32 = 0;
const UNKNOWN: u32 = 2;
const DEADLINE_EXCEEDED: u32 = 4;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

/// Asks for the health of a service; an empty name asks for the server's.
pub(super) async fn check(ip: IpAddr, port: u16, service: &str, time: Duration) -> Outcome {
    let connected = Arc::new(AtomicBool::new(false));
    let call = attempt(SocketAddr::new(ip, port), service, time, &connected);
    let answer = timeout_at(Instant::now() + time, call).await;
    let limit = words::duration(time);
    match answer {
        Ok(Ok(1)) => Outcome::Success,
        Ok(Ok(other)) => {
            Outcome::Failure(format!("service unhealthy (responded with \"{}\")", health_name(other)))
        }
        Ok(Err(Status { code: UNIMPLEMENTED, message })) => Outcome::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Ok(Err(Status { code, message })) if code != DEADLINE_EXCEEDED => Outcome::Failure(format!(
            "error: health rpc probe failed: rpc error: code = {} desc = {message}",
            code_name(code)
        )),
        Err(_) if !connected.load(Ordering::Relaxed) => Outcome::Failure(format!(
            "timeout: failed to connect service \"{}\" within {limit}: context deadline exceeded",
            join(&ip.to_string(), port)
        )),
        Ok(Err(_)) | Err(_) => {
            Outcome::Failure(format!("timeout: health rpc did not complete within {limit}"))
        }
    }
}

/// How a call ended that brought no answer.
struct Status {
    code: u32,
    message: String,
}

impl Status {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

async fn attempt(
    peer: SocketAddr,
    service: &str,
    time: Duration,
    connected: &Arc<AtomicBool>,
) -> Result<u64, Status> {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Ok(stream) = TcpStream::connect(peer).await {
            let wire = Wire::new(stream).tell_settings(Arc::clone(connected));
            let result = call(wire, peer, service, time).await;
            if result.is_ok() || connected.load(Ordering::Relaxed) {
                return result;
            }
        }
        sleep(pause).await;
        pause = pause.mul_f64(PAUSE_GROWTH);
    }
}

async fn call(wire: Wire, peer: SocketAddr, service: &str, time: Duration) -> Result<u64, Status> {
    let broken = |error: hyper::Error| Status::new(UNAVAILABLE, format!("connection error: {error}"));
    let tasks = Tasks::default();
    let (mut sender, connection) =
        http2::handshake::<_, _, Full<Bytes>>(tasks.clone(), TokioIo::new(wire)).await.map_err(broken)?;
    let mut line = Line { running: vec![Box::pin(async { drop(connection.await) })], tasks };
    let request = request(peer, service, time)?;
    let mut response = line.drive(sender.send_request(request)).await.map_err(broken)?;
    let (message, trailers) = line.drive(read(&mut response)).await.map_err(broken)?;
    let headers = if trailers.contains_key("grpc-status") { &trailers } else { response.headers() };
    match status(headers, response.status()) {
        Status { code: OK, .. } => health(&message).ok_or_else(|| Status::new(INTERNAL, "malformed answer")),
        other => Err(other),
    }
}

fn request(peer: SocketAddr, service: &str, time: Duration) -> Result<Request<Full<Bytes>>, Status> {
    let mut request = Request::new(Full::new(message(service)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("http://{peer}/grpc.health.v1.Health/Check")
        .parse()
        .map_err(|_| Status::new(INTERNAL, "invalid address"))?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
    if let Ok(value) = HeaderValue::from_str(&format!("{}m", time.as_millis())) {
        headers.insert("grpc-timeout", value);
    }
    Ok(request)
}

async fn read(response: &mut Response<Incoming>) -> Result<(Vec<u8>, HeaderMap), hyper::Error> {
    let (mut message, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = response.body_mut().frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let room = MAX_ANSWER.saturating_sub(message.len());
                message.extend_from_slice(&data[..data.len().min(room)]);
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok((message, trailers))
}

/// Not compressed, the length, and `HealthCheckRequest { string service = 1 }`.
fn message(service: &str) -> Bytes {
    let mut field = Vec::with_capacity(service.len() + 4);
    if !service.is_empty() {
        field.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            field.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        field.push(u8::try_from(length).unwrap_or_default());
        field.extend_from_slice(service.as_bytes());
    }
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(field.len()).unwrap_or_default().to_be_bytes());
    message.append(&mut field);
    message.into()
}

/// `HealthCheckResponse { ServingStatus status = 1 }`; an absent field is 0. None if it is not one.
fn health(message: &[u8]) -> Option<u64> {
    let (prefix, field) = message.split_first_chunk::<5>()?;
    if prefix[0] != 0 {
        return None;
    }
    match field {
        [] => Some(0),
        [0x08, value, ..] if *value < 0x80 => Some(u64::from(*value)),
        _ => None,
    }
}

fn health_name(status: u64) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        1 => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    }
}

/// The status as the server gives it; one that speaks no gRPC is told by its HTTP status.
fn status(headers: &HeaderMap, http: StatusCode) -> Status {
    let text =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if let Some(code) = text("grpc-status") {
        let code = code.parse().unwrap_or(UNKNOWN);
        return Status::new(code, percent_decoded(&text("grpc-message").unwrap_or_default()));
    }
    let code = match http.as_u16() {
        400 => INTERNAL,
        401 => 16,
        403 => 7,
        404 => UNIMPLEMENTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    };
    let reason = http.canonical_reason().unwrap_or_default();
    Status::new(
        code,
        format!("unexpected HTTP status code received from server: {} ({reason})", http.as_u16()),
    )
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) if *byte == b'%' => {
                out.push(decoded);
                rest = &after[2..];
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    words::lossy(out)
}

/// Source: grpc-go `codes/code_string.go`.
fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = usize::try_from(code).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes what the HTTP/2 client wants to have run beside it. It is run only while somebody waits for an answer,
/// and dropped with the call, so that a probe that is called off leaves nothing behind.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }
}

struct Line {
    running: Vec<Task>,
    tasks: Tasks,
}

impl Drop for Line {
    /// A task that waits here holds the list that it waits in: without this it would keep itself alive.
    fn drop(&mut self) {
        self.tasks.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Line {
    async fn drive<F: Future>(&mut self, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            self.run(cx);
            wanted.as_mut().poll(cx)
        })
        .await
    }

    /// Runs what can run, and what comes of it.
    fn run(&mut self, cx: &mut Context<'_>) {
        loop {
            self.running.retain_mut(|task| task.as_mut().poll(cx).is_pending());
            let new = std::mem::take(&mut *self.tasks.0.lock().unwrap_or_else(PoisonError::into_inner));
            if new.is_empty() {
                return;
            }
            self.running.extend(new);
        }
    }
}

#[cfg(test)]
mod tests;
