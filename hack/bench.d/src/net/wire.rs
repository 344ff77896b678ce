//! Pod to pod, beside bare namespace to bare namespace.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use super::end::{End, Processor};
use super::pairs::Pairs;
use super::traffic::{self, PORT, Server, Talk};
use super::{bare, say};
use crate::failure::{Failure, Outcome};
use crate::podbox::{FIRST, Podbox};
use crate::site::Site;

const PODS: [u32; 2] = [400, 401];
const APP: &str = "wire";
const PATIENCE: Duration = Duration::from_secs(10);
/// So many short rounds for each one that is asked for: noise comes and goes in seconds.
const TIMES: u32 = 2;

/// A kind of traffic.
struct Kind {
    what: &'static str,
    unit: &'static str,
    begin: fn(SocketAddr) -> Outcome<Talk>,
    /// Words in a round.
    count: u32,
    /// From the time of a word, microseconds, to what is told.
    figure: fn(f64) -> f64,
}

const KINDS: [Kind; 3] = [
    Kind {
        what: "TCP stream",
        unit: "GB/s",
        begin: Talk::pieces,
        count: 40,
        figure: |micros| traffic::PIECE as f64 / micros / 1e3,
    },
    Kind { what: "TCP round trip", unit: "µs", begin: Talk::bytes, count: 800, figure: |micros| micros },
    Kind { what: "UDP round trip", unit: "µs", begin: Talk::datagrams, count: 800, figure: |micros| micros },
];

/// What a figure of [`measure`] counts: more is better, or less.
pub(crate) fn is_throughput(pairs: &Pairs) -> bool {
    pairs.unit.ends_with("/s")
}

pub(crate) fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Two pods, and the bare namespaces that they are compared with.
struct Rivals {
    pods: [End; 2],
    bare: [End; 2],
}

/// Without any Service, and then while there is one: from then on the kernel tracks pods' connections.
pub(crate) fn measure(site: &Site, rounds: u32) -> Outcome<[Vec<Pairs>; 2]> {
    let podbox = Podbox::of(site, &FIRST)?;
    PODS.iter().try_for_each(|pod| podbox.up_idle(*pod, APP))?;
    let pods = [podbox.end(PODS[0])?, podbox.end(PODS[1])?];
    let Some(bare) = bare::make(FIRST.bridge)? else {
        say("ip(8) is not installed, so there is nothing to compare the network with");
        PODS.iter().try_for_each(|pod| podbox.down_quietly(*pod))?;
        return Ok([Vec::new(), Vec::new()]);
    };
    let rivals = Rivals { pods, bare };
    let servers = (Server::start(&rivals.pods[1], b'p')?, Server::start(&rivals.bare[1], b'b')?);
    say(format_args!("pod to pod beside bare namespaces, {} rounds", rounds * TIMES));
    let alone = rivals.compare(rounds * TIMES)?;
    podbox.up_text("service-wire", &podbox.service(APP, APP, &["TCP"]))?;
    let front = SocketAddr::new(podbox.service_ips(APP)?[0], PORT);
    rivals.pods[0].run(|| traffic::await_answer(front, PATIENCE))?;
    say(format_args!("the same while there is a Service, {rounds} rounds"));
    let tracked = rivals.compare(rounds)?;
    podbox.remove_service(APP)?;
    drop(servers);
    drop(rivals);
    bare::clean();
    PODS.iter().try_for_each(|pod| podbox.down_quietly(*pod))?;
    Ok([alone, tracked])
}

impl Rivals {
    /// Word by word in turns; the first round is not counted.
    fn compare(&self, rounds: u32) -> Outcome<Vec<Pairs>> {
        let mut all: Vec<Pairs> = Vec::new();
        let families = self.pods[1].ips.len();
        for kind in &KINDS {
            let what = |ip: &IpAddr| format!("{}, {}", kind.what, family(*ip));
            all.extend(self.pods[1].ips.iter().map(|ip| Pairs::new(what(ip), kind.unit)));
        }
        for round in 0..=rounds {
            for (at, pairs) in all.iter_mut().enumerate() {
                let (kind, family) = (&KINDS[at / families], at % families);
                let begin = |[client, server]: &[End; 2]| {
                    let to = SocketAddr::new(server.ips[family], PORT);
                    client.run(|| (kind.begin)(to))
                };
                let (mut pod, mut bare) = (begin(&self.pods)?, begin(&self.bare)?);
                let turns = || {
                    Processor::First.keep();
                    traffic::in_turns(&mut pod, &mut bare, kind.count)
                };
                let [ours, theirs] = thread::scope(|scope| scope.spawn(turns).join())
                    .unwrap_or_else(|_| Err(Failure("a client has panicked".to_owned())))?;
                if round > 0 {
                    pairs.push((kind.figure)(ours), (kind.figure)(theirs));
                }
            }
        }
        Ok(all)
    }
}
