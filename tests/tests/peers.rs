//! More than one host: pods on different machines talk with their own addresses.
//!
//! Each machine is a network namespace with a podbox of its own; another one is the network between them.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use e2e::{Cmd, Host, PodView, bracketed, ip, pod, wait_good};
use nix::sched::CloneFlags;
use nix::sys::socket::{setsockopt, sockopt::Ipv6DontFrag};

const ECHO: &str = r"
  containers:
  - {name: tcp, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000']}
  - {name: udp, image: podbox.local/toolbox, command: [udp-echo, --port, '9001']}
";
const SLEEPER: &str = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";

/// The address without the port in `peer ADDRESS:PORT`.
fn peer(said: &str) -> String {
    let address = said.trim().strip_prefix("peer ").unwrap_or(said);
    address.rsplit_once(':').map_or(address, |(ip, _)| ip).trim_matches(['[', ']']).to_owned()
}

/// How the machines hang together.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// All on one link.
    Switch,
    /// Each on a link of its own, with a router between.
    Router,
}

/// Machines and the network between them.
struct Site {
    hosts: Vec<Host>,
    between: String,
    shape: Shape,
}

impl Site {
    fn new(number: usize, shape: Shape) -> Site {
        let hosts: Vec<Host> = (0..number).map(|_| Host::builder().own_net().build()).collect();
        let between = format!("pbw{}", hosts[0].number());
        if Path::new("/run/netns").join(&between).exists() {
            ip(&format!("netns del {between}"));
        }
        ip(&format!("netns add {between}"));
        ip(&format!("-n {between} link set lo up"));
        let site = Site { hosts, between, shape };
        if shape == Shape::Switch {
            site.here("link add br0 type bridge");
            site.here("link set br0 up");
            site.here(&format!("addr add {}/24 dev br0", site.gateway(0)));
            site.here(&format!("-6 addr add {}/64 dev br0 nodad", site.gateway6(0)));
        } else {
            for switch in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
                site.outside("sysctl").args(["-qw", switch]).run().ok();
            }
        }
        (0..number).for_each(|index| site.plug(index));
        site
    }

    fn plug(&self, index: usize) {
        let netns = self.hosts[index].netns();
        // As many distributions have it: what comes from where it would not go back to is dropped.
        for which in ["all", "default"] {
            let switch = format!("net.ipv4.conf.{which}.rp_filter=1");
            self.hosts[index].beside("sysctl").args(["-qw", &switch]).run().ok();
        }
        self.here(&format!("link add p{index} type veth peer name eth0 netns {netns}"));
        match self.shape {
            Shape::Switch => self.here(&format!("link set p{index} master br0")),
            Shape::Router => {
                self.here(&format!("addr add {}/24 dev p{index}", self.gateway(index)));
                self.here(&format!("-6 addr add {}/64 dev p{index} nodad", self.gateway6(index)));
            }
        }
        self.here(&format!("link set p{index} up"));
        ip(&format!("-n {netns} addr add {}/24 dev eth0", self.address(index)));
        ip(&format!("-n {netns} -6 addr add {}/64 dev eth0 nodad", self.address6(index)));
        ip(&format!("-n {netns} link set eth0 up"));
        ip(&format!("-n {netns} route add default via {}", self.gateway(index)));
        ip(&format!("-n {netns} -6 route add default via {}", self.gateway6(index)));
    }

    fn here(&self, words: &str) {
        ip(&format!("-n {} {words}", self.between));
    }

    /// A program in the network between.
    fn outside(&self, program: &str) -> Cmd {
        Cmd::new("nsenter").args([&format!("--net=/run/netns/{}", self.between), program])
    }

    fn link(&self, index: usize) -> usize {
        if self.shape == Shape::Switch { 0 } else { index + 1 }
    }

    fn gateway(&self, index: usize) -> String {
        format!("198.19.{}.254", self.link(index))
    }

    fn gateway6(&self, index: usize) -> String {
        format!("fd71:6f64:e2e:ff0{}::fe", self.link(index))
    }

    fn address(&self, index: usize) -> String {
        format!("198.19.{}.{}", self.link(index), index + 1)
    }

    fn address6(&self, index: usize) -> String {
        format!("fd71:6f64:e2e:ff0{}::{}", self.link(index), index + 1)
    }

    /// Tells every machine of all others; which of their addresses, `addresses` says.
    fn introduce(&self, network: &str, addresses: impl Fn(&Site, usize) -> String) {
        for (own, host) in self.hosts.iter().enumerate() {
            let peers: String = (0..self.hosts.len())
                .filter(|other| *other != own)
                .map(|other| self.entry(other, &addresses(self, other)))
                .collect();
            let flat = "flat-ipv4 = \"10.213.0.0/16\"\nflat-ipv6 = \"fd70:6f64:e2e::/48\"";
            host.configure(&format!("{flat}\n{network}"), &peers);
        }
    }

    fn entry(&self, other: usize, address: &str) -> String {
        let host = &self.hosts[other];
        format!(
            "[[peer]]\nname = \"host{other}\"\nipv4 = \"{}\"\nipv6 = \"{}\"\naddress = {address}\n",
            host.slice(),
            host.slice6()
        )
    }

    fn both(&self, index: usize) -> String {
        format!("[\"{}\", \"{}\"]", self.address(index), self.address6(index))
    }

    fn first(&self, index: usize) -> String {
        format!("\"{}\"", self.address(index))
    }

    fn second(&self, index: usize) -> String {
        format!("\"{}\"", self.address6(index))
    }

    /// A pod on every machine, ready to talk.
    fn pods(&self) -> Vec<PodView> {
        let start = |host: &Host| {
            host.up(&pod("echo", ECHO));
            for (port, flag) in [("9000", "-a"), ("9001", "-u")] {
                let at = format!("127.0.0.1:{port}");
                wait_good("the pod's own server", || {
                    host.podbox(["exec", "echo", "--", "connect", flag, &at, "hi"])
                });
            }
            host.pod("echo")
        };
        self.hosts.iter().map(start).collect()
    }

    /// Everybody sees everybody's own address, by both protocols, on both families.
    fn everybody_talks(&self, pods: &[PodView]) {
        for (a, from) in pods.iter().enumerate() {
            for (b, to) in pods.iter().enumerate().filter(|(b, _)| *b != a) {
                for (own, other) in [(from.ip(), to.ip()), (from.ip6(), to.ip6())] {
                    assert!(!own.is_empty() && !other.is_empty());
                    for (flag, port) in [("--timeout=5s", "9000"), ("-u", "9001")] {
                        let at = format!("{}:{port}", bracketed(&other));
                        let said = self.hosts[a].exec("echo", &["connect", flag, &at, "peer"]);
                        assert_eq!(peer(&said), own, "host {a} to host {b}, {at}");
                    }
                }
            }
        }
    }

    /// A machine itself talks to other machines' pods as its own pods' gateway.
    fn hosts_talk(&self, pods: &[PodView]) {
        let host = &self.hosts[0];
        for (to, own) in [(pods[1].ip(), host.gateway()), (pods[1].ip6(), host.gateway6())] {
            let at = format!("{}:9000", bracketed(&to));
            let said = host.podbox(["toolbox", "connect", "--timeout=5s", &at, "peer"]).ok();
            assert_eq!(peer(said.text()), own);
        }
    }

    /// What goes to somebody outside the flat space has the machine's address.
    fn outside_sees_the_host(&self) {
        let server = self.outside(&e2e::binary().to_string_lossy());
        let server = server.args(["toolbox", "tcp-echo", "--port", "9000"]).spawn();
        for (to, own) in [(self.gateway(0), self.address(0)), (self.gateway6(0), self.address6(0))] {
            let at = format!("{}:9000", bracketed(&to));
            let output = wait_good("an answer from outside", || {
                self.hosts[0].podbox(["exec", "echo", "--", "connect", &at, "peer"])
            });
            assert_eq!(peer(output.text()), own);
        }
        drop(server);
    }

    /// Lines that a program prints on a machine.
    fn lines(&self, index: usize, words: &str) -> Vec<String> {
        let (program, rest) = words.split_once(' ').expect("a program and its arguments");
        let output = self.hosts[index].beside(program).args(rest.split(' ')).run().ok();
        output.stdout.lines().map(str::to_owned).collect()
    }

    fn finish(self) {
        for host in &self.hosts {
            host.podbox(["down", "--all", "--grace-period", "0"]).ok();
            host.expect_nothing_left();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        Cmd::new("ip").args(["netns", "del", &self.between]).run();
    }
}

