//! User namespaces: `hostUsers: false`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use e2e::{Host, pod};

use super::status;

/// A pod with a user namespace, and more lines of its spec.
fn apart(name: &str, spec: &str) -> String {
    pod(name, &format!("  hostUsers: false\n  terminationGracePeriodSeconds: 1\n{}", spec.trim_matches('\n')))
}

const SLEEP: &str = "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]";

/// Where a container's root is outside, and how many ids there are.
fn ids(host: &Host, pod: &str) -> (u32, u32) {
    let map = host.exec(pod, &["cat", "/proc/self/uid_map"]);
    let numbers: Vec<u32> = map.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers[0], 0, "{map}");
    (numbers[1], numbers[2])
}

#[test]
fn root_of_a_pod_is_nobody_of_the_host_and_another_one_in_every_pod() {
    let host = Host::new();
    host.up(&apart("one", SLEEP));
    host.up(&apart("two", SLEEP));
    host.up(&pod("host", SLEEP));
    let (one, two) = (ids(&host, "one"), ids(&host, "two"));
    assert_eq!((one.1, two.1), (65536, 65536));
    assert!(one.0 >= 65536 && two.0 >= 65536 && one.0.abs_diff(two.0) >= 65536, "{one:?} {two:?}");
    assert_eq!(ids(&host, "host"), (0, u32::MAX));
    assert_eq!(status(&host, "one", "c", "Uid"), format!("{0} {0} {0} {0}", one.0));
    assert_eq!(host.exec("one", &["id", "-u"]).trim(), "0");
    host.down(&["one"]);
    host.up(&apart("three", SLEEP));
    assert_eq!(ids(&host, "three"), one, "the ids of a pod that has gone are given again");
    host.finish();
}

#[test]
fn files_of_root_in_the_pod_are_roots_on_the_disk_and_the_image_belongs_to_it() {
    let host = Host::new();
    let theirs = host.dir().join("theirs");
    fs::create_dir(&theirs).unwrap();
    host.up_ready(&apart(
        "files",
        &r"
  containers:
  - name: c
    image: podbox.local/host
    workingDir: /made/for/me
    command: [sh, -c, 'echo said >/dev/stdout; touch /v/f /h/f /m/f /own; trap exit TERM; while :; do sleep 0.1; done']
    volumeMounts: [{name: v, mountPath: /v}, {name: m, mountPath: /m}, {name: h, mountPath: /h}]
    readinessProbe: {exec: {command: [test, -e, /own]}, periodSeconds: 1}
  - name: user
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, emptyDir: {}}, {name: m, emptyDir: {medium: Memory}}, {name: h, hostPath: {path: DIR}}]
"
        .replace("DIR", theirs.to_str().unwrap()),
    ));
    assert_eq!(host.logs(&["files", "-c", "c"]), "said\n", "a FIFO that belongs to the user");
    let inside = |script: &str| host.podbox(["exec", "files", "-c", "c", "--", "sh", "-c", script]);
    let paths = "/ /etc/passwd /v /m /h /v/f /m/f /h/f /own /made/for/me /etc/hosts /dev /dev/null /dev/shm";
    let owners = inside(&format!("stat -c %u:%g {paths} | sort -u")).ok();
    assert_eq!(owners.stdout, "0:0\n");
    host.podbox(["exec", "files", "-c", "user", "--", "touch", "/v/users"]).ok();
    let volume = host.pod_dir("files");
    let uid = volume.file_name().unwrap();
    let on_disk = host.root_dir().join("pods").join(uid).join("volumes/v");
    for (path, owner) in [(on_disk.join("f"), 0), (on_disk.join("users"), 1000), (theirs.join("f"), 0)] {
        assert_eq!(fs::metadata(&path).unwrap().uid(), owner, "{}", path.display());
    }
    // What is another's on the host stays out of reach, and what root may do it may do here only.
    inside("chown 5:6 /v/f && touch /etc/hosts /dev/shm/x").ok();
    inside("echo 1 > /proc/sys/kernel/panic").code(2);
    inside("mknod /tmp/null c 1 3").complains("Operation not permitted");
    host.finish();
}

#[test]
fn volumes_that_are_images_belong_to_the_pods_root_and_leave_nothing() {
    let host = Host::new();
    host.up(&apart(
        "images",
        r"
  containers:
  - name: c
    image: podbox.local/host
    command: [sleep, infinity]
    volumeMounts: [{name: i, mountPath: /v}, {name: i, mountPath: /part, subPath: bin}]
  volumes: [{name: i, image: {reference: podbox.local/toolbox}}]
",
    ));
    assert_eq!(host.exec("images", &["stat", "-c", "%u:%g", "/v/bin/toolbox"]).trim(), "0:0");
    assert_eq!(host.exec("images", &["stat", "-c", "%u:%g", "/part/toolbox"]).trim(), "0:0");
    host.podbox(["exec", "images", "--", "touch", "/v/new"]).complains("Read-only file system");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let volume = host.pod_dir("images");
    let uid = volume.file_name().unwrap().to_str().unwrap();
    let volumes = mounts.lines().filter(|line| line.contains(&format!("{uid}/volumes/"))).count();
    assert_eq!(volumes, 1, "the mounts of the layers should be gone: {mounts}");
    host.down(&["images"]);
    host.finish();
}

