//! `get`: an HTTP client that a probe or a script can rely on.

use std::ffi::OsString;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::failure::{Failure, chain};
use super::flags::{parse, switch, value};
use super::http::{Body, Head, read_chunks};
use super::{Outcome, complain, resolve};

/// Where to and what.
#[derive(Debug, PartialEq)]
struct Url {
    authority: String,
    target: String,
    path: String,
}

impl Url {
    /// `[http://]HOST[:PORT][/PATH]`.
    fn read(text: &str) -> Result<Self, Failure> {
        let bare = match text.split_once("://") {
            None => text,
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(Failure::Usage(format!("get speaks http, not {scheme}"))),
        };
        let bare = bare.split('#').next().unwrap_or("");
        let end = bare.find(['/', '?']).unwrap_or(bare.len());
        let (authority, path) = bare.split_at(end);
        if authority.is_empty() {
            return Err(Failure::Usage(format!("{text:?} names no host")));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let target = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { authority: authority.to_owned(), target, path })
    }
}

/// What to send beside the URL, and how long to wait.
struct Call {
    method: String,
    fields: Vec<String>,
    data: Option<String>,
    timeout: Duration,
}

/// `get [--timeout 10s] [-H 'N: V'] [-X METHOD] [-d DATA] [--retry N] [--retry-delay 1s] [-i] [-q] URL`
///
/// Prints the body. Exit code 0 for a 2xx or 3xx answer, 22 for any other (as curl --fail), 1 for no answer.
pub(super) fn get(args: &[OsString]) -> Outcome {
    let known = [
        value("timeout").or(b't'),
        value("header").or(b'H'),
        value("request").or(b'X'),
        value("data").or(b'd'),
        value("retry"),
        value("retry-delay"),
        switch("include").or(b'i'),
        switch("quiet").or(b'q'),
    ];
    let parsed = parse(args, &known)?;
    let [url] = &parsed.rest[..] else {
        return Err(Failure::usage("get [--timeout 10s] [-H 'NAME: VALUE'] [--retry N] URL"));
    };
    let url = Url::read(&url.to_string_lossy())?;
    let data = parsed.get("data").map(str::to_owned);
    let usual = if data.is_some() { "POST" } else { "GET" };
    let call = Call {
        method: parsed.get("request").unwrap_or(usual).to_owned(),
        fields: parsed.all("header").map(str::to_owned).collect(),
        data,
        timeout: parsed.duration("timeout")?.unwrap_or(Duration::from_secs(10)),
    };
    let retries: u32 = parsed.number("retry")?.unwrap_or(0);
    let delay = parsed.duration("retry-delay")?.unwrap_or(Duration::from_secs(1));
    let mut out: Box<dyn Write> =
        if parsed.has("quiet") { Box::new(io::sink()) } else { Box::new(io::stdout().lock()) };
    for left in (0..=retries).rev() {
        let last = left == 0;
        match once(&url, &call) {
            Ok(answer) if last || answer.is_good() => {
                if parsed.has("include") {
                    out.write_all(answer.head_text().as_bytes())
                        .map_err(Failure::system("standard output"))?;
                }
                out.write_all(&answer.body)
                    .and_then(|()| out.flush())
                    .map_err(Failure::system("standard output"))?;
                return Ok(if answer.is_good() { 0 } else { 22 });
            }
            Ok(_) => {}
            Err(failure) if last => return Err(failure),
            Err(failure) => complain("get", &chain(&failure)),
        }
        thread::sleep(delay);
    }
    Ok(1)
}

struct Answer {
    head: Head,
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn is_good(&self) -> bool {
        (200..400).contains(&self.status)
    }

    fn head_text(&self) -> String {
        let fields: Vec<String> =
            self.head.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{}\n{}\n", self.head.first, fields.concat())
    }
}

fn once(url: &Url, call: &Call) -> Result<Answer, Failure> {
    let end = Instant::now() + call.timeout;
    let stream = connect(&url.target, end)?;
    exchange(&stream, url, call, end).map_err(Failure::system(&url.target))
}

