//! Beside other people's firewalls: pods' traffic passes chains that forward nothing, and what a foreign flush takes away
//! comes back. Each host is a network namespace of its own, so that its rules and settings are nobody else's.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use e2e::{Cmd, Host, Output, PATIENCE, Podman, bracketed, ip, pod, wait_for, wait_good};
use nix::sched::CloneFlags;

/// A policy, and nothing else.
const NFT: &str = "table inet host {
    chain forward { type filter hook forward priority 0; policy drop; }
}";

/// The shape of firewalld's forward chains: the policy accepts, what nobody wanted is rejected in the end.
const FIREWALLD: &str = "table inet firewalld {
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname \"lo\" accept
        ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002:a00::/24 } reject with icmpv6 type addr-unreachable
        jump filter_FORWARD_POLICIES_pre
        ct state { invalid } drop
        reject with icmpx type admin-prohibited
    }
    chain filter_FORWARD_POLICIES_pre { }
}";

/// What docker has iptables do when it starts, as far as forwarding goes.
const DOCKER: &str = "
    $t -P FORWARD DROP
    $t -N DOCKER; $t -N DOCKER-ISOLATION-STAGE-1; $t -N DOCKER-ISOLATION-STAGE-2; $t -N DOCKER-USER
    $t -A FORWARD -j DOCKER-USER
    $t -A FORWARD -j DOCKER-ISOLATION-STAGE-1
    $t -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    $t -A FORWARD -o docker0 -j DOCKER
    $t -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    $t -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
    $t -A DOCKER-ISOLATION-STAGE-1 -j RETURN
    $t -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
    $t -A DOCKER-USER -j RETURN
    $t -t nat -N DOCKER
    $t -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER";

fn docker() -> String {
    [DOCKER.replace("$t", "iptables"), DOCKER.replace("$t", "ip6tables")].join("\n")
}

/// A machine, and one on the next cable.
struct Site {
    host: Host,
    outside: String,
}

const HOST: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
const OUTSIDE: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

impl Site {
    fn new(host: Host) -> Site {
        let outside = format!("pbf{}", host.number());
        if Path::new("/run/netns").join(&outside).exists() {
            ip(&format!("netns del {outside}"));
        }
        let inside = host.netns();
        ip(&format!("netns add {outside}"));
        ip(&format!("-n {outside} link add eth0 type veth peer name eth0 netns {inside}"));
        for (netns, [v4, v6]) in [(inside, HOST), (&outside, OUTSIDE)] {
            ip(&format!("-n {netns} addr add {v4}/24 dev eth0"));
            ip(&format!("-n {netns} -6 addr add {v6}/64 dev eth0 nodad"));
            ip(&format!("-n {netns} link set lo up"));
            ip(&format!("-n {netns} link set eth0 up"));
        }
        Site { host, outside }
    }

    /// Shell lines on the host.
    fn sh(&self, lines: &str) -> Output {
        self.host.beside("sh").args(["-ec", lines]).run().ok()
    }

    /// nftables' own words on the host.
    fn nft(&self, words: &str) {
        self.host.beside("nft").args(["-f", "-"]).input(format!("{words}\n")).run().ok();
    }

    /// An applet on the machine next door.
    fn outside(&self, words: &[&str]) -> Cmd {
        let netns = format!("--net=/run/netns/{}", self.outside);
        Cmd::new("nsenter").args([netns.as_str(), e2e::binary().to_str().unwrap(), "toolbox"]).args(words)
    }

    /// A connection from next door.
    fn connection(&self, to: &str) -> TcpStream {
        let netns = File::open(Path::new("/run/netns").join(&self.outside)).unwrap();
        let to = to.to_owned();
        let thread = std::thread::spawn(move || {
            enter(&netns);
            let stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok::<_, std::io::Error>(stream)
        });
        thread.join().expect("the thread does not panic").expect("a connection from next door")
    }

