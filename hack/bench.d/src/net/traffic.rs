//! The traffic: a server that answers in one network namespace, and what clients do with it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use super::end::{End, Processor};
use super::pairs::{median, quartile};
use crate::failure::{Failure, Outcome, cannot};

/// What servers listen on, TCP and UDP.
pub(crate) const PORT: u16 = 7000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a server looks whether it is to leave, milliseconds.
const LOOK: u16 = 50;
const ECHO: u8 = b'e';
const PIECES: u8 = b'p';
const CHUNK: usize = 128 * 1024;
/// As much as is sent in one piece.
pub(crate) const PIECE: usize = 4 * 1024 * 1024;

/// A server in a namespace, for as long as this is there.
pub(crate) struct Server {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Whoever connects is told `name`, and then served: one client after the other.
    pub(crate) fn start(end: &End, name: u8) -> Outcome<Server> {
        let anything = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT);
        let listener = end.run(|| TcpListener::bind(anything).map_err(cannot("listen")))?;
        listener.set_nonblocking(true).map_err(cannot("listen"))?;
        let datagrams = end.run(|| UdpSocket::bind(anything).map_err(cannot("listen")))?;
        datagrams.set_read_timeout(Some(Duration::from_millis(u64::from(LOOK)))).map_err(cannot("listen"))?;
        let over = Arc::new(AtomicBool::new(false));
        let left = Arc::clone(&over);
        let streams = thread::spawn(move || {
            Processor::Last.keep();
            accept(&listener, name, &left);
        });
        let left = Arc::clone(&over);
        let datagrams = thread::spawn(move || {
            Processor::Last.keep();
            let mut buffer = [0; 64];
            while !left.load(Ordering::Relaxed) {
                if let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
                    // A client that is gone wants no answer.
                    let _ = datagrams.send_to(&buffer[..length], from);
                }
            }
        });
        Ok(Server { over, threads: vec![streams, datagrams] })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, name: u8, over: &AtomicBool) {
    let mut buffer = vec![0; CHUNK];
    while !over.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            let _ = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::from(LOOK));
            continue;
        };
        // A client that resets its connection has got what it wanted.
        let _ = serve(stream, name, &mut buffer);
    }
}

fn serve(mut stream: TcpStream, name: u8, buffer: &mut [u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[name])?;
    let mut what = [0];
    stream.read_exact(&mut what)?;
    let mut received = 0;
    loop {
        let length = stream.read(buffer)?;
        match (what[0], length) {
            (_, 0) => return Ok(()),
            (PIECES, _) => {
                received += length;
                if received >= PIECE {
                    received -= PIECE;
                    stream.write_all(&[name])?;
                }
            }
            _ => stream.write_all(&buffer[..length])?,
        }
    }
}

/// Opens a connection; who has answered.
fn connect(to: SocketAddr) -> Outcome<(TcpStream, u8)> {
    let what = format!("connect to {to}");
    let failed = || cannot(&what);
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(failed())?;
    stream.set_nodelay(true).map_err(failed())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed())?;
    let mut name = [0];
    stream.read_exact(&mut name).map_err(failed())?;
    Ok((stream, name[0]))
}

/// Opens a connection, hears who has answered, and resets it, so that it leaves no port behind that must wait.
pub(crate) fn visit(to: SocketAddr) -> Outcome<u8> {
    let (stream, name) = connect(to)?;
    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &at_once)
        .map_err(|error| Failure(format!("cannot reset a connection: {error}")))?;
    Ok(name)
}

/// Something that can be said again and again, and is answered.
pub(crate) enum Talk {
    /// A byte, by one connection.
    Bytes(TcpStream),
    /// A byte, by datagrams of one flow.
    Datagrams(UdpSocket),
    /// [`PIECE`] bytes, by one connection; the answer is that all of it was received.
    Pieces(TcpStream, Vec<u8>),
}

impl Talk {
    pub(crate) fn bytes(to: SocketAddr) -> Outcome<Talk> {
        let (mut stream, _) = connect(to)?;
        stream.write_all(&[ECHO]).map_err(cannot("send"))?;
        Ok(Talk::Bytes(stream))
    }