/// Tries every address of the target until the time is up.
pub(super) fn connect(target: &str, end: Instant) -> Result<TcpStream, Failure> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in resolve::socket_addresses(target)? {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::system(target)(io::Error::from(io::ErrorKind::TimedOut)));
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(Failure::system(target)(last))
}

/// A reader whose every read stops at one common deadline.
struct Deadline<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl Read for Deadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        match self.stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            other => other,
        }
    }
}

fn exchange(mut stream: &TcpStream, url: &Url, call: &Call, end: Instant) -> io::Result<Answer> {
    stream.write_all(request(url, call).as_bytes())?;
    let mut reader = BufReader::new(Deadline { stream, end });
    let head = Head::read(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head
        .first
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP answer"))?;
    let mut body = Vec::new();
    let empty = call.method == "HEAD" || status == 204 || status == 304;
    match head.body() {
        _ if empty => {}
        Body::Length(length) => {
            (&mut reader).take(length).read_to_end(&mut body)?;
            if (body.len() as u64) < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Body::Chunked => read_chunks(&mut reader, &mut body)?,
        Body::Unsaid => drop(reader.read_to_end(&mut body)?),
    }
    Ok(Answer { head, status, body })
}

fn request(url: &Url, call: &Call) -> String {
    let given = |name: &str| {
        call.fields
            .iter()
            .any(|field| field.split(':').next().is_some_and(|known| known.eq_ignore_ascii_case(name)))
    };
    let mut text = format!("{} {} HTTP/1.1\r\n", call.method, url.path);
    if !given("host") {
        text.push_str(&format!("Host: {}\r\n", url.authority));
    }
    if !given("user-agent") {
        text.push_str("User-Agent: podbox-get\r\n");
    }
    for field in &call.fields {
        text.push_str(&format!("{field}\r\n"));
    }
    let data = call.data.as_deref().unwrap_or("");
    if call.data.is_some() {
        text.push_str(&format!("Content-Length: {}\r\n", data.len()));
    }
    text + "Connection: close\r\n\r\n" + data
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn plain() -> Call {
        Call { method: "GET".into(), fields: Vec::new(), data: None, timeout: Duration::from_secs(10) }
    }

    fn answer_with(text: &'static str) -> Result<Answer, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::read(&format!("http://{}/x?y", listener.local_addr().unwrap())).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = Head::read(&mut BufReader::new(&stream)).unwrap().unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            head.first
        });
        let answer = once(&url, &plain());
        assert_eq!(server.join().unwrap(), "GET /x?y HTTP/1.1");
        answer
    }

    #[test]
    fn urls_may_leave_out_scheme_port_and_path() {
        let url = Url::read("web").unwrap();
        assert_eq!((url.target.as_str(), url.path.as_str()), ("web:80", "/"));
        let url = Url::read("http://[fd00::1]/a?b#c").unwrap();
        assert_eq!((url.target.as_str(), url.path.as_str()), ("[fd00::1]:80", "/a?b"));
        let url = Url::read("[fd00::1]:8080?q").unwrap();
        assert_eq!((url.target.as_str(), url.path.as_str()), ("[fd00::1]:8080", "/?q"));
        assert_eq!(Url::read("https://x").unwrap_err().to_string(), "get speaks http, not https");
    }

    #[test]
    fn a_body_may_come_by_length_in_chunks_or_up_to_the_end() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhi",
        ] {
            assert_eq!(answer_with(text).unwrap().body, b"hi", "{text}");
        }
    }

    #[test]
    fn a_body_that_stops_short_is_no_answer() {
        assert!(answer_with("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi").is_err());
    }

    #[test]
    fn only_2xx_and_3xx_are_good() {
        assert!(answer_with("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n").unwrap().is_good());
        assert!(!answer_with("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").unwrap().is_good());
    }

    #[test]
    fn a_field_of_the_callers_replaces_the_usual_one() {
        let call = Call { fields: vec!["host: other".into()], ..plain() };
        let text = request(&Url::read("web:8080").unwrap(), &call);
        assert!(text.contains("host: other\r\n") && !text.contains("Host: web"), "{text}");
    }
}
