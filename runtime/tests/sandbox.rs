//! Sandboxes on the real kernel: what containers share, how much they may use, and what is left at the end.

mod common;

use common::{Container, World, joined, mounts_below, reap, sandbox};
use runtime::cgroup::Cgroups;
use runtime::plan::{CgroupPlan, Exit, NamespaceSet, SandboxPlan, Shm};
use runtime::process::Process;
use runtime::sandbox::remove;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A sandbox that is removed when dropped.
struct Pod {
    world: World,
    plan: SandboxPlan,
    reaper: Option<runtime::plan::Identity>,
}

impl Pod {
    fn new(name: &str, new: NamespaceSet) -> Self {
        let world = World::new();
        let cgroup = PathBuf::from(format!("/podbox-test-{}-{name}/burstable/pod", std::process::id()));
        let plan = SandboxPlan {
            pin_dir: world.path("ns"),
            netns_alias: Some(world.path("netns/alias")),
            new,
            hostname: new.uts.then(|| "shared-name".to_owned()),
            shm: Some(Shm { path: world.path("shm"), size_bytes: 1 << 20 }),
            cgroup: Some(CgroupPlan { path: cgroup, ..CgroupPlan::default() }),
            ..SandboxPlan::default()
        };
        Self { world, plan, reaper: None }
    }

    fn start(&mut self) {
        self.reaper = sandbox(&self.plan).unwrap().process;
    }

    fn container(&self, name: &str, script: &str, spec: serde_json::Value) -> Container {
        let shm = self.plan.shm.as_ref().unwrap().path.display().to_string();
        let mut all = json!({
            "linux": { "cgroupsPath": self.cgroup(name) },
            "+mounts": [{ "destination": "/dev/shm", "type": "bind", "source": shm, "options": ["rbind", "nosuid", "noexec"] }],
        });
        all["linux"]["namespaces"] = joined(&self.plan);
        let mut plan = self.world.plan(name, script, all);
        if !spec.is_null() {
            let mut value = serde_json::to_value(&plan.spec).unwrap();
            common::merge(&mut value, spec);
            plan.spec = serde_json::from_value(value).unwrap();
        }
        let mut container = Container::create(&plan).unwrap();
        container.go().unwrap();
        container
    }

    fn cgroup(&self, name: &str) -> PathBuf {
        self.plan.cgroup.as_ref().unwrap().path.join(name)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let left = remove(&self.plan, self.reaper);
        if let Some(reaper) = self.reaper {
            reap(reaper.pid);
        }
        if !std::thread::panicking() {
            assert!(left.is_empty(), "{left:?}");
            assert_eq!(mounts_below(&self.world.path("")), Vec::<String>::new());
            assert!(!self.plan.pin_dir.exists() && !self.world.path("netns/alias").exists());
            let top = PathBuf::from("/").join(self.cgroup("x").iter().nth(1).unwrap());
            assert!(!Cgroups::detect().at(&top).exists());
            assert!(remove(&self.plan, self.reaper).is_empty(), "a second time");
        }
    }
}

#[test]
fn containers_of_a_pod_share_network_ipc_host_name_and_memory_and_not_processes() {
    let mut pod = Pod::new("share", NamespaceSet::POD);
    pod.plan.sysctls.insert("net.ipv4.ip_unprivileged_port_start".into(), "81".into());
    pod.plan.sysctls.insert("kernel.shm_rmid_forced".into(), "1".into());
    pod.start();
    let links = "hostname; for n in net ipc uts; do readlink /proc/self/ns/$n; done
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced";
    let mut one = pod.container(
        "one",
        &format!(
            "{links}; echo data >/dev/shm/file; echo q >/dev/mqueue/q 2>&1; touch /dev/mqueue/x; sleep 1000"
        ),
        json!(null),
    );
    let first = one.expect("1\n");
    std::thread::sleep(Duration::from_millis(30));
    let mut two = pod.container(
        "two",
        &format!("{links}; cat /dev/shm/file; ls /dev/mqueue; stat -c %a /dev/shm"),
        json!(null),
    );
    assert_eq!(two.wait(), Exit::Code(0));
    let second = two.output();
    assert!(first.starts_with("shared-name\n"), "{first}");
    assert!(second.contains("81\n1\ndata\nq\nx\n"), "{second}");
    assert!(second.ends_with("1777\n"), "{second}");
    assert_eq!(first.lines().take(4).collect::<Vec<_>>(), second.lines().take(4).collect::<Vec<_>>());
    let alias = fs::read_link("/proc/self/ns/net").unwrap();
    assert!(!first.contains(&alias.display().to_string()), "not the host's");
    one.kill();
}