    /// All rules that let the bridge's packets pass.
    fn passages(&self) -> Vec<String> {
        let rules = self.sh("nft list ruleset").stdout;
        rules.lines().filter(|line| line.contains("comment \"podbox: ")).map(str::to_owned).collect()
    }

    /// Ends the pods, sees that nothing of podbox is left in others' chains, and takes these away.
    fn finish(self) {
        self.host.down(&["--all", "--grace-period", "0"]);
        wait_for("the foreign chains to be as they were", PATIENCE, || {
            let rules = self.sh("nft list ruleset").stdout;
            if rules.contains("podbox") || rules.contains("pbt") { Err(rules) } else { Ok(()) }
        });
        self.nft("flush ruleset");
        ip(&format!("netns del {}", self.outside));
        self.host.finish();
    }
}

#[expect(clippy::disallowed_methods, reason = "in a thread of its own, which ends")]
fn enter(netns: &File) {
    nix::sched::setns(netns, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
}

/// The address without the port in `peer ADDRESS:PORT`.
fn peer(said: &str) -> String {
    let address = said.trim().strip_prefix("peer ").unwrap_or(said);
    let address = address.rsplit_once(':').map_or(address, |(ip, _)| ip).trim_matches(['[', ']']);
    address.trim_start_matches("::ffff:").to_owned()
}

/// A pod that answers by TCP and UDP, at two ports of the host too, and is behind the Service `echo`.
fn server(host: &Host) -> String {
    let (tcp, udp) = (host.port(0), host.port(1));
    pod(
        "server",
        &format!(
            r"
  containers:
  - name: tcp
    image: podbox.local/toolbox
    command: [tcp-echo, --port, '9000']
    ports: [{{containerPort: 9000, hostPort: {tcp}}}]
  - name: udp
    image: podbox.local/toolbox
    command: [udp-echo, --port, '9001']
    ports: [{{containerPort: 9001, hostPort: {udp}, protocol: UDP}}]
"
        ),
    )
    .replace("name: server\n", "name: server\n  labels: {app: echo}\n")
}

fn service(host: &Host) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: echo}}\nspec:\n  type: NodePort\n  ipFamilyPolicy: RequireDualStack\n  selector: {{app: echo}}\n  ports: [{{port: 80, targetPort: 9000, nodePort: {}}}]\n",
        host.port(30)
    )
}

const CLIENT: &str = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";

/// Who the server has seen when the client pod asked.
fn asked_from_pod(host: &Host, name: &str, flag: &str, at: &str) -> String {
    let said = wait_good(at, || host.podbox(["exec", name, "-c", "tcp", "--", "connect", flag, at, "peer"]));
    peer(said.text())
}

fn asked_from_outside(site: &Site, flag: &str, at: &str) -> String {
    peer(wait_good(at, || site.outside(&["connect", flag, at, "peer"]).run()).text())
}

