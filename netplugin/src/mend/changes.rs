//! Hearing of it when somebody changes what a pod's network consists of.
//!
//! The kernel tells all changes of links, addresses and routes to whoever listens to `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR`,
//! `RTNLGRP_IPV6_IFADDR`, `RTNLGRP_IPV4_ROUTE` and `RTNLGRP_IPV6_ROUTE` (rtnetlink(7)), one in each datagram. With every pod
//! that comes or goes there are dozens. A filter at the socket lets only those through that are about certain interfaces, by
//! their numbers, or tell that a route to certain destinations has gone; a bridge with other ports does not change when one
//! more comes or goes.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use crate::config::Subnet;
use crate::listen::LOOPBACK_INDEX;
use crate::netns;
use crate::news::News;
use crate::packets::Instruction;

/// The bits of the groups, whose numbers are 1, 5, 7, 9 and 11, in an address of netlink(7).
const GROUPS: u32 = 1 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10;
/// `RTM_DELROUTE`.
const ROUTE_GONE: u32 = 25;
/// Where a route's destination is: behind the header, `struct rtmsg` and the table, which the kernel puts first.
const DESTINATION: u32 = 16 + 12 + 8 + 4;
/// A filter's jumps are short.
const MOST_ROUTES: usize = 100;
/// `RTM_NEWADDR`: of one's own interfaces no news, because nothing is missing after it.
const NEW_ADDRESS: u32 = 20;
/// Where an interface's number is in `struct ifinfomsg` as in `struct ifaddrmsg`, behind the header.
const INDEX: u32 = 16 + 4;

/// Whose changes are worth looking at, by their numbers on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heeded {
    /// The network's own.
    pub own: BTreeSet<u32>,
    /// Those of the host that lead to other hosts; once they have an address again, routes can be made again.
    pub beyond: BTreeSet<u32>,
    /// The destinations of routes: the first four bytes of each.
    routes: BTreeSet<[u8; 4]>,
    /// The same of routes to other hosts. Where there are too many, these are heard of with the next look.
    ways: BTreeSet<[u8; 4]>,
}

impl Heeded {
    /// And those.
    pub fn extend(&mut self, other: Heeded) {
        self.own.extend(other.own);
        self.beyond.extend(other.beyond);
        self.routes.extend(other.routes);
        self.ways.extend(other.ways);
    }

    /// And routes to there.
    pub fn lead_to(&mut self, range: Subnet) {
        self.routes.insert(start(range));
    }

    /// And routes to another host's slice.
    pub fn lead_beyond(&mut self, slice: Subnet) {
        self.ways.insert(start(slice));
    }
}

fn start(range: Subnet) -> [u8; 4] {
    match range.network() {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.octets();
            [a, b, c, d]
        }
    }
}

/// Changes of interfaces of one network namespace: readable when something of what is heeded has changed.
#[derive(Debug)]
pub struct LinkChanges(News);

impl LinkChanges {
    /// Begins to listen in the calling thread's network namespace, to nothing yet.
    ///
    /// # Errors
    /// If the kernel does not take the filter.
    pub fn begin() -> io::Result<LinkChanges> {
        News::begin(libc::NETLINK_ROUTE, GROUPS, &program(&Heeded::default())).map(LinkChanges)
    }

    /// Begins to listen in a network namespace, which is this file, to what its loopback interface loses.
    ///
    /// # Errors
    /// If the namespace is gone, or the kernel does not take the filter.
    pub fn of_loopback(netns: &Path) -> io::Result<LinkChanges> {
        let heeded = Heeded { own: [LOOPBACK_INDEX].into(), ..Heeded::default() };
        let filter = program(&heeded);
        let news =
            netns::inside(&netns::open(netns)?, || News::begin(libc::NETLINK_ROUTE, GROUPS, &filter))??;
        Ok(LinkChanges(news))
    }

    /// From now on, changes of these are heard of. Whoever looks afterwards misses nothing.
    ///
    /// # Errors
    /// If the kernel does not take the filter.
    pub fn heed(&self, heeded: &Heeded) -> io::Result<()> {
        self.0.filter(&program(heeded))
    }

    /// Takes out what has come; true if there was any. What was lost for want of room counts too.
    pub fn take(&self) -> bool {
        self.0.take()
    }
}

