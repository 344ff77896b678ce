//! What somebody takes away of the pods' network comes back, with traffic before and after. Each host is a network namespace
//! of its own, so that its links are nobody else's.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use e2e::{Host, PATIENCE, bracketed, pod, wait_for, wait_good, wait_until};

const ECHO: &str = r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [tcp-echo, --port, '9000']
    readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}
";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: echo}\nspec:\n  ipFamilyPolicy: RequireDualStack\n  selector: {app: echo}\n  ports: [{port: 80, targetPort: 9000}]\n";

/// Two pods that can talk, one of them behind a Service.
struct Site {
    host: Host,
    server: [String; 2],
    service: [String; 2],
}

impl Site {
    fn new() -> Site {
        let host = Host::builder().own_net().build();
        host.up(SERVICE);
        host.up_ready(&pod("server", ECHO).replace("name: server", "name: server\n  labels: {app: echo}"));
        host.up_ready(&pod("client", ECHO));
        let service = [0, 1].map(|index| {
            let path = format!("jsonpath={{.spec.clusterIPs[{index}]}}");
            host.podbox(["get", "svc", "echo", "-o", &path]).ok().text().trim().to_owned()
        });
        let view = host.pod("server");
        let site = Site { server: [view.ip(), view.ip6()], service, host };
        site.talks("before");
        // Supervisors listen from half a second on.
        std::thread::sleep(Duration::from_secs(1));
        site
    }

    /// Shell lines on the host; `BRIDGE` and `CABLE`, the server's, are filled in.
    fn sh(&self, lines: &str) -> String {
        let lines = lines.replace("BRIDGE", &self.host.bridge()).replace("CABLE", &self.cable("server"));
        self.host.beside("sh").args(["-ec", &lines]).run().ok().stdout
    }

    /// The name of the cable's end on the host.
    fn cable(&self, name: &str) -> String {
        let trace = fs::read_to_string(self.host.pod_dir(name).join("trace.jsonl")).expect("a trace");
        let made = trace.split("ip link add ").find(|words| words.contains(" type veth ")).expect("a cable");
        made.split_whitespace().next().expect("its name").to_owned()
    }

    /// Pod to pod, host to pod, and both to the Service, on both families.
    fn talks(&self, when: &str) {
        for (ip, service) in self.server.iter().zip(&self.service) {
            for at in [format!("{}:9000", bracketed(ip)), format!("{}:80", bracketed(service))] {
                let connect = ["connect", "-t", "1s", &at, "hi"];
                wait_good(&format!("{when}: the client to {at}"), || {
                    self.host.podbox([&["exec", "client", "--"], &connect[..]].concat())
                });
                wait_good(&format!("{when}: the host to {at}"), || {
                    self.host.podbox([&["toolbox"], &connect[..]].concat())
                });
            }
        }
    }

    /// Does something to the network, and sees that it comes back, and that the pod says so.
    fn survives(&self, act: &str, says: &str) {
        let says = says.replace("BRIDGE", &self.host.bridge()).replace("CABLE", &self.cable("server"));
        self.sh(act);
        self.talks(&format!("after `{act}`"));
        wait_for("the event", PATIENCE, || {
            let all = ["server", "client"].map(|name| self.host.podbox(["events", name]).stdout);
            let such = |text: &String| text.contains("NetworkMended") && text.contains(&says);
            if all.iter().any(such) { Ok(()) } else { Err(all) }
        });
        self.is_whole();
    }

    fn is_whole(&self) {
        wait_for("system check to be content", PATIENCE, || {
            let said = self.host.podbox(["system", "check"]).stdout;
            if said.contains("ok       network of running pods") { Ok(()) } else { Err(said) }
        });
    }

    fn finish(self) {
        self.host.down(&["--all", "--grace-period", "0"]);
        self.host.finish();
    }
}

#[test]
fn a_bridge_that_is_deleted_comes_back() {
    let site = Site::new();
    site.survives("ip link del BRIDGE", "no bridge BRIDGE");
    site.finish();
}

