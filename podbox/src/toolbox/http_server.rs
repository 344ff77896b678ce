//! `http`, `http-go` and `server`: HTTP servers for learning and for tests.
//!
//! One thread a connection, kept open as HTTP/1.1 does. The first thread only waits for SIGTERM; when it
//! returns, the process ends and takes the others along.

use std::ffi::OsString;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::flags::{parse, switch, value};
use super::http::{Body, Head, read_chunks, reason};
use super::signals::Ends;
use super::{Outcome, text, whoami};

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(75);
/// Enough for a request's head and the longest path below, in debug builds too.
const STACK: usize = 256 << 10;

/// A request as a handler sees it.
struct Request<'a> {
    path: &'a str,
    query: &'a str,
    head: &'a Head,
    peer: SocketAddr,
}

/// What goes back.
struct Response {
    status: u16,
    body: Content,
    location: Option<String>,
}

enum Content {
    Text(String),
    /// So many bytes of the alphabet, never held at once.
    Filler(u64),
}

impl Response {
    fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: Content::Text(body.into()), location: None }
    }

    fn ok(body: impl Into<String>) -> Self {
        Self::text(200, body)
    }
}

trait Handler: Send + Sync + 'static {
    fn answer(&self, request: &Request<'_>) -> Response;
}

impl<F: Fn(&Request<'_>) -> Response + Send + Sync + 'static> Handler for F {
    fn answer(&self, request: &Request<'_>) -> Response {
        self(request)
    }
}

/// A listener for both families, or for IPv4 where the kernel has no IPv6.
pub(super) fn listen(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|error| match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
            }
            _ => Err(error),
        })
        .map_err(Failure::system(format!("port {port}")))
}

/// An address as its owner would write it: an IPv4 peer of a dual-stack socket is an IPv4 address.
pub(super) fn shown(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Runs `act` for every connection, each in a thread of its own, until SIGTERM.
pub(super) fn serve_connections(
    listener: TcpListener,
    act: impl Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
) -> Outcome {
    let ends = Ends::claim()?;
    let act = Arc::new(act);
    let accept = move || {
        loop {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let act = Arc::clone(&act);
                    // Where no thread can be made the connection is dropped, which the peer sees at once.
                    let _ = thread::Builder::new().stack_size(STACK).spawn(move || act(stream, shown(peer)));
                }
                // Out of descriptors: accept would fail again at once and burn a processor.
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    };
    thread::Builder::new().stack_size(STACK).spawn(accept).map_err(Failure::system("thread"))?;
    ends.wait()?;
    Ok(0)
}

fn serve(port: u16, handler: impl Handler) -> Outcome {
    serve_connections(listen(port)?, move |stream, peer| {
        // A peer that goes away in the middle is its own business.
        let _ = converse(&stream, peer, &handler);
    })
}

fn converse(stream: &TcpStream, peer: SocketAddr, handler: &impl Handler) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let head = match Head::read(&mut reader) {
            Ok(Some(head)) => head,
            Ok(None) => break,
            // Such as a greeting in TLS: who sent it learns that this is the wrong place.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return send(
                    stream,
                    &Response::text(400, "bad request\n"),
                    Framing { close: true, body: true },
                );
            }
            Err(error) => return Err(error),
        };
        match head.body() {
            Body::Length(length) => drop(io::copy(&mut (&mut reader).take(length), &mut io::sink())?),
            Body::Chunked => read_chunks(&mut reader, &mut io::sink())?,
            Body::Unsaid => {}
        }
        let mut words = head.first.split(' ');
        let method = words.next().unwrap_or("");
        let target = words.next().unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let response = handler.answer(&Request { path, query, head: &head, peer });
        let _ = text::print(format!("{peer} {method} {target} {}\n", response.status).as_bytes());
        let close = head.closes();
        send(stream, &response, Framing { close, body: method != "HEAD" })?;
        if close {
            break;
        }
    }
    Ok(())
}

struct Framing {
    close: bool,
    body: bool,
}

fn send(mut stream: &TcpStream, response: &Response, framing: Framing) -> io::Result<()> {
    let length = match &response.body {
        Content::Text(text) => text.len() as u64,
        Content::Filler(length) => *length,
    };
    let mut out = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n",
        response.status,
        reason(response.status)
    );
    if let Some(location) = &response.location {
        out.push_str(&format!("Location: {location}\r\n"));
    }
    out.push_str(if framing.close { "Connection: close\r\n\r\n" } else { "\r\n" });
    if let (true, Content::Text(text)) = (framing.body, &response.body) {
        out.push_str(text);
    }
    stream.write_all(out.as_bytes())?;
    if let (true, Content::Filler(_)) = (framing.body, &response.body) {
        const BLOCK: [u8; 1024] = filler();
        let mut left = length;
        while left > 0 {
            let part = left.min(BLOCK.len() as u64);
            stream.write_all(&BLOCK[..part as usize])?;
            left -= part;
        }
    }
    Ok(())
}

const fn filler() -> [u8; 1024] {
    let mut block = [b'\n'; 1024];
    let mut at = 0;
    while at < block.len() {
        if at % 64 != 63 {
            block[at] = b'a' + (at % 64 % 26) as u8;
        }
        at += 1;
    }
    block
}

