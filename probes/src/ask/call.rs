//! A call that a lifecycle hook makes to its container's web server.
//!
//! Unlike a probe it does not care what the server says, only that it says something, and it has no time limit of
//! its own. A server that answers a TLS greeting in plain text is called again in plain text.
//!
//! Source: kubelet `pkg/kubelet/lifecycle/handlers.go` (`runHTTPHandler`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Target, host_or, http, url::Url};

/// What a hook calls itself: the version whose behaviour this is.
const USER_AGENT_VALUE: &str = "kube-lifecycle/1.36";

/// Longer than any container lives; the caller sets the limit by dropping the call.
const NO_LIMIT: Duration = Duration::from_hours(24 * 365);

/// The answer of a plain server to a TLS greeting, in Go's words.
const PLAIN: &str = "server gave HTTP response to HTTPS client";

/// `lifecycle.*.httpGet`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// HTTPS (any certificate is accepted) instead of HTTP.
    pub https: bool,
    /// `host`; the pod's address if none.
    pub host: Option<String>,
    /// The port, names resolved.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// `httpHeaders`, in order.
    pub headers: Vec<(String, String)>,
}

/// How a call was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// As it was made.
    AsAsked,
    /// Over plain HTTP only, although HTTPS was asked for.
    InPlainText {
        /// `host:port`.
        host: String,
    },
}

impl Call {
    /// Calls.
    ///
    /// # Errors
    /// The words of Go's `net/http` for a server that did not answer.
    pub async fn make(&self, target: Target) -> Result<Called, String> {
        let deadline = Instant::now() + NO_LIMIT;
        let mut headers = self.headers.clone();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) {
            headers.push(("User-Agent".to_owned(), USER_AGENT_VALUE.to_owned()));
        }
        let url =
            |scheme| Url::of_probe(scheme, host_or(self.host.as_deref(), target), self.port, &self.path);
        if !self.https {
            return http::knock(url("http"), &headers, deadline).await.map(|()| Called::AsAsked);
        }
        let refused = match http::knock(url("https"), &headers, deadline).await {
            Ok(()) => return Ok(Called::AsAsked),
            Err(text) => text,
        };
        if !refused.contains(PLAIN) {
            return Err(refused);
        }
        // What was meant for an encrypted connection only stays at home.
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        let plain = url("http");
        let host = plain.host_header();
        http::knock(plain, &headers, deadline).await.map_err(|_| refused)?;
        Ok(Called::InPlainText { host })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const HOME: Target = Target { ip: IpAddr::V4(Ipv4Addr::LOCALHOST) };

    /// A plain server that answers each request so, and the requests it saw.
    async fn server(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, seen) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = vec![0; 4096];
                let length = stream.read(&mut text).await.unwrap_or(0);
                let _ = sender.send(String::from_utf8_lossy(&text[..length]).into_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (port, seen)
    }

    fn call(https: bool, port: u16) -> Call {
        let headers = vec![("Authorization".to_owned(), "secret".to_owned())];
        Call { https, host: None, port, path: "/bye?now=1".to_owned(), headers }
    }

    #[tokio::test]
    async fn any_status_is_an_answer() {
        let (port, mut seen) = server("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(call(false, port).make(HOME).await, Ok(Called::AsAsked));
        let request = seen.recv().await.unwrap();
        assert!(request.starts_with("GET /bye?now=1 HTTP/1.1"), "{request}");
        assert!(request.contains("User-Agent: kube-lifecycle/1.36\r\n"), "{request}");
        assert!(request.contains("Authorization: secret"), "{request}");
    }

    #[tokio::test]
    async fn a_plain_server_that_was_greeted_in_tls_is_called_again_in_plain_text_without_the_secret() {
        let (port, mut seen) = server("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let host = format!("127.0.0.1:{port}");
        assert_eq!(call(true, port).make(HOME).await, Ok(Called::InPlainText { host }));
        let _greeting = seen.recv().await.unwrap();
        let request = seen.recv().await.unwrap();
        assert!(request.starts_with("GET /bye"), "{request}");
        assert!(!request.contains("secret"), "{request}");
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let text = call(false, port).make(HOME).await.unwrap_err();
        assert!(text.contains("connection refused"), "{text}");
    }
}
