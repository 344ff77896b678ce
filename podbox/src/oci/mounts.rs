//! The mounts of a container: the kernel's file systems, the pod's files, the volumes.

use std::path::Path;

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, Mount, MountBuilder};
use runtime::plan::IdRange;

use crate::pod::{Container, Pod, Propagation, VolumeMount, VolumeSource};
use crate::store::AttemptDir;
use crate::subpath::MountSource;

use super::Surroundings;

/// All mounts, in the order in which they are made: shallower paths first where volumes lie inside each other.
pub(super) fn of(
    pod: &Pod,
    container: &Container,
    attempt: &AttemptDir,
    around: &Surroundings,
) -> Vec<Mount> {
    let mut mounts = kernel_file_systems(pod, container, around);
    let map = around.users.and_then(|ids| mapping(ids).ok());
    let mut binds = volumes(pod, container, around, map);
    let taken =
        |path: &str| container.mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path);
    for file in ["hosts", "hostname", "resolv.conf"] {
        let target = format!("/etc/{file}");
        if !taken(&target) {
            binds.push(mapped(bind(&around.etc.join(file), &target), map));
        }
    }
    if !taken(&container.termination_message_path) {
        let target = &container.termination_message_path;
        binds.push(mapped(bind(&attempt.termination_message(), target), map));
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
        mounts.push(bind(Path::new("/dev/shm"), "/dev/shm"));
    } else {
        mounts.push(bind(&around.shm, "/dev/shm"));
    }
    mounts
}

fn volumes(
    pod: &Pod,
    container: &Container,
    around: &Surroundings,
    map: Option<LinuxIdMapping>,
) -> Vec<Mount> {
    let pairs = container.mounts.iter().zip(&around.volumes);
    // An image's layers are mapped one by one when it is mounted: the kernel does not map an overlay.
    let is_image = |mount: &VolumeMount| {
        let image = |source: &VolumeSource| matches!(source, VolumeSource::Image { .. });
        pod.volumes.iter().any(|volume| volume.name == mount.volume && image(&volume.source))
    };
    pairs.map(|(mount, source)| mapped(volume(mount, source), map.filter(|_| !is_image(mount)))).collect()
}

/// The mount, with ids that are the pod's if it has ids of its own.
fn mapped(mut mount: Mount, map: Option<LinuxIdMapping>) -> Mount {
    mount.set_uid_mappings(map.map(|map| vec![map]));
    mount.set_gid_mappings(map.map(|map| vec![map]));
    mount
}

/// The options say it in mount(8)'s words, down to the part of the volume that is mounted.
fn volume(mount: &VolumeMount, source: &MountSource) -> Mount {
    let mut options = vec!["rbind".to_owned()];
    options.push(match mount.propagation {
        Propagation::None => "rprivate".to_owned(),
        Propagation::HostToContainer => "rslave".to_owned(),
        Propagation::Bidirectional => "rshared".to_owned(),
    });
    let read_only = mount.read_only || source.read_only;
    options.push(if read_only { "ro" } else { "rw" }.to_owned());
    if mount.recursive_read_only {
        options.push("rro".to_owned());
    }
    options.extend(source.sub_path.as_ref().map(|path| format!("X-mount.subdir={path}")));
    made(&source.root, &mount.mount_path, options)
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

fn bind(source: &Path, target: &str) -> Mount {
    made(source, target, ["rbind", "rprivate", "rw"].iter().map(|&option| option.to_owned()).collect())
}

fn made(source: &Path, target: &str, options: Vec<String>) -> Mount {
    MountBuilder::default()
        .destination(target)
        .typ("bind")
        .source(source)
        .options(options)
        .build()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volumes_options_say_how_far_it_is_shared_and_written_to_and_which_part_it_is() {
        let plain = VolumeMount {
            volume: "v".to_owned(),
            mount_path: "/v".to_owned(),
            sub_path: None,
            sub_path_expr: None,
            read_only: false,
            recursive_read_only: false,
            propagation: Propagation::None,
        };
        let all = MountSource { root: "/data".into(), ..MountSource::default() };
        let part = MountSource { sub_path: Some("a/b".to_owned()), read_only: true, ..all.clone() };
        let read_only = VolumeMount { read_only: true, recursive_read_only: true, ..plain.clone() };
        let shared = VolumeMount { propagation: Propagation::Bidirectional, ..plain.clone() };
        let slave = VolumeMount { propagation: Propagation::HostToContainer, ..plain.clone() };
        for (mount, source, want) in [
            (&plain, &all, "rbind,rprivate,rw"),
            (&shared, &all, "rbind,rshared,rw"),
            (&slave, &all, "rbind,rslave,rw"),
            (&read_only, &all, "rbind,rprivate,ro,rro"),
            (&plain, &part, "rbind,rprivate,ro,X-mount.subdir=a/b"),
        ] {
            let made = volume(mount, source);
            assert_eq!(made.options().as_ref().unwrap().join(","), want);
            assert_eq!(made.source().as_deref(), Some(Path::new("/data")));
        }
    }
}