#[test]
fn pods_and_services_and_host_ports_work_where_the_host_forwards_nothing_and_bridged_frames_are_filtered() {
    let site = Site::new(Host::builder().own_net().build());
    let host = &site.host;
    site.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1");
    site.sh(&docker());
    site.nft(NFT);
    site.nft(FIREWALLD);
    let before = site.sh("iptables-save; ip6tables-save").stdout;
    host.cmd(["plan", "-"])
        .input(server(host))
        .run()
        .ok()
        .says(&format!("nft 'insert rule ip filter FORWARD iifname \"{}\" counter accept", host.bridge()))
        .says("nft 'insert rule inet host forward oifname")
        .says("nft 'insert rule inet firewalld filter_FORWARD iifname");
    assert_eq!(site.passages(), [""; 0], "a plan changes nothing");
    host.up(&service(host));
    host.up_ready(&server(host));
    host.up(&pod("client", &CLIENT.replace("name: c,", "name: tcp,")));
    assert_eq!(site.passages().len(), 8, "{:?}", site.passages());
    // iptables can still read its chain, whose other rules are as before.
    let after = site.sh("iptables-save; ip6tables-save").stdout;
    let others: Vec<&str> = after.lines().filter(|line| !line.contains(&host.bridge())).collect();
    let is_rule = |line: &&&str| line.starts_with(['-', ':', '*']);
    let rules = |lines: &[&str]| lines.iter().filter(is_rule).map(|l| words(l)).collect::<Vec<_>>();
    assert_eq!(rules(&others), rules(&before.lines().collect::<Vec<_>>()));
    assert!(after.contains(&format!("-A FORWARD -i {} ", host.bridge())), "{after}");

    // Who saves his rules saves ours too; there are none the more for it when he loads them again.
    site.sh("iptables-save > $0 && iptables-restore < $0 && rm $0".replace("$0", &saved(host)).as_str());
    let forward = || site.sh("iptables -S FORWARD").stdout;
    assert_eq!(forward().matches(&host.bridge()).count(), 4, "{}", forward());

    let (pods, clients) = (host.pod("server"), host.pod("client"));
    let outside =
        [("tcp-echo", "9000"), ("udp-echo", "9001")].map(|(a, p)| site.outside(&[a, "--port", p]).spawn());
    let (tcp, udp) = (host.port(0).to_string(), host.port(1).to_string());
    let ways = [("-a", "9000", &tcp), ("-u", "9001", &udp)];
    for (index, (to, from)) in
        [(pods.ip(), clients.ip()), (pods.ip6(), clients.ip6())].into_iter().enumerate()
    {
        for (flag, port, host_port) in ways {
            let at = |ip: &str, port: &str| format!("{}:{port}", bracketed(ip));
            assert_eq!(asked_from_pod(host, "client", flag, &at(&to, port)), from, "{flag}: pod to pod");
            assert_eq!(
                asked_from_pod(host, "client", flag, &at(OUTSIDE[index], port)),
                HOST[index],
                "{flag}: out"
            );
            assert_eq!(
                asked_from_outside(&site, flag, &at(HOST[index], host_port)),
                OUTSIDE[index],
                "{flag}: a host port from outside"
            );
            // From pods a host port is masqueraded; one's own too.
            asked_from_pod(host, "client", flag, &at(HOST[index], host_port));
            asked_from_pod(host, "server", flag, &at(HOST[index], host_port));
        }
        let path = format!("jsonpath={{.spec.clusterIPs[{index}]}}");
        let service = host.podbox(["get", "svc", "echo", "-o", &path]).ok().text().trim().to_owned();
        let service = format!("{}:80", bracketed(&service));
        assert_eq!(asked_from_pod(host, "client", "-a", &service), from, "pod to Service");
        let node_port = format!("{}:{}", bracketed(HOST[index]), host.port(30));
        assert_eq!(asked_from_outside(&site, "-a", &node_port), OUTSIDE[index], "a NodePort");
    }
    drop(outside);
    host.cmd(["system", "check"]).run().says("ip filter FORWARD").says("bridge-nf-call");
    site.finish();
}

fn saved(host: &Host) -> String {
    host.dir().join("rules").display().to_string()
}

/// A line's words, without the counters in brackets.
fn words(line: &str) -> String {
    line.split('[').next().unwrap_or(line).trim().to_owned()
}

