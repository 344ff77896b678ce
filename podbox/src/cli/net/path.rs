//! `podbox net path`: a packet is sent, and followed.

mod clues;
mod target;
mod watch;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use netplugin::{Probe, Protocol};

use crate::config::duration;
use crate::path::{self, Evidence, Followed, Report, judge};

use super::super::pods::{self, Found};
use super::super::{Failure, Session, completion, names, out};
use target::Target;
use watch::Watchers;

/// Arguments of `net path`.
#[derive(Debug, Args)]
pub(in crate::cli) struct PathArgs {
    /// Who sends: a pod, or host
    #[arg(value_name = "FROM", add = completion::pod())]
    from: String,
    /// Who is meant: a pod, svc/NAME, NAME.NAMESPACE.svc, an IP address, or host; with a port, by number or name
    #[arg(value_name = "TO[:PORT]")]
    to: String,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// Send a datagram instead of opening a connection
    #[arg(long)]
    udp: bool,
    /// Go by IPv6 where there is a choice
    #[arg(long, short = '6')]
    ipv6: bool,
    /// How long to wait for an answer
    #[arg(long, value_parser = duration, default_value = "2s", value_name = "TIME")]
    timeout: Duration,
    /// `json` prints one object
    #[arg(long, short, value_parser = ["text", "json"], default_value = "text")]
    output: String,
}

/// Somebody with a network to look into.
#[derive(Clone, Debug)]
struct Place {
    /// `pod default/web`, or `host`.
    name: String,
    /// None is the host's.
    netns: Option<PathBuf>,
    addresses: Vec<IpAddr>,
}

impl Place {
    fn host(session: &Session) -> Place {
        let addresses = session.settings.network.subnets().map(|subnet| subnet.gateway()).collect();
        Place { name: "host".to_owned(), netns: None, addresses }
    }

    /// A pod's own network; the host, where it is in the host's.
    fn of(session: &Session, found: &Found) -> Result<Place, Failure> {
        if found.pod.host.network {
            return Ok(Place::host(session));
        }
        let netns = found.dir.namespaces().join("net");
        let facts = found.memory().and_then(|memory| memory.sandbox.facts().cloned());
        match facts {
            Some(facts) if netns.exists() && !facts.ips.is_empty() => {
                Ok(Place { name: format!("pod {}", found.name()), netns: Some(netns), addresses: facts.ips })
            }
            _ => Err(Failure::pod(format!("pod {} has no network now", found.name()))),
        }
    }

    fn address(&self, like: IpAddr) -> Result<IpAddr, Failure> {
        let family = |address: &&IpAddr| address.is_ipv4() == like.is_ipv4();
        let own = self.addresses.iter().find(family).copied();
        own.ok_or_else(|| {
            let family = if like.is_ipv4() { "IPv4" } else { "IPv6" };
            Failure::wrong(format!("{} has no {family} address to send from", self.name))
        })
    }
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &PathArgs) -> Result<ExitCode, Failure> {
    names::require_root("follow a packet")?;
    let protocol = if args.udp { Protocol::Udp } else { Protocol::Tcp };
    let from = sender(session, args)?;
    let target = Target::find(session, args, protocol)?;
    let source = from.address(target.address.ip())?;
    let host = Place::host(session);
    // The host's own sockets choose their address by the way they go.
    let source = if from.netns.is_none() { unspecified(source) } else { source };
    let probe = Probe::open(from.netns.as_deref(), protocol, source)
        .map_err(|error| Failure::cannot(format!("open a socket in {}: {error}", from.name)))?;
    let mut places = vec![from.clone()];
    for place in std::iter::once(&host).chain(&target.receivers) {
        if !places.iter().any(|known| known.netns == place.netns) {
            places.push(place.clone());
        }
    }
    let followed = Followed {
        port: probe.local().port(),
        source,
        destinations: target
            .receivers
            .iter()
            .flat_map(|place| place.addresses.clone())
            .chain([target.address.ip()])
            .collect(),
    };
    let mut watchers = Watchers::begin(&places, &followed, probe.local(), protocol)?;
    let outcome = watchers.follow(&probe, target.address, args.timeout)?;
    let (hops, decisions) = watchers.told();
    let receiver = target.receiver_of(&hops);
    let clues = clues::look(&from, receiver, &hops, (protocol, target.address));
    let (arrived, reason) = judge(&Evidence {
        protocol,
        wanted: target.address,
        from: &from.name,
        to: receiver.map(|place| &*place.name),
        hops: &hops,
        decisions: &decisions,
        outcome: &outcome,
        listening: clues.listening.as_deref(),
        has_route: clues.has_route,
        lost_neighbour: clues.lost_neighbour,
        remark: target.remark.clone(),
        reverse_filter: clues.reverse_filter,
    });
    let report = Report {
        from: from.name,
        to: target.name,
        protocol: protocol.to_string(),
        source: probe.local(),
        destination: target.address,
        hops,
        decisions,
        arrived,
        reason,
        unseen: watchers.unseen,
    };
    print(args, &report)?;
    Ok(if arrived { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sender(session: &Session, args: &PathArgs) -> Result<Place, Failure> {
    if args.from == "host" {
        return Ok(Place::host(session));
    }
    let (namespace, name) = names::pod_name(&args.from, &args.namespace);
    Place::of(session, &pods::find(session, namespace, name)?)
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn print(args: &PathArgs, report: &Report) -> Result<(), Failure> {
    if args.output == "json" {
        let text = serde_json::to_string_pretty(report).map_err(|error| Failure::host(&error))?;
        return out::line(text);
    }
    out::print(path::text(report))
}
