//! Questions for others: the name servers of the host, one after the other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use simple_dns::Packet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::answer::Transport;

/// How long a server has, so that three of them answer within the five seconds that a resolver waits.
const WAIT: Duration = Duration::from_secs(1);
/// How long a server that was silent is asked last.
const PASSED_OVER: Duration = Duration::from_secs(30);
/// More servers than this are not asked (resolv.conf(5), MAXNS).
const MOST: usize = 3;
const PORT: u16 = 53;
/// The longest datagram that is taken, in bytes.
const LONGEST: usize = 4096;

/// The servers in a resolv.conf, but for those that would ask here again.
#[must_use]
pub fn servers(resolv_conf: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let of_line = |line: &str| {
        let mut words = line.split(['#', ';']).next()?.split_ascii_whitespace();
        let word = (words.next()? == "nameserver").then(|| words.next())??;
        let address: IpAddr = word.parse().ok()?;
        (!own.contains(&address)).then_some(SocketAddr::new(address, PORT))
    };
    resolv_conf.lines().filter_map(of_line).take(MOST).collect()
}

/// The servers that have lately said nothing: they are asked last for a while, so that one that is gone does not delay every
/// answer (CoreDNS' `forward` passes over such ones altogether).
#[derive(Debug, Default)]
pub struct Silent(Mutex<Vec<(SocketAddr, Instant)>>);

impl Silent {
    fn last(&self, servers: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|(_, since)| since.elapsed() < PASSED_OVER);
        let is_silent = |server: &SocketAddr| silent.iter().any(|(one, _)| one == server);
        let (last, first): (Vec<_>, Vec<_>) = servers.iter().partition(|server| is_silent(server));
        [first, last].concat()
    }

    fn note(&self, server: SocketAddr) {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|(one, _)| *one != server);
        silent.push((server, Instant::now()));
    }
}

/// The answer of the first server that gives one, by the same transport; `None` if none does. As in glibc's `res_send`, what
/// a server says of itself, that it failed or will not, counts only if no other says more. A lone server is asked twice.
pub async fn ask(
    message: &[u8],
    transport: Transport,
    (servers, silent): (&[SocketAddr], &Silent),
) -> Option<Vec<u8>> {
    let mut refusal = None;
    let number = if servers.len() == 1 { 2 } else { servers.len() };
    for server in silent.last(servers).iter().cycle().take(number) {
        let answer = async {
            match transport {
                Transport::Udp => by_datagram(message, *server).await,
                Transport::Tcp => by_connection(message, *server).await,
            }
        };
        match timeout(WAIT, answer).await {
            Ok(Ok(reply)) if is_refusal(&reply) => refusal = Some(reply),
            Ok(Ok(reply)) => return Some(reply),
            Ok(Err(_)) => {}
            Err(_) => silent.note(*server),
        }
    }
    refusal
}

/// SERVFAIL, NOTIMP, REFUSED.
fn is_refusal(reply: &[u8]) -> bool {
    reply.get(3).is_some_and(|byte| matches!(byte & 0x0f, 2 | 4 | 5))
}

/// From a port that the kernel draws and with a number of our own: a forger has to guess both.
async fn by_datagram(message: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut id = [0; 2];
    SystemRandom::new().fill(&mut id).map_err(|_| io::Error::other("no random numbers"))?;
    let asked = [&id[..], &message[2..]].concat();
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&asked).await?;
    let mut buffer = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_answer(&buffer[..length], &asked) {
            buffer.truncate(length);
            buffer[..2].copy_from_slice(&message[..2]);
            return Ok(buffer);
        }
    }
}

async fn by_connection(message: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
    let mut reply = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut reply).await?;
    match is_answer(&reply, message) {
        true => Ok(reply),
        false => Err(io::Error::other("not an answer to the question")),
    }
}

/// Whether it answers this very question.
fn is_answer(reply: &[u8], asked: &[u8]) -> bool {
    let (Ok(reply), Ok(asked)) = (Packet::parse(reply), Packet::parse(asked)) else { return false };
    let same = |(one, other): (&simple_dns::Question<'_>, &simple_dns::Question<'_>)| {
        one.qtype == other.qtype
            && one.qclass == other.qclass
            && one.qname.to_string().eq_ignore_ascii_case(&other.qname.to_string())
    };
    reply.has_flags(simple_dns::PacketFlag::RESPONSE)
        && reply.id() == asked.id()
        && reply.questions.len() == asked.questions.len()
        && reply.questions.iter().zip(&asked.questions).all(same)
}