/// Processes that are stopped, and go on when this goes.
struct Stopped(Vec<i32>);

impl Stopped {
    fn new(pids: Vec<i32>) -> Stopped {
        pids.iter().for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGSTOP).expect("it runs"));
        Stopped(pids)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGCONT);
        }
    }
}

#[test]
fn while_there_is_no_bridge_nothing_for_pods_and_services_leaves_by_the_uplink() {
    let site = Site::new();
    site.sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
         ip addr add 192.0.2.1/24 dev up0; ip -6 addr add 2001:db8::1/64 dev up0 nodad
         ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8::2
         ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev up0
         ip neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev up0");
    std::thread::sleep(Duration::from_secs(1));
    {
        let _stopped = Stopped::new(site.host.helpers("supervise"));
        site.sh("ip link del BRIDGE");
        for (ip, service) in site.server.iter().zip(&site.service) {
            for at in [format!("{}:9000", bracketed(ip)), format!("{}:80", bracketed(service))] {
                let said = site.host.podbox(["toolbox", "connect", "-t", "30s", &at, "hi"]);
                let text = format!("{}{}", said.stdout, said.stderr);
                assert!(text.to_lowercase().contains("no route to host"), "{at}: {text}");
                let way = site.host.beside("ip").args(["route", "get", at_alone(&at)]).run();
                assert!(!format!("{way:?}").contains("up0"), "{at}: {way:?}");
            }
        }
        let found = site.sh("ip route show default; ip -6 route show default");
        assert!(found.matches("up0").count() >= 2, "there is another way: {found}");
    }
    site.talks("after the bridge is back");
    site.is_whole();
    site.sh("ip link del up0");
    site.finish();
}

/// The address without its port.
fn at_alone(at: &str) -> &str {
    at.rsplit_once(':').expect("a port").0.trim_matches(['[', ']'])
}

#[test]
fn who_goes_on_sending_while_the_table_of_services_is_away_is_led_on_once_it_is_back() {
    let host = Host::builder().own_net().build();
    host.up(&SERVICE.replace("port: 80, targetPort: 9000", "port: 80, targetPort: 9000, protocol: UDP"));
    let server =
        "  containers: [{name: c, image: podbox.local/toolbox, command: [udp-echo, --port, '9000']}]";
    host.up(&pod("server", server).replace("name: server", "name: server\n  labels: {app: echo}"));
    for index in [0, 1] {
        let path = format!("jsonpath={{.spec.clusterIPs[{index}]}}");
        let service = host.podbox(["get", "svc", "echo", "-o", &path]).ok().text().trim().to_owned();
        // One socket for all, so that it is one flow to the kernel.
        let send = format!(
            "exec 3<>/dev/udp/{service}/80; for i in $(seq 100); do echo hi >&3; read -t 0.2 -N 1 -u 3 && exit 0; sleep 0.1; done; exit 1"
        );
        wait_good("the Service", || host.beside("bash").args(["-c", &send]).run());
        // Supervisors listen from two seconds on.
        std::thread::sleep(Duration::from_secs(3));
        let stopped = Stopped::new(host.helpers("supervise"));
        let delete = "nft delete table inet $(nft list tables | grep -o '[^ ]*-services')";
        host.beside("sh").args(["-ec", delete]).run().ok();
        let mut sender = host.beside("bash").args(["-c", &send]).spawn();
        std::thread::sleep(Duration::from_secs(1));
        drop(stopped);
        assert_eq!(sender.end(PATIENCE), 0, "{service}: {}", sender.said());
    }
    host.finish();
}

#[test]
fn a_bridge_that_is_renamed_has_its_name_again() {
    let site = Site::new();
    site.survives(
        "ip link set BRIDGE down; ip link set BRIDGE name other0; ip link set other0 up",
        "BRIDGE renamed to other0",
    );
    let left = site.sh("ip -o link show");
    assert!(!left.contains("other0"), "{left}");
    let stopped = Stopped::new(site.host.helpers("supervise"));
    site.sh("ip link set BRIDGE down; ip link set BRIDGE name other0");
    site.host.podbox(["system", "check"]).code(3).says("renamed to other0");
    drop(stopped);
    site.finish();
}

