//! /etc/hosts, /etc/hostname and /etc/resolv.conf of a pod, as a kubelet writes them. Pure.
//!
//! Source: kubelet `kubelet_pods.go` (managedHostsFileContent) and `network/dns/dns.go`.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::pod::{CLUSTER_DOMAIN, Dns, DnsPolicy, HostAlias, Pod};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// /etc/hosts. `host_file` is the host's own, used with `hostNetwork`.
#[must_use]
pub fn hosts(pod: &Pod, ips: &[IpAddr], host_file: &str) -> String {
    let mut text = String::new();
    if pod.host.network {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(host_file);
    } else {
        text.push_str("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n");
        text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\n");
        text.push_str("fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n");
        text.push_str("fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
        for ip in ips {
            // Writing to a String cannot fail.
            let _ = match &pod.fqdn {
                Some(fqdn) => writeln!(text, "{ip}\t{fqdn}\t{}", pod.hostname),
                None => writeln!(text, "{ip}\t{}", pod.hostname),
            };
        }
    }
    text.push_str(&aliases(&pod.host_aliases));
    text
}

fn aliases(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = "\n# Entries added by HostAliases.\n".to_owned();
    for alias in aliases {
        let _ = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.join("\t"));
    }
    text
}

/// What of the host's resolv.conf matters to a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

/// Where a pod asks for the names of the cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cluster<'a> {
    /// None: it cannot, and has the host's servers, as under a kubelet that knows no cluster DNS.
    pub servers: &'a [IpAddr],
    /// The pod's own, whose Services it knows by their first name.
    pub namespace: &'a str,
}

/// How many dots a name has that is tried as it is first (kubelet, `defaultDNSOptions`).
const NDOTS: &str = "5";

/// /etc/resolv.conf, and warnings in the kubelet's words (event DNSConfigForming).
#[must_use]
pub fn resolv_conf(dns: &Dns, cluster: &Cluster<'_>, host_file: &str) -> (String, Vec<String>) {
    let mut resolver = match dns.policy {
        DnsPolicy::None => Resolver::default(),
        DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet if !cluster.servers.is_empty() => {
            of_cluster(cluster, parse(host_file).searches)
        }
        DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet | DnsPolicy::Default => parse(host_file),
    };
    for server in &dns.nameservers {
        push_new(&mut resolver.nameservers, server);
    }
    for search in &dns.searches {
        push_new(&mut resolver.searches, search);
    }
    for (name, value) in &dns.options {
        resolver.options.retain(|(known, _)| known != name);
        resolver.options.push((name.clone(), value.clone()));
    }
    let mut warnings = Vec::new();
    if resolver.nameservers.len() > MAX_NAMESERVERS {
        resolver.nameservers.truncate(MAX_NAMESERVERS);
        warnings.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            resolver.nameservers.join(" ")
        ));
    }
    if resolver.searches.len() > MAX_SEARCHES {
        resolver.searches.truncate(MAX_SEARCHES);
        warnings.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            resolver.searches.join(" ")
        ));
    }
    (print(&resolver), warnings)
}

fn of_cluster(cluster: &Cluster<'_>, of_host: Vec<String>) -> Resolver {
    let mut searches = vec![
        format!("{}.svc.{CLUSTER_DOMAIN}", cluster.namespace),
        format!("svc.{CLUSTER_DOMAIN}"),
        CLUSTER_DOMAIN.to_owned(),
    ];
    for search in &of_host {
        push_new(&mut searches, search);
    }
    Resolver {
        nameservers: cluster.servers.iter().map(ToString::to_string).collect(),
        searches,
        options: vec![("ndots".to_owned(), Some(NDOTS.to_owned()))],
    }
}

fn push_new(list: &mut Vec<String>, item: &str) {
    let item = if item == "." { item } else { item.trim_end_matches('.') };
    if !list.iter().any(|known| known == item) {
        list.push(item.to_owned());
    }
}

fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => resolver.nameservers.extend(words.next().map(str::to_owned)),
            Some("search" | "domain") => resolver.searches = words.map(str::to_owned).collect(),
            Some("options") => resolver.options.extend(words.map(|word| match word.split_once(':') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            })),
            _ => {}
        }
    }
    resolver
}

fn print(resolver: &Resolver) -> String {
    let mut text = String::new();
    if !resolver.searches.is_empty() {
        let _ = writeln!(text, "search {}", resolver.searches.join(" "));
    }
    for server in &resolver.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !resolver.options.is_empty() {
        let words = resolver.options.iter().map(|(name, value)| match value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        });
        let _ = writeln!(text, "options {}", words.collect::<Vec<_>>().join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolv_conf(dns: &Dns, host_file: &str) -> (String, Vec<String>) {
        super::resolv_conf(dns, &Cluster::default(), host_file)
    }

    fn dns(policy: DnsPolicy) -> Dns {
        Dns { policy, ..Dns::default() }
    }

    #[test]
    fn the_default_policy_takes_the_hosts_servers_searches_and_options() {
        let host = "# made by hand\ndomain a.b\nsearch x.y z\nnameserver 192.0.2.1 # first\nnameserver 192.0.2.2\noptions edns0 timeout:2\n";
        let (text, warnings) = resolv_conf(&dns(DnsPolicy::Default), host);
        assert_eq!(
            text,
            "search x.y z\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0 timeout:2\n"
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn cluster_first_asks_the_cluster_with_its_searches_before_the_hosts() {
        let servers = ["10.96.0.10".parse().unwrap()];
        let host = "search example.com\nnameserver 192.0.2.1\noptions timeout:2\n";
        let cluster = Cluster { servers: &servers, namespace: "team" };
        let (text, warnings) = super::resolv_conf(&dns(DnsPolicy::ClusterFirst), &cluster, host);
        let expected = "search team.svc.cluster.local svc.cluster.local cluster.local example.com\n\
                        nameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!((text.as_str(), warnings.len()), (expected, 0));
        let without = Cluster { servers: &[], namespace: "team" };
        let (text, _) = super::resolv_conf(&dns(DnsPolicy::ClusterFirst), &without, host);
        assert_eq!(text, "search example.com\nnameserver 192.0.2.1\noptions timeout:2\n");
    }

    #[test]
    fn policy_none_takes_only_the_pods_own_configuration() {
        let config = Dns {
            policy: DnsPolicy::None,
            nameservers: vec!["1.2.3.4".into()],
            searches: vec!["ns1.svc.".into()],
            options: vec![("ndots".into(), Some("2".into())), ("edns0".into(), None)],
        };
        let (text, _) = resolv_conf(&config, "nameserver 9.9.9.9\n");
        assert_eq!(text, "search ns1.svc\nnameserver 1.2.3.4\noptions ndots:2 edns0\n");
    }

    #[test]
    fn a_fourth_nameserver_is_cut_and_said() {
        let mut config = dns(DnsPolicy::Default);
        config.nameservers = (1..=3).map(|n| format!("10.0.0.{n}")).collect();
        let (text, warnings) = resolv_conf(&config, "nameserver 192.0.2.1\n");
        assert_eq!(text.matches("nameserver").count(), 3);
        assert!(warnings[0].starts_with("Nameserver limits were exceeded"));
    }

    #[test]
    fn the_pods_options_override_the_hosts_by_name() {
        let mut config = dns(DnsPolicy::Default);
        config.options = vec![("ndots".into(), Some("5".into()))];
        let (text, _) = resolv_conf(&config, "nameserver 1.1.1.1\noptions ndots:1 rotate\n");
        assert_eq!(text, "nameserver 1.1.1.1\noptions rotate ndots:5\n");
    }
}
