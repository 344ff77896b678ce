//! What a container may do: users, groups, capabilities, devices, the files of the kernel.

use std::fs;
use std::path::Path;

use e2e::{Cmd, Host, pod};

use super::sleeper;

#[test]
fn the_security_context_decides_user_groups_capabilities_and_privileges() {
    let host = Host::new();
    host.up(&pod(
        "secure",
        r"
  securityContext: {runAsUser: 1000, runAsGroup: 2000, supplementalGroups: [3000]}
  containers:
  - name: strict
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts: [{name: v, mountPath: /v}]
  - name: root
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {runAsUser: 0, runAsGroup: 0, capabilities: {add: [NET_ADMIN], drop: [CHOWN]}}
  - name: privileged
    image: podbox.local/toolbox
    command: [sleep, infinity]
    securityContext: {runAsUser: 0, privileged: true}
  volumes: [{name: v, emptyDir: {}}]
",
    ));
    let status = |container: &str, field: &str| {
        let pid = host.container_process("secure", container);
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line =
            text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let caps = |container: &str, field: &str| u64::from_str_radix(&status(container, field), 16).unwrap();
    assert_eq!(status("strict", "Uid"), "1000 1000 1000 1000");
    assert_eq!(status("strict", "Gid"), "2000 2000 2000 2000");
    let groups = status("strict", "Groups");
    assert!(groups.contains("3000"), "{groups}");
    assert_eq!(status("strict", "NoNewPrivs"), "1");
    assert_eq!((caps("strict", "CapEff"), caps("strict", "CapBnd")), (0, 0));
    host.podbox(["exec", "secure", "-c", "strict", "--", "touch", "/x"])
        .code(1)
        .complains("Read-only file system");
    host.podbox(["exec", "secure", "-c", "strict", "--", "touch", "/v/x"]).ok();
    assert_eq!(status("root", "NoNewPrivs"), "0");
    assert_eq!(status("root", "Seccomp"), "0");
    assert_eq!(caps("root", "CapEff") & 1, 0, "CHOWN was dropped");
    assert_eq!(caps("root", "CapEff") >> 12 & 1, 1, "NET_ADMIN was added");
    assert_eq!(caps("root", "CapEff") >> 21 & 1, 0, "SYS_ADMIN was never there");
    assert_eq!(caps("root", "CapEff") >> 27 & 1, 1, "MKNOD is among the usual ones");
    assert_eq!(caps("privileged", "CapEff") >> 21 & 1, 1, "a privileged container has SYS_ADMIN");
    assert!(Path::new(&format!("/proc/{}/root/dev/null", host.container_process("secure", "root"))).exists());
    host.finish();
}

#[test]
fn an_unprivileged_container_sees_no_secrets_of_the_kernel_and_cannot_change_it() {
    let host = Host::new();
    host.up(&sleeper("masked", "podbox.local/toolbox", ""));
    // Which of them are there differs from kernel to kernel.
    for secret in
        ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats", "/proc/sched_debug"]
    {
        if Path::new(secret).exists() {
            assert_eq!(host.exec("masked", &["cat", secret]), "", "{secret}");
        }
    }
    host.podbox(["exec", "masked", "--", "touch", "/proc/sys/kernel/hostname"]).code(1);
    host.podbox(["exec", "masked", "--", "mkdir", "/sys/fs/cgroup/mine"]).code(1);
    let descriptors = host.exec("masked", &["ls", "/proc/1/fd"]);
    assert_eq!(
        descriptors.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2"],
        "a descriptor has leaked"
    );
    let mounts = host.exec("masked", &["cat", "/proc/self/mountinfo"]);
    assert!(!mounts.contains("master:") && !mounts.contains("shared:"), "mounts propagate:\n{mounts}");
    host.finish();
}

#[test]
fn devices_are_open_to_privileged_containers_and_closed_to_the_others() {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let host = Host::new();
    // The kernel's log: there everywhere, and harmless to open for writing.
    let volume = host.dir().join("nodes");
    fs::create_dir(&volume).unwrap();
    mknod(&volume.join("log"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 11)).unwrap();
    let manifest = pod(
        "dev",
        r"
  containers:
  - name: plain
    image: podbox.local/host
    command: [sleep, infinity]
    volumeMounts: [{name: v, mountPath: /v}]
  - name: privileged
    image: podbox.local/host
    command: [sleep, infinity]
    securityContext: {privileged: true}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, hostPath: {path: DIR}}]
",
    );
    host.up(&manifest.replace("DIR", volume.to_str().unwrap()));
    let opens = |container: &str, path: &str| {
        host.podbox(["exec", "dev", "-c", container, "--", "sh", "-c", &format!(": >{path}")])
    };
    for container in ["plain", "privileged"] {
        let make = "mknod /tmp/log c 1 11 && mknod /tmp/null c 1 3 && mknod /tmp/disk b 7 0";
        host.podbox(["exec", "dev", "-c", container, "--", "sh", "-c", make]).ok();
        for harmless in ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/tmp/null"] {
            let opened = opens(container, harmless);
            // There is no terminal to open, but asking is allowed.
            assert!(opened.good() || opened.stderr.contains("No such device or address"), "{opened}");
        }
    }
    for path in ["/tmp/log", "/v/log"] {
        opens("plain", path).complains("Operation not permitted");
        opens("privileged", path).ok();
    }
    // Every node of the host is there, with the host's numbers and modes.
    let look = "find /dev -name pts -prune -o -name mqueue -prune -o -name shm -prune -o \\( -type b -o -type c \\) -exec stat -c '%n %F %t:%T %a %u:%g' {} + | grep -v -e /dev/ptmx -e /dev/console | sort";
    let of_host = Cmd::new("sh").args(["-c", look]).run().ok().stdout;
    let inside = host.podbox(["exec", "dev", "-c", "privileged", "--", "sh", "-c", look]).ok().stdout;
    assert_eq!(inside, of_host);
    assert!(host.exec("dev", &["ls", "/dev"]).split_whitespace().count() < 20);
    // What a privileged container is not kept from: its own cgroup, the kernel's settings, mounts.
    let run = |container: &str, script: &str| {
        host.podbox(["exec", "dev", "-c", container, "--", "sh", "-c", script])
    };
    for script in [
        "mount -t tmpfs none /mnt && umount /mnt",
        "test -w /sys/kernel",
        "grep -q ' /sys sysfs rw' /proc/mounts",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
        "test -z \"$(grep -e ' /proc/[a-z]' /proc/mounts)\"",
        "for d in /sys/fs/cgroup /sys/fs/cgroup/memory /sys/fs/cgroup/unified; do mkdir $d/mine 2>/dev/null && rmdir $d/mine && exit; done; exit 1",
    ] {
        run("privileged", script).ok();
        assert!(!run("plain", script).good(), "{script}");
    }
    host.finish();
}

