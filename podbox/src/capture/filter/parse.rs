//! From text to filter.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use super::{Filter, Kind, Primitive, Side, Transport, masked, whole};

/// Nobody reads a filter that is nested deeper; a stack has an end.
const DEEPEST: usize = 64;

/// What a filter's text has wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    text: String,
    at: Range<usize>,
    problem: String,
}

impl fmt::Display for FilterError {
    /// The problem, the text, and a mark below the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let before = self.text[..self.at.start].chars().count();
        let marked = self.text[self.at.clone()].chars().count().max(1);
        write!(f, "the filter cannot be understood: {}\n  {shown}\n  ", self.problem)?;
        write!(f, "{}{}", " ".repeat(before), "^".repeat(marked))
    }
}

impl std::error::Error for FilterError {}

/// Reads a filter; `None` if there is nothing in the text, which every packet fits.
///
/// # Errors
/// The first mistake, with its place.
pub fn parse(text: &str) -> Result<Option<Filter>, FilterError> {
    let words = words(text);
    if words.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { text, words, next: 0, depth: 0 };
    let filter = parser.chain()?;
    match parser.peek() {
        None => Ok(Some(filter)),
        Some(")") => Err(parser.wrong("this bracket closes nothing")),
        Some(_) => Err(parser.wrong("expected \"and\" or \"or\" before this")),
    }
}

/// What a character is to the reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    /// Stands for itself.
    Bracket,
    /// Makes a word with its like.
    Operator,
    Letter,
}

fn class(c: char) -> Class {
    match c {
        '(' | ')' | '!' => Class::Bracket,
        '&' | '|' => Class::Operator,
        c if c.is_whitespace() => Class::Blank,
        _ => Class::Letter,
    }
}

/// Words; brackets and operators need no blanks around them.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut before = Class::Blank;
    for (at, c) in text.char_indices() {
        let (class, end) = (class(c), at + c.len_utf8());
        match found.last_mut() {
            Some(last) if class == before && matches!(class, Class::Operator | Class::Letter) => {
                last.end = end
            }
            _ if class == Class::Blank => {}
            _ => found.push(at..end),
        }
        before = class;
    }
    found
}

