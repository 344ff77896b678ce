//! The picture in characters, at most a hundred columns wide.

use std::fmt::Write;

use super::model::{Cable, End, HostPart, NetworkPart, Picture, PodPart, ServicePart};

/// Columns of the whole.
const WIDTH: usize = 98;
/// Where the pods' boxes begin.
const PODS: usize = 30;
/// More pods than this on one bridge are a line each.
const BOXES: usize = 8;
/// More pods than this are counted.
const LINES: usize = 60;

/// Draws it.
#[must_use]
pub fn text(picture: &Picture) -> String {
    let mut out = String::new();
    for host in &picture.hosts {
        draw_host(&mut out, host);
    }
    for peer in &picture.peers {
        let _ = writeln!(out, "\n{}", shortened(&format!("host {}   {}", peer.name, peer.what()), WIDTH));
    }
    for service in &picture.services {
        draw_service(&mut out, service);
    }
    out
}

fn draw_host(out: &mut String, host: &HostPart) {
    let _ = writeln!(out, "host {}", host.name);
    for (number, network) in host.networks.iter().enumerate() {
        let above = if number == 0 { draw_uplinks(out, host, network) } else { Above::Nothing };
        draw_bridge(out, host, network, above);
    }
    for (title, pods) in [
        ("in the host's network", others(host, |pod| pod.host_network)),
        (
            "on other networks",
            others(host, |pod| {
                !pod.cables.is_empty() && pod.cables.iter().all(|cable| !is_drawn(host, cable))
            }),
        ),
        ("without a network", others(host, |pod| !pod.host_network && pod.cables.is_empty())),
    ] {
        if !pods.is_empty() {
            let _ = writeln!(out, "\npods {title}");
            for pod in pods {
                let ends = pod.cables.iter().flat_map(|cable| end(&cable.inside));
                let items = [pod.full_name(), pod.state()].into_iter().chain(ends).collect::<Vec<_>>();
                for line in wrapped(&items, WIDTH - 3) {
                    let _ = writeln!(out, "   {line}");
                }
            }
        }
    }
}

/// Whether the cable is drawn with the bridge that it is plugged into, or should be.
fn is_drawn(host: &HostPart, cable: &Cable) -> bool {
    let has = |bridge: &String| {
        host.networks.iter().any(|network| network.bridge.as_ref().is_some_and(|end| end.name == *bridge))
    };
    cable.bridge.is_some() || cable.unplugged_from.as_ref().is_some_and(has)
}

fn others(host: &HostPart, which: impl Fn(&PodPart) -> bool) -> Vec<&PodPart> {
    host.pods.iter().filter(|pod| which(pod)).collect()
}

/// What a box hangs on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    Line,
    Nothing,
}

fn draw_uplinks(out: &mut String, host: &HostPart, network: &NetworkPart) -> Above {
    if host.uplinks.is_empty() {
        let _ = writeln!(out, "   no way out of this host");
        return Above::Nothing;
    }
    let lines = host.uplinks.iter().flat_map(|link| wrapped(&end(link), WIDTH - 5)).collect::<Vec<_>>();
    let goes_on = network.bridge.is_some();
    draw_box(out, ("uplink", Above::Nothing), &lines, goes_on);
    if !goes_on {
        return Above::Nothing;
    }
    let subnets = network.subnets.iter().map(|room| room.subnet.to_string()).collect::<Vec<_>>();
    let what = if network.masquerade { "routing; masquerade of what leaves" } else { "routing from and to" };
    let _ = writeln!(out, "   │ {what} {}", subnets.join(" and "));
    Above::Line
}

fn draw_bridge(out: &mut String, host: &HostPart, network: &NetworkPart, above: Above) {
    let Some(bridge) = &network.bridge else {
        let _ = writeln!(out, "   no bridge of network {}: it comes with the first pod", network.name);
        return;
    };
    let mut lines = wrapped(&end(bridge), WIDTH - 5);
    let mut more = hardware(bridge);
    let counted = |room: &netplugin::Room| {
        let pods = if room.used == 1 { "pod" } else { "pods" };
        format!("{} {pods}, room for {}", room.used, room.free)
    };
    more.extend(network.subnets.first().map(counted));
    lines.extend(wrapped(&more, WIDTH - 5));
    let plugged: Vec<(&PodPart, &Cable)> = host
        .pods
        .iter()
        .flat_map(|pod| pod.cables.iter().map(move |cable| (pod, cable)))
        .filter(|(_, cable)| cable.bridge.as_ref().or(cable.unplugged_from.as_ref()) == Some(&bridge.name))
        .collect();
    draw_box(out, ("bridge", above), &lines, !plugged.is_empty());
    let many = plugged.len() > BOXES;
    for (number, (pod, cable)) in plugged.iter().enumerate().take(LINES) {
        let last = number + 1 == plugged.len();
        if many { draw_line(out, pod, cable, last) } else { draw_pod(out, pod, cable, last) }
    }
    if plugged.len() > LINES {
        let _ =
            writeln!(out, "   └─ … and {} more pods; -n NAMESPACE shows those of one", plugged.len() - LINES);
    }
}

