//! Volumes in memory. Source: kubelet `volume/emptydir`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::oci::pod_limits;
use crate::pod::Pod;

/// Whether something is mounted there: a tmpfs does not survive a reboot, its directory does.
pub(crate) fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}

/// How large a volume in memory may become, bytes: no larger than what all the pod's containers may use together, which
/// is what its pages are counted against. `None` leaves it to the kernel, which takes half of the memory.
pub(super) fn size(pod: &Pod, limit: Option<u64>) -> Option<u64> {
    let of_pod = pod_limits(pod).memory().as_ref().and_then(oci_spec::runtime::LinuxMemory::limit);
    let of_pod = of_pod.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    limit.into_iter().chain(of_pod).min()
}

/// Mounts it, kept out of the swap where the kernel can (tmpfs' `noswap`, Linux 6.4).
pub(super) fn mount_tmpfs(path: &Path, size: Option<u64>) -> io::Result<()> {
    let plain = size.map_or_else(|| "mode=0777".to_owned(), |bytes| format!("mode=0777,size={bytes}"));
    let with = |options: &str| mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options));
    match with(&format!("{plain},noswap")) {
        Err(Errno::EINVAL) => with(&plain)?,
        done => done?,
    }
    Ok(())
}

/// Takes it away. Not mounted is what is wanted.
pub(super) fn unmount(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH);
}
