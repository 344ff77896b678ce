//! What there is below the cluster's domain, and behind an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One port that a Service or one of its endpoints is reached at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, unless it is the only one.
    pub name: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// The number.
    pub number: u16,
}

/// One address behind a headless Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod's hostname, if it has asked to be known by it.
    pub hostname: Option<String>,
    /// Where it is.
    pub address: IpAddr,
    /// What it serves.
    pub ports: Vec<Port>,
}

impl Endpoint {
    /// The label below the Service's name: the hostname, or the address with dashes.
    #[must_use]
    pub fn label(&self) -> String {
        match (&self.hostname, self.address) {
            (Some(hostname), _) => hostname.to_ascii_lowercase(),
            (None, address) => address.to_string().replace(['.', ':'], "-"),
        }
    }
}

/// What a Service's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Addresses of its own.
    Cluster {
        /// One a family.
        addresses: Vec<IpAddr>,
        /// The Service's ports.
        ports: Vec<Port>,
    },
    /// The addresses of those behind it that get traffic now.
    Headless(Vec<Endpoint>),
    /// Another name.
    External(String),
}

/// What is known of Services.
pub trait Names {
    /// Whether there is such a namespace.
    fn has_namespace(&self, namespace: &str) -> bool;
    /// The Service of that name.
    fn entry(&self, namespace: &str, service: &str) -> Option<Entry>;
    /// The names that an address has, below the domain's `svc`: `web.default`, `0.web.default`.
    fn names_of(&self, address: IpAddr) -> Vec<String>;
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Alias(String),
    Service { weight: u16, port: u16, target: String },
    Pointer(String),
    Text(&'static str),
    NameServer(String),
    Authority,
}

/// The kinds of records that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
    Srv,
    Ptr,
    Txt,
    Ns,
    Soa,
    Cname,
    Other,
}

/// What a question gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Records of the name that was asked for, and those of other names that help. None: there is the name, but nothing
    /// of that kind.
    Records(Vec<Data>, Vec<(String, IpAddr)>),
    /// There is no such name.
    NoName,
    /// Somebody else's business.
    Elsewhere,
}

impl Found {
    fn records(records: Vec<Data>) -> Found {
        Found::Records(records, Vec::new())
    }

    fn addresses(all: impl IntoIterator<Item = IpAddr>, kind: Kind) -> Found {
        Found::records(all.into_iter().filter(|ip| kind == kind_of(*ip)).map(Data::Address).collect())
    }
}

fn kind_of(address: IpAddr) -> Kind {
    if address.is_ipv4() { Kind::A } else { Kind::Aaaa }
}

/// The part of all names that is answered here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    domain: String,
}

impl Zone {
    /// `cluster.local`, with or without a dot at its end.
    #[must_use]
    pub fn new(domain: &str) -> Zone {
        Zone { domain: domain.trim_end_matches('.').to_ascii_lowercase() }
    }

    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// The labels are in lower case, the first one first.
    pub(super) fn look_up(&self, names: &dyn Names, labels: &[String], kind: Kind) -> Found {
        if let Some(address) = reversed(labels) {
            let known = names.names_of(address);
            return match (known.is_empty(), kind) {
                (true, _) => Found::Elsewhere,
                (false, Kind::Ptr) => {
                    let whole = known.iter().map(|name| format!("{name}.svc.{}", self.domain));
                    Found::records(whole.map(Data::Pointer).collect())
                }
                (false, _) => Found::records(Vec::new()),
            };
        }
        let own: Vec<&str> = self.domain.split('.').collect();
        let Some(below) = labels.len().checked_sub(own.len()) else { return Found::Elsewhere };
        if !labels[below..].iter().eq(own) {
            return Found::Elsewhere;
        }
        let below: Vec<&str> = labels[..below].iter().map(String::as_str).collect();
        match below[..] {
            [] => match kind {
                Kind::Soa => Found::records(vec![Data::Authority]),
                Kind::Ns => Found::records(vec![Data::NameServer(format!("ns.dns.{}", self.domain))]),
                _ => Found::records(Vec::new()),
            },
            ["dns-version"] if kind == Kind::Txt => Found::records(vec![Data::Text("1.1.0")]),
            ["dns-version" | "svc" | "pod"] => Found::records(Vec::new()),
            [namespace, "svc" | "pod"] if names.has_namespace(namespace) => Found::records(Vec::new()),
            [address, namespace, "pod"] if names.has_namespace(namespace) => match dashed(address) {
                Some(address) => Found::addresses([address], kind),
                None => Found::NoName,
            },
            [.., service, namespace, "svc"] => match names.entry(namespace, service) {
                Some(entry) => {
                    let name = format!("{service}.{namespace}.svc.{}", self.domain);
                    of_service(&entry, &name, &below[..below.len() - 3], kind)
                }
                None => Found::NoName,
            },
            _ => Found::NoName,
        }
    }
}

