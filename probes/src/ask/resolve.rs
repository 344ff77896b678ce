//! Host names to addresses, without the C library's name service: a static program can crash in its modules.
//!
//! A probe nearly always asks the pod's address. A name is looked up as this host would: among its static
//! names, then by its name servers.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::dns;

/// The addresses of a host, in the order in which to try them; or what Go's dialer says when there are none.
pub(super) async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let file = |path| fs::read_to_string(path).unwrap_or_default();
    let found = in_table(&file("/etc/hosts"), host);
    if !found.is_empty() {
        return Ok(found);
    }
    let is = |special: &str| {
        let mut labels = host.trim_end_matches('.').rsplit('.');
        labels.next().is_some_and(|last| last.eq_ignore_ascii_case(special))
    };
    // These two are never asked for (RFC 6761).
    if is("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let asked = if is("invalid") {
        Err(": no such host".to_owned())
    } else {
        dns::Config::read(&file("/etc/resolv.conf")).look_up(host).await
    };
    asked.map_err(|text| format!("dial tcp: lookup {host}{text}"))
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

    #[tokio::test]
    async fn names_of_their_own_kind_are_never_asked_for() {
        let error = resolve("no-such-host.invalid").await.unwrap_err();
        assert_eq!(error, "dial tcp: lookup no-such-host.invalid: no such host");
        assert!(resolve("here.localhost").await.unwrap().contains(&Ipv4Addr::LOCALHOST.into()));
    }
}
