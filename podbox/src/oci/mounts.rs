//! The mounts of a container: the kernel's file systems, the pod's files, the volumes.

use std::path::Path;

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, Mount, MountBuilder};
use runtime::plan::IdRange;

use crate::pod::{Container, Pod};
use crate::store::AttemptDir;

use super::Surroundings;

/// All mounts, in the order in which they are made: shallower paths first where volumes lie inside each other.
pub(super) fn of(
    pod: &Pod,
    container: &Container,
    attempt: &AttemptDir,
    around: &Surroundings,
) -> Vec<Mount> {
    let mut mounts = kernel_file_systems(pod, container, around);
    let mut binds = volumes(container, around);
    let taken =
        |path: &str| container.mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path);
    for file in ["hosts", "hostname", "resolv.conf"] {
        let target = format!("/etc/{file}");
        if !taken(&target) {
            binds.push(bind(&around.etc.join(file), &target, Access::ReadWrite));
        }
    }
    if !taken(&container.termination_message_path) {
        let target = &container.termination_message_path;
        binds.push(bind(&attempt.termination_message(), target, Access::ReadWrite));
    }
    if let Some(map) = around.users.and_then(|ids| mapping(ids).ok()) {
        for bind in &mut binds {
            bind.set_uid_mappings(Some(vec![map]));
            bind.set_gid_mappings(Some(vec![map]));
        }
    }
    binds.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(binds);
    mounts
}

/// The map of a user namespace with these ids.
pub(super) fn mapping(ids: IdRange) -> Result<LinuxIdMapping, OciSpecError> {
    let map = LinuxIdMappingBuilder::default().container_id(0_u32).host_id(ids.first);
    map.size(ids.count).build()
}

#[derive(Clone, Copy)]
enum Access {
    ReadOnly,
    ReadWrite,
}

fn kernel_file_systems(pod: &Pod, container: &Container, around: &Surroundings) -> Vec<Mount> {
    let sys_access = if container.security.privileged { "rw" } else { "ro" };
    // What is mounted by the host's root, and is to belong to the pod's root and to its group `tty`.
    let root = around.users.map_or(0, |ids| ids.first);
    let owner = format!("uid={root}");
    let mut dev = vec!["nosuid", "strictatime", "mode=755", "size=65536k"];
    let group = format!("gid={root}");
    if root != 0 {
        dev.extend([owner.as_str(), &group]);
    }
    let tty = format!("gid={}", root + 5);
    let mut mounts = vec![
        special("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        special("/dev", "tmpfs", "tmpfs", &dev),
        special(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", &tty],
        ),
        special("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        special("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", sys_access]),
        special("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", sys_access]),
    ];
    if pod.host.ipc {
        mounts.push(bind(Path::new("/dev/shm"), "/dev/shm", Access::ReadWrite));
    } else {
        mounts.push(bind(&around.shm, "/dev/shm", Access::ReadWrite));
    }
    mounts
}

fn volumes(container: &Container, around: &Surroundings) -> Vec<Mount> {
    container
        .mounts
        .iter()
        .zip(&around.volumes)
        .map(|(mount, source)| {
            let access = if mount.read_only { Access::ReadOnly } else { Access::ReadWrite };
            bind(source, &mount.mount_path, access)
        })
        .collect()
}

fn special(target: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options)
        .build()
        .unwrap_or_default()
}

fn bind(source: &Path, target: &str, access: Access) -> Mount {
    let access = match access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    };
    let options: Vec<String> =
        ["rbind", "rprivate", access].iter().map(|&option| option.to_owned()).collect();
    MountBuilder::default()
        .destination(target)
        .typ("bind")
        .source(source)
        .options(options)
        .build()
        .unwrap_or_default()
}