/// Sends a datagram of so many bytes, headers included, that must not be fragmented, from a pod to an echo.
#[expect(clippy::disallowed_methods, reason = "in a thread of its own, which ends")]
fn send_whole(netns: &Path, to: SocketAddr, size: usize) -> std::io::Result<usize> {
    const HEADERS: usize = 40 + 8;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
            let socket = UdpSocket::bind("[::]:0")?;
            setsockopt(&socket, Ipv6DontFrag, &true)?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            socket.connect(to)?;
            socket.send(&vec![b'x'; size - HEADERS])?;
            socket.recv(&mut vec![0; size])
        });
        thread.join().expect("the thread does not panic")
    })
}

/// A pod's largest packet is exactly as large as the way to the others allows.
fn largest_packet_is(site: &Site, pods: &[PodView], size: usize) {
    let netns = site.hosts[0].pod_dir("echo").join("ns/net");
    let to: IpAddr = pods[1].ip6().parse().expect("an address");
    let to = SocketAddr::from((to, 9001));
    let whole = send_whole(&netns, to, size).expect("a packet of full size arrives and comes back");
    assert_eq!(whole, size - 48);
    let error = send_whole(&netns, to, size + 1).expect_err("one byte more is too much");
    assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::EMSGSIZE as i32), "{error}");
    // Outside, too, nothing was cut in pieces.
    for index in [0, 1] {
        assert_eq!(fragments(site, index), 0, "host {index}");
    }
}