#[test]
fn a_firewall_that_is_to_be_left_alone_stops_packets_and_one_that_comes_later_does_not() {
    let site = Site::new(Host::builder().own_net().network("firewall = \"leave\"").build());
    let host = &site.host;
    site.nft(NFT);
    host.up_ready(&server(host));
    let echo = site.outside(&["tcp-echo", "--port", "9000"]).spawn();
    let at = format!("{}:9000", OUTSIDE[0]);
    let ask =
        |limit: &str| host.podbox(["exec", "server", "-c", "tcp", "--", "connect", "-t", limit, &at, "hi"]);
    let own = format!("127.0.0.1:{}", host.port(0));
    wait_good("the pod itself", || host.cmd(["toolbox", "connect", &own, "hi"]).run());
    assert!(!ask("300ms").good(), "the firewall lets through what it should not");
    assert_eq!(site.passages(), [""; 0]);
    host.cmd(["system", "check"]).run().says("inet host forward").says("firewall = \"open\"");
    // So does whoever switches off what podbox has switched on.
    host.beside("sh").args(["-c", "echo 0 >/proc/sys/net/ipv4/ip_forward"]).run().ok();
    host.cmd(["system", "check"]).run().says("limited  net.ipv4.ip_forward: it is 0");
    host.beside("sh").args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]).run().ok();
    assert!(!host.cmd(["system", "check"]).run().text().contains("ip_forward"));
    host.down(&["--all", "--grace-period", "0"]);

    host.rewrite_configuration(|text| text.replace("firewall = \"leave\"\n", ""));
    site.nft("delete table inet host");
    host.up_ready(&server(host));
    wait_good("a way out", || ask("5s"));
    site.nft(NFT);
    site.sh(&docker());
    wait_for("the new chains to be open", PATIENCE, || match site.passages() {
        passages if passages.len() == 6 => Ok(()),
        passages => Err(passages),
    });
    wait_good("a way out", || ask("5s"));
    drop(echo);
    site.finish();
}

#[test]
fn what_a_foreign_flush_takes_away_comes_back_and_connections_go_on() {
    let site = Site::new(Host::builder().own_net().build());
    let host = &site.host;
    site.nft(NFT);
    host.up(&service(host));
    host.up_ready(&server(host));
    host.up(&pod("client", &CLIENT.replace("name: c,", "name: tcp,")));
    let echo = site.outside(&["udp-echo", "--port", "9001"]).spawn();
    let (tcp, udp) = (format!("{}:{}", HOST[0], host.port(0)), format!("{}:{}", HOST[0], host.port(1)));
    let node_port = format!("{}:{}", bracketed(HOST[1]), host.port(30));
    wait_good("a NodePort", || site.outside(&["connect", &node_port, "hi"]).run());
    let mut connection = site.connection(&tcp);
    for round in 0..3 {
        let line = format!("round {round}\n");
        connection.write_all(line.as_bytes()).expect("send to the pod");
        let mut said = vec![0; line.len()];
        connection.read_exact(&mut said).expect("hear from the pod");
        assert_eq!(said, line.as_bytes());
        // As a firewall's own unit does it: all at once, its own rules behind.
        site.nft(&format!("flush ruleset\n{NFT}"));
        let table = format!("table inet podbox-{}", host.bridge());
        wait_for("all of it to be back", PATIENCE, || {
            let rules = site.sh("nft list ruleset").stdout;
            let has =
                [&format!("{table} {{"), &format!("{table}-services {{")].map(|name| rules.contains(name));
            if has == [true; 2] && site.passages().len() == 2 { Ok(()) } else { Err(rules) }
        });
        assert_eq!(asked_from_outside(&site, "-a", &tcp), OUTSIDE[0], "a host port by TCP");
        assert_eq!(asked_from_outside(&site, "-u", &udp), OUTSIDE[0], "a host port by UDP");
        wait_good("a NodePort", || site.outside(&["connect", &node_port, "hi"]).run());
        let out = format!("{}:9001", OUTSIDE[0]);
        assert_eq!(asked_from_pod(host, "client", "-u", &out), HOST[0], "masqueraded");
    }
    // A rule of ours that is missing alone, and a table without its rules.
    for flushed in ["chain inet host forward", &format!("table inet podbox-{}", host.bridge())] {
        site.nft(&format!("flush {flushed}"));
        wait_for("the rules to be back", PATIENCE, || {
            let rules = site.sh("nft list ruleset").stdout;
            let whole = rules.contains("fib daddr type local jump host_ports");
            if whole && site.passages().len() == 2 { Ok(()) } else { Err(rules) }
        });
    }
    assert_eq!(asked_from_outside(&site, "-a", &tcp), OUTSIDE[0], "a host port by TCP");
    drop(echo);
    site.finish();
}

