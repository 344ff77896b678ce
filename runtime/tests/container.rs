//! Containers on the real kernel: what a program inside sees.

mod common;

use common::World;
use serde_json::json;

#[test]
fn a_container_sees_its_own_processes_and_mounts_and_nothing_of_the_host() {
    let world = World::new();
    let out =
        world.sh("echo pid $$; ls / | tr '\\n' ' '; echo; ps | wc -l; cat /proc/self/mountinfo", json!({}));
    assert!(out.starts_with("pid 1\nbin dev etc proc sys tmp \n"), "{out}");
    for mount in ["/proc ", "/dev ", "/dev/pts ", "/dev/mqueue ", "/sys ", "/sys/fs/cgroup "] {
        assert!(out.contains(mount), "{mount} in {out}");
    }
    assert!(!out.contains("ext4"), "{out}");
}
