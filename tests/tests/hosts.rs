//! Hosts that lack something: what podbox can do without, what it says, and that nothing is left behind.

use std::fs;

use e2e::{Cmd, Host, Output, pod};

/// Serves on a host port.
fn server(host: &Host) -> String {
    let ports = format!("ports: [{{containerPort: 8080, hostPort: {}}}]", host.port(0));
    pod("web", &format!("  containers: [{{name: c, image: podbox.local/toolbox, command: [http], {ports}}}]"))
}

/// Runs shell lines in a mount namespace of their own (and more, as `unshare` says), where `$podbox` is the program
/// and `$manifest` the pod: what they mount, nobody else sees.
fn apart(host: &Host, unshare: &str, lines: &str) -> Output {
    let manifest = host.dir().join("web.yaml");
    fs::write(&manifest, server(host)).unwrap();
    let cmd = Cmd::new("unshare").args(unshare.split(' ')).args(["sh", "-ec", lines]);
    let cmd = cmd.env("podbox", e2e::binary()).env("manifest", manifest);
    host.environment(cmd).run()
}

const READ_ONLY: &str = "mount --bind $there $there; mount -o remount,bind,ro $there\n";

#[test]
fn directories_that_are_read_only_are_named() {
    let host = Host::new();
    for place in [host.root_dir(), host.run_dir()] {
        let lines = format!("there={}\n{READ_ONLY}exec $podbox up -d $manifest", place.display());
        let failed = apart(&host, "--mount", &lines).code(3);
        assert_eq!(failed.stderr.matches("error: ").count(), 1, "one clear error\n{failed}");
        failed.complains("Read-only file system").complains(place.to_str().unwrap());
        let lines = format!("there={}\n{READ_ONLY}exec $podbox system check", place.display());
        apart(&host, "--mount", &lines).code(3).says("Read-only file system");
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn without_a_resolv_conf_a_pod_has_the_clusters_name_servers_only() {
    let host = Host::new();
    let lines = "mount -t tmpfs none /etc
$podbox up -d $manifest
$podbox exec web -- cat /etc/resolv.conf /etc/hosts
$podbox down web --grace-period 0";
    let said = apart(&host, "--mount", lines).ok();
    let servers: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with("nameserver")).collect();
    let number = host.number();
    let own = [format!("nameserver 10.214.{number}.10"), format!("nameserver fd70:6f64:e2f:{number:x}::a")];
    assert_eq!(servers, own, "{said}");
    said.says("127.0.0.1\tlocalhost").says("pod default/web down");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn where_kernel_settings_are_read_only_the_pod_runs_and_says_what_it_lacks() {
    let host = Host::new();
    let lines = format!(
        "there=/proc/sys\n{READ_ONLY}$podbox up -d $manifest
$podbox events web
until $podbox toolbox get http://{}:{}/; do sleep 0.1; done
$podbox down web --grace-period 0",
        host.gateway(),
        host.port(0)
    );
    let said = apart(&host, "--mount", &lines).ok();
    said.says("NetworkDegraded").says("route_localnet").says("You've hit web");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn where_ipv6_is_off_a_pod_has_one_address_and_says_so() {
    let host = Host::new();
    let lines = format!(
        "ip link set lo up
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
$podbox up -d $manifest
$podbox get pod web -o 'jsonpath={{.status.podIPs[*].ip}}'
$podbox events web
until $podbox toolbox get http://127.0.0.1:{}/; do sleep 0.1; done
$podbox down web --grace-period 0
for i in 1 2 3 4 5 6 7 8 9 10; do ip link show {} 2>/dev/null >&2 || exit 0; sleep 1; done; exit 1",
        host.port(0),
        host.bridge()
    );
    let said = apart(&host, "--mount --net", &lines).ok();
    assert!(!said.stdout.contains("fd70:"), "{said}");
    said.says("10.213.").says("the pod has no IPv6 address: IPv6 is off").says("You've hit web");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn where_cgroups_are_read_only_the_pod_runs_without_limits_and_says_so() {
    let host = Host::new();
    // Device rules are not to be had either; then no node of the container's own opens anything.
    let lines = "for there in /sys/fs/cgroup/* /sys/fs/cgroup; do
    mountpoint -q $there && mount -o remount,bind,ro $there
done
$podbox system check
sed 's|image: [^,]*, command: [^,]*|image: podbox.local/host, command: [sleep, infinity]|' $manifest | $podbox up -d -
$podbox events web
$podbox exec web -- sh -c 'echo x >/dev/null; mknod /tmp/null c 1 3; ! (echo x >/tmp/null)'
$podbox down web --grace-period 0";
    let said = apart(&host, "--mount", lines).ok();
    assert!(said.stderr.contains("Permission denied"), "{said}");
    said.says("limited  cgroups: ").says("cannot make cgroup").says("pod default/web down");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn without_a_capability_that_it_needs_it_says_which_and_changes_nothing() {
    let host = Host::new();
    for capability in ["net_admin", "sys_admin"] {
        let drop = format!("-{capability}");
        let without = |args: &[&str]| {
            let cmd =
                Cmd::new("setpriv").args([format!("--bounding-set={drop}"), format!("--inh-caps={drop}")]);
            host.environment(cmd.args([e2e::binary()]).args(args)).input(server(&host)).run()
        };
        let failed = without(&["up", "-d", "-"]).code(3);
        assert_eq!(failed.stderr.matches("error: ").count(), 1, "one clear error\n{failed}");
        failed.complains("Operation not permitted").complains("hint: ").complains("CAP_NET_ADMIN");
        let name = format!("CAP_{}: not held", capability.to_uppercase());
        without(&["system", "check"]).code(3).says(&name);
        host.podbox(["get", "pod", "web"]).code(2);
        host.expect_nothing_left();
        // There is nothing that could not be removed.
        without(&["down", "--all"]).ok().quiet();
    }
    host.finish();
}

#[test]
fn where_cgroups_are_there_a_limit_that_the_kernel_does_not_take_is_an_error_that_names_it() {
    let host = Host::new();
    // More processors than a quota can say. With a container beside it that has no limit the pod has none either, and
    // the container's own is refused; without, the pod's is.
    let limits = "resources: {limits: {cpu: '200000000'}}";
    for (beside, reason) in [
        ("", "Failed to create pod sandbox"),
        ("{name: free, image: podbox.local/toolbox}, ", "CreateContainerError"),
    ] {
        let containers = format!(
            "  containers: [{beside}{{name: c, image: podbox.local/toolbox, command: [sleep, '1000'], {limits}}}]"
        );
        let output = host.try_up(&pod("wide", &containers), &["--timeout", "2s"]);
        assert!(!output.good(), "{output}");
        output.complains(reason).complains("the kernel does not take cpu.");
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
        host.expect_nothing_left();
    }
    host.finish();
}
