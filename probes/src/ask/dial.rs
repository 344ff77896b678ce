//! Opening a TCP connection.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::words;
use crate::names::Resolver;

/// Connects to the first address of `host` that accepts; otherwise says what the first one answered.
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut first = None;
    let addresses = Resolver::system().addresses(host).await.map_err(|error| format!("dial tcp: {error}"))?;
    for ip in addresses {
        let peer = SocketAddr::new(ip, port);
        match TcpStream::connect(peer).await {
            Ok(stream) => return Ok(stream),
            Err(error) => first = first.or_else(|| Some(words::dial(peer, &error))),
        }
    }
    Err(first.unwrap_or_default())
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