/// How many fragments a machine has made, on both families.
fn fragments(site: &Site, index: usize) -> u64 {
    let counters = site.lines(index, "cat /proc/self/net/snmp6");
    let six = counters.iter().find_map(|line| line.strip_prefix("Ip6FragCreates")).expect("the counter");
    let lines = site.lines(index, "cat /proc/self/net/snmp");
    let mut ip = lines.iter().filter(|line| line.starts_with("Ip:")).map(|line| line.split(' '));
    let (names, values) = (ip.next().expect("names"), ip.next().expect("values"));
    let (_, four) = names.zip(values).find(|(name, _)| *name == "FragCreates").expect("the counter");
    [six, four].iter().map(|count| count.trim().parse::<u64>().expect("a number")).sum()
}

#[test]
fn by_routes_pods_on_three_hosts_talk_with_unchanged_addresses() {
    let site = Site::new(3, Shape::Switch);
    site.introduce("overlay = \"host-gw\"", Site::both);
    let pods = site.pods();
    site.everybody_talks(&pods);
    site.hosts_talk(&pods);
    site.outside_sees_the_host();
    largest_packet_is(&site, &pods, 1500);
    site.finish();
}

#[test]
fn by_routes_over_ipv6_alone_pods_talk_on_both_families() {
    let site = Site::new(2, Shape::Switch);
    site.introduce("overlay = \"host-gw\"", Site::second);
    let pods = site.pods();
    site.everybody_talks(&pods);
    site.hosts_talk(&pods);
    let via = format!("{} via inet6 {}", site.hosts[1].slice(), site.address6(1));
    let routes = site.lines(0, "ip -4 route show proto 112");
    assert!(routes.iter().any(|route| route.contains(&via)), "{routes:?}");
    site.finish();
}

