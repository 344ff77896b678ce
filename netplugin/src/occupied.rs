//! Whether a program of the host already uses a port that is to lead to a pod.
//!
//! A translated packet never gets to a program that listens on the host: it would go on listening and hear
//! nothing. So each port is bound once, for a moment, as such a program would bind it, and only the
//! kernel's "address already in use" counts. Whose port it is, is read from `/proc` and only then.
//!
//! A socket that is a connection's end is in nobody's way, although it keeps others from binding: translation
//! looks at first packets only, and a connection with that number by chance goes on as it is.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use crate::config::{PortMapping, Protocol};
use crate::sockets;

/// What has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Occupant {
    /// Where it listens; where binding failed, if that cannot be found out.
    pub(crate) address: SocketAddr,
    /// The program's name and process number, if they can be found out.
    pub(crate) program: Option<String>,
}

/// Who on this host has a mapping's port, at one of the addresses that would lead to the pod. Looks at the
/// network namespace of the calling thread. SCTP is not looked at: hardly any kernel has it loaded, and
/// opening a socket would load it.
pub(crate) fn occupant(mapping: &PortMapping, pod: &[IpAddr]) -> Option<Occupant> {
    host_addresses(mapping, pod).find_map(|address| {
        let wanted = SocketAddr::new(address, mapping.host_port);
        if try_bind(mapping.protocol, wanted) != Err(Errno::EADDRINUSE) {
            return None;
        }
        let sockets = sockets::here(mapping.protocol);
        let mut rivals = sockets.iter().filter(|socket| socket.collides_with(wanted)).peekable();
        if rivals.peek().is_none() {
            // Bound, but not listening yet.
            return Some(Occupant { address: wanted, program: None });
        }
        let rival = rivals.find(|socket| socket.takes_strangers)?;
        Some(Occupant { address: rival.local, program: program_of(rival.inode) })
    })
}

/// The host's addresses that a mapping is about: one, or all of each family that the pod has. Who has no addresses of his
/// own uses the host's, of both families.
fn host_addresses(mapping: &PortMapping, pod: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let all = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
    let wanted = mapping.host_ip.map_or_else(|| all.to_vec(), |one| vec![one]);
    let families: Vec<bool> = pod.iter().map(IpAddr::is_ipv4).collect();
    wanted.into_iter().filter(move |address| families.is_empty() || families.contains(&address.is_ipv4()))
}

/// Binds for a moment. Not listening: nobody should be answered, and whoever listens is found without it.
/// TCP's remains of old connections (TIME_WAIT) are passed over, as every server does; IPv6 stands for itself.
fn try_bind(protocol: Protocol, address: SocketAddr) -> nix::Result<()> {
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
        Protocol::Sctp => return Ok(()),
    };
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if protocol == Protocol::Tcp {
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    }
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

/// The program that has a socket open, as `NAME (process NUMBER)`.
fn program_of(inode: u64) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let has_it =
            |fd: fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str());
        if process.file_name().to_string_lossy().parse::<u32>().is_ok()
            && fs::read_dir(process.path().join("fd")).is_ok_and(|mut fds| fds.any(|fd| fd.is_ok_and(has_it)))
        {
            let name = fs::read_to_string(process.path().join("comm")).ok()?;
            return Some(format!("{} (process {})", name.trim_end(), process.file_name().display()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::Socket;

    #[test]
    fn sockets_collide_if_a_packet_could_be_meant_for_both() {
        let cases = [
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "0.0.0.0:81", false),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "10.0.0.1:80", true),
            ("10.0.0.2:80", "10.0.0.1:80", false),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80", true),
            ("[::1]:80", "0.0.0.0:80", false),
            ("[::1]:80", "[::]:80", true),
            ("127.0.0.1:80", "[::]:80", false),
        ];
        for (local, wanted, expected) in cases {
            let local = local.parse().unwrap();
            let (remote, protocol) = ("0.0.0.0:0".parse().unwrap(), Protocol::Tcp);
            let socket = Socket { protocol, local, remote, takes_strangers: true, inode: 1 };
            assert_eq!(socket.collides_with(wanted.parse().unwrap()), expected, "{socket:?} and {wanted}");
        }
    }
}