#[test]
fn root_of_a_pod_rules_the_pods_own_namespaces() {
    let host = Host::new();
    host.up(&apart(
        "ruler",
        r"
  securityContext:
    sysctls:
    - {name: net.ipv4.ping_group_range, value: '0 65535'}
    - {name: kernel.shm_rmid_forced, value: '1'}
  containers:
  - name: plain
    image: podbox.local/host
    command: [sleep, infinity]
  - name: admin
    image: podbox.local/host
    tty: true
    stdin: true
    command: [sleep, infinity]
    securityContext: {capabilities: {add: [NET_ADMIN, SYS_ADMIN]}, procMount: Unmasked}
",
    ));
    let run = |container: &str, script: &str| {
        host.podbox(["exec", "ruler", "-c", container, "--", "sh", "-c", script])
    };
    run("plain", "perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0) && bind(S, sockaddr_in(80, INADDR_ANY)) or die $!'").ok();
    run("plain", "cat /proc/sys/kernel/shm_rmid_forced").ok().says("1");
    run("plain", "cat /proc/sys/net/ipv4/ping_group_range").ok().says("0\t65535");
    // Two kinds of socket to ping with: a raw one takes a capability, the other only the parameter.
    for kind in ["SOCK_RAW", "SOCK_DGRAM"] {
        let open = format!("perl -MSocket -e 'socket(S, PF_INET, {kind}, 1) or die $!'");
        run("plain", &open).ok();
    }
    run("plain", "mount -t tmpfs none /mnt").complains("permission denied");
    run("plain", "echo 1 > /proc/sys/net/ipv4/ip_forward").code(2);
    run("admin", "ip link set lo mtu 1400 && hostname other && mount -t tmpfs none /mnt && touch /mnt/x")
        .ok();
    run("admin", "echo 1 > /proc/sys/net/ipv4/ip_forward").ok();
    assert_eq!(run("plain", "hostname").ok().stdout, "other\n", "they share the name");
    run("admin", "unshare --mount --pid --fork --mount-proc true").ok();
    run("admin", "umount /etc/hosts").code(32);
    let same = "[ $(readlink /proc/self/ns/user) = $(readlink /proc/1/ns/user) ]";
    run("admin", same).ok();
    let pid = host.container_process("ruler", "admin");
    let terminal = fs::metadata(format!("/proc/{pid}/fd/0")).unwrap();
    assert_eq!(terminal.uid(), ids_of(pid), "the terminal belongs to the pod's root");
    host.finish();
}

/// The host's id of the root of a process's user namespace.
fn ids_of(pid: i32) -> u32 {
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    map.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_pod_with_users_of_its_own_lives_through_restarts_and_a_killed_supervisor() {
    let host = Host::new();
    host.up(&apart("lives", &format!("  shareProcessNamespace: true\n{SLEEP}")));
    let before = ids(&host, "lives");
    let old = host.supervisor("lives");
    host.kill(old.unwrap());
    assert_ne!(Some(host.next_supervisor("lives", old)), old);
    host.podbox(["restart", "lives"]).ok();
    host.wait_pod("lives", "restarted", |pod| pod.container("c")["restartCount"] == 1);
    assert_eq!(ids(&host, "lives"), before);
    host.finish();
}

#[test]
fn a_host_that_has_no_ids_left_says_so_and_makes_nothing() {
    let host = Host::builder().sections("[pods]\nuser-namespace-ids = \"655360:65536\"\n").build();
    host.up(&apart("first", SLEEP));
    assert_eq!(ids(&host, "first"), (655_360, 65536));
    host.try_up(&apart("second", SLEEP), &[]).code(3).complains(
        "Failed to create pod sandbox: all ids for user namespaces are taken: 65536 from 655360 on",
    );
    host.down(&["first"]);
    host.expect_nothing_left();
    let wrong = Host::builder().sections("[pods]\nuser-namespace-ids = \"1000:65536\"\n").build();
    wrong.podbox(["get", "pods"]).code(2).complains("the start must be a multiple of 65536");
    wrong_ends(wrong);
    host.finish();
}

/// Its configuration is wrong, so podbox itself cannot be asked what is left.
fn wrong_ends(host: Host) {
    fs::write(host.dir().join("podbox.toml"), "").unwrap();
    host.finish();
}
