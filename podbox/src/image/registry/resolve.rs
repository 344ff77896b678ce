//! Host names to addresses, without the C library.
//!
//! A static glibc program can crash in the name-service modules that `getaddrinfo` loads, so this is a stub
//! resolver of our own: the hosts file, then the name servers of resolv.conf(5), with its `search`, `ndots`,
//! `timeout` and `attempts`. UDP first; TCP where the answer was cut short. Codec: simple-dns.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A name server said that there is none.
    #[error("no such host")]
    NoSuchHost,
    /// Not a name that could be asked for.
    #[error("not a host name")]
    NotAName,
    /// No name server answered.
    #[error("ask the name servers {servers}")]
    NoAnswer {
        /// Those of resolv.conf.
        servers: String,
        /// The last one's.
        source: io::Error,
    },
}

/// The configuration of name look-ups.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    hosts: PathBuf,
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
    wait: Duration,
    attempts: u32,
}

impl Resolver {
    /// As the system is configured now. A file that cannot be read counts as empty.
    pub(crate) fn system() -> Resolver {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Resolver { hosts: PathBuf::from("/etc/hosts"), ..Resolver::parse(&text) }
    }

    /// One that knows only this hosts file and asks nobody.
    #[cfg(test)]
    pub(crate) fn of_hosts(hosts: &Path) -> Resolver {
        let attempts = 0;
        Resolver { hosts: hosts.to_owned(), attempts, ..Resolver::parse("") }
    }

    fn parse(text: &str) -> Resolver {
        let mut out = Resolver {
            hosts: PathBuf::new(),
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            wait: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => out.servers.extend(words.next().and_then(server)),
                Some("search" | "domain") => out.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|option| out.option(option)),
                _ => {}
            }
        }
        if out.servers.is_empty() {
            out.servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
        }
        out
    }

    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = value.min(15) as usize,
            "timeout" => self.wait = Duration::from_secs(value.clamp(1, 30).into()),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The addresses of a host, the preferred first. A literal address is its own.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return Ok(vec![address]);
        }
        let found = from_hosts(&self.hosts, bare);
        if !found.is_empty() {
            return Ok(found);
        }
        let lower = bare.trim_end_matches('.').to_ascii_lowercase();
        if lower == "localhost" || lower.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut last = ResolveError::NoSuchHost;
        for name in self.names(bare) {
            let (v4, v6) = tokio::join!(self.ask(&name, TYPE::A), self.ask(&name, TYPE::AAAA));
            match (v4, v6) {
                (Ok(v4), Ok(v6)) if v4.is_empty() && v6.is_empty() => {}
                (Ok(v4), Ok(v6)) => return Ok([v4, v6].concat()),
                (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => return Ok(found),
                (Err(error), _) | (_, Err(error)) => last = error,
            }
        }
        Err(last)
    }

    /// What to ask for, in order: the search list comes first for names with few dots.
    fn names(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let dots = host.bytes().filter(|b| *b == b'.').count();
        let position = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(position, host.to_owned());
        names
    }

    async fn ask(&self, name: &str, kind: TYPE) -> Result<Vec<IpAddr>, ResolveError> {
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..self.attempts {
            for server in &self.servers {
                match timeout(self.wait, query(*server, name, kind)).await {
                    Ok(Ok(Answer::Addresses(found))) => return Ok(found),
                    Ok(Ok(Answer::NoSuchHost)) => return Ok(Vec::new()),
                    Ok(Ok(Answer::NotAName)) => return Err(ResolveError::NotAName),
                    Ok(Err(error)) => last = error,
                    Err(_) => last = io::ErrorKind::TimedOut.into(),
                }
            }
        }
        let servers: Vec<String> = self.servers.iter().map(SocketAddr::to_string).collect();
        Err(ResolveError::NoAnswer { servers: servers.join(", "), source: last })
    }
}

enum Answer {
    Addresses(Vec<IpAddr>),
    NoSuchHost,
    NotAName,
}

async fn query(server: SocketAddr, name: &str, kind: TYPE) -> io::Result<Answer> {
    let Ok(question_name) = Name::new(name) else { return Ok(Answer::NotAName) };
    let id = unpredictable();
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let class = QCLASS::CLASS(CLASS::IN);
    packet.questions.push(Question::new(question_name, QTYPE::TYPE(kind), class, false));
    let bytes = packet.build_bytes_vec().map_err(io::Error::other)?;
    let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let local: SocketAddr = local.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A stray or forged datagram is passed over; the timeout is the caller's.
        let Ok(reply) = Packet::parse(&buffer[..length]) else { continue };
        if reply.id() != id || !reply.has_flags(PacketFlag::RESPONSE) || !echoes(&reply, name) {
            continue;
        }
        if reply.has_flags(PacketFlag::TRUNCATION) {
            return over_tcp(server, &bytes).await;
        }
        return read(&reply);
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], query].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; length.into()];
    stream.read_exact(&mut buffer).await?;
    read(&Packet::parse(&buffer).map_err(io::Error::other)?)
}

fn echoes(reply: &Packet<'_>, name: &str) -> bool {
    let echoed = reply.questions.first().map(|question| question.qname.to_string());
    echoed.is_some_and(|echoed| echoed.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.')))
}

/// The addresses of an answer. The server has followed aliases, so that whatever address comes is meant.
fn read(reply: &Packet<'_>) -> io::Result<Answer> {
    match reply.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Answer::NoSuchHost),
        other => return Err(io::Error::other(format!("the name server answered {other:?}"))),
    }
    let address = |data: &RData<'_>| match data {
        RData::A(a) => Some(IpAddr::from(Ipv4Addr::from(a.address))),
        RData::AAAA(a) => Some(IpAddr::from(Ipv6Addr::from(a.address))),
        _ => None,
    };
    Ok(Answer::Addresses(reply.answers.iter().filter_map(|record| address(&record.rdata)).collect()))
}

/// Query ids are what keeps a forger guessing.
fn unpredictable() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) as u16
}

fn server(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 53));
    }
    // A link-local address with its interface: `fe80::1%eth0`.
    let (address, scope) = text.split_once('%')?;
    let address = address.parse::<Ipv6Addr>().ok()?;
    let index = scope.parse().ok().or_else(|| nix::net::if_::if_nametoindex(scope).ok())?;
    Some(std::net::SocketAddrV6::new(address, 53, 0, index).into())
}

fn from_hosts(path: &Path, host: &str) -> Vec<IpAddr> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let of_line = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address = words.next()?.parse::<IpAddr>().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    let mut found: Vec<IpAddr> = text.lines().filter_map(of_line).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests;