impl AsFd for LinkChanges {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn program(heeded: &Heeded) -> Vec<Instruction> {
    use libc::{BPF_ABS, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let plain = Instruction::plain;
    let is = |k: u32, if_true: u8, if_false: u8| {
        let code = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
        Instruction { code, if_true, if_false, k }
    };
    let (yes, no) = (plain(BPF_RET | BPF_K, u32::MAX), plain(BPF_RET | BPF_K, 0));
    // The types are small numbers, in the host's order.
    let kind = if cfg!(target_endian = "little") { 4 } else { 5 };
    // The machine reads numbers big-endian, wherever it runs.
    let one_of = |indexes: &BTreeSet<u32>| {
        let compared = |index: &u32| [is(u32::from_be_bytes(index.to_ne_bytes()), 0, 1), yes];
        indexes.iter().flat_map(compared).collect::<Vec<_>>()
    };
    let destinations = heeded.routes.iter().chain(&heeded.ways).take(MOST_ROUTES);
    let to: Vec<Instruction> =
        destinations.flat_map(|start| [is(u32::from_be_bytes(*start), 0, 1), yes]).collect();
    // Past the destinations, what reads them and what ends them.
    let past = u8::try_from(to.len() + 2).unwrap_or(u8::MAX);
    let mut all = vec![plain(BPF_LD | BPF_B | BPF_ABS, kind), is(ROUTE_GONE, 0, past)];
    all.push(plain(BPF_LD | BPF_W | BPF_ABS, DESTINATION));
    all.extend(to);
    all.push(no);
    // No other news of routes.
    all.extend([is(ROUTE_GONE - 1, 0, 1), no]);
    all.push(plain(BPF_LD | BPF_W | BPF_ABS, INDEX));
    all.extend(one_of(&heeded.beyond));
    all.extend([plain(BPF_LD | BPF_B | BPF_ABS, kind), is(NEW_ADDRESS, 0, 1), no]);
    all.push(plain(BPF_LD | BPF_W | BPF_ABS, INDEX));
    all.extend(one_of(&heeded.own));
    all.push(no);
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::packets::filter;

    #[test]
    fn the_kernel_lets_through_what_is_about_the_interfaces_that_are_heeded() {
        let (from, to) = UnixDatagram::pair().unwrap();
        to.set_nonblocking(true).unwrap();
        let mut heeded = Heeded { own: [7, 300].into(), beyond: [2, 70_000].into(), ..Heeded::default() };
        heeded.lead_to("10.244.0.0/16".parse().unwrap());
        heeded.lead_to("fd00:10:96::/112".parse().unwrap());
        for number in 0..=MOST_ROUTES {
            heeded.lead_beyond(format!("10.{number}.0.0/16").parse().unwrap());
        }
        socket2::SockRef::from(&to).attach_filter(&filter(&program(&heeded))).unwrap();
        let [link, link_gone, address, address_gone] = [16_u16, 17, 20, 21];
        for (kind, index, expected) in [
            (link, 7_u32, true),
            (link_gone, 300, true),
            (address_gone, 7, true),
            (address, 7, false),
            (address, 2, true),
            (link, 70_000, true),
            (link, 8, false),
            (link_gone, 0x0700_0000, false),
            (address_gone, 1, false),
        ] {
            let mut message = vec![0; 32];
            message[4..6].copy_from_slice(&kind.to_ne_bytes());
            message[20..24].copy_from_slice(&index.to_ne_bytes());
            from.send(&message).unwrap();
            assert_eq!(to.recv(&mut [0; 64]).is_ok(), expected, "{kind} of {index}");
        }
        let [route, route_gone] = [24_u16, 25];
        for (kind, start, expected) in [
            (route_gone, [10, 244, 0, 0], true),
            (route_gone, [0xfd, 0, 0, 0x10], true),
            (route_gone, [10, 5, 0, 0], true),
            (route_gone, [10, 245, 0, 0], false),
            (route, [10, 244, 0, 0], false),
        ] {
            let mut message = vec![0; 64];
            message[4..6].copy_from_slice(&kind.to_ne_bytes());
            // What would be an interface's number is a route's table and its origin.
            message[20..24].copy_from_slice(&7_u32.to_ne_bytes());
            message[40..44].copy_from_slice(&start);
            from.send(&message).unwrap();
            assert_eq!(to.recv(&mut [0; 64]).is_ok(), expected, "{kind} to {start:?}");
        }
    }
}
