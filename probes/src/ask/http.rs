//! Asking a web server.
//!
//! One GET on a connection of its own, no proxy, no compression, no cookies, nothing kept. 200 to 399 is well.
//! Redirects are followed while they stay on the first page's host name (the port may change); one that leads
//! away ends the matter as a success with a warning. One time limit covers connecting, all redirects and the
//! body, of which 10 KiB are read.
//!
//! Source: kubelet `pkg/probe/http/http.go` and `request.go`; the words are those of Go's `net/http`.

use std::{
    error::Error as _,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    time::Duration,
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{ACCEPT, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, LOCATION, REFERER, TRAILER},
    header::{TRANSFER_ENCODING, UPGRADE, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    MAX_ANSWER, USER_AGENT_VALUE,
    dial::dial,
    tls::{self, Refusal},
    url::Url,
    wire::Wire,
    words,
};
use crate::Outcome;

const MAX_REQUESTS: u32 = 10;

/// How long a TLS handshake may take, whatever the probe's own time (Go's default transport).
const HANDSHAKE: Duration = Duration::from_secs(10);

/// More headers than this are no answer. Go counts bytes, a megabyte of them.
const MAX_HEADERS: usize = 1000;

/// Asks for a page.
pub(super) async fn get(first: Url, headers: &[(String, String)], time: Duration) -> Outcome {
    let deadline = Instant::now() + time;
    match reach(first, headers, deadline).await {
        Ok(mut answer) => judge(&mut answer, deadline).await,
        Err(text) => Outcome::Failure(text),
    }
}

/// Asks for a page and does not look at it: that there was an answer is all.
pub(super) async fn knock(first: Url, headers: &[(String, String)], deadline: Instant) -> Result<(), String> {
    reach(first, headers, deadline).await.map(drop)
}

/// The head of the last page's answer.
async fn reach(first: Url, headers: &[(String, String)], deadline: Instant) -> Result<Answer, String> {
    let mut url = first.clone();
    let mut headers = match own_headers(headers) {
        Ok(headers) => headers,
        Err(text) => return Err(format!("Get \"{url}\": {text}")),
    };
    let mut sent = 0;
    loop {
        sent += 1;
        let answer = match timeout_at(deadline, request(&url, &headers)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(text)) => return Err(format!("Get \"{url}\": {text}")),
            Err(_) => {
                return Err(format!(
                    "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                ));
            }
        };
        let Some(location) = redirection(&answer.response) else {
            return Ok(answer);
        };
        let next = match url.join(&location) {
            Ok(next) => next,
            Err(text) => {
                return Err(format!(
                    "Get \"{url}\": failed to parse Location header {}: {text}",
                    words::quote(location.as_bytes())
                ));
            }
        };
        if next.host != first.host {
            return Ok(answer);
        }
        if sent >= MAX_REQUESTS {
            return Err(format!("Get \"{location}\": stopped after 10 redirects"));
        }
        prepare(&mut headers, &url, &next, &location);
        url = next;
    }
}

/// The headers of the first request, defaults filled in.
fn own_headers(given: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(given.len() + 4);
    for (name, value) in given {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("net/http: invalid header field name {}", words::quote(name.as_bytes())))?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| {
            format!("net/http: invalid header field value for {}", words::quote(name.as_bytes()))
        })?;
        headers.append(key, value);
    }
    // These describe a body that a GET does not have; Go does not send them either.
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER] {
        headers.remove(name);
    }
    // Of these only the first counts.
    for name in [HOST, USER_AGENT] {
        if let Some(first) = headers.get(&name).cloned() {
            headers.insert(name, first);
        }
    }
    default_header(&mut headers, USER_AGENT, USER_AGENT_VALUE);
    default_header(&mut headers, ACCEPT, "*/*");
    if headers.get(HOST).is_some_and(HeaderValue::is_empty) {
        headers.remove(HOST);
    }
    if !headers.contains_key(UPGRADE) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(headers)
}

/// Sets a header that was not given, and removes one that was given as nothing.
fn default_header(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    match headers.get(&name) {
        None => {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Some(given) if given.is_empty() => {
            headers.remove(name);
        }
        Some(_) => {}
    }
}

/// What changes in the headers from one page to the next.
fn prepare(headers: &mut HeaderMap, from: &Url, to: &Url, location: &str) {
    // A Host header of the user's own stays only where the redirect did not name a host.
    if Url::is_absolute(location) {
        headers.remove(HOST);
    }
    if !(from.scheme == "https" && to.scheme == "http")
        && let Ok(value) = HeaderValue::from_str(&from.to_string())
    {
        headers.insert(REFERER, value);
    }
}

/// Where the server wants us to go.
fn redirection(response: &Response<Incoming>) -> Option<String> {
    match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {
            let location = response.headers().get(LOCATION)?;
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            (!location.is_empty()).then_some(location)
        }
        _ => None,
    }
}

