//! The sockets of a network namespace, as the kernel lists them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::config::Protocol;
use crate::netns;

/// A line of `/proc/net/tcp` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end; port 0 if there is none.
    pub remote: SocketAddr,
    /// Whether it is open to whoever sends it a first packet: no connection's end.
    pub takes_strangers: bool,
    /// What `/proc/PID/fd` calls it (`socket:[INODE]`); 0 once no process has it.
    pub inode: u64,
}

impl Socket {
    /// Whether a packet to `wanted` could be meant for this socket.
    #[must_use]
    pub fn collides_with(&self, wanted: SocketAddr) -> bool {
        let (own, theirs) = (self.local.ip(), wanted.ip());
        let both_families = own == IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let same_family = own.to_canonical().is_ipv4() == theirs.is_ipv4();
        self.local.port() == wanted.port()
            && (both_families
                || same_family
                    && (own.is_unspecified() || theirs.is_unspecified() || own.to_canonical() == theirs))
    }
}

/// All TCP and UDP sockets of a network namespace; `None` is the caller's own.
///
/// # Errors
/// If the namespace cannot be entered.
pub fn sockets(netns: Option<&Path>) -> io::Result<Vec<Socket>> {
    let both = || [Protocol::Tcp, Protocol::Udp].into_iter().flat_map(here).collect();
    netns::within(netns, both)
}

/// The sockets of one protocol in the calling thread's network namespace.
pub(crate) fn here(protocol: Protocol) -> Vec<Socket> {
    let files = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
        Protocol::Sctp => return Vec::new(),
    };
    // Of the thread: that of the process shows its first thread's namespace.
    let read = |file| fs::read_to_string(Path::new("/proc/thread-self/net").join(file)).unwrap_or_default();
    let parse = |text: String| text.lines().filter_map(|line| in_line(protocol, line)).collect::<Vec<_>>();
    files.into_iter().flat_map(|file| parse(read(file))).collect()
}

/// Source: the kernel's `Documentation/networking/proc_net_tcp.rst`.
fn in_line(protocol: Protocol, line: &str) -> Option<Socket> {
    /// `TCP_LISTEN`, and `TCP_CLOSE`: what an unconnected UDP socket shows.
    const OPEN: [&str; 2] = ["0A", "07"];
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let takes_strangers = OPEN.contains(fields.get(3)?);
    Some(Socket {
        protocol,
        local: end(fields.get(1)?)?,
        remote: end(fields.get(2)?)?,
        takes_strangers,
        inode: fields.get(9)?.parse().ok()?,
    })
}

fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    Some(SocketAddr::new(address_in(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// Hexadecimal digits of words in the machine's byte order.
fn address_in(text: &str) -> Option<IpAddr> {
    let words = (0..text.len()).step_by(8).map(|at| u32::from_str_radix(text.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> =
        words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let v4 = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4(&bytes).or_else(|| <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_table_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 00";
        let expected = Socket {
            protocol: Protocol::Tcp,
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
            takes_strangers: true,
            inode: 4711,
        };
        assert_eq!(in_line(Protocol::Tcp, line), Some(expected));
        let line = "1: 000000FD000000000000000001000000:0035 000000FD000000000000000002000000:D431 01 0:0 00:0 0 0 0 12 1";
        let expected = Socket {
            protocol: Protocol::Udp,
            local: "[fd00::1]:53".parse().unwrap(),
            remote: "[fd00::2]:54321".parse().unwrap(),
            takes_strangers: false,
            inode: 12,
        };
        assert_eq!(in_line(Protocol::Udp, line), Some(expected));
        assert_eq!(in_line(Protocol::Tcp, "  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn the_kernel_lists_a_socket_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let all = sockets(None).unwrap();
        let own = all.iter().find(|s| s.protocol == Protocol::Tcp && s.local == local).unwrap();
        assert!(own.takes_strangers && own.inode > 0);
    }
}