/// One health endpoint: it follows its clock until somebody says otherwise.
struct Health {
    well: Clock,
    order: AtomicU8,
}

/// When an endpoint is well without orders.
#[derive(Clone, Copy)]
enum Clock {
    Always,
    Until(Duration),
    From(Duration),
}

const BY_CLOCK: u8 = 0;
const PASS: u8 = 1;
const FAIL: u8 = 2;

impl Health {
    fn new(well: Clock) -> Self {
        Self { well, order: AtomicU8::new(BY_CLOCK) }
    }

    fn is_well(&self, age: Duration) -> bool {
        match self.order.load(Ordering::Relaxed) {
            PASS => true,
            FAIL => false,
            _ => match self.well {
                Clock::Always => true,
                Clock::Until(end) => age < end,
                Clock::From(start) => age >= start,
            },
        }
    }

    fn answer(&self, age: Duration) -> Response {
        if self.is_well(age) { Response::ok("ok\n") } else { Response::text(500, "failing\n") }
    }
}

/// The learner's server.
struct Learner {
    started: Instant,
    hostname: String,
    greeting: Option<String>,
    verbose: bool,
    live: Health,
    ready: Health,
    startup: Health,
}

/// `http [--port 8080] [--text T] [--verbose] [--fail-after D] [--ready-after D] [--started-after D]`
///
/// `/` greets, `/peer` names the client's address, `/healthz`, `/readyz` and `/startupz` tell health and take
/// orders at `/fail/NAME`, `/pass/NAME` and `/auto/NAME`; `/env`, `/hostname`, `/echo-headers`, `/status/N`,
/// `/sleep/MS`, `/bytes/N` do what they say. A line per request goes to standard output.
pub(super) fn http(args: &[OsString]) -> Outcome {
    let known = [
        value("port").or(b'p'),
        value("text").or(b't'),
        switch("verbose").or(b'v'),
        value("fail-after"),
        value("ready-after"),
        value("started-after"),
    ];
    let parsed = parse(args, &known)?;
    let from = |flag| Ok::<_, Failure>(parsed.duration(flag)?.map_or(Clock::Always, Clock::From));
    let learner = Learner {
        started: Instant::now(),
        hostname: whoami::own_name(),
        greeting: parsed.get("text").map(str::to_owned),
        verbose: parsed.has("verbose"),
        live: Health::new(parsed.duration("fail-after")?.map_or(Clock::Always, Clock::Until)),
        ready: Health::new(from("ready-after")?),
        startup: Health::new(from("started-after")?),
    };
    serve(parsed.number("port")?.unwrap_or(8080), learner)
}

impl Handler for Learner {
    fn answer(&self, request: &Request<'_>) -> Response {
        let mut parts = request.path.trim_matches('/').splitn(2, '/');
        let first = parts.next().unwrap_or("");
        let rest = parts.next().unwrap_or("");
        let age = self.started.elapsed();
        match first {
            "" => self.greet(request),
            "peer" => Response::ok(format!("peer {}\n", request.peer)),
            "hostname" => Response::ok(format!("{}\n", self.hostname)),
            "healthz" => self.live.answer(age),
            "readyz" => self.ready.answer(age),
            "startupz" => self.startup.answer(age),
            "fail" => self.order(rest, FAIL),
            "pass" => self.order(rest, PASS),
            "auto" => self.order(rest, BY_CLOCK),
            "env" => {
                let variables: Vec<_> = std::env::vars_os().collect();
                Response::ok(String::from_utf8_lossy(&text::listing(&variables)))
            }
            "echo-headers" => {
                let lines: Vec<String> =
                    request.head.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
                Response::ok(lines.concat())
            }
            "status" => match rest.parse() {
                Ok(status @ 200..=599) => Response::text(status, format!("{status} {}\n", reason(status))),
                _ => Response::text(400, "a status is a number from 200 to 599\n"),
            },
            "sleep" => match rest.parse() {
                Ok(millis) => {
                    thread::sleep(Duration::from_millis(millis));
                    Response::ok(format!("slept {millis} ms\n"))
                }
                Err(_) => Response::text(400, "a time is a number of milliseconds\n"),
            },
            "bytes" => match super::flags::bytes(rest) {
                Some(length) => Response { status: 200, body: Content::Filler(length), location: None },
                None => Response::text(400, "a size is a number of bytes\n"),
            },
            _ => Response::text(404, format!("nothing at {}\n", request.path)),
        }
    }
}

impl Learner {
    fn greet(&self, request: &Request<'_>) -> Response {
        let mut body = match &self.greeting {
            Some(text) => format!("{text}\n"),
            None => format!("You've hit {}\n", self.hostname),
        };
        if self.verbose {
            body.push_str(&format!("peer {}\n", request.peer));
        }
        Response::ok(body)
    }