/// The bridge of podman's own network, and podman.
fn podman(host: &Host) -> (String, Podman) {
    let (dir, bridge) = (host.dir().join("podman"), format!("cni{}", host.number()));
    let networks = dir.join("net.d");
    std::fs::create_dir_all(&networks).unwrap();
    let subnet = format!("10.219.{}", host.number());
    let conflist = format!(
        r#"{{"cniVersion": "0.4.0", "name": "podman", "plugins": [
            {{"type": "bridge", "bridge": "{bridge}", "isGateway": true, "ipMasq": true, "hairpinMode": true,
              "ipam": {{"type": "host-local", "routes": [{{"dst": "0.0.0.0/0"}}], "dataDir": "{}",
                        "ranges": [[{{"subnet": "{subnet}.0/24", "gateway": "{subnet}.1"}}]]}}}},
            {{"type": "portmap", "capabilities": {{"portMappings": true}}}},
            {{"type": "firewall"}}]}}"#,
        dir.join("ipam").display()
    );
    std::fs::write(networks.join("87-podman.conflist"), conflist).unwrap();
    let sections = format!(
        "[network]\nnetwork_backend = \"cni\"\nnetwork_config_dir = \"{}\"\ncni_plugin_dirs = [\"/usr/lib/cni\"]\n",
        networks.display()
    );
    (bridge, Podman::new(dir, &sections))
}

#[test]
fn pods_and_podmans_containers_have_ports_of_the_host_side_by_side() {
    let site = Site::new(Host::builder().own_net().build());
    let host = &site.host;
    let (bridge, podman) = podman(host);
    site.sh("sysctl -qw net.bridge.bridge-nf-call-iptables=1");
    host.up_ready(&server(host));
    let at = |port: u16| format!("{}:{port}", HOST[0]);
    let (pods, podmans) = (at(host.port(0)), at(host.port(2)));
    let published = format!("{}:9000", host.port(2));
    let echo = [Podman::IMAGE, "/podbox", "toolbox", "tcp-echo", "--port", "9000"];
    let run = ["run", "-d", "--name", "echo", "--network", "podman", "-p", &published];
    podman.beside(host, &[&run[..], &echo].concat()).run().ok();
    for port in [&pods, &podmans] {
        assert_eq!(asked_from_outside(&site, "-a", port), OUTSIDE[0], "{port}");
    }
    asked_from_pod(host, "server", "-a", &podmans);
    podman.beside(host, &["exec", "echo", "/podbox", "toolbox", "connect", &pods, "hi"]).run().ok();
    podman.beside(host, &["rm", "-f", "-t", "0", "-a"]).run().ok();
    assert_eq!(asked_from_outside(&site, "-a", &pods), OUTSIDE[0], "after podman's container");
    ip(&format!("-n {} link del {bridge}", host.netns()));
    drop(podman);
    site.finish();
}

#[test]
fn a_chain_that_nobody_else_may_change_is_told_of_and_the_pod_runs() {
    let site = Site::new(Host::builder().own_net().build());
    let host = &site.host;
    // The table lives as long as the program.
    let mut owner = host.beside("nft").args(["-i"]).spawn();
    owner.type_in("add table inet owned { flags owner; }\n");
    owner.type_in("add chain inet owned f { type filter hook forward priority 0; policy drop; }\n");
    wait_for("the chain", PATIENCE, || {
        let rules = site.sh("nft list ruleset").stdout;
        if rules.contains("policy drop") { Ok(()) } else { Err(rules) }
    });
    host.up_ready(&server(host));
    host.wait_event("server", "NetworkDegraded", "the chain inet owned f may stop");
    assert_eq!(site.passages(), [""; 0]);
    drop(owner);
    site.finish();
}
