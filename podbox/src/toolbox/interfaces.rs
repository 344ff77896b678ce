//! `addr`: the network interfaces and their addresses, one line each.

use std::ffi::OsString;
use std::fmt::Write;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::failure::Failure;
use super::{Outcome, text};

/// `addr [INTERFACE]`: `eth0  up  10.244.0.7/24`, and the link's own address where it has one.
pub(super) fn addr(args: &[OsString]) -> Outcome {
    let only = args.first().map(|name| name.to_string_lossy().into_owned());
    let list = lines().map_err(Failure::system("interfaces"))?;
    let mut out = String::new();
    for (name, line) in list {
        if only.as_ref().is_none_or(|only| *only == name) {
            let _ = writeln!(out, "{line}");
        }
    }
    match only {
        Some(name) if out.is_empty() => Err(Failure::Refused(format!("{name}: no such interface"))),
        _ => text::print(out.as_bytes()),
    }
}

fn lines() -> nix::Result<Vec<(String, String)>> {
    let mut lines = Vec::new();
    for entry in getifaddrs()? {
        let Some(address) = entry.address.as_ref().and_then(show(entry.netmask.as_ref())) else { continue };
        let state = if entry.flags.contains(InterfaceFlags::IFF_UP) { "up" } else { "down" };
        let line = format!("{:<10} {state:<5} {address}", entry.interface_name);
        lines.push((entry.interface_name, line));
    }
    // getifaddrs lists all links, then all addresses; a reader wants each interface's lines together.
    let order: Vec<String> = lines.iter().map(|(name, _)| name.clone()).collect();
    lines.sort_by_key(|(name, _)| order.iter().position(|known| known == name));
    Ok(lines)
}

fn show(mask: Option<&SockaddrStorage>) -> impl Fn(&SockaddrStorage) -> Option<String> {
    let mask = mask.and_then(ip);
    move |address| {
        if let Some(ip) = ip(address) {
            return Some(format!("{ip}/{}", mask.map_or(0, prefix)));
        }
        let link = address.as_link_addr()?.addr()?;
        let parts: Vec<String> = link.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("link {}", parts.join(":")))
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    match address.family()? {
        nix::sys::socket::AddressFamily::Inet => address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())),
        nix::sys::socket::AddressFamily::Inet6 => address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())),
        _ => None,
    }
}

fn prefix(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_listed_with_its_prefix() {
        let lines = lines().unwrap();
        assert!(lines.iter().any(|(name, line)| name == "lo" && line.ends_with(" 127.0.0.1/8")), "{lines:?}");
    }
}
