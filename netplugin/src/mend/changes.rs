//! Hearing of it when somebody changes what a pod's network consists of.
//!
//! The kernel tells all changes of links and addresses to whoever listens to `RTNLGRP_LINK` and `RTNLGRP_IPV4_IFADDR`,
//! `RTNLGRP_IPV6_IFADDR` (rtnetlink(7)), one in each datagram. With every pod that comes or goes there are dozens. A filter
//! at the socket lets only those through that are about certain interfaces, by their numbers; a bridge with other ports
//! does not change when one more comes or goes.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::news::News;
use crate::packets::Instruction;

/// The bits of the groups, whose numbers are 1, 5 and 9, in an address of netlink(7).
const GROUPS: u32 = 1 | 1 << 4 | 1 << 8;
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
}

impl Heeded {
    /// And those.
    pub fn extend(&mut self, other: Heeded) {
        self.own.extend(other.own);
        self.beyond.extend(other.beyond);
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
    let mut all = vec![plain(BPF_LD | BPF_W | BPF_ABS, INDEX)];
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
        let heeded = Heeded { own: [7, 300].into(), beyond: [2, 70_000].into() };
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
    }
}