/// A box, from which a line goes on if something hangs on it.
fn draw_box(out: &mut String, (title, above): (&str, Above), lines: &[String], goes_on: bool) {
    let begins = if above == Above::Line { '┴' } else { '─' };
    let head = format!(" ┌─{begins} {title} ");
    let _ = writeln!(out, "{head}{}┐", "─".repeat(WIDTH - 1 - head.chars().count()));
    for line in lines {
        let _ = writeln!(out, " │ {line:<width$} │", width = WIDTH - 5);
    }
    let down = if goes_on { '┬' } else { '─' };
    let _ = writeln!(out, " └─{down}{}┘", "─".repeat(WIDTH - 5));
}

fn draw_pod(out: &mut String, pod: &PodPart, cable: &Cable, last: bool) {
    let width = WIDTH - PODS - 4;
    let mut lines = wrapped(&end(&cable.inside), width);
    let mut more = hardware(&cable.inside);
    more.extend(pod.netns_inode.map(|number| format!("net:[{number}]")));
    lines.extend(wrapped(&more, width));
    for container in &pod.containers {
        let ports = container.ports.iter().map(|port| match port.on_host() {
            Some(on_host) => format!("{} ◄─ {on_host}", port.what()),
            None => port.what(),
        });
        let items: Vec<String> = std::iter::once(container.name.clone()).chain(ports).collect();
        lines.extend(wrapped(&items, width));
    }
    let lead = |spine: char| format!("   {spine}{}", " ".repeat(PODS - 4));
    let title = shortened(&format!("┌ pod {} ── {} ", pod.full_name(), pod.state()), width);
    let head = format!("{}{title}", lead('│'));
    let _ = writeln!(out, "{head}{}┐", "─".repeat(WIDTH - 1 - head.chars().count()));
    for (number, line) in lines.iter().enumerate() {
        let lead = match number {
            0 => {
                let corner = if last { '└' } else { '├' };
                let plug = shortened(&plug(cable), PODS - 8);
                let wire = format!("   {corner}─ {plug} ");
                format!("{wire}{}┤", "─".repeat(PODS - wire.chars().count()))
            }
            _ => format!("{}│", lead(if last { ' ' } else { '│' })),
        };
        let _ = writeln!(out, "{lead} {line:<width$} │");
    }
    let spine = if last { ' ' } else { '│' };
    let _ = writeln!(out, "{}└{}┘", lead(spine), "─".repeat(WIDTH - PODS - 2));
}

fn draw_line(out: &mut String, pod: &PodPart, cable: &Cable, last: bool) {
    let corner = if last { '└' } else { '├' };
    let wire = format!("   {corner}─ {} ", plug(cable));
    let addresses = cable.inside.addresses.iter().map(|held| held.address.to_string());
    let fill = "─".repeat(PODS.saturating_sub(wire.chars().count()));
    let rest = format!("{}  {}  {}", pod.full_name(), addresses.collect::<Vec<_>>().join("  "), pod.state());
    let _ = writeln!(out, "{}", shortened(&format!("{wire}{fill} {rest}"), WIDTH));
}

fn draw_service(out: &mut String, service: &ServicePart) {
    let title = format!("service {}   {}", service.full_name(), service.what());
    let _ = writeln!(out, "\n{}", shortened(&title, WIDTH));
    for port in &service.ports {
        let what = format!("   {} ", port.what());
        let indent = what.chars().count();
        if port.endpoints.is_empty() {
            let _ = writeln!(out, "{what}── nobody is behind it");
        }
        for (number, endpoint) in port.endpoints.iter().enumerate() {
            let last = number + 1 == port.endpoints.len();
            let corner = match (number, last) {
                (0, true) => '─',
                (0, false) => '┬',
                (_, true) => '└',
                (_, false) => '├',
            };
            let lead = if number == 0 { format!("{what}─") } else { " ".repeat(indent + 1) };
            let (arrow, note) =
                if endpoint.ready { ("─►", "") } else { ("─✗", "   not ready: gets no connection") };
            let _ = writeln!(out, "{lead}{corner}{arrow} {}   {}{note}", endpoint.address, endpoint.pod);
        }
    }
}

/// `veth3f2a (7)`
fn plug(cable: &Cable) -> String {
    match (&cable.outside, cable.unplugged_from.is_some()) {
        (_, true) => "✗ unplugged".to_owned(),
        (Some(outside), false) => format!("{} ({})", outside.name, outside.index),
        (None, false) => "?".to_owned(),
    }
}

/// `eth0 (2)`, and its addresses.
fn end(link: &End) -> Vec<String> {
    let dead = if link.live { "" } else { " down" };
    let name = match link.index {
        // It is not there any more.
        0 => link.name.clone(),
        index => format!("{} ({index})", link.name),
    };
    let mut items = vec![format!("{name}{dead}")];
    items.extend(link.addresses.iter().map(ToString::to_string));
    items
}

fn hardware(link: &End) -> Vec<String> {
    let mtu = (link.mtu > 0).then(|| format!("mtu {}", link.mtu));
    link.mac.map(|mac| mac.to_string()).into_iter().chain(mtu).collect()
}

/// The items three columns apart, in lines of at most so many columns.
fn wrapped(items: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for item in items {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + item.chars().count() <= width => {
                line.push_str("   ");
                line.push_str(item);
            }
            Some(_) => lines.push(shortened(&format!("   {item}"), width)),
            None => lines.push(shortened(item, width)),
        }
    }
    lines
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
