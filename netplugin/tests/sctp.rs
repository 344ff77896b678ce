//! SCTP to a host port, packet by packet: hardly any kernel has sockets of it loaded, but all translate it that translate
//! at all (nf_conntrack's SCTP has been built in since Linux 4.19 where it is on).

mod support;

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use netplugin::{PortMapping, Protocol};
use socket2::{Domain, Socket, Type};
use support::{Host, Netns, PATIENCE, tcp};

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// CRC32c (RFC 9260, appendix A), bit by bit.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    });
    (!crc).to_le_bytes()
}

/// A packet with one chunk that begins an association, or answers that (RFC 9260, sections 3.1, 3.3.2 and 3.3.3).
fn packet((from, to): (u16, u16), tag: u32, kind: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes.extend(tag.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([kind, 0, 0, 20]);
    bytes.extend(0x1234_5678_u32.to_be_bytes());
    bytes.extend(65_536_u32.to_be_bytes());
    bytes.extend([0, 1, 0, 1]);
    bytes.extend(1_u32.to_be_bytes());
    let sum = checksum(&bytes);
    bytes[8..12].copy_from_slice(&sum);
    bytes
}

/// A socket for packets of this protocol, of a network namespace.
fn raw(netns: &Netns, domain: Domain) -> Socket {
    let socket = netns.run(|| Socket::new(domain, Type::RAW, Some(socket2::Protocol::from(132)))).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The next packet that begins with a chunk of that kind: whence, its ports, whether its checksum is right.
fn next(socket: &mut Socket, domain: Domain, kind: u8) -> (u16, u16, bool) {
    let since = Instant::now();
    loop {
        assert!(since.elapsed() < PATIENCE, "no packet of kind {kind}");
        let mut bytes = [0; 200];
        let length = socket.read(&mut bytes).unwrap();
        // With IPv4 the header comes along.
        let header = if domain == Domain::IPV4 { usize::from(bytes[0] & 0xf) * 4 } else { 0 };
        let mut packet = bytes[header..length].to_vec();
        if packet[12] != kind {
            continue;
        }
        let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        let ports = (port(0), port(2));
        let sum = [packet[8], packet[9], packet[10], packet[11]];
        packet[8..12].fill(0);
        return (ports.0, ports.1, sum == checksum(&packet));
    }
}

#[test]
fn an_association_to_a_host_port_begins_at_the_pod_and_its_answer_comes_from_the_host() {
    let host = Host::new();
    let outside = host.outside();
    let sctp = PortMapping { protocol: Protocol::Sctp, ..tcp(7000, 70) };
    let pod = host.pod_with("web", &[sctp]);
    let cases = [(Domain::IPV4, "192.168.77.1", "192.168.77.2"), (Domain::IPV6, "fd77::1", "fd77::2")];
    for (domain, of_host, own) in cases {
        let (mut client, mut server) = (raw(&outside, domain), raw(&pod.netns, domain));
        let to = |address: &str| SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0).into();
        client.send_to(&packet((4000, 7000), 0, INIT), &to(of_host)).unwrap();
        assert_eq!(next(&mut server, domain, INIT), (4000, 70, true), "{of_host}: at the pod");
        server.send_to(&packet((70, 4000), 0x1234_5678, INIT_ACK), &to(own)).unwrap();
        assert_eq!(next(&mut client, domain, INIT_ACK), (7000, 4000, true), "{of_host}: the answer");
    }
}

#[test]
fn a_port_of_this_protocol_has_one_owner_too() {
    let host = Host::new();
    let sctp = PortMapping { protocol: Protocol::Sctp, ..tcp(7000, 70) };
    host.pod_with("web", &[sctp]);
    let error = host.attach("late", &Netns::new(), &[sctp]).unwrap_err();
    assert_eq!(support::chain(&error), "host port 7000/sctp is held by default/web");
    host.pod_with("other", &[tcp(7000, 70)]);
}
