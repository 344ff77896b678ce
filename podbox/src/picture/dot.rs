//! The picture in Graphviz' language: `podbox net graph -o dot | dot -Tpng`.

use std::fmt::Write;

use super::model::{ContainerPart, End, HostPart, Picture, PodPart, ServicePart};

/// Draws it.
#[must_use]
pub fn dot(picture: &Picture) -> String {
    let mut out = String::from(
        "digraph network {\n  rankdir=LR;\n  node [shape=box, fontname=monospace];\n  edge [fontname=monospace];\n",
    );
    for (number, host) in picture.hosts.iter().enumerate() {
        draw_host(&mut out, number, host);
    }
    for peer in &picture.peers {
        let own = id(&["host", &peer.name]);
        let _ = writeln!(out, "  {own} [label={}];", quoted(&[format!("host {}", peer.name), peer.what()]));
    }
    for service in &picture.services {
        draw_service(&mut out, service);
    }
    out.push_str("}\n");
    out
}

fn draw_host(out: &mut String, number: usize, host: &HostPart) {
    let _ = writeln!(
        out,
        "  subgraph cluster_{number} {{\n    label={};",
        quoted(&[format!("host {}", host.name)])
    );
    for link in &host.uplinks {
        let _ =
            writeln!(out, "    {} [label={}];", id(&["link", &host.name, &link.name]), quoted(&end(link)));
    }
    for network in &host.networks {
        let Some(bridge) = &network.bridge else { continue };
        let own = id(&["link", &host.name, &bridge.name]);
        let _ = writeln!(out, "    {own} [label={}, style=rounded];", quoted(&end(bridge)));
        let way = if network.masquerade { "routing, masquerade" } else { "routing" };
        for link in &host.uplinks {
            let from = id(&["link", &host.name, &link.name]);
            let _ = writeln!(out, "    {from} -> {own} [dir=both, label={}];", quoted(&[way.to_owned()]));
        }
    }
    for pod in &host.pods {
        draw_pod(out, host, pod);
    }
    out.push_str("  }\n");
}

fn draw_pod(out: &mut String, host: &HostPart, pod: &PodPart) {
    let own = id(&["pod", &pod.full_name()]);
    let mut lines = vec![format!("pod {}", pod.full_name()), pod.state()];
    for cable in &pod.cables {
        lines.extend(end(&cable.inside));
        lines.extend(cable.trouble());
    }
    lines.extend(pod.containers.iter().map(ContainerPart::what));
    let _ = writeln!(out, "    {own} [label={}];", quoted(&lines));
    for cable in &pod.cables {
        if let (Some(bridge), Some(outside)) = (&cable.bridge, &cable.outside) {
            let from = id(&["link", &host.name, bridge]);
            let label = quoted(&[format!("{} ({})", outside.name, outside.index)]);
            let _ = writeln!(out, "    {from} -> {own} [dir=none, label={label}];");
        }
    }
}

fn draw_service(out: &mut String, service: &ServicePart) {
    let own = id(&["service", &service.full_name()]);
    let lines = service.lines();
    let _ = writeln!(out, "  {own} [label={}, shape=ellipse];", quoted(&lines));
    for port in &service.ports {
        for endpoint in &port.endpoints {
            let pod = id(&["pod", &format!("{}/{}", service.namespace, endpoint.pod)]);
            let style = if endpoint.ready { "solid" } else { "dashed" };
            let label = quoted(&[format!("{} to {}", port.what(), endpoint.address)]);
            let _ = writeln!(out, "  {own} -> {pod} [style={style}, label={label}];");
        }
    }
}

fn end(link: &End) -> Vec<String> {
    let head = format!("{} ({})", link.name, link.index);
    std::iter::once(head).chain(link.addresses.iter().map(ToString::to_string)).collect()
}

/// A node's name: what it is, and which.
fn id(parts: &[&str]) -> String {
    quoted(&[parts.join(":")])
}

/// Lines as a quoted string.
fn quoted(lines: &[String]) -> String {
    let escaped = lines.iter().map(|line| line.replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", escaped.collect::<Vec<_>>().join("\\n"))
}
