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
use super::pairs::median;
use crate::failure::{Failure, Outcome, cannot};

/// What servers listen on, TCP and UDP.
pub(crate) const PORT: u16 = 7000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a server looks whether it is to leave, milliseconds.
const LOOK: u16 = 50;
const ECHO: u8 = b'e';
const SINK: u8 = b's';
const CHUNK: usize = 128 * 1024;

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
    loop {
        let length = stream.read(buffer)?;
        match (what[0], length) {
            (SINK, 0) => return stream.write_all(&[name]),
            (_, 0) => return Ok(()),
            (SINK, _) => {}
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

/// Sends as much as can be sent in that time: bytes a second, until the last of it was received.
pub(crate) fn stream(to: SocketAddr, time: Duration) -> Outcome<f64> {
    let what = format!("send to {to}");
    let failed = || cannot(&what);
    let (mut stream, _) = connect(to)?;
    stream.write_all(&[SINK]).map_err(failed())?;
    let chunk = vec![0; CHUNK];
    let (began, mut sent) = (Instant::now(), 0_u64);
    while began.elapsed() < time {
        stream.write_all(&chunk).map_err(failed())?;
        sent += chunk.len() as u64;
    }
    stream.shutdown(std::net::Shutdown::Write).map_err(failed())?;
    stream.read_exact(&mut [0]).map_err(failed())?;
    Ok(sent as f64 / began.elapsed().as_secs_f64())
}

/// A byte there and back over one connection, again and again: the median, in microseconds.
pub(crate) fn round_trips(to: SocketAddr, count: u32) -> Outcome<f64> {
    let (mut stream, _) = connect(to)?;
    stream.write_all(&[ECHO]).map_err(cannot("send"))?;
    let mut byte = [0];
    again(count, || {
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)
    })
}

/// The same by datagrams of one flow.
pub(crate) fn datagrams(to: SocketAddr, count: u32) -> Outcome<f64> {
    let socket = datagram_socket(to)?;
    let mut byte = [0];
    again(count, || {
        socket.send(&byte)?;
        socket.recv(&mut byte).map(drop)
    })
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

/// The median time of something, microseconds. A tenth as often before that, to warm up.
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
