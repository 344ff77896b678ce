//! The picture as SVG: one file, no fonts or scripts of others, readable on light and on dark ground.
//!
//! Three columns: the host's own links, the pods, the Services. What is in a column stands below each other, so that
//! nothing has to be placed by trial; lines between the columns are curves.

use std::fmt::Write;

use super::model::{End, HostPart, Picture, PodPart, ServicePart};

const LINE: usize = 18;
const PAD: usize = 10;
const GAP: usize = 18;
const TOP: usize = 44;
/// Where the columns begin and how wide they are.
const HOST: (usize, usize) = (20, 340);
const PODS: (usize, usize) = (600, 380);
const SERVICES: (usize, usize) = (1080, 300);
/// So much of a cable before a pod is straight, for its name to stand on.
const STRAIGHT: usize = 160;
/// How many tenths of a pixel a character is wide, large and small.
const CHARACTER: (usize, usize) = (80, 68);

/// Plain colours and not variables of CSS: not every program that shows SVG knows those.
const STYLE: &str = "\
text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#1c2733}\
.t{font-weight:bold}.s{fill:#5b6b7b;font-size:11px}.n{fill:#c4453a}\
rect{stroke:#8fa1b3;fill:#f5f7fa}.ground{fill:#fff;stroke:none}\
.bridge{fill:#e3eefc}.pod{fill:#e9f6ec}.service{fill:#fdf3e0}\
path{fill:none;stroke-width:1.5}.good{stroke:#2a8a4a}.bad{stroke:#c4453a;stroke-dasharray:5 4}\
@media(prefers-color-scheme:dark){\
text{fill:#e4ebf2}.s{fill:#9fb0c0}.n{fill:#f07a6e}rect{stroke:#6d7f91;fill:#222b35}.ground{fill:#141a21}\
.bridge{fill:#1d3350}.pod{fill:#1c3a28}.service{fill:#43351a}.good{stroke:#59c47c}.bad{stroke:#f07a6e}}";

/// Draws it.
#[must_use]
pub fn svg(picture: &Picture) -> String {
    let mut sheet = Sheet::default();
    let mut bottom = TOP;
    for host in &picture.hosts {
        bottom = sheet.host(host, bottom) + GAP * 2;
    }
    for peer in &picture.peers {
        let words = [("t", format!("host {}", peer.name)), ("s", peer.what())];
        bottom = sheet.boxed("up", HOST, bottom, &words) + GAP;
    }
    let mut at = TOP;
    for service in &picture.services {
        at = sheet.service(service, at) + GAP;
    }
    let height = bottom.max(at) + 10;
    let width = if picture.services.is_empty() { PODS.0 + PODS.1 } else { SERVICES.0 + SERVICES.1 } + 20;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>The network of podbox</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{}{}</svg>\n",
        sheet.lines, sheet.boxes
    )
}

/// What has been drawn: lines lie below boxes.
#[derive(Default)]
struct Sheet {
    lines: String,
    boxes: String,
    /// Where the pods' right edges are, by their full names.
    pods: Vec<(String, usize)>,
}

