//! Questions for others: the name servers of the host, one after the other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use simple_dns::Packet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::Transport;

/// How long a server has, so that three of them answer within the five seconds that a resolver waits.
const WAIT: Duration = Duration::from_secs(1);
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

/// The answer of the first server that gives one, by the same transport; `None` if none does.
pub async fn ask(message: &[u8], transport: Transport, servers: &[SocketAddr]) -> Option<Vec<u8>> {
    for server in servers {
        let answer = async {
            match transport {
                Transport::Udp => by_datagram(message, *server).await,
                Transport::Tcp => by_connection(message, *server).await,
            }
        };
        if let Ok(Ok(reply)) = timeout(WAIT, answer).await {
            return Some(reply);
        }
    }
    None
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
