//! One question to one name server: UDP first, TCP where the answer was cut short. Codec: simple-dns.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// The longest answer that is read by UDP, bytes; without EDNS servers should cut theirs at 512.
const MAX_DATAGRAM: usize = 4096;

/// The addresses of one kind that a server knows for a name; none where it says that there are none. The
/// caller has the clock.
pub(super) async fn query(server: SocketAddr, name: &Name<'_>, kind: TYPE) -> io::Result<Vec<IpAddr>> {
    let id = unpredictable();
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(name.clone(), QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    let bytes = packet.build_bytes_vec().map_err(io::Error::other)?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    // Not within the future: every probe's would be that much larger.
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A stray or forged datagram is passed over.
        match Packet::parse(&buffer[..length]) {
            Ok(reply) if !answers(&reply, id, name, kind) => {}
            Ok(reply) if reply.has_flags(PacketFlag::TRUNCATION) => break,
            Ok(reply) => return read(&reply),
            Err(_) => {}
        }
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).await?;
    let mut buffer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut buffer).await?;
    match Packet::parse(&buffer) {
        Ok(reply) if answers(&reply, id, name, kind) => read(&reply),
        _ => Err(io::Error::other("cannot unmarshal DNS message")),
    }
}

fn answers(reply: &Packet<'_>, id: u16, name: &Name<'_>, kind: TYPE) -> bool {
    let same = |question: &Question<'_>| {
        question.qtype == QTYPE::TYPE(kind)
            && question.qname.to_string().eq_ignore_ascii_case(&name.to_string())
    };
    reply.id() == id
        && reply.has_flags(PacketFlag::RESPONSE)
        && reply.questions.len() == 1
        && reply.questions.iter().all(same)
}

/// The addresses of an answer. The server has followed aliases, so that whatever address comes is meant.
fn read(reply: &Packet<'_>) -> io::Result<Vec<IpAddr>> {
    match reply.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        _ => return Err(io::Error::other("server misbehaving")),
    }
    let address = |data: &RData<'_>| match data {
        RData::A(a) => Some(IpAddr::from(Ipv4Addr::from(a.address))),
        RData::AAAA(a) => Some(IpAddr::from(Ipv6Addr::from(a.address))),
        _ => None,
    };
    Ok(reply.answers.iter().filter_map(|record| address(&record.rdata)).collect())
}

/// A number that a forger has to guess, from the source that keys hash tables.
fn unpredictable() -> u16 {
    let [low, high, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    u16::from_ne_bytes([low, high])
}