#[test]
fn with_a_shared_pid_namespace_a_reaper_is_process_one_and_containers_come_and_go() {
    let mut pod = Pod::new("pid", NamespaceSet { pid: true, ..NamespaceSet::POD });
    pod.start();
    let reaper = Process::open(pod.reaper.unwrap()).unwrap().unwrap();
    let mut one = pod.container("one", "(setsid sleep 1000 &) ; echo up; exit 3", json!(null));
    assert_eq!(one.wait(), Exit::Code(3));
    let mut two =
        pod.container("two", "cat /proc/1/comm; ps; (true &); kill -9 1; kill -HUP 1; echo on", json!(null));
    assert_eq!(two.wait(), Exit::Code(0));
    let out = two.output();
    assert!(
        out.starts_with("podbox-reaper\n") && out.contains("sleep 1000") && out.contains("on\n"),
        "{out}"
    );
    assert!(reaper.is_alive(), "`kill -9 1` from inside does nothing");
    // `kill 1` ends it, as it ends a pause container, and with it all others of the namespace.
    let mut three = pod.container("three", "kill 1; sleep 1000", json!(null));
    assert_eq!(three.wait(), Exit::Signal(9));
    let deadline = Instant::now() + Duration::from_secs(10);
    while reaper.is_alive() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(!reaper.is_alive());
}

#[test]
fn limits_hold_and_an_out_of_memory_kill_is_recognised() {
    let mut pod = Pod::new("oom", NamespaceSet::POD);
    pod.start();
    let limits = json!({ "linux": { "resources": {
        "memory": { "limit": 16 << 20 }, "pids": { "limit": 20 }, "cpu": { "shares": 512 } } } });
    let mut hog =
        pod.container("hog", "echo in; dd if=/dev/zero of=/dev/null bs=64M count=1", limits.clone());
    let exit = hog.wait();
    let group = Cgroups::detect().at(&pod.cgroup("hog"));
    assert_eq!(exit, Exit::Signal(9), "{} {:?}", hog.output(), hog.ready.notes);
    assert_eq!(group.oom_kills(), 1);
    let mut many = pod.container(
        "many",
        "for i in 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2; do sleep 9 & done; echo all",
        limits,
    );
    let out = many.expect("can't fork");
    assert!(!out.contains("all"));
    let group = Cgroups::detect().at(&pod.cgroup("many"));
    let usage = group.usage();
    assert!(usage.pids.is_some_and(|n| n <= 20) && usage.memory.is_some_and(|bytes| bytes > 0), "{usage:?}");
    group.kill().unwrap();
    many.wait();
    assert_eq!(group.oom_kills(), 0);
    group.remove().unwrap();
    assert!(!group.exists());
}

#[test]
fn a_container_sees_its_own_cgroup_as_the_root() {
    let mut pod = Pod::new("view", NamespaceSet::POD);
    pod.start();
    let limit = json!({ "linux": { "resources": { "memory": { "limit": 33_554_432 } } } });
    let script = "grep -E ':(memory)?:' /proc/self/cgroup; ls /sys/fs/cgroup | head -3
        cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null
        (mkdir /sys/fs/cgroup/memory/x || mkdir /sys/fs/cgroup/x) 2>&1; true";
    let mut container = pod.container("c", script, limit);
    assert_eq!(container.wait(), Exit::Code(0));
    let out = container.output();
    assert!(out.contains(":/\n") && !out.contains("podbox-test"), "{out}");
    assert!(out.contains("33554432\n") && out.contains("Read-only file system"), "{out}");
}

#[test]
fn a_sandbox_that_fails_leaves_nothing() {
    let mut pod = Pod::new("fail", NamespaceSet { pid: true, ..NamespaceSet::POD });
    pod.plan.sysctls.insert("net.no.such.thing".into(), "1".into());
    let failure = sandbox(&pod.plan).unwrap_err();
    assert_eq!((failure.step.as_str(), failure.errno), ("set a kernel parameter", Some(libc::ENOENT)));
    assert!(failure.text.starts_with("net.no.such.thing: "), "{failure}");
}

#[test]
fn an_interrupted_sandbox_can_be_made_again() {
    let mut pod = Pod::new("again", NamespaceSet::POD);
    pod.start();
    pod.start();
    let mut container = pod.container("c", "hostname", json!(null));
    assert_eq!((container.wait(), container.output()), (Exit::Code(0), "shared-name\n".to_owned()));
}

#[test]
fn a_pod_of_the_host_has_no_pins() {
    let mut pod = Pod::new("host", NamespaceSet::default());
    pod.start();
    assert!(!pod.plan.pin_dir.exists());
    let steps = runtime::recipe::sandbox_steps(&pod.plan);
    assert!(steps.iter().all(|step| !step.command.contains("unshare")));
}