/// Reads the last page's body and says what it means.
async fn judge(answer: &mut Answer, deadline: Instant) -> Outcome {
    let body = match timeout_at(deadline, answer.body()).await {
        Ok(Ok(body)) => body,
        Ok(Err(text)) => return Outcome::Interrupted(text),
        Err(_) => {
            return Outcome::Interrupted(
                "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
                    .to_owned(),
            );
        }
    };
    match answer.response.status().as_u16() {
        200..300 => Outcome::Success,
        300..400 => {
            Outcome::Warning(format!("Probe terminated redirects, Response body: {}", words::lossy(body)))
        }
        code => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
    }
}

type Connection = http1::Connection<TokioIo<Wire>, Empty<Bytes>>;

/// The head of an answer, and the connection on which its body comes.
struct Answer {
    response: Response<Incoming>,
    line: Line,
}

/// A connection that moves only while somebody waits for something on it: no task of its own.
struct Line {
    connection: Connection,
    ended: bool,
    local: Option<SocketAddr>,
    peer: SocketAddr,
}

impl Line {
    /// Waits for `wanted`, moving the connection meanwhile.
    async fn drive<F: Future>(&mut self, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        std::future::poll_fn(|cx| {
            if !self.ended {
                // How it ended reaches us through what we wait for.
                self.ended = Pin::new(&mut self.connection).poll(cx).is_ready();
            }
            wanted.as_mut().poll(cx)
        })
        .await
    }

    /// Go's words for an answer that did not come.
    fn explain(self, error: &hyper::Error) -> String {
        if let Some(cause) = io_cause(error) {
            return words::broken(self.local, self.peer, cause);
        }
        let wire = self.connection.into_parts().io.into_inner();
        let broken = "net/http: HTTP/1.x transport connection broken";
        if error.is_parse() {
            format!("{broken}: malformed HTTP response {}", words::quote(wire.first_line()))
        } else if wire.seen().is_empty() {
            "EOF".to_owned()
        } else {
            format!("{broken}: unexpected EOF")
        }
    }
}

fn io_cause(error: &hyper::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

async fn request(url: &Url, headers: &HeaderMap) -> Result<Answer, String> {
    if !matches!(url.scheme.as_str(), "http" | "https") {
        return Err(format!("unsupported protocol scheme \"{}\"", url.scheme));
    }
    if url.host.is_empty() {
        return Err("http: no Host in request URL".to_owned());
    }
    let (wire, local, peer) = connect(url).await?;
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| error.to_string())?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = url.path_and_query().parse().map_err(|_| "invalid URL".to_owned())?;
    *request.headers_mut() = headers.clone();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(&url.host_header()).map_err(|_| "invalid URL host".to_owned())?;
        request.headers_mut().insert(HOST, host);
    }
    let mut line = Line { connection, ended: false, local, peer };
    match line.drive(sender.send_request(request)).await {
        Ok(response) => Ok(Answer { response, line }),
        Err(error) => Err(line.explain(&error)),
    }
}

async fn connect(url: &Url) -> Result<(Wire, Option<SocketAddr>, SocketAddr), String> {
    let stream = dial(&url.host, url.dial_port()).await?;
    let local = stream.local_addr().ok();
    let peer = stream.peer_addr().map_err(|error| words::errno(&error))?;
    let wire = Wire::new(stream);
    if url.scheme != "https" {
        return Ok((wire, local, peer));
    }
    match timeout(HANDSHAKE, tls::wrap(wire, &url.host, peer.ip())).await {
        Ok(Ok(wire)) => Ok((wire, local, peer)),
        Ok(Err(Refusal::Tls(text))) => Err(text),
        Ok(Err(Refusal::Io(error))) => Err(words::broken(local, peer, &error)),
        Err(_) => Err("net/http: TLS handshake timeout".to_owned()),
    }
}

impl Answer {
    /// The beginning of the body; more than that is not an error.
    async fn body(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while body.len() < MAX_ANSWER {
            match self.line.drive(self.response.body_mut().frame()).await {
                None => break,
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    body.extend_from_slice(&data[..data.len().min(MAX_ANSWER - body.len())]);
                }
                Some(Err(error)) => {
                    return Err(match io_cause(&error) {
                        Some(cause) => words::broken(self.line.local, self.line.peer, cause),
                        None => "unexpected EOF".to_owned(),
                    });
                }
            }
        }
        Ok(body)
    }
}
