//! Host names to addresses, without the C library's name service: a static program can crash in the modules
//! that `getaddrinfo` loads.
//!
//! ```text
//! literal address ─► hosts(5) ─► localhost, invalid (RFC 6761) ─► the servers of resolv.conf(5)
//! ```
//!
//! The first of these that knows a name has the last word. `config` reads resolv.conf and walks its search
//! list and servers; `query` puts one question to one server. Errors read as those of Go's resolver, which a
//! kubelet and containerd have, as people search for their words. Not here: nsswitch.conf, EDNS, caching.
//!
//! It stands in this crate because this is the lowest one that has to look names up.

mod config;
mod query;

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use self::config::Config;

/// Looks names up as two files say. They are read anew for every name that is not an address itself, and one
/// that cannot be read counts as empty.
#[derive(Clone, Debug)]
pub struct Resolver {
    hosts: PathBuf,
    resolv_conf: PathBuf,
}

impl Resolver {
    /// As this host is configured, or the container that this process runs in.
    pub fn system() -> Resolver {
        Resolver::of_files("/etc/hosts", "/etc/resolv.conf")
    }

    /// By other files than the system's, in the formats of hosts(5) and resolv.conf(5).
    pub fn of_files(hosts: impl Into<PathBuf>, resolv_conf: impl Into<PathBuf>) -> Resolver {
        Resolver { hosts: hosts.into(), resolv_conf: resolv_conf.into() }
    }

    /// The addresses of a host in the order in which to try them, IPv4 first; never none. An address, an IPv6
    /// one also in brackets, is its own.
    ///
    /// Takes as long as resolv.conf allows: for each name of the search list, `attempts` times `timeout` for
    /// every server. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    ///
    /// When there is no such name, or no server that says so; where several names were tried, a server's
    /// failure is told rather than that another name does not exist.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let found = in_table(&fs::read_to_string(&self.hosts).unwrap_or_default(), host);
        if !found.is_empty() {
            return Ok(found);
        }
        let last_label = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        // These two are never asked for (RFC 6761).
        if last_label.eq_ignore_ascii_case("localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if last_label.eq_ignore_ascii_case("invalid") {
            return Err(LookupError { host: host.to_owned(), server: None, reason: Reason::NoSuchHost });
        }
        Config::read(&fs::read_to_string(&self.resolv_conf).unwrap_or_default()).look_up(host).await
    }
}

/// Why a name has no address, in Go's words: `lookup NAME on SERVER: no such host`.
///
/// Source: Go's `net.DNSError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lookup {host}{}: {reason}", .server.map(|server| format!(" on {server}")).unwrap_or_default())]
#[non_exhaustive]
pub struct LookupError {
    /// The name as it was given, without a domain of the search list.
    pub host: String,
    /// The server that said so, or did not answer; none where none had to be asked.
    pub server: Option<SocketAddr>,
    /// What it comes down to.
    pub reason: Reason,
}

/// What a look-up fails for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The name does not exist, has no address, or cannot be a name.
    NoSuchHost,
    /// The last server did not answer in time.
    Timeout,
    /// The last server could not be asked, or answered nonsense: Go's words for it.
    Broken(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Reason::NoSuchHost => "no such host",
            Reason::Timeout => "i/o timeout",
            Reason::Broken(words) => words,
        })
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Reason {
        Reason::Broken(crate::words::errno(&error))
    }
}

/// `hosts(5)`: an address, then names; `#` begins a comment. A name may stand in several lines.
fn in_table(table: &str, host: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in table.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        if let Some(address) = address
            && words.any(|name| name.eq_ignore_ascii_case(host.trim_end_matches('.')))
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests;
