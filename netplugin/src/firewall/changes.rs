//! Hearing of it when somebody changes nftables.
//!
//! The kernel tells all changes to whoever listens to `NFNLGRP_NFTABLES`, several of one transaction in one datagram. Most
//! are changes of elements: every pod with a port makes some. A filter at the socket, which the kernel runs where the change
//! is made, lets only those through that may have taken something away or put something in the way, so that the others wake
//! nobody.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use crate::balance::Balancer;
use crate::netns;
use crate::news::News;
use crate::packets::Instruction;

/// The bit of the group `NFNLGRP_NFTABLES`, whose number is 7, in an address of netlink(7).
const GROUP: u32 = 1 << 6;
/// Messages that are worth looking at the rules: a table, chain or rule that goes, a chain or rule that comes.
/// `NFT_MSG_DELTABLE`, `NEWCHAIN`, `DELCHAIN`, `NEWRULE`, `DELRULE`.
const WORTH: [u32; 5] = [2, 3, 5, 6, 8];
/// Those of them that take something away.
const GONE: [u32; 3] = [2, 5, 8];
/// Where a header has the number of the socket that the change was asked for by.
const ASKED_BY: u32 = 12;
/// So many messages of a datagram are looked at. Where there are more of no interest, the rest may be of some.
const MESSAGES: usize = 24;

/// Changes of the nftables of one network namespace: readable when something may have been taken away or put in the way.
#[derive(Debug)]
pub struct Changes(News);

impl Changes {
    /// Begins to listen in the calling thread's network namespace.
    ///
    /// # Errors
    /// If there are no netfilter sockets, or the kernel does not take the filter.
    pub fn begin() -> io::Result<Changes> {
        News::begin(libc::NETLINK_NETFILTER, GROUP, &program(&WORTH)).map(Changes)
    }

    /// Begins to listen in a network namespace, which is this file, to what is taken away there by others than `keeper`.
    ///
    /// # Errors
    /// If the namespace is gone, or the kernel does not take the filter.
    pub fn inside(netns: &Path, keeper: &Balancer) -> io::Result<Changes> {
        let filter = [but_by(keeper.port()?).to_vec(), program(&GONE)].concat();
        let begin = || News::begin(libc::NETLINK_NETFILTER, GROUP, &filter);
        netns::inside(&netns::open(netns)?, begin)?.map(Changes)
    }

