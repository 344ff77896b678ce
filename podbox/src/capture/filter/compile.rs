//! From filter to a program of the kernel's packet filter, so that packets that nobody wants are not even copied.
//!
//! Headers are loaded relative to the network header (`SKF_NET_OFF`) and the protocol comes from the kernel (`SKF_AD_PROTOCOL`),
//! so one program fits interfaces with and without an Ethernet header. Source: the kernel's
//! `Documentation/networking/filter.rst` and `linux/filter.h`.

use std::net::IpAddr;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET,
    BPF_K, BPF_LD, BPF_LSH, BPF_MISC, BPF_RET, BPF_TAX, BPF_W,
};
use netplugin::Instruction;

use super::super::packet::{ETHERNET_ARP, ETHERNET_IPV4, ETHERNET_IPV6, protocol};
use super::{Filter, Kind, Primitive, Side, Transport};

/// Where the kernel keeps what is no part of the packet (`SKF_AD_OFF`), and the network header (`SKF_NET_OFF`).
const BESIDE: u32 = (-0x1000i32).cast_unsigned();
const NETWORK: u32 = (-0x10_0000i32).cast_unsigned();
const PROTOCOL: u32 = BESIDE;
const PACKET_TYPE: u32 = BESIDE + 4;
const INTERFACE: u32 = BESIDE + 8;

const OUTGOING: u32 = 4;
/// Loopback has this number in every network namespace.
const LOOPBACK: u32 = 1;
/// The kernel takes no longer programs (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

/// The filter makes a longer program than the kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter is too long: the kernel takes {LONGEST} instructions")]
pub struct TooLong;

/// Makes a program that lets through what fits the filter, if there is one, on one interface, or on all. What is sent over
/// loopback comes by twice, going out and coming in; only the latter is let through.
///
/// # Errors
/// If it becomes too long.
pub fn compile(filter: Option<&Filter>, interface: Option<u32>) -> Result<Vec<Instruction>, TooLong> {
    let mut program = Program::default();
    let (yes, no) = (program.label(), program.label());
    if let Some(index) = interface {
        program.load(BPF_W, INTERFACE);
        program.go_on_if(BPF_JEQ, index, no);
    }
    let once = program.label();
    program.load(BPF_W, INTERFACE);
    program.go_on_if(BPF_JEQ, LOOPBACK, once);
    program.load(BPF_W, PACKET_TYPE);
    program.test(BPF_JEQ, OUTGOING, no, once);
    program.here(once);
    match filter {
        Some(filter) => program.filter(filter, yes, no),
        None => program.jump(yes),
    }
    program.here(yes);
    program.push(BPF_RET | BPF_K, u32::MAX);
    program.here(no);
    program.push(BPF_RET | BPF_K, 0);
    program.finish()
}

/// A place in the program, to be known later.
type Label = usize;

#[derive(Default)]
struct Program {
    instructions: Vec<Instruction>,
    /// Jumps, and where they lead.
    jumps: Vec<(usize, Label)>,
    places: Vec<usize>,
}

impl Program {
    fn label(&mut self) -> Label {
        self.places.push(usize::MAX);
        self.places.len() - 1
    }

    fn here(&mut self, label: Label) {
        self.places[label] = self.instructions.len();
    }

    fn push(&mut self, code: u32, k: u32) {
        self.instructions.push(Instruction::plain(code, k));
    }

    fn load(&mut self, size: u32, offset: u32) {
        self.push(BPF_LD | size | BPF_ABS, offset);
    }

    fn jump(&mut self, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.push(BPF_JMP | BPF_JA, 0);
    }

    /// Goes to one of two places. A conditional jump reaches 255 instructions far, a plain one everywhere; the kernel
    /// makes one of the two when it translates the program.
    fn test(&mut self, comparison: u32, k: u32, yes: Label, no: Label) {
        let code = (BPF_JMP | comparison | BPF_K) as u16;
        self.instructions.push(Instruction { code, if_true: 0, if_false: 1, k });
        self.jump(yes);
        self.jump(no);
    }

    /// Goes on with the next instruction, or elsewhere.
    fn go_on_if(&mut self, comparison: u32, k: u32, otherwise: Label) {
        let next = self.label();
        self.test(comparison, k, next, otherwise);
        self.here(next);
    }

    fn finish(mut self) -> Result<Vec<Instruction>, TooLong> {
        if self.instructions.len() > LONGEST {
            return Err(TooLong);
        }
        for (at, label) in self.jumps {
            self.instructions[at].k = (self.places[label] - at - 1) as u32;
        }
        Ok(self.instructions)
    }

    fn filter(&mut self, filter: &Filter, yes: Label, no: Label) {
        match filter {
            Filter::Not(inner) => self.filter(inner, no, yes),
            Filter::And(left, right) => {
                let next = self.label();
                self.filter(left, next, no);
                self.here(next);
                self.filter(right, yes, no);
            }
            Filter::Or(left, right) => {
                let next = self.label();
                self.filter(left, yes, next);
                self.here(next);
                self.filter(right, yes, no);
            }
            Filter::Is(Primitive::Kind(kind)) => self.kind(*kind, yes, no),
            Filter::Is(Primitive::Net(side, address, prefix)) => {
                let family = if address.is_ipv4() { ETHERNET_IPV4 } else { ETHERNET_IPV6 };
                self.load(BPF_W, PROTOCOL);
                self.go_on_if(BPF_JEQ, family.into(), no);
                for (source, other) in self.sides(*side, no) {
                    self.within(*address, *prefix, source, (yes, other));
                    if other != no {
                        self.here(other);
                    }
                }
            }
            Filter::Is(Primitive::Port(transport, side, first, last)) => {
                self.ports(*transport, *side, (*first, *last), (yes, no));
            }
        }
    }