struct Parser<'a> {
    text: &'a str,
    words: Vec<Range<usize>>,
    next: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).map(|at| &self.text[at.clone()])
    }

    fn take(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    /// Takes the next word if it is one of these.
    fn accept(&mut self, wanted: &[&str]) -> bool {
        let fits = self.peek().is_some_and(|word| wanted.contains(&word));
        self.next += usize::from(fits);
        fits
    }

    /// The next word is wrong, or missing.
    fn wrong(&self, problem: impl Into<String>) -> FilterError {
        let end = self.text.trim_end().len();
        let at = self.words.get(self.next).cloned().unwrap_or(end..end);
        FilterError { text: self.text.to_owned(), at, problem: problem.into() }
    }

    /// Filters joined by `and` and `or`, from the left.
    fn chain(&mut self) -> Result<Filter, FilterError> {
        let mut left = self.one()?;
        loop {
            if self.accept(&["and", "&&"]) {
                left = Filter::And(Box::new(left), Box::new(self.one()?));
            } else if self.accept(&["or", "||"]) {
                left = Filter::Or(Box::new(left), Box::new(self.one()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        if self.depth == DEEPEST {
            return Err(self.wrong(format!("it is nested more than {DEEPEST} deep")));
        }
        self.depth += 1;
        let found = self.nested();
        self.depth -= 1;
        found
    }

    fn nested(&mut self) -> Result<Filter, FilterError> {
        if self.accept(&["not", "!"]) {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.accept(&["("]) {
            let inner = self.chain()?;
            if !self.accept(&[")"]) {
                return Err(self.wrong("expected a closing bracket here"));
            }
            return Ok(inner);
        }
        self.primitive().map(Filter::Is)
    }

    fn primitive(&mut self) -> Result<Primitive, FilterError> {
        let transport = self.transport();
        let side = match self.peek() {
            Some("src") => Side::Source,
            Some("dst") => Side::Destination,
            _ => Side::Either,
        };
        self.next += usize::from(side != Side::Either);
        let sided = side != Side::Either;
        match (self.peek(), transport) {
            (Some("port"), _) => {
                self.next += 1;
                let port = self.port("a port number from 0 to 65535")?;
                Ok(Primitive::Port(transport, side, port, port))
            }
            (Some("portrange"), _) => {
                self.next += 1;
                let (first, last) = self.port_range()?;
                Ok(Primitive::Port(transport, side, first, last))
            }
            (_, Some(transport)) if !sided => Ok(Primitive::Kind(Kind::With(transport))),
            (_, Some(_)) => Err(self.wrong("expected \"port\" or \"portrange\" here")),
            (Some("host"), None) => {
                self.next += 1;
                self.address("an address, such as 10.244.0.5").map(|ip| Primitive::Net(side, ip, whole(ip)))
            }
            (Some("net"), None) => {
                self.next += 1;
                self.network(side)
            }
            (Some(word), None) if !sided && kind(word).is_some() => {
                self.next += 1;
                kind(word).map(Primitive::Kind).ok_or_else(|| self.wrong("unknown"))
            }
            (Some(word), None) if word.parse::<IpAddr>().is_ok() => {
                self.address("an address").map(|ip| Primitive::Net(side, ip, whole(ip)))
            }
            (None, None) => Err(self.wrong("something is missing here")),
            (Some(_), None) if sided => {
                Err(self.wrong("expected \"host\", \"net\", \"port\", \"portrange\" or an address here"))
            }
            (Some(word), None) => Err(self.wrong(format!(
                "{word:?} is none of its words: not, and, or, (), ip, ip6, arp, icmp, icmp6, tcp, udp, sctp, src, dst, host, net, port, portrange"
            ))),
        }
    }

    fn transport(&mut self) -> Option<Transport> {
        let transport = match self.peek()? {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            "sctp" => Transport::Sctp,
            _ => return None,
        };
        self.next += 1;
        Some(transport)
    }

    fn port(&mut self, what: &str) -> Result<u16, FilterError> {
        let Some(Ok(port)) = self.peek().map(str::parse) else {
            return Err(self.wrong(format!("expected {what} here")));
        };
        self.next += 1;
        Ok(port)
    }

    fn port_range(&mut self) -> Result<(u16, u16), FilterError> {
        let range = self.peek().and_then(|word| {
            let (first, last) = word.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        match range {
            Some((first, last)) if first <= last => {
                self.next += 1;
                Ok((first, last))
            }
            _ => Err(self.wrong("expected two port numbers here, such as 8000-8099, the lower one first")),
        }
    }

    fn address(&mut self, what: &str) -> Result<IpAddr, FilterError> {
        let parsed = self.peek().and_then(|word| word.parse().ok());
        let address = parsed.ok_or_else(|| self.wrong(format!("expected {what} here")))?;
        self.take();
        Ok(address)
    }

    fn network(&mut self, side: Side) -> Result<Primitive, FilterError> {
        let parsed = self.peek().and_then(|word| {
            let (address, prefix) = word.split_once('/')?;
            Some((address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?))
        });
        match parsed {
            Some((address, prefix)) if prefix > whole(address) => {
                Err(self.wrong(format!("a prefix of {address} has at most {} bits", whole(address))))
            }
            Some((address, prefix)) if masked(address, prefix) != address => {
                let network = masked(address, prefix);
                Err(self.wrong(format!(
                    "{address} has bits behind the prefix; the network is {network}/{prefix}"
                )))
            }
            Some((address, prefix)) => {
                self.next += 1;
                Ok(Primitive::Net(side, address, prefix))
            }
            None => Err(self.wrong("expected a network here, such as 10.244.0.0/16")),
        }
    }
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "ip" => Kind::Ip,
        "ip6" => Kind::Ip6,
        "arp" => Kind::Arp,
        "icmp" => Kind::Icmp,
        "icmp6" => Kind::Icmp6,
        _ => return None,
    })
}
