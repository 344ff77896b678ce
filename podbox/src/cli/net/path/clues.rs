//! What else is known when a packet was lost: who listens, which way it would go, who does not answer.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use netplugin::{Protocol, Window};

use crate::path::{Hop, Leg};

use super::Place;

/// Things that explain.
#[derive(Debug, Default)]
pub(super) struct Clues {
    /// Where the receiver's programs take whatever comes; none if nobody could look.
    pub(super) listening: Option<Vec<SocketAddr>>,
    pub(super) has_route: bool,
    pub(super) lost_neighbour: Option<String>,
    pub(super) reverse_filter: Option<String>,
}

/// Looks around.
pub(super) fn look(
    from: &Place,
    receiver: Option<&Place>,
    hops: &[Hop],
    (protocol, wanted): (Protocol, SocketAddr),
) -> Clues {
    let host = Place { name: "host".to_owned(), netns: None, addresses: Vec::new() };
    let asked = [from, &host].into_iter().find_map(|place| lost_neighbour(place, hops, wanted.ip()));
    Clues {
        listening: receiver.and_then(|place| listening(place, protocol)),
        has_route: has_route(from, wanted.ip()),
        lost_neighbour: asked,
        reverse_filter: reverse_filter(hops),
    }
}

fn listening(place: &Place, protocol: Protocol) -> Option<Vec<SocketAddr>> {
    let all = netplugin::sockets(place.netns.as_deref()).ok()?;
    let open = all.into_iter().filter(|socket| socket.protocol == protocol && socket.takes_strangers);
    Some(open.map(|socket| socket.local).collect())
}

/// If nobody can look, nothing is said against it.
fn has_route(place: &Place, to: IpAddr) -> bool {
    let route = place.window().map(|mut window| window.route_to(to));
    !matches!(route, Some(Ok(None)))
}

/// A next hop that was asked for in vain.
fn lost_neighbour(place: &Place, hops: &[Hop], to: IpAddr) -> Option<String> {
    let mut window = place.window()?;
    let destination = hops.iter().rev().find(|hop| hop.leg == Leg::Forth);
    let destination = destination.and_then(|hop| hop.destination.parse::<SocketAddr>().ok());
    let to = destination.map_or(to, |end| end.ip());
    let route = window.route_to(to).ok()??;
    let next = route.via.unwrap_or(to);
    let links = window.links().ok()?;
    let name = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    let neighbours = window.neighbours().ok()?;
    let lost = neighbours.iter().find(|neighbour| {
        neighbour.address == Some(next) && matches!(&*neighbour.state, "FAILED" | "INCOMPLETE")
    })?;
    let interface = name(lost.index)?;
    Some(format!("{next} on {interface} of {} ({})", place.name, lost.state))
}

/// Strict filtering by the way back (ip-sysctl, `rp_filter`), where the host would answer by another interface than the
/// last one that the packet came in by.
fn reverse_filter(hops: &[Hop]) -> Option<String> {
    let last = hops.iter().rev().find(|hop| hop.leg == Leg::Forth)?;
    if last.place != "host" || last.way != "in" {
        return None;
    }
    let source: SocketAddr = last.source.parse().ok()?;
    let read = |of: &str| -> u8 {
        let path = Path::new("/proc/sys/net/ipv4/conf").join(of).join("rp_filter");
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let mut window = Window::here().ok()?;
    let links = window.links().ok()?;
    let arrived = links.iter().find(|link| link.index == last.index)?;
    // What comes in by a bridge's port has come in by the bridge.
    let by = arrived.master.unwrap_or(arrived.index);
    let by_name = &links.iter().find(|link| link.index == by)?.name;
    let back = window.route_to(source.ip()).ok()??;
    let strict = source.is_ipv4() && read("all").max(read(by_name)) == 1;
    let other = links.iter().find(|link| Some(link.index) == back.index && link.index != by)?;
    let name = &other.name;
    strict.then(|| format!("rp_filter of {by_name}: the way back to {} is {name}", source.ip()))
}
