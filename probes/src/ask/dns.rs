//! Asking the host's name servers, as resolv.conf(5) says: `nameserver`, `search`, `ndots`, `timeout` and
//! `attempts`. UDP first; TCP where the answer was cut short.
//!
//! Source of the words: Go's `net/dnsclient_unix.go`, whose resolver a kubelet has.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::words;

/// Whom to ask, and how.
#[derive(Debug, PartialEq)]
pub(super) struct Config {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
    wait: Duration,
    attempts: u32,
}

const PORT: u16 = 53;
/// More servers than this are not asked (`MAXNS`).
const MOST_SERVERS: usize = 3;
/// The longest answer that is read by UDP, bytes: without EDNS servers cut theirs at 512.
const MAX_DATAGRAM: usize = 1232;

/// What a server said to one question.
enum Answer {
    Addresses(Vec<IpAddr>),
    NoSuchName,
}

impl Config {
    /// Reads resolv.conf(5). Without a server it is this host's own.
    pub(super) fn read(text: &str) -> Config {
        let mut config = Config {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            wait: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    config.servers.extend(address.map(|address| SocketAddr::new(address, PORT)));
                }
                Some("search" | "domain") => config.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        config.servers.truncate(MOST_SERVERS);
        if config.servers.is_empty() {
            config.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        config
    }

    fn option(&mut self, word: &str) {
        match word.split_once(':').map(|(name, value)| (name, value.parse::<u32>())) {
            Some(("ndots", Ok(value))) => self.ndots = value.min(15) as usize,
            Some(("timeout", Ok(value))) => self.wait = Duration::from_secs(value.max(1).into()),
            Some(("attempts", Ok(value))) => self.attempts = value.max(1),
            _ => {}
        }
    }

    /// The addresses of a name, IPv4 first, never none; or the rest of Go's sentence `lookup NAME…`.
    pub(super) async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let mut first = None;
        for name in self.names(host) {
            let (v4, v6) = tokio::join!(self.ask(&name, TYPE::A), self.ask(&name, TYPE::AAAA));
            let (found, errors): (Vec<_>, Vec<_>) = [v4, v6].into_iter().partition(Result::is_ok);
            let found: Vec<IpAddr> = found.into_iter().flatten().flatten().collect();
            if !found.is_empty() {
                return Ok(found);
            }
            first = first.or_else(|| errors.into_iter().find_map(Result::err));
        }
        Err(first.unwrap_or_else(|| ": no such host".to_owned()))
    }

    /// What to ask for, in order: the search list comes first for names with few dots.
    fn names(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let below = self.search.iter().map(|domain| format!("{host}.{}", domain.trim_end_matches('.')));
        let mut names: Vec<String> = below.filter(|name| !name.ends_with('.')).collect();
        let dots = host.matches('.').count();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, host.to_owned());
        names
    }

    /// The first server's answer that is one.
    async fn ask(&self, name: &str, kind: TYPE) -> Result<Vec<IpAddr>, String> {
        let Ok(question) = Name::new(name) else { return Err(": no such host".to_owned()) };
        let mut last = String::new();
        for _ in 0..self.attempts {
            for server in &self.servers {
                last = match timeout(self.wait, query(*server, &question, kind)).await {
                    Ok(Ok(Answer::Addresses(found))) if !found.is_empty() => return Ok(found),
                    Ok(Ok(_)) => return Err(format!(" on {server}: no such host")),
                    Ok(Err(error)) => format!(" on {server}: {}", words::errno(&error)),
                    Err(_) => format!(" on {server}: i/o timeout"),
                };
            }
        }
        Err(last)
    }
}

async fn query(server: SocketAddr, name: &Name<'_>, kind: TYPE) -> io::Result<Answer> {
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
        // A stray or forged datagram is passed over; the caller has the clock.
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
fn read(reply: &Packet<'_>) -> io::Result<Answer> {
    match reply.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Answer::NoSuchName),
        _ => return Err(io::Error::other("server misbehaving")),
    }
    let address = |data: &RData<'_>| match data {
        RData::A(a) => Some(IpAddr::from(Ipv4Addr::from(a.address))),
        RData::AAAA(a) => Some(IpAddr::from(Ipv6Addr::from(a.address))),
        _ => None,
    };
    Ok(Answer::Addresses(reply.answers.iter().filter_map(|record| address(&record.rdata)).collect()))
}

/// A number that a forger has to guess, from the source that keys hash tables.
fn unpredictable() -> u16 {
    let [low, high, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    u16::from_ne_bytes([low, high])
}

#[cfg(test)]
mod tests;