    /// For each end that counts: whether it is the source, and where to go if it does not fit.
    fn sides(&mut self, side: Side, no: Label) -> Vec<(bool, Label)> {
        match side {
            Side::Source => vec![(true, no)],
            Side::Destination => vec![(false, no)],
            Side::Either => vec![(true, self.label()), (false, no)],
        }
    }

    fn kind(&mut self, kind: Kind, yes: Label, no: Label) {
        self.load(BPF_W, PROTOCOL);
        let mut carried = |family: u16, at: u32, number: u8| {
            self.go_on_if(BPF_JEQ, family.into(), no);
            self.load(BPF_B, NETWORK + at);
            self.test(BPF_JEQ, number.into(), yes, no);
        };
        match kind {
            Kind::Ip => self.test(BPF_JEQ, ETHERNET_IPV4.into(), yes, no),
            Kind::Ip6 => self.test(BPF_JEQ, ETHERNET_IPV6.into(), yes, no),
            Kind::Arp => self.test(BPF_JEQ, ETHERNET_ARP.into(), yes, no),
            Kind::Icmp => carried(ETHERNET_IPV4, 9, protocol::ICMP),
            Kind::Icmp6 => carried(ETHERNET_IPV6, 6, protocol::ICMP6),
            Kind::With(transport) => {
                let (v4, other) = (self.label(), self.label());
                self.test(BPF_JEQ, ETHERNET_IPV4.into(), v4, other);
                self.here(v4);
                self.load(BPF_B, NETWORK + 9);
                self.test(BPF_JEQ, number(transport).into(), yes, no);
                self.here(other);
                self.go_on_if(BPF_JEQ, ETHERNET_IPV6.into(), no);
                self.load(BPF_B, NETWORK + 6);
                self.test(BPF_JEQ, number(transport).into(), yes, no);
            }
        }
    }

    /// Compares an address word by word.
    fn within(&mut self, address: IpAddr, prefix: u8, source: bool, (yes, no): (Label, Label)) {
        let (at, octets) = match (address, source) {
            (IpAddr::V4(v4), true) => (12, v4.octets().to_vec()),
            (IpAddr::V4(v4), false) => (16, v4.octets().to_vec()),
            (IpAddr::V6(v6), true) => (8, v6.octets().to_vec()),
            (IpAddr::V6(v6), false) => (24, v6.octets().to_vec()),
        };
        let mut left = u32::from(prefix);
        for (word, offset) in octets.as_chunks::<4>().0.iter().zip((at..).step_by(4)) {
            let bits = left.min(32);
            left -= bits;
            if bits == 0 {
                break;
            }
            self.load(BPF_W, NETWORK + offset);
            let mask = u32::MAX << (32 - bits);
            if bits < 32 {
                self.push(BPF_ALU | BPF_AND | BPF_K, mask);
            }
            self.go_on_if(BPF_JEQ, u32::from_be_bytes(*word) & mask, no);
        }
        self.jump(yes);
    }

    fn ports(&mut self, of: Option<Transport>, side: Side, range: (u16, u16), (yes, no): (Label, Label)) {
        let (v4, other, v4_ports, v6_ports) = (self.label(), self.label(), self.label(), self.label());
        self.load(BPF_W, PROTOCOL);
        self.test(BPF_JEQ, ETHERNET_IPV4.into(), v4, other);
        self.here(v4);
        self.load(BPF_B, NETWORK + 9);
        self.transport(of, v4_ports, no);
        self.here(v4_ports);
        // A later piece of a packet that was cut has no ports; the header's length is in units of four bytes.
        self.load(BPF_H, NETWORK + 6);
        let first_piece = self.label();
        self.test(BPF_JSET, 0x1fff, no, first_piece);
        self.here(first_piece);
        self.load(BPF_B, NETWORK);
        self.push(BPF_ALU | BPF_AND | BPF_K, 0x0f);
        self.push(BPF_ALU | BPF_LSH | BPF_K, 2);
        self.push(BPF_MISC | BPF_TAX, 0);
        self.port(BPF_IND, NETWORK, side, range, (yes, no));
        self.here(other);
        self.go_on_if(BPF_JEQ, ETHERNET_IPV6.into(), no);
        self.load(BPF_B, NETWORK + 6);
        self.transport(of, v6_ports, no);
        self.here(v6_ports);
        self.port(BPF_ABS, NETWORK + 40, side, range, (yes, no));
    }

    fn transport(&mut self, of: Option<Transport>, yes: Label, no: Label) {
        let all = [Transport::Tcp, Transport::Udp, Transport::Sctp];
        for one in all.into_iter().filter(|one| of.is_none_or(|of| of == *one)) {
            let next = self.label();
            self.test(BPF_JEQ, number(one).into(), yes, next);
            self.here(next);
        }
        self.jump(no);
    }

    #[expect(clippy::too_many_arguments, reason = "where, which, between what, and the two ways on")]
    fn port(&mut self, mode: u32, at: u32, side: Side, range: (u16, u16), (yes, no): (Label, Label)) {
        for (source, other) in self.sides(side, no) {
            self.push(BPF_LD | BPF_H | mode, at + if source { 0 } else { 2 });
            if range.0 == range.1 {
                self.test(BPF_JEQ, range.0.into(), yes, other);
            } else {
                self.go_on_if(BPF_JGE, range.0.into(), other);
                self.test(BPF_JGT, range.1.into(), other, yes);
            }
            if other != no {
                self.here(other);
            }
        }
    }
}

fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => protocol::TCP,
        Transport::Udp => protocol::UDP,
        Transport::Sctp => protocol::SCTP,
    }
}
