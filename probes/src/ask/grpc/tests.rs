use std::{convert::Infallible, net::Ipv4Addr};

use hyper::{body::Frame, server::conn::http2 as server, service::service_fn};
use hyper_util::rt::TokioExecutor;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What the server says: HTTP status, message, trailers.
#[derive(Clone)]
struct Says(u16, Vec<u8>, Vec<(&'static str, &'static str)>);

fn serving(status: u8) -> Says {
    Says(200, vec![0, 0, 0, 0, 2, 0x08, status], vec![("grpc-status", "0")])
}

type Requests = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;

async fn start(says: Option<Says>) -> (u16, Requests) {
    start_on(TcpListener::bind((HERE, 0)).await.unwrap(), says)
}

fn start_on(listener: TcpListener, says: Option<Says>) -> (u16, Requests) {
    let port = listener.local_addr().unwrap().port();
    let requests = Requests::default();
    let log = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (says, log) = (says.clone(), Arc::clone(&log));
            let answer = service_fn(move |request: Request<Incoming>| {
                let (says, log) = (says.clone(), Arc::clone(&log));
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    log.lock().unwrap().push((head.uri.to_string(), head.headers, body));
                    let Some(Says(status, message, trailers)) = says else {
                        sleep(LONG).await;
                        unreachable!("the probe has left");
                    };
                    let map = trailers
                        .iter()
                        .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
                    let map: HeaderMap = map.collect();
                    let body = Full::new(Bytes::from(message)).with_trailers(async { Some(Ok(map)) });
                    let body = body.map_frame(|frame: Frame<Bytes>| frame);
                    let response = Response::builder().status(status).body(body).unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            let connection =
                server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer);
            tokio::spawn(connection);
        }
    });
    (port, requests)
}

fn failure(text: impl Into<String>) -> Outcome {
    Outcome::Failure(text.into())
}

#[tokio::test]
async fn the_request_is_that_of_the_health_protocol() {
    let (port, requests) = start(Some(serving(1))).await;
    assert_eq!(check(HERE, port, "shop", LONG).await, Outcome::Success);
    assert_eq!(check(HERE, port, "", LONG).await, Outcome::Success);
    let requests = requests.lock().unwrap();
    let (uri, headers, body) = &requests[0];
    assert_eq!(*uri, format!("http://127.0.0.1:{port}/grpc.health.v1.Health/Check"));
    for (name, value) in
        [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "kube-probe/1.36")]
    {
        assert_eq!(headers[name], value);
    }
    assert_eq!(body.as_ref(), b"\0\0\0\0\x06\x0a\x04shop");
    assert_eq!(requests[1].2.as_ref(), b"\0\0\0\0\0");
}

#[tokio::test]
async fn only_serving_is_well() {
    let not_found = [("grpc-status", "5"), ("grpc-message", "unknown%20service")];
    for (says, expected) in [
        (serving(2), "service unhealthy (responded with \"NOT_SERVING\")"),
        (serving(0), "service unhealthy (responded with \"UNKNOWN\")"),
        (serving(3), "service unhealthy (responded with \"SERVICE_UNKNOWN\")"),
        (
            Says(200, Vec::new(), not_found.to_vec()),
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
        (
            Says(200, Vec::new(), vec![("grpc-status", "12"), ("grpc-message", "unknown service")]),
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service",
        ),
        (
            Says(404, Vec::new(), Vec::new()),
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): \
             unexpected HTTP status code received from server: 404 (Not Found)",
        ),
        (
            Says(200, vec![1, 2, 3], vec![("grpc-status", "0")]),
            "error: health rpc probe failed: rpc error: code = Internal desc = malformed answer",
        ),
    ] {
        let (port, _) = start(Some(says)).await;
        assert_eq!(check(HERE, port, "", LONG).await, failure(expected));
    }
}

#[tokio::test]
async fn a_call_that_does_not_end_is_given_up_in_time() {
    let (port, requests) = start(None).await;
    assert_eq!(
        check(HERE, port, "", SHORT).await,
        failure("timeout: health rpc did not complete within 200ms")
    );
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_said_when_the_time_is_over() {
    let closed = TcpListener::bind((HERE, 0)).await.unwrap().local_addr().unwrap().port();
    let mute = TcpListener::bind((HERE, 0)).await.unwrap();
    let other = TcpListener::bind((HERE, 0)).await.unwrap();
    let other_port = other.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            let _ = stream.read(&mut [0; 256]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for port in [closed, mute.local_addr().unwrap().port(), other_port] {
        let expected = format!(
            "timeout: failed to connect service \"127.0.0.1:{port}\" within 200ms: context deadline exceeded"
        );
        assert_eq!(check(HERE, port, "", SHORT).await, failure(expected));
    }
}

#[tokio::test]
async fn a_server_that_comes_late_is_still_found() {
    let port = TcpListener::bind((HERE, 0)).await.unwrap().local_addr().unwrap().port();
    let asking = tokio::spawn(async move { check(HERE, port, "", LONG).await });
    sleep(SHORT).await;
    assert!(!asking.is_finished(), "a refusal is not the end");
    start_on(TcpListener::bind((HERE, port)).await.unwrap(), Some(serving(1)));
    assert_eq!(asking.await.unwrap(), Outcome::Success);
}

#[tokio::test]
async fn nothing_is_left_of_a_call_that_was_given_up() {
    let mute = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = mute.local_addr().unwrap().port();
    check(HERE, port, "", SHORT).await;
    let (mut stream, _) = mute.accept().await.unwrap();
    let mut heard = Vec::new();
    timeout_at(Instant::now() + LONG, stream.read_to_end(&mut heard)).await.expect("it is closed").unwrap();
    assert!(heard.starts_with(b"PRI * HTTP/2.0"));
}

#[test]
fn messages_are_read_as_protobuf_says() {
    assert_eq!(health(&[0, 0, 0, 0, 0]), Some(0), "an absent field is its default");
    assert_eq!(health(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
    assert_eq!(health(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed, which was not asked for");
    assert_eq!(health(&[0, 0]), None);
    assert_eq!(message(&"x".repeat(300))[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
}