#[test]
fn a_tunnel_needs_no_route_before_it_is_used() {
    let site = Site::new(2, Shape::Router);
    site.introduce("", Site::first);
    for host in &site.hosts {
        ip(&format!("-n {} route del default", host.netns()));
    }
    let pods = site.pods();
    for (index, host) in site.hosts.iter().enumerate() {
        ip(&format!("-n {} route add default via {}", host.netns(), site.gateway(index)));
    }
    site.everybody_talks(&pods);
    site.finish();
}

#[test]
fn by_tunnels_pods_on_three_hosts_with_a_router_between_talk_with_unchanged_addresses() {
    let site = Site::new(3, Shape::Router);
    site.introduce("", Site::first);
    let pods = site.pods();
    site.everybody_talks(&pods);
    site.hosts_talk(&pods);
    site.outside_sees_the_host();
    largest_packet_is(&site, &pods, 1450);
    site.finish();
}

#[test]
fn a_tunnel_over_ipv6_carries_both_families_and_leaves_room_for_the_longer_header() {
    let site = Site::new(2, Shape::Router);
    site.introduce(
        "overlay = \"vxlan\"\nvxlan-id = 77\nvxlan-port = 8472\nunderlay = \"eth0\"",
        Site::second,
    );
    let pods = site.pods();
    site.everybody_talks(&pods);
    largest_packet_is(&site, &pods, 1430);
    let tunnel = site.lines(0, &format!("ip -d link show {}.vx", site.hosts[0].bridge())).join(" ");
    for words in ["vxlan id 77", "dstport 8472", "nolearning", "mtu 1430"] {
        assert!(tunnel.contains(words), "{tunnel}");
    }
    site.finish();
}

#[test]
fn a_peer_that_is_no_neighbour_needs_a_tunnel_and_the_error_says_so() {
    let site = Site::new(2, Shape::Router);
    site.introduce("overlay = \"host-gw\"", Site::both);
    let host = &site.hosts[0];
    host.try_up(&pod("echo", ECHO), &[])
        .code(3)
        .complains("peer host1: ")
        .complains(&format!("{} is not on a link of this host", site.address(1)))
        .complains("overlay = \"vxlan\"");
    host.expect_nothing_left();
    site.finish();
}

#[test]
fn a_peer_that_is_removed_takes_its_ways_along_with_the_next_up_or_at_once() {
    let site = Site::new(3, Shape::Switch);
    site.introduce("", Site::first);
    let host = &site.hosts[0];
    let table = host.podbox(["net", "peers", "--no-headers"]).ok();
    assert_eq!(table.stdout.lines().filter(|line| line.ends_with("absent")).count(), 2, "{table}");
    site.pods();
    let table = host.podbox(["net", "peers", "--no-headers"]).ok();
    assert_eq!(table.stdout.lines().filter(|line| line.ends_with("ready")).count(), 2, "{table}");
    let shown = host.podbox(["net", "show", "echo"]).ok();
    shown
        .says("to host host1, ")
        .says("(its ways: ready)")
        .says(&format!("leaves by {}.vx (", host.bridge()));
    let tunnel = format!("{}.vx", host.bridge());
    let ways = |what: &str| -> usize {
        let lines: Vec<String> = [
            "ip -4 route show proto 112".to_owned(),
            "ip -6 route show proto 112".to_owned(),
            format!("ip neighbour show dev {tunnel} nud permanent"),
            format!("bridge fdb show dev {tunnel}"),
        ]
        .iter()
        .flat_map(|words| site.lines(0, words))
        .collect();
        lines.iter().filter(|line| line.contains(what)).count()
    };
    let (slice, address) = (site.hosts[2].slice(), site.address(2));
    let gone = |what: &str| {
        for trace in [slice.as_str(), &site.hosts[2].gateway(), &site.hosts[2].gateway6(), &address] {
            assert_eq!(ways(trace), 0, "{what}: {trace}");
        }
    };
    assert!(ways(&slice) == 1 && ways(&address) == 1 && ways(&site.hosts[2].gateway6()) == 2);
    let all = std::fs::read_to_string(host.dir().join("podbox.toml")).expect("read the configuration");
    let without = all.replace(&site.entry(2, &site.first(2)), "");
    assert_ne!(all, without);
    host.rewrite_configuration(|_| without.clone());
    host.podbox(["net", "peers"]).ok().says("stale");
    host.up(&pod("other", SLEEPER));
    gone("after an up");
    assert!(ways(&site.address(1)) == 1, "the other peer stays");
    // Back, and away again, without any pod.
    host.rewrite_configuration(|_| all.clone());
    host.podbox(["net", "peers", "--apply"]).ok().says(&format!("route replace {slice} via"));
    assert_eq!(ways(&slice), 1);
    host.rewrite_configuration(|_| without);
    host.podbox(["net", "peers", "--apply"]).ok().says(&format!("route delete {slice} via"));
    gone("after net peers --apply");
    site.finish();
}

