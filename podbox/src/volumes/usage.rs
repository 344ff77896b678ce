//! How much disk a directory takes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::pod::{Pod, Quantity, VolumeSource};
use crate::store::PodDir;

/// The bytes of all blocks below a directory, itself included: what `du` says. Links are not followed, a file of several
/// names counts once, other file systems are left out, and so is what vanishes meanwhile. Takes as long as a walk takes.
///
/// # Errors
/// If a directory cannot be read.
pub fn bytes_below(root: &Path) -> io::Result<u64> {
    let top = fs::symlink_metadata(root)?;
    let mut bytes = top.blocks() * 512;
    let mut pending = vec![root.to_path_buf()];
    let mut seen = BTreeSet::new();
    while let Some(directory) = pending.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            let is_counted = data.is_dir() || data.nlink() < 2 || seen.insert(data.ino());
            if data.dev() != top.dev() || !is_counted {
                continue;
            }
            bytes += data.blocks() * 512;
            if data.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

/// Whether the pod has a volume on disk that must not grow over a limit.
#[must_use]
pub fn has_limits(pod: &Pod) -> bool {
    pod.volumes.iter().any(|volume| limit(&volume.source).is_some())
}

/// Why the pod has to go, in a kubelet's words, if one of its volumes on disk has grown over its limit. Source: kubelet
/// `eviction/eviction_manager.go` (emptyDirLimitEviction).
#[must_use]
pub fn over_limit(pod: &Pod, dir: &PodDir) -> Option<String> {
    pod.volumes.iter().find_map(|volume| {
        let limit = limit(&volume.source)?;
        let used = bytes_below(&dir.volume(&volume.name)).ok()?;
        let (name, limit) = (&volume.name, (used > limit).then(|| Quantity::of_bytes(limit).to_string())?);
        Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. "))
    })
}

/// Memory needs no look: its file system has the size.
fn limit(source: &VolumeSource) -> Option<u64> {
    match source {
        VolumeSource::EmptyDir { memory: false, size_limit_bytes } => *size_limit_bytes,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn blocks_are_counted_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large"), vec![1; 1 << 20]).unwrap();
        let empty = bytes_below(dir.path()).unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("deep/file"), vec![1; 256 << 10]).unwrap();
        fs::hard_link(dir.path().join("deep/file"), dir.path().join("again")).unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 30).unwrap();
        let used = bytes_below(dir.path()).unwrap() - empty;
        assert!((256 << 10..400 << 10).contains(&used), "{used}");
    }
}
