//! Pod to pod, beside bare namespace to bare namespace.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::end::End;
use super::pairs::Pairs;
use super::traffic::{self, PORT, Server};
use super::{bare, say};
use crate::failure::Outcome;
use crate::podbox::{FIRST, Podbox};
use crate::site::Site;

const PODS: [u32; 2] = [400, 401];
const STREAM: Duration = Duration::from_millis(120);
const ROUND_TRIPS: u32 = 1500;

/// A kind of traffic, and how one round of it is measured.
struct Kind {
    what: &'static str,
    unit: &'static str,
    once: fn(SocketAddr) -> Outcome<f64>,
}

const KINDS: [Kind; 3] = [
    Kind {
        what: "TCP stream",
        unit: "GB/s",
        once: |to| traffic::stream(to, STREAM).map(|bytes| bytes / 1e9),
    },
    Kind { what: "TCP round trip", unit: "µs", once: |to| traffic::round_trips(to, ROUND_TRIPS) },
    Kind { what: "UDP round trip", unit: "µs", once: |to| traffic::datagrams(to, ROUND_TRIPS) },
];

/// What a figure of [`measure`] counts: more is better, or less.
pub(crate) fn is_throughput(pairs: &Pairs) -> bool {
    pairs.unit.ends_with("/s")
}

pub(crate) fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// In turns, the two in another order every other round; the first round is not counted.
pub(crate) fn measure(site: &Site, rounds: u32) -> Outcome<Vec<Pairs>> {
    let podbox = Podbox::of(site, &FIRST)?;
    let mut pods = Vec::new();
    for pod in PODS {
        podbox.up_idle(pod, "")?;
        pods.push(Arc::new(podbox.end(pod)?));
    }
    let Some(bare) = bare::make(FIRST.bridge)? else {
        say("ip(8) is not installed, so there is nothing to compare the network with");
        return PODS.iter().try_for_each(|pod| podbox.down_quietly(*pod)).map(|()| Vec::new());
    };
    say(format_args!("pod to pod beside bare namespaces, {rounds} rounds"));
    let (ours, theirs) = ([&pods[0], &pods[1]], [&bare[0], &bare[1]]);
    let servers = (Server::start(ours[1], b'p')?, Server::start(theirs[1], b'b')?);
    let mut all: Vec<Pairs> = Vec::new();
    for kind in &KINDS {
        all.extend(ours[1].ips.iter().map(|ip| Pairs::new(format!("{}, {}", kind.what, family(*ip)), kind.unit)));
    }
    let families = ours[1].ips.len();
    for round in 0..=rounds {
        for (at, pairs) in all.iter_mut().enumerate() {
            let (kind, family) = (&KINDS[at / families], at % families);
            let ask = |[client, server]: [&Arc<End>; 2]| {
                let to = SocketAddr::new(server.ips[family], PORT);
                client.run(|| (kind.once)(to))
            };
            let (our, their) = if round % 2 == 0 {
                let our = ask(ours)?;
                (our, ask(theirs)?)
            } else {
                let their = ask(theirs)?;
                (ask(ours)?, their)
            };
            if round > 0 {
                pairs.push(our, their);
            }
        }
    }
    drop(servers);
    drop((pods, bare));
    bare::clean();
    PODS.iter().try_for_each(|pod| podbox.down_quietly(*pod))?;
    Ok(all)
}