    /// Takes out what has come; true if there was any. What was lost for want of room counts too.
    pub fn take(&self) -> bool {
        self.0.take()
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What stands before the filter: no changes that this socket has asked for. All messages of a datagram are of one transaction.
fn but_by(port: u32) -> [Instruction; 3] {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    // The machine reads numbers big-endian.
    let k = u32::from_be_bytes(port.to_ne_bytes());
    [
        Instruction::plain(BPF_LD | BPF_W | BPF_ABS, ASKED_BY),
        Instruction { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, if_true: 0, if_false: 1, k },
        Instruction::plain(BPF_RET | BPF_K, 0),
    ]
}

/// The filter: walks from header to header (`struct nlmsghdr`: length, four bytes; type, two) until one is of interest. The
/// machine's register X is where the header begins. A load from beyond the end ends the program with "no".
fn program(worth: &[u32]) -> Vec<Instruction> {
    use libc::{
        BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_LSH,
        BPF_MEM, BPF_MISC, BPF_OR, BPF_RET, BPF_ST, BPF_STX, BPF_TAX, BPF_W, BPF_X,
    };
    const BEGINNING: u32 = 0;
    const HIGH: u32 = 1;
    let plain = Instruction::plain;
    // Numbers are in the host's order, and the machine reads big-endian ones: so byte by byte. No datagram is longer than
    // two bytes can say.
    let [low, high, kind] = if cfg!(target_endian = "little") { [0, 1, 4] } else { [3, 2, 5] };
    let byte = |at: u32| plain(BPF_LD | BPF_B | BPF_IND, at);
    let yes = plain(BPF_RET | BPF_K, u32::MAX);
    // X is 0; the mode of a constant, BPF_IMM, is 0 too.
    let mut all = vec![plain(BPF_LDX | BPF_W, 0)];
    for _ in 0..MESSAGES {
        all.push(byte(kind));
        for (index, kind) in worth.iter().enumerate() {
            let code = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
            // To the "yes" behind the comparisons; the last one jumps over it otherwise.
            let behind = (worth.len() - index - 1) as u8;
            let otherwise = u8::from(behind == 0);
            all.push(Instruction { code, if_true: behind, if_false: otherwise, k: *kind });
        }
        all.extend([
            yes,
            plain(BPF_STX, BEGINNING),
            byte(high),
            plain(BPF_ALU | BPF_LSH | BPF_K, 8),
            plain(BPF_ST, HIGH),
            byte(low),
            plain(BPF_LDX | BPF_W | BPF_MEM, HIGH),
            plain(BPF_ALU | BPF_OR | BPF_X, 0),
            plain(BPF_ALU | BPF_ADD | BPF_K, 3),
            plain(BPF_ALU | BPF_AND | BPF_K, !3),
            plain(BPF_LDX | BPF_W | BPF_MEM, BEGINNING),
            plain(BPF_ALU | BPF_ADD | BPF_X, 0),
            plain(BPF_MISC | BPF_TAX, 0),
        ]);
    }
    all.push(yes);
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::packets::filter;

    /// A datagram of messages of these types, each with so many bytes behind its header.
    fn datagram(messages: &[(u8, usize)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, behind) in messages {
            let start = bytes.len();
            bytes.extend((16 + *behind as u32).to_ne_bytes());
            bytes.extend(u16::from_be_bytes([10, *kind]).to_ne_bytes());
            // What lies behind must not be taken for a type.
            bytes.resize(start + 16 + behind, 2);
            bytes.resize(bytes.len().next_multiple_of(4), 2);
        }
        bytes
    }

    #[test]
    fn the_kernel_lets_through_what_takes_away_or_comes_in_the_way_wherever_it_stands() {
        let (from, to) = UnixDatagram::pair().unwrap();
        to.set_nonblocking(true).unwrap();
        socket2::SockRef::from(&to).attach_filter(&filter(&program(&WORTH))).unwrap();
        let [table_gone, chain, rule, rule_gone] = [2, 3, 6, 8];
        let [element, element_gone, generation] = [12, 14, 15];
        let cases: [(&[(u8, usize)], bool); 9] = [
            (&[(table_gone, 20)], true),
            (&[(chain, 33)], true),
            (&[(element, 61)], false),
            (&[(element_gone, 7), (element, 400)], false),
            (&[(element, 301), (rule_gone, 5)], true),
            (&[(element, 2), (element, 3), (element_gone, 0), (rule, 1)], true),
            (&[(generation, 20)], false),
            (&[(element, 9); MESSAGES - 1], false),
            (&[(element, 9); MESSAGES], true),
        ];
        for (messages, expected) in cases {
            from.send(&datagram(messages)).unwrap();
            assert_eq!(to.recv(&mut [0; 64]).is_ok(), expected, "{messages:?}");
        }
    }

    #[test]
    fn in_a_pod_it_lets_through_what_somebody_else_takes_away() {
        let (from, to) = UnixDatagram::pair().unwrap();
        to.set_nonblocking(true).unwrap();
        let all = [but_by(70_000).to_vec(), program(&GONE)].concat();
        socket2::SockRef::from(&to).attach_filter(&filter(&all)).unwrap();
        let [table_gone, chain, chain_gone, rule, rule_gone] = [2, 3, 5, 6, 8];
        for (kind, port, expected) in [
            (table_gone, 7_u32, true),
            (chain_gone, 70_001, true),
            (rule_gone, 0, true),
            (chain, 7, false),
            (rule, 7, false),
            (table_gone, 70_000, false),
            (rule_gone, 70_000, false),
        ] {
            let mut message = datagram(&[(chain, 20), (kind, 20)]);
            message[12..16].copy_from_slice(&port.to_ne_bytes());
            from.send(&message).unwrap();
            assert_eq!(to.recv(&mut [0; 64]).is_ok(), expected, "{kind} by {port}");
        }
    }
}