#[test]
fn run_as_non_root_is_checked_and_told_as_a_kubelet_does() {
    let host = Host::new();
    let manifest = sleeper("rooted", "podbox.local/toolbox", "  securityContext: {runAsNonRoot: true}");
    host.try_up(&manifest, &[])
        .code(1)
        .complains("CreateContainerConfigError")
        .complains("container has runAsNonRoot and image will run as root");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_command_run_in_a_container_gets_no_descriptor_of_its_caller() {
    let host = Host::new();
    host.up(&sleeper("apart", "podbox.local/host", ""));
    let (kept, dir) = (host.dir().join("kept"), host.dir().display());
    fs::write(&kept, "mine\n").unwrap();
    // A directory to walk from, a file to reopen and cut, and whatever standard error is.
    let inside = "ls -l /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 | sed s/.*-..//; ls /proc/self/fd/0/; : > /proc/self/fd/1";
    let line =
        format!("{} exec -i apart -- sh -c '{inside}' <{dir} >>{}", e2e::binary().display(), kept.display());
    let script = host.environment(Cmd::new("sh")).args(["-c", line.as_str()]).run();
    script.complains("Is a directory").complains("ls: cannot access '/proc/self/fd/0/'");
    let said = fs::read_to_string(&kept).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "mine"), "{said}");
    assert!(lines[1..].iter().all(|line| line.starts_with("pipe:")), "{said}");
    host.finish();
}

#[test]
fn what_goes_through_a_command_in_a_container_arrives_whole_and_its_background_keeps_nobody() {
    let host = Host::new();
    host.up(&sleeper("through", "podbox.local/host", ""));
    let much = "0123456789abcde\n".repeat(256 << 10);
    let cat = host.cmd(["exec", "-i", "through", "--", "cat"]).input(much.clone()).run().ok();
    assert!(cat.stdout == much, "{} of {} bytes", cat.stdout.len(), much.len());
    // A command that does not read its input, and one whose reader leaves.
    host.cmd(["exec", "-i", "through", "--", "true"]).input(much).run().ok();
    let line = format!("{} exec through -- yes | head -n 1", e2e::binary().display());
    host.environment(Cmd::new("sh")).args(["-c", line.as_str()]).run().ok().says("y");
    let background = host.podbox(["exec", "through", "--", "sh", "-c", "yes & echo begun; exit 4"]).code(4);
    assert!(background.stdout.contains("begun"), "{}", background.stderr);
    // As kubectl does it.
    let none = host.cmd(["exec", "-it", "through", "--", "tty"]).input("").run().code(1);
    none.says("not a tty").complains("Unable to use a TTY");
    host.finish();
}
