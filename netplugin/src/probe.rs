//! A first packet from inside a network namespace, sent to be followed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use socket2::{Domain, Socket, Type};

use crate::config::Protocol;
use crate::netns;

/// What a datagram says: enough for whoever reads it to know where it comes from.
const GREETING: &[u8] = b"podbox net path\n";

/// A socket that is about to connect. It has its port already, so that whoever wants to follow its packets knows them.
#[derive(Debug)]
pub struct Probe {
    socket: Socket,
    protocol: Protocol,
    local: SocketAddr,
}

impl Probe {
    /// Opens a socket with an address of a network namespace and a port that is free; `None` is the caller's own.
    ///
    /// # Errors
    /// If the namespace is gone, the address is none of its own, or the protocol has no such sockets here.
    pub fn open(netns: Option<&Path>, protocol: Protocol, source: IpAddr) -> io::Result<Probe> {
        let kind = match protocol {
            Protocol::Tcp => Type::STREAM,
            Protocol::Udp => Type::DGRAM,
            Protocol::Sctp => return Err(io::ErrorKind::Unsupported.into()),
        };
        let domain = if source.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let open = || {
            let socket = Socket::new(domain, kind, None)?;
            socket.set_nonblocking(true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            Ok(socket)
        };
        let socket: Socket = netns::within(netns, open).and_then(|opened: io::Result<Socket>| opened)?;
        let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Probe { socket, protocol, local })
    }

    /// Its own end.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends the first packet and does not wait for an answer.
    ///
    /// # Errors
    /// What the kernel says at once, such as that it knows no way.
    pub fn send(&self, to: SocketAddr) -> io::Result<()> {
        match self.socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        if self.protocol == Protocol::Udp {
            self.socket.send(GREETING)?;
        }
        Ok(())
    }

    /// What has come of it; `None` if nothing has yet. A datagram that nobody answers never has an outcome.
    #[must_use]
    pub fn outcome(&self) -> Option<io::Result<()>> {
        match self.socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
        }
        let answered = match self.protocol {
            Protocol::Tcp => self.socket.peer_addr().is_ok(),
            _ => match self.socket.recv(&mut [std::mem::MaybeUninit::uninit(); 1]) {
                Ok(_) => true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
                Err(error) => return Some(Err(error)),
            },
        };
        answered.then_some(Ok(()))
    }
}
