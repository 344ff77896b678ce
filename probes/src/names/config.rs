//! resolv.conf(5): whom to ask, for what, how often and how long.
//!
//! Source of the order and the limits: the manual page and Go's `net/dnsclient_unix.go`.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use simple_dns::{Name, TYPE};
use tokio::time::timeout;

use super::{LookupError, Reason, query::query};

const PORT: u16 = 53;
/// More servers than this are not asked (`MAXNS`).
const MOST_SERVERS: usize = 3;
/// What resolv.conf(5) cuts larger values down to; the timeout is in seconds.
const MOST_DOTS: u32 = 15;
const MOST_ATTEMPTS: u32 = 5;
const LONGEST_TIMEOUT: u32 = 30;

/// Whom to ask, and how.
#[derive(Debug, PartialEq)]
pub(super) struct Config {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) ndots: usize,
    /// For one question to one server.
    pub(super) wait: Duration,
    /// How often every server is asked.
    pub(super) attempts: u32,
}

/// Who gave no address, and why; see `LookupError`.
type Miss = (Option<SocketAddr>, Reason);

impl Config {
    /// Without a server it is this host's own.
    pub(super) fn read(text: &str) -> Config {
        let mut config = Config {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            wait: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or_default().split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => config.servers.extend(words.next().and_then(server)),
                Some("search" | "domain") => config.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        config.servers.truncate(MOST_SERVERS);
        if config.servers.is_empty() {
            config.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        config
    }

    fn option(&mut self, word: &str) {
        match word.split_once(':').map(|(name, value)| (name, value.parse::<u32>())) {
            Some(("ndots", Ok(value))) => self.ndots = value.min(MOST_DOTS) as usize,
            Some(("timeout", Ok(value))) => {
                self.wait = Duration::from_secs(value.clamp(1, LONGEST_TIMEOUT).into());
            }
            Some(("attempts", Ok(value))) => self.attempts = value.clamp(1, MOST_ATTEMPTS),
            _ => {}
        }
    }

    /// The addresses of the first name that has some.
    pub(super) async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let mut told: Miss = (None, Reason::NoSuchHost);
        for name in self.names(host) {
            let (v4, v6) = tokio::join!(self.ask(&name, TYPE::A), self.ask(&name, TYPE::AAAA));
            let (found, misses): (Vec<_>, Vec<_>) = [v4, v6].into_iter().partition(Result::is_ok);
            let found: Vec<IpAddr> = found.into_iter().flatten().flatten().collect();
            if !found.is_empty() {
                return Ok(found);
            }
            for miss in misses.into_iter().filter_map(Result::err) {
                // The first one, but a failure says more than that some other name does not exist.
                if told.0.is_none() || told.1 == Reason::NoSuchHost && miss.1 != Reason::NoSuchHost {
                    told = miss;
                }
            }
        }
        let (server, reason) = told;
        Err(LookupError { host: host.to_owned(), server, reason })
    }

    /// What to ask for, in order: the search list comes first for names with few dots.
    pub(super) fn names(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let below = self.search.iter().map(|domain| format!("{host}.{}", domain.trim_end_matches('.')));
        let mut names: Vec<String> = below.filter(|name| !name.ends_with('.')).collect();
        let dots = host.matches('.').count();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, host.to_owned());
        names
    }

    /// The addresses, never none, that the first server to answer gives.
    async fn ask(&self, name: &str, kind: TYPE) -> Result<Vec<IpAddr>, Miss> {
        let mut last = (None, Reason::NoSuchHost);
        let Ok(question) = Name::new(name) else { return Err(last) };
        for _ in 0..self.attempts {
            for server in &self.servers {
                let reason = match timeout(self.wait, query(*server, &question, kind)).await {
                    Ok(Ok(found)) if !found.is_empty() => return Ok(found),
                    Ok(Ok(_)) => return Err((Some(*server), Reason::NoSuchHost)),
                    Ok(Err(error)) => error.into(),
                    Err(_) => Reason::Timeout,
                };
                last = (Some(*server), reason);
            }
        }
        Err(last)
    }
}

/// An address, a link-local one with its interface: `fe80::1%eth0`, `fe80::1%2`.
fn server(word: &str) -> Option<SocketAddr> {
    if let Ok(address) = word.parse() {
        return Some(SocketAddr::new(address, PORT));
    }
    let (address, interface) = word.split_once('%')?;
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = interface.parse().ok().or_else(|| {
        // What `if_nametoindex` tells, but without a system call that this crate would need a library for.
        in_interfaces(&fs::read_to_string("/proc/net/if_inet6").unwrap_or_default(), interface)
    })?;
    Some(SocketAddrV6::new(address, PORT, 0, scope).into())
}

/// The number of an interface in the kernel's table of IPv6 addresses, which has every one that a link-local
/// server could be asked over. A line is: address, number in hexadecimal, prefix length, scope, flags, name.
pub(super) fn in_interfaces(table: &str, name: &str) -> Option<u32> {
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, number, .., known] = words[..] else { return None };
        (known == name).then(|| u32::from_str_radix(number, 16).ok()).flatten()
    };
    table.lines().find_map(of_line)
}
