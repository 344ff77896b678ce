//! `udp-echo`.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;

use super::Outcome;
use super::failure::Failure;
use super::flags::{parse, switch, value};
use super::http_server::shown;
use super::signals::Ends;

/// Binds both families, or IPv4 alone where the kernel has no IPv6.
fn bind(port: u16) -> Result<UdpSocket, Failure> {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
        .map_err(Failure::system(format!("port {port}")))
}

/// `udp-echo [--port 9000] [--peer]`: sends every datagram back; with `--peer`, or if the datagram is
/// `peer`, the sender's address as the server sees it goes first.
pub(super) fn udp_echo(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("port").or(b'p'), switch("peer")])?;
    let socket = bind(parsed.number("port")?.unwrap_or(9000))?;
    let name = if parsed.has("peer") { NamePeer::Always } else { NamePeer::OnDemand };
    let ends = Ends::claim()?;
    let serve = move || {
        let mut buffer = vec![0; 65_536];
        loop {
            // An ICMP error of an earlier reply shows up here; it says nothing about the next datagram.
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            let _ = echo(&socket, &buffer[..length], peer, name);
        }
    };
    thread::Builder::new().stack_size(256 << 10).spawn(serve).map_err(Failure::system("thread"))?;
    ends.wait()?;
    Ok(0)
}

#[derive(Clone, Copy, PartialEq)]
enum NamePeer {
    Always,
    OnDemand,
}

fn echo(socket: &UdpSocket, text: &[u8], peer: SocketAddr, name: NamePeer) -> io::Result<()> {
    let asked = text.trim_ascii() == b"peer";
    let mut reply = Vec::new();
    if name == NamePeer::Always || asked {
        reply = format!("peer {}\n", shown(peer)).into_bytes();
    }
    if !asked {
        reply.extend_from_slice(text);
    }
    socket.send_to(&reply, peer).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_names_the_peer_when_asked() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let own = client.local_addr().unwrap();
        echo(&server, b"hello", own, NamePeer::OnDemand).unwrap();
        echo(&server, b"peer\n", own, NamePeer::OnDemand).unwrap();
        let mut buffer = [0; 100];
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), format!("peer {own}\n"));
    }
}