#[test]
fn a_cable_that_is_deleted_comes_back() {
    let site = Site::new();
    site.survives("ip link del CABLE", "no cable CABLE to eth0");
    site.finish();
}

#[test]
fn a_bridge_that_goes_down_and_up_has_its_addresses_and_routes_again_and_one_that_is_down_goes_up() {
    let site = Site::new();
    site.survives("ip link set BRIDGE down; ip link set BRIDGE up", "BRIDGE without fd70");
    site.survives("ip link set BRIDGE down", "BRIDGE down");
    site.finish();
}

#[test]
fn a_bridge_has_its_addresses_again_after_they_were_flushed() {
    let site = Site::new();
    site.survives("ip addr flush dev BRIDGE", "BRIDGE without 10.213");
    site.finish();
}

#[test]
fn a_cable_that_is_pulled_out_or_switched_off_is_plugged_in_again() {
    let site = Site::new();
    site.survives("ip link set CABLE nomaster", "CABLE, the cable of eth0, not plugged into BRIDGE");
    site.survives("ip link set CABLE down", "CABLE, the cable of eth0, down");
    site.finish();
}

#[test]
fn another_size_in_the_configuration_reaches_pods_that_run() {
    let site = Site::new();
    let host = &site.host;
    host.configure("mtu = 1400", "");
    host.up(&pod("small", ECHO));
    for name in ["server", "client"] {
        host.wait_event(name, "NetworkMended", "with an MTU of 1500, not 1400");
        let netns = host.pod_dir(name).join("ns/net");
        let netns = format!("--net={}", netns.display());
        host.beside("nsenter").args([&netns, "ip", "link", "show", "eth0"]).run().ok().says("mtu 1400");
    }
    site.talks("with another size");
    site.finish();
}

#[test]
fn further_networks_come_back_too() {
    let host = Host::builder().own_net().build();
    let number = host.number();
    host.configure(
        "",
        &format!("[networks.blue]\nbridge = \"pbt{number}b\"\nipv4 = \"10.215.{number}.0/24\"\nipv6 = \"fd70:6f64:e30:{number:x}::/64\"\n"),
    );
    let on_blue = |name: &str| {
        let named = format!("name: {name}");
        pod(name, ECHO)
            .replace(&named, &format!("{named}\n  annotations: {{k8s.v1.cni.cncf.io/networks: blue}}"))
    };
    host.up_ready(&on_blue("one"));
    host.up_ready(&on_blue("two"));
    let talk = |when: &str| {
        for ip in [format!("10.215.{number}.3"), format!("[fd70:6f64:e30:{number:x}::3]")] {
            let at = format!("{ip}:9000");
            wait_good(when, || host.podbox(["exec", "one", "--", "connect", "-t", "1s", &at, "hi"]));
        }
    };
    talk("before");
    std::thread::sleep(Duration::from_secs(1));
    let sh = |lines: &str| host.beside("sh").args(["-ec", lines]).run().ok();
    sh(&format!(
        "for link in $(ip -o link show master pbt{number}b | sed 's/^[0-9]*: //; s/[@:].*//'); do ip link del $link; done"
    ));
    talk("after the cables were deleted");
    host.wait_event("two", "NetworkMended", "to net1");
    sh(&format!("ip link del pbt{number}b"));
    talk("after the bridge was deleted");
    host.finish();
}

/// How often a process has gone to sleep by itself.
fn sleeps(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let mut lines = status.lines().filter(|line| line.starts_with("voluntary_ctxt_switches"));
    lines.next().expect("the kernel counts").to_owned()
}

