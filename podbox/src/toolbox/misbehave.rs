//! `misbehave`: servers that do what servers should not, each in one way. For seeing what a probe makes of it.

use std::ffi::OsString;
use std::io::{self, BufReader, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen as set_backlog, setsockopt, sockopt::Linger};

use super::Outcome;
use super::failure::Failure;
use super::flags::{parse, value};
use super::http::Head;
use super::http_server::{listen, serve_connections};
use super::signals::Ends;

const USAGE: &str =
    "misbehave deaf|silent|slow|reset|hang-up|loop|away [--port 8080] [--to http://elsewhere.invalid/]";

/// Between two letters of a slow answer.
const PACE: Duration = Duration::from_millis(100);

/// How long a connection that nobody will accept is tried for.
const PATIENCE: Duration = Duration::from_millis(300);

/// `misbehave MODE [--port 8080] [--to URL]`
///
/// - `deaf`: listens, and its queue is full: a connection hangs before it exists.
/// - `silent`: takes connections and says nothing.
/// - `slow`: an answer whose headers come letter by letter and never end.
/// - `reset`: hears the request out and resets the connection.
/// - `hang-up`: hears the request out and closes.
/// - `loop`: redirects every request to where it came from.
/// - `away`: redirects every request to another host.
pub(super) fn misbehave(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("port").or(b'p'), value("to")])?;
    let [mode] = &parsed.rest[..] else { return Err(Failure::usage(USAGE)) };
    let listener = listen(parsed.number("port")?.unwrap_or(8080))?;
    let away = parsed.get("to").unwrap_or("http://elsewhere.invalid/").to_owned();
    let act: fn(&TcpStream, &str) -> io::Result<()> = match mode.to_str() {
        Some("deaf") => return deaf(&listener),
        Some("silent") => |_, _| stay(),
        Some("slow") => |stream, _| slow(stream),
        Some("reset") => |stream, _| reset(stream),
        Some("hang-up") => |stream, _| hear(stream).map(drop),
        Some("loop") => |stream, _| {
            let path = hear(stream)?;
            redirect(stream, &path)
        },
        Some("away") => |stream, away| {
            hear(stream)?;
            redirect(stream, away)
        },
        _ => return Err(Failure::usage(USAGE)),
    };
    serve_connections(listener, move |stream, _| {
        // Whatever the peer does about it is its own business.
        let _ = act(&stream, &away);
    })
}

/// Fills its own queue, and takes nobody out of it.
fn deaf(listener: &TcpListener) -> Outcome {
    let ends = Ends::claim()?;
    let queue = Backlog::new(0).map_err(Failure::system("queue"))?;
    set_backlog(listener, queue).map_err(Failure::system("queue"))?;
    let port = listener.local_addr().map_err(Failure::system("port"))?.port();
    let own = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
    let connect = || TcpStream::connect_timeout(&own, PATIENCE).ok();
    let _waiting: Vec<TcpStream> = std::iter::from_fn(connect).collect();
    ends.wait()?;
    Ok(0)
}

fn stay() -> io::Result<()> {
    loop {
        thread::park();
    }
}

/// The path that is asked for.
fn hear(stream: &TcpStream) -> io::Result<String> {
    let head = Head::read(&mut BufReader::new(stream))?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(head.first.split(' ').nth(1).unwrap_or("/").to_owned())
}

fn slow(mut stream: &TcpStream) -> io::Result<()> {
    hear(stream)?;
    stream.set_nodelay(true)?;
    let letters = b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().chain(b"yes, ".iter().cycle());
    for letter in letters {
        stream.write_all(&[*letter])?;
        thread::sleep(PACE);
    }
    Ok(())
}

/// A connection that is closed with no time to linger is reset.
fn reset(stream: &TcpStream) -> io::Result<()> {
    hear(stream)?;
    Ok(setsockopt(stream, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?)
}

fn redirect(mut stream: &TcpStream, to: &str) -> io::Result<()> {
    let body = "over there";
    write!(
        stream,
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn talk(act: fn(&TcpStream) -> io::Result<()>) -> io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = thread::spawn(move || act(&listener.accept().unwrap().0));
        client.write_all(b"GET /a?b HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        let read = client.read_to_string(&mut text);
        server.join().unwrap().unwrap();
        read.map(|_| text)
    }

    #[test]
    fn a_loop_leads_back_to_where_it_came_from() {
        let answer = talk(|stream| {
            let path = hear(stream)?;
            redirect(stream, &path)
        });
        assert!(answer.unwrap().contains("\r\nLocation: /a?b\r\n"));
    }

    #[test]
    fn a_reset_is_one() {
        assert_eq!(talk(reset).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_mode_that_does_not_exist_is_a_wrong_call() {
        assert_eq!(misbehave(&["rudely".into(), "--port=0".into()]).unwrap_err().code(), 2);
    }
}
