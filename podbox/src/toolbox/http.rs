//! The little of HTTP/1.1 (RFC 9112) that both the server and the client need: a head of lines, and bodies
//! by length, in chunks, or up to the end.

use std::io::{self, BufRead, Read};

/// A longer head is an attack or a mistake.
const HEAD_LIMIT: u64 = 64 << 10;

/// The first line and the header fields of a message.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    /// Request line or status line.
    pub(super) first: String,
    /// Fields in order, names as they were sent.
    pub(super) fields: Vec<(String, String)>,
}

impl Head {
    /// Reads up to the empty line; `None` if the peer closed before it sent anything.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut limited = from.take(HEAD_LIMIT);
        let mut first = String::new();
        if limited.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut head = Self { first: first.trim_end().to_owned(), fields: Vec::new() };
        loop {
            let mut line = String::new();
            if limited.read_line(&mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the head does not end"));
            }
            let line = line.trim_end();
            if line.is_empty() {
                return Ok(Some(head));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a header field has no colon"))?;
            head.fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The first field of that name, whatever its case.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.field(name)
            .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    }

    /// Whether the connection is to end after this message.
    pub(super) fn closes(&self) -> bool {
        let old = self.first.ends_with("HTTP/1.0") || self.first.starts_with("HTTP/1.0");
        if old { !self.has_token("connection", "keep-alive") } else { self.has_token("connection", "close") }
    }

    /// How the body after this head is measured.
    pub(super) fn body(&self) -> Body {
        if self.has_token("transfer-encoding", "chunked") {
            return Body::Chunked;
        }
        match self.field("content-length").and_then(|value| value.parse().ok()) {
            Some(length) => Body::Length(length),
            None => Body::Unsaid,
        }
    }
}

/// Where a body ends.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Body {
    /// After this many bytes.
    Length(u64),
    /// After the chunk of length 0.
    Chunked,
    /// Nothing is said: none in a request, up to the end of the connection in a response.
    Unsaid,
}

/// Reads one chunked body, whole.
pub(super) fn read_chunks(from: &mut impl BufRead, to: &mut impl io::Write) -> io::Result<()> {
    loop {
        let mut line = String::new();
        from.take(1024).read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a chunk has no length"))?;
        if size == 0 {
            // Trailer fields, if any, end with an empty line.
            loop {
                line.clear();
                if from.take(HEAD_LIMIT).read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                    return Ok(());
                }
            }
        }
        let copied = io::copy(&mut from.take(size), to)?;
        if copied < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.clear();
        from.take(2).read_line(&mut line)?;
    }
}

/// The reason phrase of a status code.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        418 => "I'm a teapot",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::read(&mut text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn fields_are_found_whatever_their_case() {
        let head = head("GET / HTTP/1.1\r\nHost: web\r\nCONTENT-length:  12\r\n\r\nrest");
        assert_eq!(head.first, "GET / HTTP/1.1");
        assert_eq!(head.field("host"), Some("web"));
        assert_eq!(head.body(), Body::Length(12));
        assert!(!head.closes());
    }

    #[test]
    fn old_clients_close_unless_they_say_otherwise() {
        assert!(head("GET / HTTP/1.0\r\n\r\n").closes());
        assert!(!head("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").closes());
        assert!(head("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").closes());
    }

    #[test]
    fn a_head_that_stops_short_is_an_error_and_no_head_is_none() {
        assert!(Head::read(&mut "GET / HTTP/1.1\r\nHost".as_bytes()).is_err());
        assert_eq!(Head::read(&mut "".as_bytes()).unwrap(), None);
    }

    #[test]
    fn chunks_are_put_together() {
        let mut body = Vec::new();
        let mut from = "4\r\nWiki\r\n6;x=y\r\npedia \r\n0\r\nTrailer: x\r\n\r\nnext".as_bytes();
        read_chunks(&mut from, &mut body).unwrap();
        assert_eq!((body.as_slice(), from), (&b"Wikipedia "[..], &b"next"[..]));
    }
}
