//! What nobody asks for and everybody has: neighbours that need not be asked, addresses that need not be waited for; and
//! pods of one family, and pods beside the host's own network.

use e2e::{PATIENCE, pod, wait_good, wait_until};

use super::{ECHO, ECHOES, SLEEPER, await_echoes, bracketed, expect_seen, ip_in, ip_on, machine, peer};

#[test]
fn the_first_packet_waits_neither_for_an_address_nor_for_the_gateway() {
    let host = machine();
    host.up(&pod("a", ECHO));
    let gateways = [host.gateway(), host.gateway6()];
    let known = ip_in(&host, "a", "neighbour show nud permanent");
    for gateway in &gateways {
        let line = format!("{gateway} dev eth0 lladdr ");
        assert!(known.contains(&line), "the gateway {gateway} is not known from the start\n{known}");
    }
    // An address that is tentative, or goes on being checked, would keep the first packets back for a second.
    assert_eq!(ip_in(&host, "a", "-6 address show tentative"), "");
    assert_eq!(ip_on(&host, "-6 address show tentative"), "");
    let addresses = ip_in(&host, "a", "-6 address show dev eth0 scope global");
    assert!(addresses.contains("nodad"), "{addresses}");
    // The bridge forwards from the first moment, and keeps no solicitation back.
    let bridge = ip_on(&host, &format!("-d link show {}", host.bridge()));
    for setting in ["forward_delay 0 ", "stp_state 0 ", "mcast_snooping 0 "] {
        assert!(bridge.contains(setting), "{setting}\n{bridge}");
    }
    // A pod's own first instruction finds all of it done: there is no second try in this script.
    let (tcp, six) = (format!("{}:9000", host.pod("a").ip()), format!("[{}]:9000", host.pod("a").ip6()));
    await_echoes(&host, "a");
    let script = format!("connect {tcp} first && connect {six} first");
    let first = format!(
        "  restartPolicy: Never\n  containers: [{{name: c, image: podbox.local/toolbox, command: [sh, -c, '{script}']}}]"
    );
    host.up_none(&pod("b", &first));
    let view = host.wait_pod("b", "has ended", |view| ["Succeeded", "Failed"].contains(&view.phase()));
    assert_eq!(view.phase(), "Succeeded", "{}", host.logs(&["b"]));
    host.finish();
}

#[test]
fn a_pod_and_a_pod_of_the_hosts_network_talk_with_unchanged_addresses() {
    let host = machine();
    host.up(&pod("flat", ECHO));
    host.up(&pod("native", &format!("  hostNetwork: true\n{}", ECHO.trim_matches('\n'))));
    await_echoes(&host, "flat");
    await_echoes(&host, "native");
    let flat = host.pod("flat");
    for (own, gateway) in [(flat.ip(), host.gateway()), (flat.ip6(), host.gateway6())] {
        expect_seen(&host, "native", &own, &gateway);
        expect_seen(&host, "flat", &gateway, &own);
        // And each itself.
        expect_seen(&host, "flat", &own, &own);
        expect_seen(&host, "native", &gateway, &gateway);
    }
    host.finish();
}

const READY: &str = r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [tcp-echo, --port, '9000']
    ports: [{name: echo, containerPort: 9000}]
    readinessProbe: {tcpSocket: {port: echo}, periodSeconds: 1}
  - {name: udp, image: podbox.local/toolbox, command: [udp-echo, --port, '9001']}
";

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports: [{port: 80, targetPort: echo}]\n";

/// A pod, a probe and a Service on a network without a family.
fn works_without(family: &str) {
    let host = machine();
    host.rewrite_configuration(|text| {
        let change = |line: &str| match line.starts_with(&format!("{family} = ")) {
            true => format!("{family} = \"none\"\n"),
            false => format!("{line}\n"),
        };
        text.lines().map(change).collect()
    });
    host.up(SERVICE);
    host.up_ready(&pod("server", READY).replace("name: server\n", "name: server\n  labels: {app: web}\n"));
    host.up(&pod("client", SLEEPER));
    let (server, client) = (host.pod("server"), host.pod("client"));
    let addresses = server.at("status.podIPs").as_array().map_or(0, Vec::len);
    assert_eq!(addresses, 1, "{:#}", server.0["status"]);
    assert_eq!(server.ip().contains(':'), family == "ipv4");
    expect_seen(&host, "client", &server.ip(), &client.ip());
    expect_seen(&host, "server", &server.ip(), &server.ip());
    let (flag, other) = if family == "ipv4" { ("-4", "127.0.0.1") } else { ("-6", "::1") };
    for netns in [
        ip_in(&host, "server", &format!("{flag} address show scope global")),
        ip_in(&host, "server", &format!("{flag} route show default")),
        ip_on(&host, &format!("{flag} address show dev {} scope global", host.bridge())),
    ] {
        assert_eq!(netns, "", "there is no other family");
    }
    let rules = host.beside("nft").args(["list", "ruleset"]).run().ok().stdout;
    let absent = if family == "ipv4" { "ip saddr 10." } else { "ip6 saddr fd" };
    assert!(!rules.contains(absent), "{rules}");
    // Loopback has both.
    let (probe, port) = ECHOES[0];
    let own = format!("{}:{port}", bracketed(other));
    assert_eq!(host.exec("server", &["connect", probe, &own, "loopback"]), "loopback");
    let service = host.podbox(["get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}"]).ok();
    let at = format!("{}:80", bracketed(service.text()));
    wait_until("an endpoint", PATIENCE, || {
        let listed = host.podbox(["get", "endpoints", "web", "-o", "json"]).ok().json();
        listed["subsets"][0]["addresses"].as_array().is_some_and(|all| all.len() == 1)
    });
    let said = wait_good("the Service", || host.podbox(["exec", "client", "--", "connect", &at, "peer"]));
    assert_eq!(peer(said.text()), client.ip());
    host.finish();
}

#[test]
fn without_ipv6_all_works_by_ipv4_alone() {
    works_without("ipv6");
}

#[test]
fn without_ipv4_all_works_by_ipv6_alone() {
    works_without("ipv4");
}
