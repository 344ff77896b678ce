use super::*;
use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder};
use std::process::{Command, Stdio};

fn own_path(name: &str) -> PathBuf {
    PathBuf::from(format!("/podbox-test-{}-{name}/middle/leaf", std::process::id()))
}

fn limits() -> LinuxResources {
    LinuxResourcesBuilder::default()
        .cpu(
            LinuxCpuBuilder::default().shares(512_u64).quota(50_000_i64).period(100_000_u64).build().unwrap(),
        )
        .memory(LinuxMemoryBuilder::default().limit(64 << 20).build().unwrap())
        .pids(LinuxPidsBuilder::default().limit(32).build().unwrap())
        .build()
        .unwrap()
}

#[test]
fn shares_become_weights_along_the_curve_that_runtimes_agree_on() {
    for (shares, weight) in [(0, 1), (2, 1), (256, 35), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
        assert_eq!(weight_of_shares(shares), weight, "shares {shares}");
    }
}

#[test]
fn a_path_that_climbs_stays_below_the_root() {
    assert_eq!(relative(Path::new("/../../a/./b")), Path::new("a/b"));
}

#[test]
fn a_host_without_cgroups_is_a_note_and_not_an_error() {
    let (mut notes, nothing) = (Vec::new(), tempfile::tempdir().unwrap());
    let cgroups = Cgroups::detect_at(nothing.path());
    assert!(cgroups.is_empty());
    let group = cgroups.create(Path::new("/x"), &limits(), &mut notes).unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(group.is_empty() && group.oom_kills() == 0 && group.usage() == Usage::default());
    group.kill().unwrap();
    group.remove_with_parents().unwrap();
}

#[test]
fn limits_are_in_the_files_that_this_kernel_has() {
    let (mut notes, path) = (Vec::new(), own_path("limits"));
    let cgroups = Cgroups::detect();
    if cgroups.is_empty() {
        return;
    }
    let group = cgroups.create(&path, &limits(), &mut notes).unwrap();
    assert!(group.exists());
    assert_eq!(notes, Vec::<String>::new());
    let read = |file: &str| {
        let find = |dir: &Path| fs::read_to_string(dir.join(file)).ok();
        group.directories().find_map(find).map(|text| text.trim().to_owned())
    };
    let v1 = !group.v1.is_empty();
    assert_eq!(read("pids.max").as_deref(), Some("32"));
    let memory = if v1 { "memory.limit_in_bytes" } else { "memory.max" };
    assert_eq!(read(memory), Some((64 << 20).to_string()));
    let (cpu, value) = if v1 { ("cpu.shares", "512") } else { ("cpu.weight", "60") };
    assert_eq!(read(cpu).as_deref(), Some(value));
    group.remove_with_parents().unwrap();
    assert!(!cgroups.at(Path::new(path.iter().nth(1).unwrap())).exists());
}

#[test]
fn a_limit_that_the_kernel_does_not_take_is_an_error_and_leaves_no_cgroup() {
    let (mut notes, path) = (Vec::new(), own_path("refused"));
    let cgroups = Cgroups::detect();
    // More than there can be process ids.
    let pids = LinuxPidsBuilder::default().limit(5_000_000).build().unwrap();
    let limits = LinuxResourcesBuilder::default().pids(pids).build().unwrap();
    let refused = cgroups.create(&path, &limits, &mut notes).unwrap_err();
    assert!(refused.what.contains("pids.max = 5000000"), "{refused:?}");
    assert_eq!(refused.source.raw_os_error(), Some(Errno::EINVAL as i32));
    assert!(!cgroups.at(&path).exists());
    cgroups.at(path.parent().unwrap()).remove_with_parents().unwrap();
}

#[test]
fn kill_ends_every_process_in_it_and_below_and_then_it_can_be_removed() {
    let (mut notes, path) = (Vec::new(), own_path("kill"));
    let cgroups = Cgroups::detect();
    let group = cgroups.create(&path, &LinuxResources::default(), &mut notes).unwrap();
    // It starts its own child only when it is in the cgroup.
    let script = "read line; sleep 1000 & exec sleep 1000";
    let mut child = Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    for directory in group.directories() {
        write(directory, "cgroup.procs", &child.id().to_string()).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(!group.is_empty());
    group.kill().unwrap();
    child.wait().unwrap();
    group.remove_with_parents().unwrap();
    assert!(!group.exists() && group.is_empty());
    group.remove().unwrap();
}

#[test]
fn limits_of_a_cgroup_grow_and_shrink() {
    let (mut notes, path) = (Vec::new(), own_path("change"));
    let cgroups = Cgroups::detect();
    if cgroups.is_empty() || cgroups.check().is_err() {
        return;
    }
    let group = cgroups.create(&path, &limits(), &mut notes).unwrap();
    let before = group.allowed();
    let change = |quota: i64, mib: i64| {
        let limits = LinuxResourcesBuilder::default()
            .cpu(LinuxCpuBuilder::default().shares(256_u64).quota(quota).period(100_000_u64).build().unwrap())
            .memory(LinuxMemoryBuilder::default().limit(mib << 20).build().unwrap());
        assert_eq!(group.change(&limits.build().unwrap()).unwrap(), Vec::<String>::new());
        group.allowed()
    };
    let of = |quota, mib: i64| Allowed { cpu_quota_us: Some(quota), memory_bytes: Some(mib << 20) };
    // Controllers that this host does not have limit nothing.
    if before == of(50_000, 64) {
        assert_eq!(change(80_000, 128), of(80_000, 128));
        assert_eq!(change(20_000, 32), of(20_000, 32));
    }
    let parent = cgroups.at(path.parent().unwrap());
    assert_eq!(parent.allowed(), Allowed::default(), "nobody has limited it");
    group.remove_with_parents().unwrap();
}