#[test]
fn a_peers_slice_that_the_host_has_another_way_to_is_refused_and_named() {
    let site = Site::new(2, Shape::Switch);
    site.introduce("", Site::first);
    let host = &site.hosts[0];
    let slice = site.hosts[1].slice();
    ip(&format!("-n {} route add {slice} via {} dev eth0", host.netns(), site.gateway(0)));
    host.try_up(&pod("echo", ECHO), &[])
        .code(3)
        .complains("peer host1: ")
        .complains(&format!("overlaps with the route to {slice} by eth0"));
    host.expect_nothing_left();
    ip(&format!("-n {} route del {slice}", host.netns()));
    host.up(&pod("echo", ECHO));
    site.finish();
}

#[test]
fn a_wrong_peer_is_told_with_line_and_column() {
    let host = Host::new();
    let section = "[[peer]]\nname = \"b\"\nipv4 = \"10.99.0.0/24\"\naddress = \"192.0.2.2\"";
    host.configure("", section);
    let path = host.dir().join("podbox.toml");
    let text = std::fs::read_to_string(&path).expect("read the configuration");
    let line = text.lines().position(|line| line.starts_with("ipv4 = \"10.99")).expect("it is there") + 1;
    host.podbox(["get", "pods"])
        .code(2)
        .complains(&format!("{}:{line}:8: ", path.display()))
        .complains("outside the flat space")
        .complains("flat-ipv4");
    host.rewrite_configuration(|text| text.replace(section, ""));
    host.finish();
}

#[test]
fn the_plans_commands_make_the_same_ways() {
    let site = Site::new(2, Shape::Router);
    site.introduce("", Site::first);
    let host = &site.hosts[0];
    let file = host.dir().join("pod.yaml");
    std::fs::write(&file, pod("echo", ECHO)).expect("write a manifest");
    let plan = host.podbox(["plan", &file.to_string_lossy()]).ok();
    let begin = plan.stdout.find("# lead the way to the other hosts\n").expect("the step is told");
    let commands: Vec<&str> =
        plan.stdout[begin..].lines().skip(1).take_while(|line| !line.starts_with('#')).collect();
    let tunnel = format!("{}.vx", host.bridge());
    let state = || {
        let words = [
            format!("ip -br link show {tunnel}"),
            format!("bridge fdb show dev {tunnel}"),
            format!("ip neighbour show dev {tunnel}"),
            "ip -4 route show proto 112".to_owned(),
            "ip -6 route show proto 112".to_owned(),
        ];
        words.iter().flat_map(|words| site.lines(0, words)).collect::<Vec<_>>()
    };
    host.up(&pod("echo", ECHO));
    let by_podbox = state();
    assert!(by_podbox.len() >= 6, "{by_podbox:?}");
    ip(&format!("-n {} link delete {tunnel}", host.netns()));
    for command in commands {
        host.beside("sh").args(["-ec", command]).run().ok();
    }
    assert_eq!(state(), by_podbox);
    site.finish();
}

/// Waits for an event of the first machine's pod.
fn mended(site: &Site, says: &str) {
    site.hosts[0].wait_event("echo", "NetworkMended", says);
}

/// Supervisors listen from half a second on.
fn until_they_listen() {
    std::thread::sleep(Duration::from_secs(1));
}