#[test]
fn an_idle_pod_is_woken_by_nobody_who_comes_and_goes() {
    let host = Host::builder().own_net().build();
    let idle = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";
    host.up(&pod("idle", idle));
    host.up(&pod("other", idle));
    host.down(&["other", "--grace-period", "0"]);
    let supervisor = host.next_supervisor("idle", None);
    // What its own beginning needs, and what the other's end has been.
    std::thread::sleep(Duration::from_secs(4));
    let before = sleeps(supervisor);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sleeps(supervisor), before, "while nothing happens");
    for name in ["a", "b", "c"] {
        host.up(&pod(name, idle));
    }
    host.beside("sh")
        .args([
            "-ec",
            "ip link add d0 type veth peer name d1; ip link set d0 up; ip addr add 192.0.2.7/24 dev d0; ip link del d0",
        ])
        .run()
        .ok();
    for name in ["b", "a", "c"] {
        host.down(&[name, "--grace-period", "0"]);
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sleeps(supervisor), before, "while others come and go");
    assert_eq!(host.next_supervisor("idle", None), supervisor);
    host.finish();
}

#[test]
fn whoever_deletes_the_bridge_in_a_loop_is_not_fought_with_and_up_and_restart_mend_at_once() {
    let site = Site::new();
    let has_bridge = || {
        let links = site.sh("ip -o link show");
        links.contains(&format!(" {}:", site.host.bridge()))
    };
    let begin = Instant::now();
    let mut deleted = 0;
    while begin.elapsed() < Duration::from_secs(8) {
        if has_bridge() {
            site.sh("ip link del BRIDGE");
            deleted += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Two pods, each after 0, 1, 3 and 7 seconds.
    assert!((3..=9).contains(&deleted), "{deleted} times");
    // Both wait for some seconds now.
    if has_bridge() {
        site.sh("ip link del BRIDGE");
    }
    site.host.podbox(["system", "check"]).code(3).says(&format!("no bridge {}", site.host.bridge()));
    let manifest = pod("client", ECHO);
    site.host.try_up(&manifest, &["--wait", "none"]).ok().says("unchanged");
    assert!(has_bridge(), "after `up` of an unchanged pod");
    site.sh("ip link del BRIDGE");
    site.host.podbox(["restart", "client", "--timeout", "0"]).ok();
    wait_until("the bridge after `restart`", Duration::from_millis(700), has_bridge);
    site.host.podbox(["restart", "server", "--grace-period", "0"]).ok();
    site.talks("after all");
    site.finish();
}

#[test]
fn nothing_comes_back_after_the_last_pod_has_gone() {
    let site = Site::new();
    site.sh("ip link del BRIDGE");
    site.host.down(&["--all", "--grace-period", "0"]);
    std::thread::sleep(Duration::from_secs(2));
    let left = site.host.beside("ip").args(["-o", "link"]).run().ok().stdout;
    assert!(!left.contains(&site.host.bridge()), "{left}");
    site.host.finish();
}

#[test]
fn a_pod_whose_bridge_is_deleted_in_the_moment_in_which_it_is_plugged_in_starts_nevertheless() {
    let host = Host::builder().own_net().build();
    let manifest = |name: &str| {
        let port = format!(
            "command: [tcp-echo, --port, '9000']\n    ports: [{{containerPort: 9000, hostPort: {}}}]",
            host.port(0)
        );
        pod(name, ECHO).replace("command: [tcp-echo, --port, '9000']", &port)
    };
    host.up(&pod("first", ECHO));
    for round in 0..40_u64 {
        let mut up = host.cmd(["up", "-d", "-"]).input(manifest("late")).spawn();
        std::thread::sleep(Duration::from_micros(2000 + 400 * round));
        let act = if round % 4 == 3 { "nft flush ruleset" } else { "ip link del BRIDGE" };
        let act = act.replace("BRIDGE", &host.bridge());
        // It may be gone already, and is made again by the first pod too.
        host.beside("sh").args(["-c", &act]).run();
        assert_eq!(up.end(PATIENCE), 0, "{}", up.said());
        wait_good("the host port", || {
            let at = format!("127.0.0.1:{}", host.port(0));
            host.podbox(["toolbox", "connect", "-t", "1s", &at, "hi"])
        });
        host.down(&["late", "--grace-period", "0"]);
    }
    host.finish();
}

#[test]
fn leases_whose_files_are_removed_come_back_and_nobody_else_gets_the_addresses() {
    let site = Site::new();
    // Supervisors look after their leases from two seconds on.
    std::thread::sleep(Duration::from_secs(2));
    let leases = site.host.run_dir().join("ipam");
    fs::remove_dir_all(&leases).expect("leases");
    site.host.up(&pod("other", ECHO));
    let ip = site.host.pod("other").ip();
    assert!(![site.server[0].clone(), site.host.pod("client").ip()].contains(&ip), "{ip} twice");
    site.talks("without leases");
    for name in ["server", "client"] {
        site.host.wait_event(name, "NetworkMended", "no lease of 10.213");
    }
    site.is_whole();
    let names: Vec<_> = fs::read_dir(&leases).expect("networks").flatten().map(|one| one.path()).collect();
    let network = names.iter().find(|path| path.join(&site.server[0]).exists());
    let network = network.unwrap_or_else(|| panic!("{} in one of {names:?}", site.server[0]));
    fs::remove_file(network.join(&site.server[0])).expect("the file of an address");
    wait_until("the file of an address", PATIENCE, || network.join(&site.server[0]).exists());
    site.is_whole();
    site.finish();
}

#[test]
fn routes_that_are_deleted_come_back() {
    let site = Site::new();
    std::thread::sleep(Duration::from_secs(2));
    let there = || site.sh("ip route; ip -6 route");
    let routes = there();
    let by_bridge =
        |line: &&str| line.contains(&format!(" dev {} ", site.host.bridge())) && !line.starts_with("fe80");
    let lines: Vec<&str> = routes.lines().filter(by_bridge).collect();
    assert!(lines.len() >= 4, "the pods' and the Services', of both families: {routes}");
    for line in lines {
        let to = line.split_whitespace().next().expect("a destination");
        let family = if to.contains(':') { "-6" } else { "-4" };
        site.sh(&format!("ip {family} route del {to} dev BRIDGE"));
        wait_until(line, PATIENCE, || there().lines().any(|now| now.starts_with(&format!("{to} dev "))));
    }
    site.is_whole();
    site.talks("after all routes were deleted");
    site.finish();
}

const NO_RULES: &str = "no rules for Services inside the pod";

/// Runs shell lines in the client's own network.
fn inside(host: &Host, lines: &str) {
    let netns = format!("--net={}", host.pod_dir("client").join("ns/net").display());
    host.beside("nsenter").args([&netns, "sh", "-ec", lines]).run().ok();
}

/// The addresses that the client asks for names, as `ip` has them.
fn asked(host: &Host) -> Vec<String> {
    let resolv = host.exec("client", &["cat", "/etc/resolv.conf"]);
    resolv.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::to_owned).collect()
}

/// The client finds a name.
fn finds_a_name(host: &Host, when: &str) {
    let resolve = ["exec", "client", "--", "resolve", "echo.default.svc.cluster.local"];
    wait_good(&format!("{when}: a name"), || host.podbox(resolve));
}

#[test]
fn rules_that_are_flushed_inside_a_pod_while_its_clients_connect_come_back() {
    let site = Site::new();
    let at = format!("{}:80", site.service[0]);
    let many = format!("while :; do connect -t 1s {at} hi; done");
    let mut crowd = site.host.cmd(["exec", "client", "--", "sh", "-c", &many]).spawn();
    for (count, act) in (1..).zip([
        "nft flush ruleset",
        "nft delete table inet podbox-services",
        "nft flush chain inet podbox-services look",
    ]) {
        inside(&site.host, act);
        site.talks(&format!("after `{act}` inside the pod"));
        wait_until("the event", PATIENCE, || {
            site.host.event_count("client", "NetworkMended", NO_RULES) >= count
        });
        site.is_whole();
    }
    crowd.signal(Signal::SIGTERM);
    crowd.end(PATIENCE);
    assert_eq!(site.host.event_count("server", "NetworkMended", NO_RULES), 0, "nobody has flushed there");
    site.finish();
}

#[test]
fn the_addresses_of_the_clusters_dns_come_back_inside_a_pod() {
    let site = Site::new();
    let servers = asked(&site.host);
    assert_eq!(servers.len(), 2, "{servers:?}");
    finds_a_name(&site.host, "before");
    let delete = servers
        .iter()
        .map(|ip| format!("ip addr del {ip}/{} dev lo; ", if ip.contains(':') { 128 } else { 32 }));
    for act in [
        delete.collect::<String>(),
        "ip addr flush dev lo; nft flush ruleset".to_owned(),
        "ip link set lo down".to_owned(),
    ] {
        inside(&site.host, &act);
        finds_a_name(&site.host, &format!("after `{act}`"));
        site.is_whole();
    }
    for server in &servers {
        site.host.wait_event("client", "NetworkMended", &format!("lo inside the pod without {server}"));
    }
    site.talks("after all");
    site.finish();
}

#[test]
fn a_container_that_flushes_again_and_again_is_not_fought_with_and_up_and_restart_mend_at_once() {
    let host = Host::builder().own_net().build();
    host.up(SERVICE);
    host.up_ready(&pod("server", ECHO).replace("name: server", "name: server\n  labels: {app: echo}"));
    let manifest = pod(
        "client",
        r"
  containers:
  - name: c
    image: podbox.local/host
    command: [sleep, infinity]
    securityContext: {capabilities: {add: [NET_ADMIN]}}
",
    );
    host.up(&manifest);
    // A connection says nothing: the host leads it there too.
    let has_table = || host.exec("client", &["nft", "list", "tables"]).contains("podbox-services");
    wait_until("the table", PATIENCE, has_table);
    let flush = || host.exec("client", &["nft", "flush", "ruleset"]);
    let begin = Instant::now();
    let mut flushed = 0;
    while begin.elapsed() < Duration::from_secs(9) {
        if has_table() {
            flush();
            flushed += 1;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // From two seconds on, after 0, 1, 3 and 7 seconds.
    assert!((2..=5).contains(&flushed), "{flushed} times");
    flush();
    host.podbox(["system", "check"]).code(3).says(&format!("default/client: {NO_RULES}"));
    host.try_up(&manifest, &["--wait", "none"]).ok().says("unchanged");
    assert!(has_table(), "after `up` of an unchanged pod");
    flush();
    host.podbox(["restart", "client", "--timeout", "0"]).ok();
    wait_until("the table after `restart`", Duration::from_millis(900), has_table);
    host.finish();
}

#[test]
fn what_a_supervisor_does_to_its_own_table_wakes_it_no_further() {
    let host = Host::builder().own_net().build();
    host.up(SERVICE);
    host.up(&pod(
        "client",
        "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]",
    ));
    std::thread::sleep(Duration::from_secs(3));
    inside(&host, "nft flush ruleset");
    host.wait_event("client", "NetworkMended", NO_RULES);
    host.up(&SERVICE.replace("port: 80", "port: 81"));
    host.down(&["svc/echo"]);
    host.up(SERVICE);
    let supervisor = host.next_supervisor("client", None);
    std::thread::sleep(Duration::from_secs(3));
    let before = sleeps(supervisor);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sleeps(supervisor), before, "while nothing happens");
    // Others' rules come and take nothing away.
    inside(&host, "nft add table inet other; nft add chain inet other c; nft add rule inet other c accept");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(sleeps(supervisor), before, "while somebody adds rules");
    inside(&host, "nft delete table inet podbox-services");
    wait_until("the event", PATIENCE, || host.event_count("client", "NetworkMended", NO_RULES) == 2);
    host.finish();
}
