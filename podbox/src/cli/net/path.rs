//! `podbox net path`: a packet is sent, and followed.

mod clues;
mod ports;
mod target;
mod watch;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use netplugin::{Probe, Protocol, Window};

use crate::config::duration;
use crate::path::{self, Evidence, Followed, Report, judge};
use crate::services::Family;

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
    /// Go by IPv6; it is an error if the receiver has no such address
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
    /// Of all its interfaces, those that it is known by first.
    addresses: Vec<IpAddr>,
}

impl Place {
    /// The host, by its bridge's addresses first.
    fn host(session: &Session) -> Place {
        let addresses = session.settings.network.subnets().map(|subnet| subnet.gateway()).collect();
        Place { name: "host".to_owned(), netns: None, addresses }.with_all_addresses()
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
                let name = format!("pod {}", found.name());
                Ok(Place { name, netns: Some(netns), addresses: facts.ips }.with_all_addresses())
            }
            _ => Err(Failure::pod(format!("pod {} has no network now", found.name()))),
        }
    }

    /// A look into its network; none if it is just going.
    fn window(&self) -> Option<Window> {
        match &self.netns {
            Some(path) => Window::of(path).ok(),
            None => Window::here().ok(),
        }
    }

    /// With those of further interfaces behind its own.
    fn with_all_addresses(mut self) -> Place {
        let all = self.window().and_then(|mut window| window.addresses().ok()).unwrap_or_default();
        for held in all.into_iter().filter(|held| held.global) {
            if !self.addresses.contains(&held.address.address) {
                self.addresses.push(held.address.address);
            }
        }
        self
    }

    /// The address that the kernel gives to packets for `far`: one of the interface that they leave by.
    fn source_towards(&self, far: IpAddr) -> Result<IpAddr, Failure> {
        let route = self.window().and_then(|mut window| window.route_to(far).ok().flatten());
        let family = |address: &IpAddr| address.is_ipv4() == far.is_ipv4();
        let by_route = route.and_then(|route| route.source).filter(family);
        by_route.or_else(|| self.addresses.iter().copied().find(family)).ok_or_else(|| {
            let family = Family::of(far).word();
            Failure::wrong(format!("{} has no {family} address to send from", self.name))
        })
    }
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &PathArgs) -> Result<ExitCode, Failure> {
    names::require_root("follow a packet")?;
    let protocol = if args.udp { Protocol::Udp } else { Protocol::Tcp };
    let from = sender(session, args)?;
    let target = Target::find(session, args, protocol, &from)?;
    let source = from.source_towards(target.address.ip())?;
    let host = Place::host(session);
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

fn print(args: &PathArgs, report: &Report) -> Result<(), Failure> {
    if args.output == "json" {
        let text = serde_json::to_string_pretty(report).map_err(|error| Failure::host(&error))?;
        return out::line(text);
    }
    out::print(path::text(report))
}