/// A line of a box, and how it is written.
type Words = (&'static str, String);

impl Sheet {
    /// Draws a host from `top` on; returns where it ends.
    fn host(&mut self, host: &HostPart, top: usize) -> usize {
        self.words((HOST.0, top - 14), "t", &format!("host {}", host.name));
        let mut left = top;
        let mut uplinks: Vec<Words> = vec![("t", "uplink".to_owned())];
        uplinks.extend(host.uplinks.iter().flat_map(end));
        if host.uplinks.is_empty() {
            uplinks.push(("s", "no way out of this host".to_owned()));
        }
        let mut above = left;
        left = self.boxed("up", HOST, left, &uplinks) + GAP * 2;
        let mut bridges = Vec::new();
        for network in &host.networks {
            let mut words: Vec<Words> = vec![("t", format!("network {}", network.name))];
            words.extend(network.bridge.iter().flat_map(end));
            words.extend(
                network
                    .subnets
                    .iter()
                    .map(|room| ("s", format!("{}: {} used, {} free", room.subnet, room.used, room.free))),
            );
            let wire = if network.masquerade { "routing, masquerade" } else { "routing" };
            self.wire("good", (HOST.0 + 40, left - GAP * 2), (HOST.0 + 40, left));
            self.words((HOST.0 + 50, left - GAP + 4), "s", wire);
            above = left;
            left = self.boxed("bridge", HOST, left, &words) + GAP * 2;
            bridges.push((network.bridge.as_ref().map(|bridge| bridge.name.clone()), above + PAD + LINE));
        }
        let mut right = top;
        for pod in &host.pods {
            right = self.pod(pod, &bridges, right) + GAP;
        }
        left.max(right).max(above)
    }

    fn pod(&mut self, pod: &PodPart, bridges: &[(Option<String>, usize)], top: usize) -> usize {
        let mut words: Vec<Words> = vec![("t", format!("pod {}", pod.full_name())), ("s", pod.state())];
        if pod.host_network {
            words.push(("s", "in the host's network".to_owned()));
        }
        for cable in &pod.cables {
            words.extend(end(&cable.inside));
            words.extend(cable.trouble().map(|trouble| ("s", trouble)));
            let bridge = bridges.iter().find(|(name, _)| cable.bridge.is_some() && *name == cable.bridge);
            if let (Some((_, from)), Some(outside)) = (bridge, &cable.outside) {
                let to = (PODS.0, top + PAD + LINE);
                let bend = (PODS.0 - STRAIGHT, to.1);
                self.wire("good", (HOST.0 + HOST.1, *from), bend);
                self.wire("good", bend, to);
                self.words((bend.0 + 8, to.1 - 6), "s", &format!("{} ({})", outside.name, outside.index));
            }
        }
        for container in &pod.containers {
            words.push(("", format!("container {}", container.name)));
            for port in &container.ports {
                let on_host = port.on_host().map(|on_host| format!(" from {on_host}")).unwrap_or_default();
                words.push(("s", format!("  {}{on_host}", port.what())));
            }
        }
        self.pods.push((pod.full_name(), top + PAD + LINE));
        self.boxed("pod", PODS, top, &words)
    }

    fn service(&mut self, service: &ServicePart, top: usize) -> usize {
        let mut words: Vec<Words> = vec![("t", format!("service {}", service.full_name()))];
        words.push(("s", service.what()));
        for port in &service.ports {
            words.push(("", port.what()));
            if port.endpoints.is_empty() {
                words.push(("s n", "nobody is behind it".to_owned()));
            }
            for endpoint in &port.endpoints {
                let (class, note) = if endpoint.ready { ("s", "") } else { ("s n", " not ready") };
                words.push((class, format!("{}{note}", endpoint.address)));
                let pod = format!("{}/{}", service.namespace, endpoint.pod);
                let row = top + PAD + LINE * words.len() - 5;
                if let Some((_, to)) = self.pods.iter().find(|(name, _)| *name == pod) {
                    let class = if endpoint.ready { "good" } else { "bad" };
                    let to = (PODS.0 + PODS.1, *to);
                    self.wire(class, to, (SERVICES.0, row));
                }
            }
        }
        self.boxed("service", SERVICES, top, &words)
    }

    /// A box of lines; returns where it ends.
    fn boxed(&mut self, class: &str, (left, width): (usize, usize), top: usize, lines: &[Words]) -> usize {
        let height = PAD * 2 + LINE * lines.len();
        let _ = writeln!(
            self.boxes,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>"
        );
        for (number, (class, line)) in (1..).zip(lines) {
            let small = class.starts_with('s');
            let room = (width - PAD * 2) * 10 / if small { CHARACTER.1 } else { CHARACTER.0 };
            self.words((left + PAD, top + PAD / 2 + LINE * number), class, &shortened(line, room));
        }
        top + height
    }

    fn words(&mut self, (x, y): (usize, usize), class: &str, text: &str) {
        let _ = writeln!(self.boxes, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(text));
    }

    fn wire(&mut self, class: &str, from: (usize, usize), to: (usize, usize)) {
        let middle = usize::midpoint(from.0, to.0);
        let ((x, y), (u, v)) = (from, to);
        let _ = writeln!(
            self.lines,
            "<path class=\"{class}\" d=\"M{x} {y}C{middle} {y} {middle} {v} {u} {v}\"/>"
        );
    }
}

fn end(link: &End) -> Vec<Words> {
    let mut words = vec![("", format!("{} ({})", link.name, link.index))];
    words.extend(link.addresses.iter().map(|address| ("", format!("  {address}"))));
    let mac = link.mac.map(|mac| format!("{mac} ")).unwrap_or_default();
    let dead = if link.live { "" } else { ", down" };
    words.push(("s", format!("{mac}mtu {}{dead}", link.mtu)));
    words
}

fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room - 1).chain(['…']).collect()
}

/// As text between tags; what XML forbids altogether is left out.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            control if control.is_control() => {}
            other => safe.push(other),
        }
    }
    safe
}
