//! The host, as a kubelet would report it as a Node.

use std::fs;

use nix::sys::statvfs::statvfs;
use std::path::Path;

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
