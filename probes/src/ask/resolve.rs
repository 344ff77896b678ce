//! Host names to addresses, without the C library's name service: a static program can crash in its modules.
//!
//! A probe nearly always asks the pod's address. A name is looked up among the host's static names only.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The addresses of a host, in the order in which to try them; or what Go's dialer says when there are none.
pub(super) fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let table = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut found = in_table(&table, host);
    if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
        found = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    if found.is_empty() {
        return Err(format!("dial tcp: lookup {host}: no such host"));
    }
    Ok(found)
}

/// `hosts(5)`: an address, then names; `#` begins a comment.
fn in_table(table: &str, host: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in table.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
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
mod tests {
    use super::*;

    #[test]
    fn the_hosts_table_is_read_as_hosts_5_says() {
        let table = "::1 six both\n127.0.0.1\tlocalhost # not this\n10.0.0.7 Db db.local both\nnonsense x\n";
        let text = |host| in_table(table, host).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text("db"), ["10.0.0.7"]);
        assert_eq!(text("db.local."), ["10.0.0.7"]);
        assert_eq!(text("both"), ["10.0.0.7", "::1"]);
        assert!(text("not").is_empty());
        assert!(text("x").is_empty());
    }

    #[test]
    fn a_name_that_is_nowhere_is_said_to_be_so_in_gos_words() {
        let error = resolve("no-such-host.invalid").unwrap_err();
        assert_eq!(error, "dial tcp: lookup no-such-host.invalid: no such host");
    }
}
