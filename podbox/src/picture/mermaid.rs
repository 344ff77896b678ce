//! The picture in mermaid's language, which web pages of documentation draw from a code block.

use std::fmt::Write;

use super::model::{ContainerPart, End, Picture};

/// Draws it.
#[must_use]
pub fn mermaid(picture: &Picture) -> String {
    let mut out = String::from("flowchart LR\n");
    let mut names = Names::default();
    for host in &picture.hosts {
        let _ = writeln!(
            out,
            "  subgraph {}[{}]",
            names.of(&host.name),
            quoted(&[format!("host {}", host.name)])
        );
        for link in &host.uplinks {
            let _ = writeln!(out, "    {}[{}]", names.of(&format!("link {}", link.name)), quoted(&end(link)));
        }
        for bridge in host.networks.iter().filter_map(|network| network.bridge.as_ref()) {
            let own = names.of(&format!("link {}", bridge.name));
            let _ = writeln!(out, "    {own}([{}])", quoted(&end(bridge)));
            for link in &host.uplinks {
                let _ = writeln!(out, "    {} --- {own}", names.of(&format!("link {}", link.name)));
            }
        }
        for pod in &host.pods {
            let own = names.of(&format!("pod {}", pod.full_name()));
            let mut lines = vec![format!("pod {}", pod.full_name()), pod.state()];
            lines.extend(
                pod.cables.iter().flat_map(|cable| end(&cable.inside).into_iter().chain(cable.trouble())),
            );
            lines.extend(pod.containers.iter().map(ContainerPart::what));
            let _ = writeln!(out, "    {own}[{}]", quoted(&lines));
            for cable in &pod.cables {
                if let (Some(bridge), Some(outside)) = (&cable.bridge, &cable.outside) {
                    let label = quoted(&[format!("{} #{}", outside.name, outside.index)]);
                    let _ = writeln!(out, "    {} ---|{label}| {own}", names.of(&format!("link {bridge}")));
                }
            }
        }
        out.push_str("  end\n");
    }
    for peer in &picture.peers {
        let own = names.of(&format!("host {}", peer.name));
        let _ = writeln!(out, "  {own}[{}]", quoted(&[format!("host {}", peer.name), peer.what()]));
    }
    for service in &picture.services {
        let own = names.of(&format!("service {}", service.full_name()));
        let lines = service.lines();
        let _ = writeln!(out, "  {own}([{}])", quoted(&lines));
        for port in &service.ports {
            for endpoint in &port.endpoints {
                let pod = names.of(&format!("pod {}/{}", service.namespace, endpoint.pod));
                let arrow = if endpoint.ready { "-->" } else { "-.->" };
                let _ = writeln!(
                    out,
                    "  {own} {arrow}|{}| {pod}",
                    quoted(&[port.what(), endpoint.address.clone()])
                );
            }
        }
    }
    out
}

/// Short names for nodes: mermaid takes no others.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn of(&mut self, what: &str) -> String {
        let known = self.0.iter().position(|name| name == what);
        let number = known.unwrap_or_else(|| {
            self.0.push(what.to_owned());
            self.0.len() - 1
        });
        format!("n{number}")
    }
}

fn end(link: &End) -> Vec<String> {
    let head = format!("{} #{}", link.name, link.index);
    std::iter::once(head).chain(link.addresses.iter().map(ToString::to_string)).collect()
}

/// Lines as a quoted string; entities are mermaid's own way to write what would end it.
fn quoted(lines: &[String]) -> String {
    let safe = |line: &String| {
        line.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
    };
    format!("\"{}\"", lines.iter().map(safe).collect::<Vec<_>>().join("<br/>"))
}
