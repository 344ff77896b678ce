//! Real sockets on loopback, with servers behind them that misbehave.

use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, sleep},
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::NoExec;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// What a server does after its answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Keeps the connection open and says nothing more.
    Hang,
    /// Ends the connection with a reset.
    Reset,
}

/// A server that answers each request by `answer`, and the requests that it got.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0", answer).await
    }

    async fn start_on(at: &str, answer: impl Fn(&str) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&requests);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                tokio::spawn(async move {
                    if let Then::Reset = serve(&mut stream, &log, &*answer).await {
                        stream.set_zero_linger().unwrap();
                    }
                });
            }
        });
        Self { port, requests }
    }

    /// A server that always says the same, and closes.
    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_| (answer.clone(), Then::Close)).await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    async fn get(&self, path: &str) -> Outcome {
        self.get_with(path, &[], LONG).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)], timeout: Duration) -> Outcome {
        ask(&web(self.port, path, headers, timeout), HERE, &NoExec).await
    }
}

async fn serve(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    log: &Mutex<Vec<String>>,
    answer: &(dyn Fn(&str) -> (Vec<u8>, Then) + Sync),
) -> Then {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Then::Close,
            Ok(count) => head.extend_from_slice(&chunk[..count]),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let (bytes, then) = answer(&head);
    log.lock().unwrap().push(head);
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    if let Then::Hang = then {
        sleep(LONG * 10).await;
    }
    then
}

const HERE: Target = Target { ip: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST) };

fn spec(handler: Handler, timeout: Duration) -> Spec {
    Spec {
        handler,
        initial_delay: Duration::ZERO,
        period: LONG,
        timeout,
        success_threshold: 1,
        failure_threshold: 1,
        termination_grace_seconds: None,
    }
}

fn web(port: u16, path: &str, headers: &[(&str, &str)], timeout: Duration) -> Spec {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    spec(Handler::HttpGet { https: false, host: None, port, path: path.to_owned(), headers }, timeout)
}

fn secure(port: u16, timeout: Duration) -> Spec {
    let headers = Vec::new();
    spec(Handler::HttpGet { https: true, host: None, port, path: "/".to_owned(), headers }, timeout)
}

fn socket(port: u16, timeout: Duration) -> Spec {
    spec(Handler::TcpSocket { host: None, port }, timeout)
}

fn failure(text: impl Into<String>) -> Outcome {
    Outcome::Failure(text.into())
}

fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nok").into_bytes()
}

fn moved(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 4\r\n\r\naway").into_bytes()
}

/// A port that nobody listens on.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// A listener whose queue is full: the kernel lets further connections hang.
async fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(SHORT, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (listener, waiting)
}

#[tokio::test]
async fn two_hundred_to_three_hundred_ninety_nine_is_well() {
    for (line, expected) in [
        ("200 OK", Outcome::Success),
        ("204 No Content", Outcome::Success),
        ("299 Odd", Outcome::Success),
        ("304 Not Modified", Outcome::Warning("Probe terminated redirects, Response body: ".to_owned())),
        ("399 Odd", Outcome::Warning("Probe terminated redirects, Response body: ok".to_owned())),
        ("400 Bad Request", failure("HTTP probe failed with statuscode: 400")),
        ("404 Not Found", failure("HTTP probe failed with statuscode: 404")),
        ("500 Internal Server Error", failure("HTTP probe failed with statuscode: 500")),
        ("503 Service Unavailable", failure("HTTP probe failed with statuscode: 503")),
    ] {
        let server = Server::saying(status(line)).await;
        assert_eq!(server.get("/healthz").await, expected, "{line}");
        assert_eq!(server.requests().len(), 1, "{line}");
    }
}

