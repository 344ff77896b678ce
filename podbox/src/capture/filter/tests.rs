use std::net::SocketAddr;

use libc::{BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_W};
use netplugin::Instruction;
use proptest::prelude::*;

use super::super::packet::{self, Content, Packet, protocol, tests::carried, tests::segment};
use super::*;

fn filter(text: &str) -> Filter {
    parse(text).unwrap_or_else(|error| panic!("{error}")).unwrap()
}

#[test]
fn filters_are_read_as_tcpdumps_users_write_them() {
    for (text, printed) in [
        ("tcp port 80", "tcp port 80"),
        ("tcp dst port 80", "tcp dst port 80"),
        ("src 10.0.0.1", "src host 10.0.0.1"),
        ("10.0.0.1", "host 10.0.0.1"),
        ("not(udp or arp)&&host fd00::1", "not (udp or arp) and host fd00::1"),
        ("tcp and port 80 or icmp", "tcp and port 80 or icmp"),
        ("tcp or (udp and !port 53)", "tcp or (udp and not port 53)"),
        ("net 10.244.0.0/16", "net 10.244.0.0/16"),
        ("dst net fd00::/64 || portrange 8000-8099", "dst net fd00::/64 or portrange 8000-8099"),
    ] {
        assert_eq!(filter(text).to_string(), printed);
    }
    assert_eq!(parse("  ").unwrap(), None);
}

#[test]
fn a_mistake_is_marked_where_it_is() {
    for (text, mark, problem) in [
        ("tcp prot 80", "    ^^^^", "expected \"and\" or \"or\""),
        ("tcp and prot 80", "        ^^^^", "\"prot\" is none of its words"),
        ("port 70000", "     ^^^^^", "expected a port number"),
        ("(tcp", "    ^", "expected a closing bracket"),
        ("tcp)", "   ^", "closes nothing"),
        ("tcp and", "       ^", "something is missing"),
        ("net 10.0.0.1/8", "    ^^^^^^^^^^", "the network is 10.0.0.0/8"),
        ("net 10.0.0.0/33", "    ^^^^^^^^^^^", "at most 32 bits"),
        ("src tcp", "    ^^^", "expected \"host\""),
        ("host web", "     ^^^", "expected an address"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        assert!(error.ends_with(&format!("\n  {text}\n  {mark}")), "{error}");
    }
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0u8..4, 0u8..4).prop_map(|(a, b)| IpAddr::from([10, a, 0, b])),
        (0u16..4, 0u16..4).prop_map(|(a, b)| IpAddr::from([0xfd00, a, 0, 0, 0, 0, 0, b])),
    ]
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Either), Just(Side::Source), Just(Side::Destination)]
}

fn any_transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Tcp), Just(Transport::Udp), Just(Transport::Sctp)]
}

fn any_primitive() -> impl Strategy<Value = Primitive> {
    let kinds =
        prop_oneof![Just(Kind::Ip), Just(Kind::Ip6), Just(Kind::Arp), Just(Kind::Icmp), Just(Kind::Icmp6)];
    let kinds = prop_oneof![kinds, any_transport().prop_map(Kind::With)];
    let net = (any_side(), any_address(), 0u8..=128).prop_map(|(side, address, prefix)| {
        let prefix = prefix.min(whole(address));
        Primitive::Net(side, masked(address, prefix), prefix)
    });
    let ports = (proptest::option::of(any_transport()), any_side(), 0u16..6, 0u16..3);
    prop_oneof![
        kinds.prop_map(Primitive::Kind),
        net,
        ports.prop_map(|(of, side, first, more)| Primitive::Port(of, side, first, first + more)),
    ]
}

fn any_filter() -> impl Strategy<Value = Filter> {
    any_primitive().prop_map(Filter::Is).prop_recursive(4, 24, 2, |inner| {
        let pair = (inner.clone(), inner.clone()).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        let other = pair.clone();
        prop_oneof![
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
            pair.prop_map(|(a, b)| Filter::And(a, b)),
            other.prop_map(|(a, b)| Filter::Or(a, b)),
        ]
    })
}

