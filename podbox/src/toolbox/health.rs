//! `grpc-health`: a server that speaks `grpc.health.v1` and nothing else.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::Outcome;
use super::failure::Failure;
use super::flags::{parse, switch, value};
use super::http_server::listen;
use super::serve_async::until_signal;

/// `ServingStatus`, by number.
const STATUSES: [&str; 3] = ["UNKNOWN", "SERVING", "NOT_SERVING"];
const NOT_SERVING: u8 = 2;

/// gRPC status codes.
const OK: &str = "0";
const NOT_FOUND: &str = "5";
const UNIMPLEMENTED: &str = "12";

/// What it says of itself.
struct Health {
    started: Instant,
    status: u8,
    fails_after: Option<Duration>,
    service: Option<String>,
    /// It has no health service at all.
    none: bool,
}

/// `grpc-health [--port 5000] [--status SERVING] [--service NAME] [--fail-after D] [--none]`
///
/// The server as a whole, and the service if one is named, have the status; other services are not found. With
/// `--none` it is a gRPC server that does not implement the protocol.
pub(super) fn grpc_health(args: &[OsString]) -> Outcome {
    let known =
        [value("port").or(b'p'), value("status"), value("service"), value("fail-after"), switch("none")];
    let parsed = parse(args, &known)?;
    let name = parsed.get("status").unwrap_or("SERVING");
    let status = (0_u8..).zip(STATUSES).find(|(_, known)| *known == name).map(|(number, _)| number);
    let health = Arc::new(Health {
        started: Instant::now(),
        status: status
            .ok_or_else(|| Failure::usage(format!("a status is one of {}", STATUSES.join(", "))))?,
        fails_after: parsed.duration("fail-after")?,
        service: parsed.get("service").map(str::to_owned),
        none: parsed.has("none"),
    });
    let listener = listen(parsed.number("port")?.unwrap_or(5000))?;
    until_signal(listener, move |stream| {
        let health = Arc::clone(&health);
        let answer = service_fn(move |request| answer(Arc::clone(&health), request));
        async move {
            let served = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
            served.map_err(io::Error::other)
        }
    })
}

async fn answer(
    health: Arc<Health>,
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let checks = request.uri().path() == "/grpc.health.v1.Health/Check";
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (message, status, text) = if health.none || !checks {
        (Vec::new(), UNIMPLEMENTED, "unknown service grpc.health.v1.Health")
    } else {
        match health.status_of(service(&body)) {
            // Not compressed, the length, and `HealthCheckResponse { status = 1 }`.
            Some(status) => (vec![0, 0, 0, 0, 2, 0x08, status], OK, ""),
            None => (Vec::new(), NOT_FOUND, "unknown service"),
        }
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("grpc-message", HeaderValue::from_static(text));
    let body = Full::new(Bytes::from(message)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

impl Health {
    fn status_of(&self, service: &[u8]) -> Option<u8> {
        let known = service.is_empty() || self.service.as_deref().map(str::as_bytes) == Some(service);
        let failing = self.fails_after.is_some_and(|limit| self.started.elapsed() >= limit);
        known.then_some(if failing { NOT_SERVING } else { self.status })
    }
}

/// The service's name in a request: five bytes of prefix, and `HealthCheckRequest { string service = 1 }`. Names of
/// more than 127 bytes are nobody's.
fn service(message: &[u8]) -> &[u8] {
    match message.get(5..) {
        Some([0x0a, length, name @ ..]) if usize::from(*length) == name.len() => name,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_and_its_service_have_a_status_and_others_have_none() {
        let health = Health {
            started: Instant::now(),
            status: 1,
            fails_after: None,
            service: Some("db".into()),
            none: false,
        };
        assert_eq!(health.status_of(b""), Some(1));
        assert_eq!(health.status_of(b"db"), Some(1));
        assert_eq!(health.status_of(b"shop"), None);
        let failing = Health { fails_after: Some(Duration::ZERO), ..health };
        assert_eq!(failing.status_of(b"db"), Some(NOT_SERVING));
    }

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(service(b"\0\0\0\0\x04\x0a\x02db"), b"db");
        assert_eq!(service(b"\0\0\0\0\0"), b"");
        assert_eq!(service(b""), b"");
    }
}