/// `rest` is what stands before the Service's name.
fn of_service(entry: &Entry, name: &str, rest: &[&str], kind: Kind) -> Found {
    let wanted = match rest {
        [] => None,
        [port, protocol] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
            (Some(port), Some(protocol)) => Some((port, protocol)),
            _ => return Found::NoName,
        },
        [label] => return of_endpoint(entry, name, label, kind),
        _ => return Found::NoName,
    };
    let fits = |port: &&Port| {
        wanted.is_none_or(|(name, protocol)| {
            port.protocol == protocol && port.name.as_deref().unwrap_or_default().eq_ignore_ascii_case(name)
        })
    };
    match entry {
        Entry::External(target) => match wanted {
            Some(_) => Found::NoName,
            None => Found::records(vec![Data::Alias(target.clone())]),
        },
        Entry::Cluster { addresses, ports } => {
            let ports: Vec<u16> = ports.iter().filter(fits).map(|port| port.number).collect();
            if ports.is_empty() {
                return Found::NoName;
            }
            if kind != Kind::Srv {
                return Found::addresses(addresses.iter().copied(), kind);
            }
            let targets = ports.into_iter().map(|port| (port, name.to_owned())).collect();
            located(targets, addresses.iter().map(|ip| (name.to_owned(), *ip)).collect())
        }
        Entry::Headless(endpoints) => {
            let serves = |endpoint: &&Endpoint| wanted.is_none() || endpoint.ports.iter().any(|p| fits(&p));
            let there: Vec<&Endpoint> = endpoints.iter().filter(serves).collect();
            if there.is_empty() {
                return Found::NoName;
            }
            if kind != Kind::Srv {
                return Found::addresses(there.iter().map(|endpoint| endpoint.address), kind);
            }
            let whole = |endpoint: &Endpoint| format!("{}.{name}", endpoint.label());
            let mut targets: Vec<(u16, String)> = Vec::new();
            for endpoint in &there {
                for port in endpoint.ports.iter().filter(fits) {
                    let target = (port.number, whole(endpoint));
                    // Both addresses of a pod have its hostname: one record.
                    if !targets.contains(&target) {
                        targets.push(target);
                    }
                }
            }
            located(targets, there.iter().map(|endpoint| (whole(endpoint), endpoint.address)).collect())
        }
    }
}

fn located(targets: Vec<(u16, String)>, helping: Vec<(String, IpAddr)>) -> Found {
    let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(1).max(1);
    let records = targets.into_iter().map(|(port, target)| Data::Service { weight, port, target });
    Found::Records(records.collect(), helping)
}

fn of_endpoint(entry: &Entry, name: &str, label: &str, kind: Kind) -> Found {
    let Entry::Headless(endpoints) = entry else { return Found::NoName };
    let there: Vec<Endpoint> = endpoints.iter().filter(|e| e.label() == label).cloned().collect();
    match there.is_empty() {
        true => Found::NoName,
        false => of_service(&Entry::Headless(there), name, &[], kind),
    }
}

/// `10-244-0-5`, `fd70--5`: the address in a pod's name.
fn dashed(label: &str) -> Option<IpAddr> {
    if !label.contains("--") && label.matches('-').count() == 3 {
        return label.replace('-', ".").parse::<Ipv4Addr>().ok().map(Into::into);
    }
    label.replace('-', ":").parse::<Ipv6Addr>().ok().map(Into::into)
}

/// The address in `5.0.244.10.in-addr.arpa` or in the 32 digits before `ip6.arpa`.
fn reversed(labels: &[String]) -> Option<IpAddr> {
    let (rest, suffix) = labels.split_at(labels.len().checked_sub(2)?);
    match (suffix[0].as_str(), suffix[1].as_str(), rest.len()) {
        ("in-addr", "arpa", 4) => {
            let text: Vec<&str> = rest.iter().rev().map(String::as_str).collect();
            text.join(".").parse::<Ipv4Addr>().ok().map(Into::into)
        }
        ("ip6", "arpa", 32) => {
            let mut bits = 0u128;
            for label in rest.iter().rev() {
                let digit =
                    if label.len() == 1 { u128::from_str_radix(label, 16).ok()? } else { return None };
                bits = bits << 4 | digit;
            }
            Some(Ipv6Addr::from_bits(bits).into())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(super) mod tests;
