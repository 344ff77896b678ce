//! Names to addresses without the C library: literals, `localhost`, `/etc/hosts`, then the servers of
//! `/etc/resolv.conf`.
//!
//! A stub resolver as in resolv.conf(5): names with fewer dots than `ndots` are first tried below each
//! `search` domain; servers are asked in order, the next one when one does not answer in time; an answer
//! that was cut (TC) is asked for again by TCP. A and AAAA are asked one after the other.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, TYPE};

use super::failure::{Failure, chain};
use super::{Outcome, complain, text};

/// `resolve NAME…`: the addresses, one a line.
pub(super) fn applet(args: &[OsString]) -> Outcome {
    if args.is_empty() {
        return Err(Failure::usage("resolve NAME…"));
    }
    let mut code = 0;
    for name in args {
        match addresses(&name.to_string_lossy()) {
            Ok(found) => {
                let lines: Vec<String> = found.iter().map(|address| format!("{address}\n")).collect();
                text::print(lines.concat().as_bytes())?;
            }
            Err(failure) => {
                complain("resolve", &chain(&failure));
                code = 1;
            }
        }
    }
    Ok(code)
}

/// `HOST:PORT` to socket addresses; an IPv6 literal stands in brackets.
pub(super) fn socket_addresses(target: &str) -> Result<Vec<SocketAddr>, Failure> {
    let wrong = || Failure::Usage(format!("{target:?} is not HOST:PORT"));
    let (host, port) = target.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = if host.is_empty() { "localhost" } else { host };
    Ok(addresses(host)?.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// All addresses of a name, IPv4 first; never empty.
pub(super) fn addresses(name: &str) -> Result<Vec<IpAddr>, Failure> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Ok(vec![address]);
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = in_hosts(&hosts, name);
    if !known.is_empty() {
        return Ok(known);
    }
    // RFC 6761: localhost and all below it is the loopback and never asked for.
    if name == "localhost" || name.ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let config = Config::read(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    config.look_up(name)
}

fn in_hosts(hosts: &str, name: &str) -> Vec<IpAddr> {
    let wanted = name.trim_end_matches('.');
    let of_line = |line: &str| -> Option<IpAddr> {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|known| known.eq_ignore_ascii_case(wanted)).then_some(address)
    };
    let mut found: Vec<IpAddr> = hosts.lines().filter_map(of_line).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

/// What resolv.conf(5) says.
#[derive(Debug, PartialEq)]
struct Config {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: u32,
}

impl Config {
    fn read(text: &str) -> Self {
        let mut config = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or("").split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    config.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
                }
                Some("search" | "domain") => config.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        config.servers.truncate(3);
        if config.servers.is_empty() {
            config.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        config
    }

    fn option(&mut self, word: &str) {
        match word.split_once(':').map(|(name, value)| (name, value.parse::<u32>())) {
            Some(("ndots", Ok(value))) => self.ndots = value.min(15) as usize,
            Some(("timeout", Ok(value))) => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
            Some(("attempts", Ok(value))) => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The full names to ask for, in order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let below = self.search.iter().map(|domain| format!("{name}.{}", domain.trim_end_matches('.')));
        let mut list: Vec<String> = below.collect();
        let dots = name.matches('.').count();
        list.insert(if dots >= self.ndots { 0 } else { list.len() }, name.to_owned());
        list
    }

    fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        for full in self.candidates(name) {
            let mut found = self.ask(&full, TYPE::A)?;
            found.extend(self.ask(&full, TYPE::AAAA)?);
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(Failure::Refused(format!("{name}: no such name")))
    }

    /// The addresses that the first server to answer gives; none if the name or the type does not exist.
    fn ask(&self, name: &str, kind: TYPE) -> Result<Vec<IpAddr>, Failure> {
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..self.attempts {
            for server in &self.servers {
                match exchange(SocketAddr::new(*server, 53), name, kind, self.timeout) {
                    Ok(found) => return Ok(found),
                    Err(error) => last = error,
                }
            }
        }
        Err(Failure::System { what: format!("{name}: no name server answers"), source: last })
    }
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// A number that an off-path sender would have to guess, besides the port.
fn query_id() -> u16 {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    let mixed = nanos.wrapping_mul(0x9E37_79B9) ^ std::process::id().rotate_left(16);
    (mixed >> 12) as u16
}

fn exchange(server: SocketAddr, name: &str, kind: TYPE, timeout: Duration) -> io::Result<Vec<IpAddr>> {
    let id = query_id();
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let qname = Name::new(name).map_err(invalid)?;
    query.questions.push(Question::new(qname, QTYPE::TYPE(kind), CLASS::IN.into(), false));
    let query = query.build_bytes_vec().map_err(invalid)?;

    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.send(&query)?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer)?;
        let Ok(answer) = Packet::parse(&buffer[..length]) else { continue };
        if answer.id() != id || !answer.has_flags(PacketFlag::RESPONSE) {
            continue;
        }
        if answer.has_flags(PacketFlag::TRUNCATION) {
            let bytes = by_tcp(server, &query, timeout)?;
            return read_answer(&Packet::parse(&bytes).map_err(invalid)?);
        }
        return read_answer(&answer);
    }
}

/// Over TCP every message is led by its length (RFC 1035 section 4.2.2).
fn by_tcp(server: SocketAddr, query: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let length = u16::try_from(query.len()).map_err(invalid)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(query)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn read_answer(answer: &Packet<'_>) -> io::Result<Vec<IpAddr>> {
    match answer.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(invalid(format!("the server answers {other:?}"))),
    }
    // A CNAME's target comes in the same answer of a recursive server, so only addresses matter.
    Ok(answer
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::A(record) => Some(IpAddr::V4(Ipv4Addr::from(record.address))),
            RData::AAAA(record) => Some(IpAddr::V6(Ipv6Addr::from(record.address))),
            _ => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_localhost_need_no_server() {
        assert_eq!(addresses("[::1]").unwrap(), [IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        assert_eq!(addresses("10.0.0.1").unwrap(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert!(addresses("localhost").unwrap().iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn hosts_lines_give_every_address_of_a_name_ipv4_first() {
        let hosts = "# comment\nfd00::2 web\n10.0.0.2 Web web.local # trailing web2\n10.0.0.3 other\n";
        let expected: Vec<IpAddr> = ["10.0.0.2", "fd00::2"].iter().map(|ip| ip.parse().unwrap()).collect();
        assert_eq!(in_hosts(hosts, "web"), expected);
        assert!(in_hosts(hosts, "web2").is_empty());
    }

    #[test]
    fn a_short_name_is_searched_first_and_a_dotted_one_last() {
        let config =
            Config::read("nameserver 10.96.0.10\nsearch a.local b.local\noptions ndots:2 timeout:1\n");
        assert_eq!(config.candidates("web"), ["web.a.local", "web.b.local", "web"]);
        assert_eq!(config.candidates("x.y.z"), ["x.y.z", "x.y.z.a.local", "x.y.z.b.local"]);
        assert_eq!(config.candidates("web."), ["web"]);
        assert_eq!(config.timeout, Duration::from_secs(1));
    }

    #[test]
    fn a_target_without_a_port_is_refused() {
        assert_eq!(socket_addresses("10.0.0.1").unwrap_err().code(), 2);
        assert_eq!(socket_addresses("[::1]:80").unwrap(), ["[::1]:80".parse::<SocketAddr>().unwrap()]);
    }

    #[test]
    fn a_server_is_asked_and_its_addresses_are_read() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = server.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, peer) = server.recv_from(&mut buffer).unwrap();
            let query = Packet::parse(&buffer[..length]).unwrap();
            let mut reply = Packet::new_reply(query.id());
            reply.questions.push(query.questions[0].clone());
            let data = RData::A(simple_dns::rdata::A { address: u32::from(Ipv4Addr::new(10, 244, 0, 7)) });
            let name = query.questions[0].qname.clone();
            reply.answers.push(simple_dns::ResourceRecord::new(name, CLASS::IN, 5, data));
            // A stray message with another number must not be taken for the answer.
            server.send_to(&Packet::new_reply(query.id() ^ 1).build_bytes_vec().unwrap(), peer).unwrap();
            server.send_to(&reply.build_bytes_vec().unwrap(), peer).unwrap();
        });
        let found = exchange(at, "web.default.svc", TYPE::A, Duration::from_secs(5)).unwrap();
        assert_eq!(found, [IpAddr::V4(Ipv4Addr::new(10, 244, 0, 7))]);
        thread.join().unwrap();
    }
}
