//! The host, as a kubelet would report it as a Node.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use nix::sys::statvfs::statvfs;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

/// The host's name: `spec.nodeName`. Lower case, as a kubelet registers itself.
#[must_use]
pub fn name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "localhost".to_owned()).trim().to_ascii_lowercase()
}

/// All memory, in bytes.
#[must_use]
pub fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// All processors this process may use, in thousandths.
#[must_use]
pub fn cpu_milli() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64) * 1000
}

/// The size of the file system that `path` lies on, in bytes.
#[must_use]
pub fn storage_bytes(path: &Path) -> u64 {
    statvfs(path).map_or(0, |stat| stat.blocks() * stat.fragment_size())
}

/// Every device node below /dev, for a privileged container. What every container has of its own is left out: its
/// terminals, shared memory and message queues, and the console.
///
/// Source: containerd's `pkg/oci`, `HostDevices`.
#[must_use]
pub fn devices() -> Vec<LinuxDevice> {
    const OWN: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", "ptmx"];
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from("/dev")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if hidden || OWN.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                pending.push(entry.path());
            } else {
                found.extend(device(entry.path(), &meta));
            }
        }
    }
    found.sort_by(|a, b| a.path().cmp(b.path()));
    found
}

/// The device node at a path, links followed; `None` if there is none.
#[must_use]
pub fn device_at(path: &Path) -> Option<LinuxDevice> {
    device(path.to_path_buf(), &fs::metadata(path).ok()?)
}

fn device(path: PathBuf, meta: &fs::Metadata) -> Option<LinuxDevice> {
    let kind = match meta.file_type() {
        kind if kind.is_block_device() => LinuxDeviceType::B,
        kind if kind.is_char_device() => LinuxDeviceType::C,
        _ => return None,
    };
    let number = |part: u64| i64::try_from(part).unwrap_or_default();
    LinuxDeviceBuilder::default()
        .path(path)
        .typ(kind)
        .major(number(major(meta.rdev())))
        .minor(number(minor(meta.rdev())))
        .file_mode(meta.mode() & 0o7777)
        .uid(meta.uid())
        .gid(meta.gid())
        .build()
        .ok()
}