/// Packets of all kinds between a few addresses and ports.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![Just(6u8), Just(17), Just(132), Just(1), Just(58), Just(2)];
    (any_address(), any_address(), number, 0u16..8, 0u16..8).prop_map(
        |(from, to, number, source, destination)| {
            let to = if from.is_ipv4() == to.is_ipv4() { to } else { from };
            if number == 2 {
                let mut arp = vec![0xff; 12];
                arp.extend([8, 6]);
                arp.resize(42, 0);
                return arp;
            }
            let mut content = [source.to_be_bytes(), destination.to_be_bytes()].concat();
            content.resize(40, 0);
            carried(from, to, number, &content)
        },
    )
}

/// What the filter says, asked of the headers as `packet` reads them.
fn fits(filter: &Filter, packet: &Packet, bytes: &[u8]) -> bool {
    match filter {
        Filter::Not(inner) => !fits(inner, packet, bytes),
        Filter::And(a, b) => fits(a, packet, bytes) && fits(b, packet, bytes),
        Filter::Or(a, b) => fits(a, packet, bytes) || fits(b, packet, bytes),
        Filter::Is(primitive) => is(*primitive, packet, bytes),
    }
}

fn is(primitive: Primitive, packet: &Packet, bytes: &[u8]) -> bool {
    let Some(ip) = packet.ip() else {
        return primitive == Primitive::Kind(Kind::Arp) && bytes[12..14] == [8, 6];
    };
    let number = |transport| match transport {
        Transport::Tcp => protocol::TCP,
        Transport::Udp => protocol::UDP,
        Transport::Sctp => protocol::SCTP,
    };
    let either = |side, source, destination| match side {
        Side::Either => source || destination,
        Side::Source => source,
        Side::Destination => destination,
    };
    match primitive {
        Primitive::Kind(Kind::Ip) => ip.source.is_ipv4(),
        Primitive::Kind(Kind::Ip6) => ip.source.is_ipv6(),
        Primitive::Kind(Kind::Arp) => false,
        Primitive::Kind(Kind::Icmp) => ip.source.is_ipv4() && ip.protocol == protocol::ICMP,
        Primitive::Kind(Kind::Icmp6) => ip.source.is_ipv6() && ip.protocol == protocol::ICMP6,
        Primitive::Kind(Kind::With(transport)) => ip.protocol == number(transport),
        Primitive::Net(side, network, prefix) => {
            let within = |address: IpAddr| {
                address.is_ipv4() == network.is_ipv4() && masked(address, prefix) == network
            };
            either(side, within(ip.source), within(ip.destination))
        }
        Primitive::Port(of, side, first, last) => {
            let all = [Transport::Tcp, Transport::Udp, Transport::Sctp];
            let of_it = |one: &Transport| of.is_none_or(|of| of == *one) && ip.protocol == number(*one);
            let at = if ip.source.is_ipv4() { 34 } else { 54 };
            let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let within = |port: u16| (first..=last).contains(&port);
            all.iter().any(of_it) && either(side, within(port(at)), within(port(at + 2)))
        }
    }
}

