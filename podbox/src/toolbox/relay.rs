//! TCP applets: `goproxy` forwards, `tcp-echo` sends back, `connect` asks once.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::flags::{parse, switch, value};
use super::http_server::{listen, serve_connections};
use super::{Outcome, http_client, resolve, text};

/// `goproxy [--port 8080] [--target HOST:PORT]`: forwards connections to the target, also taken from the
/// variable TARGET; without one it accepts, holds the connection and closes it when the client does.
pub(super) fn goproxy(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("port").or(b'p'), value("target").or(b't')])?;
    let target = parsed.get("target").map(str::to_owned).or_else(|| std::env::var("TARGET").ok());
    let listener = listen(parsed.number("port")?.unwrap_or(8080))?;
    serve_connections(listener, move |client, _| {
        // Either side may go away at any time; the other one sees it by the closed connection.
        let _ = match &target {
            None => io::copy(&mut &client, &mut io::sink()).map(drop),
            Some(target) => match http_client::connect(target, Instant::now() + Duration::from_secs(10)) {
                Ok(server) => forward(client, server),
                Err(_) => client.shutdown(Shutdown::Both),
            },
        };
    })
}

/// Copies both ways; an end of one direction is passed on and the other goes on.
fn forward(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
    let back = thread::Builder::new().stack_size(256 << 10).spawn(move || one_way(&back_from, &back_to))?;
    one_way(&client, &server);
    let _ = back.join();
    Ok(())
}

fn one_way(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// `tcp-echo [--port 9000] [--peer]`: sends everything back; with `--peer`, `peer ADDRESS` goes first.
///
/// A line that is just `peer` is answered with the client's address as the server sees it.
pub(super) fn tcp_echo(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("port").or(b'p'), switch("peer")])?;
    let greet = parsed.has("peer");
    serve_connections(listen(parsed.number("port")?.unwrap_or(9000))?, move |stream, peer| {
        let greeting = if greet { writeln!(&stream, "peer {peer}") } else { Ok(()) };
        let _ = greeting.and_then(|()| echo(&stream, peer));
    })
}

fn echo(mut stream: &TcpStream, peer: SocketAddr) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        let length = match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => length,
        };
        if buffer[..length].trim_ascii() == b"peer" {
            writeln!(stream, "peer {peer}")?;
        } else {
            stream.write_all(&buffer[..length])?;
        }
    }
}

/// `connect [-u] [--timeout 5s] HOST:PORT [WORD…]`: sends the words as a line and prints the line that
/// comes back; with no words it only connects (by UDP it then sends an empty line).
pub(super) fn connect(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[switch("udp").or(b'u'), value("timeout").or(b't'), switch("all").or(b'a')])?;
    let Some((target, words)) = parsed.rest.split_first() else {
        return Err(Failure::usage("connect [-u] [-a] [--timeout 5s] HOST:PORT [WORD…]"));
    };
    let target = target.to_string_lossy();
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let line = words.join(" ") + "\n";
    let timeout = parsed.duration("timeout")?.unwrap_or(Duration::from_secs(5));
    let answer = if parsed.has("udp") {
        ask_udp(&target, &line, timeout)?
    } else {
        let stream = http_client::connect(&target, Instant::now() + timeout)?;
        if words.is_empty() && !parsed.has("all") {
            return Ok(0);
        }
        let until = if parsed.has("all") { Until::End } else { Until::Line };
        ask_tcp(&stream, &line, timeout, until).map_err(Failure::system(&target))?
    };
    text::print(&answer)
}

enum Until {
    Line,
    End,
}

fn ask_tcp(mut stream: &TcpStream, line: &str, timeout: Duration, until: Until) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(line.as_bytes())?;
    let mut answer = Vec::new();
    match until {
        Until::Line => drop(BufReader::new(stream).read_until(b'\n', &mut answer)?),
        Until::End => {
            stream.shutdown(Shutdown::Write)?;
            stream.read_to_end(&mut answer)?;
        }
    }
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

fn ask_udp(target: &str, line: &str, timeout: Duration) -> Result<Vec<u8>, Failure> {
    let server = resolve::socket_addresses(target)?[0];
    let ask = || -> io::Result<Vec<u8>> {
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let any: SocketAddr = any.parse().map_err(|_| io::ErrorKind::AddrNotAvailable)?;
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.send(line.as_bytes())?;
        let mut buffer = vec![0; 65_536];
        let length = socket.recv(&mut buffer).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        buffer.truncate(length);
        Ok(buffer)
    };
    ask().map_err(Failure::system(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn echo_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (stream, peer) = listener.accept().unwrap();
            echo(&stream, peer)
        });
        at
    }

    #[test]
    fn what_is_sent_comes_back_and_peer_is_answered_with_the_address() {
        let stream = TcpStream::connect(echo_server()).unwrap();
        let own = stream.local_addr().unwrap();
        let timeout = Duration::from_secs(10);
        assert_eq!(ask_tcp(&stream, "hello\n", timeout, Until::Line).unwrap(), b"hello\n");
        let answer = ask_tcp(&stream, "peer\n", timeout, Until::Line).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), format!("peer {own}\n"));
    }

    #[test]
    fn a_proxied_connection_ends_when_its_client_says_so() {
        let server = TcpStream::connect(echo_server()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let proxy = thread::spawn(move || forward(accepted, server));
        assert_eq!(ask_tcp(&client, "through\n", Duration::from_secs(10), Until::End).unwrap(), b"through\n");
        proxy.join().unwrap().unwrap();
    }
}
