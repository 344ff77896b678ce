//! What a thousand Services cost: two podboxes side by side, one with a single Service, one with a thousand, ten pods
//! behind each of them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::end::End;
use super::pairs::Pairs;
use super::readiness::{self, Readiness};
use super::say;
use super::traffic::{self, PORT, Server};
use super::wire::family;
use crate::failure::Outcome;
use crate::podbox::{FIRST, Instance, Podbox, SECOND};
use crate::proc;
use crate::results::{Series, millis};
use crate::site::Site;

const MANY: usize = 1000;
const CLIENT: u32 = 430;
const FIRST_SERVER: u32 = 440;
const SERVERS: u32 = 10;
const APP: &str = "many";
/// Until all supervisors know of all Services.
const PATIENCE: Duration = Duration::from_secs(120);

/// Services, few and many.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Balanced {
    pub(crate) services: usize,
    pub(crate) endpoints: u32,
    /// With many Services against with one.
    pub(crate) many: Vec<Pairs>,
    /// With one Service against a pod's own address.
    pub(crate) direct: Vec<Pairs>,
    /// `podbox up` of one more Service, until it leads somewhere: with one, and with many.
    pub(crate) change_ms: [Series; 2],
    /// `podbox up` of all of them, until the last leads somewhere.
    pub(crate) all_ms: f64,
    /// The client's supervisor, KiB PSS: with one, and with many.
    pub(crate) pss_kib: [u64; 2],
    /// Readiness with many.
    pub(crate) readiness: Readiness,
}

/// A kind of traffic, and how one round of it is measured, in microseconds.
struct Kind {
    what: &'static str,
    once: fn(SocketAddr) -> Outcome<f64>,
}

const KINDS: [Kind; 4] = [
    Kind { what: "TCP round trip, open connection", once: |to| traffic::round_trips(to, 1000) },
    Kind { what: "UDP round trip, same flow", once: |to| traffic::datagrams(to, 1000) },
    Kind { what: "new TCP connection", once: |to| traffic::connections(to, 300) },
    Kind { what: "new UDP flow", once: |to| traffic::flows(to, 300) },
];

/// One podbox with a client, ten pods and so many Services.
struct World {
    podbox: Podbox,
    client: End,
    servers: Vec<(End, Server)>,
    /// Of the Service that is asked.
    front: Vec<IpAddr>,
    all_ms: f64,
}

impl World {
    fn make(site: &Site, instance: &'static Instance, services: usize) -> Outcome<World> {
        let podbox = Podbox::of(site, instance)?;
        podbox.up_idle(CLIENT, "")?;
        for pod in pods() {
            podbox.up_idle(pod, APP)?;
        }
        let client = podbox.end(CLIENT)?;
        let mut servers = Vec::new();
        for pod in pods() {
            let end = podbox.end(pod)?;
            let server = Server::start(&end, (pod % 100) as u8)?;
            servers.push((end, server));
        }
        // The one in the middle is asked: neither the first nor the last of anything.
        let asked = services / 2;
        let all = (0..services).map(|number| {
            let protocols: &[&str] = if number == asked { &["TCP", "UDP"] } else { &["TCP"] };
            podbox.service(&name(number), APP, protocols)
        });
        let text: String = all.collect();
        let began = Instant::now();
        podbox.up_text("services", &text)?;
        let mut world = World { podbox, client, servers, front: Vec::new(), all_ms: 0.0 };
        world.await_service(&name(services - 1))?;
        world.all_ms = millis(began.elapsed());
        world.front = world.podbox.service_ips(&name(asked))?;
        Ok(world)
    }

    fn await_service(&self, name: &str) -> Outcome<()> {
        let ips = self.podbox.service_ips(name)?;
        self.client.run(|| {
            ips.iter()
                .try_for_each(|ip| traffic::await_answer(SocketAddr::new(*ip, PORT), PATIENCE).map(drop))
        })
    }

    fn ask(&self, kind: &Kind, ip: IpAddr) -> Outcome<f64> {
        self.client.run(|| (kind.once)(SocketAddr::new(ip, PORT)))
    }

    /// One more Service, until it leads somewhere.
    fn change(&self, number: u32) -> Outcome<Duration> {
        let name = format!("more-{number}");
        let began = Instant::now();
        self.podbox.up_text("more", &self.podbox.service(&name, APP, &["TCP"]))?;
        self.await_service(&name)?;
        let took = began.elapsed();
        self.podbox.remove_service(&name)?;
        Ok(took)
    }

    fn pss_kib(&self) -> Outcome<u64> {
        Ok(self.podbox.supervisor(CLIENT)?.map_or(0, |pid| proc::memory(pid).pss))
    }

    fn end(self) -> Outcome<()> {
        drop(self.client);
        drop(self.servers);
        pods().chain([CLIENT]).try_for_each(|pod| self.podbox.down_quietly(pod))
    }
}

fn pods() -> impl Iterator<Item = u32> {
    FIRST_SERVER..FIRST_SERVER + SERVERS
}

fn name(number: usize) -> String {
    format!("many-{number}")
}

pub(crate) fn measure(site: &Site, rounds: u32) -> Outcome<Balanced> {
    say(format_args!("{MANY} Services before {SERVERS} pods each"));
    let few = World::make(site, &FIRST, 1)?;
    let many = World::make(site, &SECOND, MANY)?;
    let mut balanced = Balanced {
        services: MANY,
        endpoints: SERVERS,
        many: Vec::new(),
        direct: Vec::new(),
        change_ms: Default::default(),
        all_ms: many.all_ms,
        pss_kib: [few.pss_kib()?, many.pss_kib()?],
        readiness: Readiness::default(),
    };
    say(format_args!("connections through one and through {MANY} Services, {rounds} rounds"));
    compare(&few, &many, rounds, &mut balanced)?;
    for number in 0..rounds.div_ceil(4) {
        for (world, series) in [&few, &many].into_iter().zip(&mut balanced.change_ms) {
            series.push(world.change(number)?);
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    balanced.readiness = readiness::measure_in(site, &many.podbox, rounds.div_ceil(8))?;
    few.end()?;
    many.end()?;
    Ok(balanced)
}

/// In turns, in another order every other round; the first round is not counted.
fn compare(few: &World, many: &World, rounds: u32, balanced: &mut Balanced) -> Outcome<()> {
    let families = few.front.len();
    for kind in &KINDS {
        for ip in &few.front {
            let pairs = Pairs::new(format!("{}, {}", kind.what, family(*ip)), "µs");
            balanced.many.push(pairs.clone());
            balanced.direct.push(pairs);
        }
    }
    let pod = &few.servers[0].0.ips;
    for round in 0..=rounds {
        for at in 0..balanced.many.len() {
            let (kind, family) = (&KINDS[at / families], at % families);
            let direct = few.ask(kind, pod[family])?;
            let (one, all) = if round % 2 == 0 {
                let one = few.ask(kind, few.front[family])?;
                (one, many.ask(kind, many.front[family])?)
            } else {
                let all = many.ask(kind, many.front[family])?;
                (few.ask(kind, few.front[family])?, all)
            };
            if round > 0 {
                balanced.many[at].push(all, one);
                balanced.direct[at].push(one, direct);
            }
        }
    }
    Ok(())
}