    pub(crate) fn datagrams(to: SocketAddr) -> Outcome<Talk> {
        datagram_socket(to).map(Talk::Datagrams)
    }

    pub(crate) fn pieces(to: SocketAddr) -> Outcome<Talk> {
        let (mut stream, _) = connect(to)?;
        stream.write_all(&[PIECES]).map_err(cannot("send"))?;
        Ok(Talk::Pieces(stream, vec![0; CHUNK]))
    }

    fn once(&mut self) -> std::io::Result<()> {
        let mut byte = [0];
        match self {
            Talk::Bytes(stream) => {
                stream.write_all(&byte)?;
                stream.read_exact(&mut byte)
            }
            Talk::Datagrams(socket) => {
                socket.send(&byte)?;
                socket.recv(&mut byte).map(drop)
            }
            Talk::Pieces(stream, chunk) => {
                (0..PIECE / CHUNK).try_for_each(|_| stream.write_all(chunk))?;
                stream.read_exact(&mut byte)
            }
        }
    }
}

/// Two talks word by word in turns, so that whatever else the host does meets both alike: the time within which the quickest
/// quarter of the words of each was answered, microseconds. On a busy host the median tells how long one waits for a processor.
/// It does not matter in which namespace the calling thread is, a socket stays in its own.
pub(crate) fn in_turns(one: &mut Talk, other: &mut Talk, count: u32) -> Outcome<[f64; 2]> {
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..count + count / 10 {
        for (talk, took) in [&mut *one, &mut *other].into_iter().zip(&mut took) {
            let began = Instant::now();
            talk.once().map_err(cannot("exchange a word"))?;
            if round >= count / 10 {
                took.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    Ok(took.map(|took| quartile(took.into_iter())))
}

/// A byte there and back over one connection, again and again: the median, in microseconds.
pub(crate) fn round_trips(to: SocketAddr, count: u32) -> Outcome<f64> {
    let mut talk = Talk::bytes(to)?;
    again(count, || talk.once())
}

/// The same by datagrams of one flow.
pub(crate) fn datagrams(to: SocketAddr, count: u32) -> Outcome<f64> {
    let mut talk = Talk::datagrams(to)?;
    again(count, || talk.once())
}

/// New connections, one after the other, each until the server has said a word.
pub(crate) fn connections(to: SocketAddr, count: u32) -> Outcome<f64> {
    again(count, || visit(to).map(drop).map_err(|failure| std::io::Error::other(failure.0)))
}

/// New flows of datagrams: one there and one back.
pub(crate) fn flows(to: SocketAddr, count: u32) -> Outcome<f64> {
    let mut byte = [0];
    again(count, || {
        let socket = datagram_socket(to).map_err(|failure| std::io::Error::other(failure.0))?;
        socket.send(&byte)?;
        socket.recv(&mut byte).map(drop)
    })
}

fn datagram_socket(to: SocketAddr) -> Outcome<UdpSocket> {
    let own: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let opened = UdpSocket::bind((own, 0)).and_then(|socket| {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(to)?;
        Ok(socket)
    });
    opened.map_err(cannot(format_args!("send to {to}")))
}

/// The median time of something, microseconds: so many times, after a tenth as many to warm up.
fn again(count: u32, mut once: impl FnMut() -> std::io::Result<()>) -> Outcome<f64> {
    let mut took = Vec::with_capacity(count as usize);
    for round in 0..count + count / 10 {
        let began = Instant::now();
        once().map_err(cannot("exchange a byte"))?;
        if round >= count / 10 {
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(median(took.into_iter()))
}

/// Waits until a server answers there.
pub(crate) fn await_answer(to: SocketAddr, patience: Duration) -> Outcome<u8> {
    let began = Instant::now();
    loop {
        match visit(to) {
            Err(_) if began.elapsed() < patience => thread::sleep(Duration::from_millis(1)),
            answer => return answer,
        }
    }
}