    fn order(&self, endpoint: &str, order: u8) -> Response {
        let health = match endpoint {
            "healthz" => &self.live,
            "readyz" => &self.ready,
            "startupz" => &self.startup,
            _ => return Response::text(404, "the endpoints are healthz, readyz and startupz\n"),
        };
        health.order.store(order, Ordering::Relaxed);
        let told = ["follows its clock", "passes", "fails"][usize::from(order)];
        Response::ok(format!("{endpoint} {told} from now on\n"))
    }
}

/// `http-go`: the image that Kubernetes lessons use; greets on port 8080, whatever the path.
pub(super) fn http_go(_: &[OsString]) -> Outcome {
    let greeting = format!("You've hit {}\n", whoami::own_name());
    serve(8080, move |_: &Request<'_>| Response::ok(greeting.as_str()))
}

/// `server`: Kubernetes' liveness image. /healthz is well for ten seconds.
pub(super) fn server(_: &[OsString]) -> Outcome {
    let started = Instant::now();
    serve(8080, move |request: &Request<'_>| liveness(request, started.elapsed()))
}

fn liveness(request: &Request<'_>, age: Duration) -> Response {
    let seconds = age.as_secs_f64();
    match request.path {
        "/healthz" if seconds > 10.0 => Response::text(500, format!("error: {seconds}")),
        "/healthz" => Response::ok("ok"),
        "/started" => Response::ok(format!("{seconds}s")),
        "/redirect" => {
            let location = request.query.split('&').find_map(|pair| pair.strip_prefix("loc="));
            Response { location: Some(location.unwrap_or("/").to_owned()), ..Response::text(302, "") }
        }
        _ => Response::text(404, "404 page not found\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learner(live: Clock) -> Learner {
        Learner {
            started: Instant::now(),
            hostname: "web".into(),
            greeting: None,
            verbose: false,
            live: Health::new(live),
            ready: Health::new(Clock::From(Duration::from_secs(3600))),
            startup: Health::new(Clock::Always),
        }
    }

    fn ask(handler: &impl Handler, path: &str) -> (u16, String) {
        let head = Head { first: format!("GET {path} HTTP/1.1"), fields: vec![("X-A".into(), "b".into())] };
        let peer = "10.244.0.7:41234".parse().unwrap();
        let request = Request { path, query: "", head: &head, peer };
        let response = handler.answer(&request);
        match response.body {
            Content::Text(text) => (response.status, text),
            Content::Filler(length) => (response.status, length.to_string()),
        }
    }

    #[test]
    fn the_greeting_names_the_host_and_peer_names_the_client() {
        let learner = learner(Clock::Always);
        assert_eq!(ask(&learner, "/"), (200, "You've hit web\n".into()));
        assert_eq!(ask(&learner, "/peer"), (200, "peer 10.244.0.7:41234\n".into()));
        assert_eq!(ask(&learner, "/echo-headers").1, "X-A: b\n");
        assert_eq!(ask(&learner, "/status/503").0, 503);
        assert_eq!(ask(&learner, "/bytes/2Ki").1, "2048");
        assert_eq!(ask(&learner, "/nothing").0, 404);
    }

    #[test]
    fn health_follows_its_clock_until_it_is_given_an_order() {
        let learner = learner(Clock::Until(Duration::ZERO));
        assert_eq!(ask(&learner, "/healthz").0, 500);
        assert_eq!(ask(&learner, "/readyz").0, 500);
        ask(&learner, "/pass/healthz");
        assert_eq!(ask(&learner, "/healthz").0, 200);
        ask(&learner, "/auto/healthz");
        assert_eq!(ask(&learner, "/healthz").0, 500);
        assert_eq!(ask(&learner, "/startupz").0, 200);
        assert_eq!(ask(&learner, "/fail/startupz"), (200, "startupz fails from now on\n".into()));
        assert_eq!(ask(&learner, "/startupz").0, 500);
    }

    #[test]
    fn the_liveness_image_is_well_for_ten_seconds() {
        let at = |millis| move |request: &Request<'_>| liveness(request, Duration::from_millis(millis));
        assert_eq!(ask(&at(9_999), "/healthz"), (200, "ok".into()));
        assert_eq!(ask(&at(10_500), "/healthz"), (500, "error: 10.5".into()));
        assert_eq!(ask(&at(10_500), "/started"), (200, "10.5s".into()));
    }

    #[test]
    fn one_connection_carries_several_requests_and_a_dual_stack_peer_is_ipv4() {
        let listener = listen(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (stream, peer) = listener.accept().unwrap();
            converse(&stream, shown(peer), &learner(Clock::Always)).unwrap();
        });
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let own = client.local_addr().unwrap();
        client.write_all(b"POST /pass/readyz HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        client.write_all(b"GET /peer HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2);
        assert!(text.ends_with(&format!("\r\n\r\npeer {own}\n")), "{text}");
        server.join().unwrap();
    }

    #[test]
    fn what_is_no_http_is_told_so_and_hung_up_on() {
        let listener = listen(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (stream, peer) = listener.accept().unwrap();
            converse(&stream, shown(peer), &learner(Clock::Always)).unwrap();
        });
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        client.write_all(b"\x16\x03\x01\x02\0\x01\xfc\n").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request"), "{text}");
        server.join().unwrap();
    }
}