/// Runs a program as the kernel does (`Documentation/networking/filter.rst`), as far as filters use it.
fn run(program: &[Instruction], bytes: &[u8], beside: [u32; 3]) -> u32 {
    let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
    loop {
        let Instruction { code, if_true, if_false, k } = program[at];
        at += 1;
        let code = u32::from(code);
        let compared = |holds: bool| usize::from(if holds { if_true } else { if_false });
        match code & 7 {
            0 => {
                let offset = if code & 0xe0 == BPF_IND { k.wrapping_add(x) } else { k };
                assert!(matches!(code & 0xe0, BPF_ABS | BPF_IND));
                let beyond = offset.wrapping_sub((-0x1000i32).cast_unsigned());
                if beyond < 0x1000 {
                    a = beside[beyond as usize / 4];
                    continue;
                }
                let start = 14 + offset.wrapping_sub((-0x10_0000i32).cast_unsigned()) as usize;
                let size = match code & 0x18 {
                    BPF_W => 4,
                    BPF_H => 2,
                    BPF_B => 1,
                    _ => panic!("no size"),
                };
                let Some(loaded) = bytes.get(start..start + size) else { return 0 };
                a = loaded.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
            }
            4 if code & 0xf0 == 0x50 => a &= k,
            4 if code & 0xf0 == 0x60 => a <<= k,
            5 => match code & 0xf0 {
                0x00 => at += k as usize,
                0x10 => at += compared(a == k),
                0x20 => at += compared(a > k),
                0x30 => at += compared(a >= k),
                0x40 => at += compared(a & k != 0),
                _ => panic!("no comparison"),
            },
            6 => return k,
            7 => x = a,
            _ => panic!("unknown code {code:#x}"),
        }
    }
}

fn lets_through(program: &[Instruction], bytes: &[u8], interface: u32, kind: u32) -> bool {
    let protocol = u32::from(u16::from_be_bytes([bytes[12], bytes[13]]));
    run(program, bytes, [protocol, kind, interface]) != 0
}

#[test]
fn only_the_wanted_interface_counts_and_loopback_only_once() {
    let to: SocketAddr = "10.0.0.2:80".parse().unwrap();
    let bytes = segment("10.0.0.1:9".parse().unwrap(), to, packet::flags::SYN);
    let program = compile(Some(&filter("tcp port 80")), Some(2)).unwrap();
    assert!(lets_through(&program, &bytes, 2, 0) && lets_through(&program, &bytes, 2, 4));
    assert!(!lets_through(&program, &bytes, 3, 0));
    let program = compile(None, None).unwrap();
    assert!(lets_through(&program, &bytes, 3, 4) && lets_through(&program, &bytes, 1, 0));
    assert!(!lets_through(&program, &bytes, 1, 4), "it comes in as well");
}

#[test]
fn a_later_piece_of_a_packet_has_no_ports() {
    let to: SocketAddr = "10.0.0.2:80".parse().unwrap();
    let mut bytes = segment("10.0.0.1:9".parse().unwrap(), to, packet::flags::SYN);
    bytes[21] = 1;
    let program = compile(Some(&filter("port 80")), None).unwrap();
    assert!(!lets_through(&program, &bytes, 2, 0));
    assert!(matches!(&Packet::read(1, &bytes, bytes.len()).content, Content::Ip(ip) if ip.is_later_fragment));
}

#[test]
fn a_filter_that_is_too_long_is_refused() {
    let text = vec!["port 80"; 300].join(" or ");
    assert_eq!(compile(parse(&text).unwrap().as_ref(), None), Err(TooLong));
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(filter in any_filter()) {
        prop_assert_eq!(parse(&filter.to_string()).unwrap(), Some(filter));
    }

    #[test]
    fn no_text_is_too_strange(text in "\\PC*") {
        let _ = parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_sentence_of_its_words_is_too_strange(
        words in proptest::collection::vec(
            prop_oneof![
                Just("tcp"), Just("not"), Just("("), Just(")"), Just("and"), Just("or"), Just("src"), Just("port"),
                Just("80"), Just("net"), Just("10.0.0.0/8"), Just("host"), Just("é"), Just("!"),
            ],
            0..200,
        ),
    ) {
        let _ = parse(&words.join(" ")).map_err(|error| error.to_string());
    }

    #[test]
    fn the_program_does_what_the_filter_says(filter in any_filter(), bytes in any_packet()) {
        let packet = Packet::read(1, &bytes, bytes.len());
        let program = compile(Some(&filter), None).unwrap();
        prop_assert_eq!(lets_through(&program, &bytes, 2, 0), fits(&filter, &packet, &bytes), "{} of {:?}", filter, packet);
    }
}