#[tokio::test]
async fn a_request_looks_like_a_kubelets() {
    let server = Server::saying(status("200 OK")).await;
    server.get("/healthz?full=1").await;
    let port = server.port;
    let mut lines: Vec<_> = server.requests()[0].trim_end().split("\r\n").map(str::to_owned).collect();
    lines[1..].sort();
    let host = format!("Host: 127.0.0.1:{port}");
    let expected = [
        "GET /healthz?full=1 HTTP/1.1",
        "Accept: */*",
        "Connection: close",
        &host,
        "User-Agent: kube-probe/1.36",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn headers_of_the_manifest_win_and_empty_ones_are_left_out() {
    let server = Server::saying(status("200 OK")).await;
    let headers = [
        ("host", "shop.example"),
        ("Host", "a.second.one"),
        ("x-twice", "1"),
        ("X-Twice", "2"),
        ("User-Agent", "me"),
        ("Accept", ""),
        ("Content-Length", "7"),
    ];
    assert_eq!(server.get_with("/", &headers, LONG).await, Outcome::Success);
    let request = &server.requests()[0];
    for line in
        ["\r\nHost: shop.example\r\n", "\r\nX-Twice: 1\r\n", "\r\nX-Twice: 2\r\n", "\r\nUser-Agent: me\r\n"]
    {
        assert!(request.contains(line), "{line:?} in {request:?}");
    }
    for absent in ["Accept:", "Content-Length:", "127.0.0.1", "a.second.one"] {
        assert!(!request.contains(absent), "{absent:?} in {request:?}");
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_a_failure_that_says_so() {
    let server = Server::saying(status("200 OK")).await;
    let outcome = server.get_with("/", &[("X", "a\nb")], LONG).await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    assert_eq!(outcome, failure(format!("Get \"{url}\": net/http: invalid header field value for \"X\"")));
}

#[tokio::test]
async fn a_refused_connection_reads_as_go_says_it() {
    let port = closed_port().await;
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    let page = web(port, "/healthz", &[], LONG);
    let expected = format!("Get \"http://127.0.0.1:{port}/healthz\": {refused}");
    assert_eq!(ask(&page, HERE, &NoExec).await, failure(expected));
    assert_eq!(ask(&socket(port, LONG), HERE, &NoExec).await, failure(refused));
}

#[tokio::test]
async fn a_connection_that_hangs_is_given_up_in_time() {
    let (listener, _waiting) = full_listener().await;
    let port = listener.local_addr().unwrap().port();
    let began = Instant::now();
    let expected = format!("dial tcp 127.0.0.1:{port}: i/o timeout");
    assert_eq!(ask(&socket(port, SHORT), HERE, &NoExec).await, failure(expected));
    let expected = format!(
        "Get \"http://127.0.0.1:{port}/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    );
    assert_eq!(ask(&web(port, "/", &[], SHORT), HERE, &NoExec).await, failure(expected));
    assert!(began.elapsed() < LONG);
}

#[tokio::test]
async fn headers_that_do_not_end_are_given_up_in_time() {
    for beginning in ["", "HTTP/1.1 200 OK\r\nX-Slow: "] {
        let server = Server::start(|_| (beginning.as_bytes().to_vec(), Then::Hang)).await;
        let expected = format!(
            "Get \"http://127.0.0.1:{}/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            server.port
        );
        assert_eq!(server.get_with("/", &[], SHORT).await, failure(expected));
        assert_eq!(server.requests().len(), 1, "a failure is not tried again");
    }
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_is_an_error_and_not_a_failure() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal";
    let server = Server::start(|_| (answer.as_bytes().to_vec(), Then::Hang)).await;
    let text = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
    assert_eq!(server.get_with("/", &[], SHORT).await, Outcome::Interrupted(text.to_owned()));
    assert_eq!(server.requests().len(), 3, "an error is tried three times");
    let server = Server::saying(answer).await;
    assert_eq!(server.get("/").await, Outcome::Interrupted("unexpected EOF".to_owned()));
}

#[tokio::test]
async fn of_a_large_body_only_the_beginning_is_read() {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n".to_vec();
    answer.resize(answer.len() + 10 * 1024 * 1024, b'x');
    let server = Server::saying(answer).await;
    assert_eq!(server.get("/").await, Outcome::Success);

    let mut endless = b"HTTP/1.1 301 Moved\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\n".to_vec();
    endless.resize(endless.len() + 0x8000, b'x');
    let server = Server::start(move |_| (endless.clone(), Then::Hang)).await;
    let expected = format!("Probe terminated redirects, Response body: {}", "x".repeat(10 * 1024));
    assert_eq!(server.get("/").await, Outcome::Warning(expected));
}

#[tokio::test]
async fn a_server_may_say_a_lot_before_the_body() {
    let headers: String = (0..500).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let server = Server::saying(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n")).await;
    assert_eq!(server.get("/").await, Outcome::Success);
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection() {
    let server = Server::saying("HTTP/1.0 200 OK\r\n\r\nhello").await;
    assert_eq!(server.get("/").await, Outcome::Success);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_a_failure() {
    let server = Server::saying("").await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    assert_eq!(server.get("/").await, failure(format!("Get \"{url}\": EOF")));
    let server = Server::saying("HTTP/1.1 200 OK\r\nX:").await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    let broken = "net/http: HTTP/1.x transport connection broken: unexpected EOF";
    assert_eq!(server.get("/").await, failure(format!("Get \"{url}\": {broken}")));
}

#[tokio::test]
async fn a_reset_names_both_ends() {
    let server = Server::start(|_| (Vec::new(), Then::Reset)).await;
    let Outcome::Failure(text) = server.get("/").await else { panic!("not a failure") };
    let port = server.port;
    assert!(text.starts_with(&format!("Get \"http://127.0.0.1:{port}/\": read tcp 127.0.0.1:")), "{text}");
    assert!(text.ends_with(&format!("->127.0.0.1:{port}: read: connection reset by peer")), "{text}");
}

#[tokio::test]
async fn what_is_not_http_is_quoted() {
    for (answer, quoted) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", r#""SSH-2.0-OpenSSH_9.2""#),
        ("\x15\x03\x01\x00\x02\x02P", r#""\x15\x03\x01\x00\x02\x02P""#),
    ] {
        let server = Server::saying(answer).await;
        let url = format!("http://127.0.0.1:{}/", server.port);
        let broken = "net/http: HTTP/1.x transport connection broken: malformed HTTP response";
        assert_eq!(server.get("/").await, failure(format!("Get \"{url}\": {broken} {quoted}")));
    }
}

#[tokio::test]
async fn redirects_on_the_same_host_are_followed() {
    let server = Server::start(|request| {
        let answer = match request.split(' ').nth(1) {
            Some("/a") => moved("b?x=1"),
            Some("/b?x=1") => status("200 OK"),
            _ => status("500 No"),
        };
        (answer, Then::Close)
    })
    .await;
    assert_eq!(server.get_with("/a", &[("Host", "shop.example")], LONG).await, Outcome::Success);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].contains("\r\nHost: shop.example\r\n"), "a relative redirect keeps the Host header");
    let referer = format!("\r\nReferer: http://127.0.0.1:{}/a\r\n", server.port);
    assert!(requests[1].contains(&referer), "{:?}", requests[1]);
}

#[tokio::test]
async fn another_port_of_the_same_host_is_the_same_host() {
    let other = Server::saying(status("200 OK")).await;
    let there = format!("http://127.0.0.1:{}/x", other.port);
    let server = Server::start(move |_| (moved(&there), Then::Close)).await;
    assert_eq!(server.get_with("/", &[("Host", "shop.example")], LONG).await, Outcome::Success);
    assert_eq!(other.requests().len(), 1);
    let host = format!("\r\nHost: 127.0.0.1:{}\r\n", other.port);
    assert!(other.requests()[0].contains(&host), "an absolute one does not keep it");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_a_success_with_a_warning() {
    for there in ["http://0.0.0.0/", "//localhost/x", "https://example.com/", "mailto:nobody"] {
        let server = Server::saying(moved(there)).await;
        let expected = Outcome::Warning("Probe terminated redirects, Response body: away".to_owned());
        assert_eq!(server.get("/").await, expected, "{there}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_loop_stops_after_ten() {
    let server = Server::saying(moved("/again")).await;
    assert_eq!(server.get("/").await, failure("Get \"/again\": stopped after 10 redirects"));
    assert_eq!(server.requests().len(), 10);
}

#[tokio::test]
async fn all_redirects_share_one_time_limit() {
    let server = Server::start(|request| match request.split(' ').nth(1) {
        Some("/slow") => (Vec::new(), Then::Hang),
        _ => (moved("/slow"), Then::Close),
    })
    .await;
    let Outcome::Failure(text) = server.get_with("/", &[], SHORT).await else { panic!("not a failure") };
    assert!(
        text.starts_with(&format!("Get \"http://127.0.0.1:{}/slow\": context deadline", server.port)),
        "{text}"
    );
}

#[tokio::test]
async fn odd_locations() {
    let server = Server::saying(moved("ftp://127.0.0.1/")).await;
    let expected = "Get \"ftp://127.0.0.1/\": unsupported protocol scheme \"ftp\"";
    assert_eq!(server.get("/").await, failure(expected));
    let server = Server::saying(moved("http://h:x/")).await;
    let Outcome::Failure(text) = server.get("/").await else { panic!("not a failure") };
    assert!(text.contains("failed to parse Location header \"http://h:x/\": "), "{text}");
    let server = Server::saying("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").await;
    let nowhere = Outcome::Warning("Probe terminated redirects, Response body: ".to_owned());
    assert_eq!(server.get("/").await, nowhere);
}

#[tokio::test]
async fn ipv6_and_names() {
    let server = Server::start_on("[::1]:0", |_| (status("200 OK"), Then::Close)).await;
    let six = Target { ip: "::1".parse().unwrap() };
    assert_eq!(ask(&web(server.port, "/", &[], LONG), six, &NoExec).await, Outcome::Success);
    assert_eq!(ask(&socket(server.port, LONG), six, &NoExec).await, Outcome::Success);
    assert!(server.requests()[0].contains(&format!("\r\nHost: [::1]:{}\r\n", server.port)));

    let server = Server::saying(status("200 OK")).await;
    let nowhere = Target { ip: "192.0.2.1".parse().unwrap() };
    let at = |host: &str| Handler::TcpSocket { host: Some(host.to_owned()), port: server.port };
    assert_eq!(ask(&spec(at("localhost"), LONG), nowhere, &NoExec).await, Outcome::Success);
    assert_eq!(ask(&spec(at("127.0.0.1"), LONG), nowhere, &NoExec).await, Outcome::Success);
    let expected = failure("dial tcp: lookup none.invalid: no such host");
    assert_eq!(ask(&spec(at("none.invalid"), LONG), nowhere, &NoExec).await, expected);
}

#[tokio::test]
async fn a_port_that_accepts_is_enough_for_tcp() {
    // Half-open: the kernel accepts, nobody ever reads or writes.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(ask(&socket(port, LONG), HERE, &NoExec).await, Outcome::Success);
    let (mut stream, _) = listener.accept().await.unwrap();
    let closed = timeout(LONG, stream.read(&mut [0; 8])).await.expect("the probe closes at once");
    assert_eq!(closed.unwrap(), 0, "in the ordinary way, not by a reset");
}

async fn tls_server(versions: &[&'static rustls::SupportedProtocolVersion]) -> Server {
    let key = PrivateKeyDer::Pkcs8(include_bytes!("testdata/key.der").as_slice().into());
    let certificate = include_bytes!("testdata/cert.der").as_slice().into();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            serve(&mut stream, &log, &|_| (status("200 OK"), Then::Close)).await;
            let _ = stream.shutdown().await;
        }
    });
    Server { port, requests }
}

#[tokio::test]
async fn https_believes_any_certificate() {
    // Self-signed and for another name; how long it is valid does not matter either.
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let server = tls_server(versions).await;
        assert_eq!(ask(&secure(server.port, LONG), HERE, &NoExec).await, Outcome::Success);
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn https_to_a_server_without_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-x\r\n", b""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(answer).await.unwrap();
        }
        let (_held, _) = listener.accept().await.unwrap();
        sleep(LONG).await;
    });
    for text in [
        "http: server gave HTTP response to HTTPS client",
        "tls: first record does not look like a TLS handshake",
        "EOF",
        "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
    ] {
        let limit = if text.starts_with("context") { SHORT } else { LONG };
        let expected = format!("Get \"https://127.0.0.1:{port}/\": {text}");
        assert_eq!(ask(&secure(port, limit), HERE, &NoExec).await, failure(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tls_handshake_has_ten_seconds_however_patient_the_probe_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let began = Instant::now();
    let expected = format!("Get \"https://127.0.0.1:{port}/\": net/http: TLS handshake timeout");
    assert_eq!(ask(&secure(port, LONG), HERE, &NoExec).await, failure(expected));
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// A command that ends as it is told.
struct Ends(ExecResult);

impl Exec for Ends {
    fn run<'a>(&'a self, _command: &'a [String], _timeout: Duration) -> crate::ExecFuture<'a> {
        Box::pin(async { self.0.clone() })
    }
}

#[tokio::test]
async fn a_commands_exit_code_decides_and_its_output_is_kept_within_bounds() {
    let command = vec!["sleep".to_owned(), "10".to_owned()];
    let probe = spec(Handler::Exec { command }, Duration::from_secs(1));
    let exited = |code, output: &[u8]| Ends(ExecResult::Exited { code, output: output.to_vec() });
    for (exec, expected) in [
        (exited(0, b"fine"), Outcome::Success),
        (exited(1, b"cat: x: No such file\n"), failure("cat: x: No such file\n")),
        (exited(137, b""), failure("")),
        (exited(1, &[b'x'; 20_000]), failure("x".repeat(10 * 1024))),
        (exited(1, b"\xff"), failure("\u{fffd}")),
        (Ends(ExecResult::TimedOut), failure("command timed out: \"sleep 10\" timed out after 1s")),
        (
            Ends(ExecResult::NotStarted("no such container".to_owned())),
            Outcome::Error("no such container".to_owned()),
        ),
    ] {
        assert_eq!(ask(&probe, HERE, &exec).await, expected);
    }
}

#[test]
fn events_read_as_a_kubelets() {
    use crate::{Kind, event_text};
    for (kind, outcome, expected) in [
        (Kind::Liveness, failure("x"), Some(("Unhealthy", "Liveness probe failed: x"))),
        (Kind::Readiness, Outcome::Warning("x".into()), Some(("ProbeWarning", "Readiness probe warning: x"))),
        (
            Kind::Startup,
            Outcome::Error("x".into()),
            Some(("Unhealthy", "Startup probe errored and resulted in unknown state: x")),
        ),
        (
            Kind::Liveness,
            Outcome::Interrupted("x".into()),
            Some(("Unhealthy", "Liveness probe errored and resulted in failure state: x")),
        ),
        (Kind::Liveness, Outcome::Success, None),
    ] {
        let expected = expected.map(|(reason, text)| (reason, text.to_owned()));
        assert_eq!(event_text(kind, &outcome), expected);
    }
}
