//! Watching all places at once while one packet is on its way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netplugin::{Flow, Interface, PacketSocket, Probe, Protocol, Tracer};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::capture::filter::{Filter, Kind, Primitive, Side, compile};
use crate::capture::packet::Packet;
use crate::path::{Decision, Followed, Hop, Outcome, Spot, in_order};
use crate::report;

use super::super::super::Failure;
use super::Place;

/// How long after the answer the last of what was seen may take to be told.
const REST: Duration = Duration::from_millis(30);
/// How long to wait before the sender's socket is asked again.
const ROUND: u8 = 5;
/// Headers are enough.
const ENOUGH: usize = 512;

struct Watcher {
    place: Place,
    packets: PacketSocket,
    tracer: Option<Tracer>,
    interfaces: Vec<Interface>,
}

/// Everybody who looks.
pub(super) struct Watchers {
    all: Vec<Watcher>,
    followed: Followed,
    seen: Vec<(Duration, Hop)>,
    decisions: Vec<Decision>,
    /// What nobody could watch, and why.
    pub(super) unseen: Vec<String>,
}

impl Watchers {
    /// Begins to look into places; the first is the sender's.
    pub(super) fn begin(
        places: &[Place],
        followed: &Followed,
        local: SocketAddr,
        protocol: Protocol,
    ) -> Result<Watchers, Failure> {
        let program =
            compile(Some(&wanted(followed.port)), None).map_err(|error| Failure::request(&error))?;
        let mut watchers = Watchers {
            all: Vec::new(),
            followed: followed.clone(),
            seen: Vec::new(),
            decisions: Vec::new(),
            unseen: Vec::new(),
        };
        for place in places {
            let netns = place.netns.as_deref();
            let packets = PacketSocket::open(netns, &program)
                .map_err(|error| Failure::cannot(format!("watch packets in {}: {error}", place.name)))?;
            let interfaces = netplugin::interfaces(netns).map_err(|error| Failure::host(&error))?;
            // Its address may have been translated by the time it comes to a receiver; its port was not.
            let source =
                if place.netns == places[0].netns || netns.is_none() { local } else { anybody(local) };
            let tracer = Tracer::begin(netns, &Flow { protocol, source });
            let tracer = tracer.map_err(|error| {
                watchers.unseen.push(format!("rules of {}: {}", place.name, report::chain(&error)));
            });
            watchers.all.push(Watcher { place: place.clone(), packets, tracer: tracer.ok(), interfaces });
        }
        Ok(watchers)
    }

    /// Sends the packet and watches until its sender knows what became of it, or the time is over.
    pub(super) fn follow(
        &mut self,
        probe: &Probe,
        to: SocketAddr,
        patience: Duration,
    ) -> Result<Outcome, Failure> {
        let begun = Instant::now();
        if let Err(error) = probe.send(to) {
            self.rest()?;
            return Ok(Outcome::Failed(error));
        }
        loop {
            if let Some(outcome) = probe.outcome() {
                let took = begun.elapsed();
                self.rest()?;
                return Ok(match outcome {
                    Ok(()) => Outcome::Answered(took),
                    Err(error) => Outcome::Failed(error),
                });
            }
            if begun.elapsed() >= patience {
                self.rest()?;
                return Ok(Outcome::Silent);
            }
            self.wait();
            self.look()?;
        }
    }

    /// Where the packet was seen and what decided about it, in order.
    pub(super) fn told(&mut self) -> (Vec<Hop>, Vec<Decision>) {
        (in_order(std::mem::take(&mut self.seen)), std::mem::take(&mut self.decisions))
    }

    fn rest(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + REST;
        while Instant::now() < until {
            self.wait();
            self.look()?;
        }
        Ok(())
    }

    fn wait(&self) {
        let mut fds: Vec<PollFd<'_>> =
            self.all.iter().map(|one| PollFd::new(one.packets.as_fd(), PollFlags::POLLIN)).collect();
        // Whatever ends it, everybody is asked again.
        let _ = poll(&mut fds, PollTimeout::from(ROUND));
    }

    fn look(&mut self) -> Result<(), Failure> {
        let mut buffer = vec![0; ENOUGH];
        for watcher in &mut self.all {
            while let Some(seen) =
                watcher.packets.receive(&mut buffer).map_err(|error| Failure::host(&error))?
            {
                let packet = Packet::read(seen.hardware, &buffer[..seen.captured], seen.length);
                let Some(leg) = packet.ip().and_then(|ip| self.followed.leg(ip)) else { continue };
                let interface = watcher.interfaces.iter().find(|one| one.index == seen.index);
                let interface = interface.map_or("?", |one| &*one.name);
                let spot = Spot { place: &watcher.place.name, interface };
                self.seen.extend(Hop::new(spot, &seen, &packet, leg).map(|hop| (seen.at, hop)));
            }
            let Some(tracer) = &mut watcher.tracer else { continue };
            for met in tracer.heard() {
                let decision = Decision::new(&watcher.place.name, met);
                // The same again: the packet was sent a second time.
                if !self.decisions.contains(&decision) {
                    self.decisions.push(decision);
                }
            }
        }
        Ok(())
    }
}

/// Any address of that family, with the same port.
fn anybody(like: SocketAddr) -> SocketAddr {
    let any: IpAddr = match like {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(any, like.port())
}

/// What has the sender's port, and what routers complain of.
fn wanted(port: u16) -> Filter {
    let is = |primitive| Box::new(Filter::Is(primitive));
    let complaints = Filter::Or(is(Primitive::Kind(Kind::Icmp)), is(Primitive::Kind(Kind::Icmp6)));
    Filter::Or(is(Primitive::Port(None, Side::Either, port, port)), Box::new(complaints))
}