#[test]
fn a_tunnel_that_is_deleted_or_goes_down_and_up_comes_back() {
    let site = Site::new(2, Shape::Router);
    site.introduce("", Site::first);
    let pods = site.pods();
    site.everybody_talks(&pods);
    until_they_listen();
    let tunnel = format!("{}.vx", site.hosts[0].bridge());
    ip(&format!("-n {} link del {tunnel}", site.hosts[0].netns()));
    mended(&site, &format!("no way to {}", site.hosts[1].slice()));
    site.everybody_talks(&pods);
    ip(&format!("-n {} link set {tunnel} down", site.hosts[0].netns()));
    ip(&format!("-n {} link set {tunnel} up", site.hosts[0].netns()));
    wait_good("the way", || {
        site.hosts[0].beside("ip").args(["route", "get", &pods[1].ip(), "oif", &tunnel]).run()
    });
    wait_ready(&site);
    site.everybody_talks(&pods);
    // The routes have the bridge's address as their source, and go with it.
    ip(&format!("-n {} link del {}", site.hosts[0].netns(), site.hosts[0].bridge()));
    mended(&site, &format!("no bridge {}", site.hosts[0].bridge()));
    wait_ready(&site);
    site.everybody_talks(&pods);
    site.finish();
}

fn wait_ready(site: &Site) {
    e2e::wait_for("the peers to be ready", e2e::PATIENCE, || {
        let said = site.hosts[0].podbox(["net", "peers", "--no-headers"]).stdout;
        if said.lines().all(|line| line.trim_end().ends_with("ready")) { Ok(()) } else { Err(said) }
    });
}

#[test]
fn routes_by_a_link_that_goes_down_and_up_come_back() {
    let site = Site::new(2, Shape::Switch);
    site.introduce("overlay = \"host-gw\"", Site::both);
    let pods = site.pods();
    site.everybody_talks(&pods);
    until_they_listen();
    let netns = site.hosts[0].netns();
    ip(&format!("-n {netns} link set eth0 down"));
    std::thread::sleep(Duration::from_secs(1));
    ip(&format!("-n {netns} link set eth0 up"));
    // As whoever looks after the link does: what the kernel has taken with it.
    ip(&format!("-n {netns} -6 addr add {}/64 dev eth0 nodad", site.address6(0)));
    ip(&format!("-n {netns} route replace default via {}", site.gateway(0)));
    mended(&site, &format!("no way to {}", site.hosts[1].slice()));
    wait_ready(&site);
    site.everybody_talks(&pods);
    site.hosts[0].podbox(["system", "check"]).says("ok       peers");
    site.finish();
}

#[test]
fn pods_that_run_get_the_size_of_another_overlay_and_net_peers_tells_what_is_old() {
    let site = Site::new(2, Shape::Switch);
    site.introduce("overlay = \"host-gw\"", Site::both);
    let pods = site.pods();
    largest_packet_is(&site, &pods, 1500);
    until_they_listen();
    for host in &site.hosts {
        host.rewrite_configuration(|text| text.replace("overlay = \"host-gw\"", "overlay = \"vxlan\""));
    }
    let said = site.hosts[0].podbox(["net", "peers"]).ok().stdout;
    assert!(said.contains("outdated"), "{said}");
    site.hosts[0].podbox(["system", "check"]).says("what leads to host1 is not what the configuration says");
    for host in &site.hosts {
        host.up(&pod("echo", ECHO)).says("unchanged");
        host.wait_event("echo", "NetworkMended", "with an MTU of 1500, not 1450");
    }
    wait_ready(&site);
    site.everybody_talks(&pods);
    largest_packet_is(&site, &pods, 1450);
    // And back.
    for host in &site.hosts {
        host.rewrite_configuration(|text| text.replace("overlay = \"vxlan\"", "overlay = \"host-gw\""));
        host.podbox(["net", "peers", "--apply"]).ok().says("mtu 1500");
        host.wait_event("echo", "NetworkMended", "with an MTU of 1450, not 1500");
    }
    site.everybody_talks(&pods);
    largest_packet_is(&site, &pods, 1500);
    site.finish();
}
