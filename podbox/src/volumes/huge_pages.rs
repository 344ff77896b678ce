//! `emptyDir` with huge pages: a hugetlbfs. How many a container may have is its cgroup's business.
//!
//! Source: kubelet `volume/emptydir` (getPageSizeMountOption).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::{VolumeError, io_error, is_mounted};
use crate::pod::{Pod, Resources};

const MIB: u64 = 1 << 20;

/// Mounts it, unless it is there; the size of its pages is that of the pod's containers if none is given.
pub(super) fn prepare(pod: &Pod, path: &Path, page_bytes: Option<u64>) -> Result<(), VolumeError> {
    if path.exists() && is_mounted(path) {
        return Ok(());
    }
    let page_bytes = page_bytes.map_or_else(|| only_size(pod), Ok)?;
    fs::create_dir_all(path).map_err(io_error("create", path))?;
    let options = format!("mode=0777,pagesize={page_bytes}");
    mount(Some("hugetlbfs"), path, Some("hugetlbfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(io::Error::from)
        .map_err(io_error("mount a hugetlbfs on", path))?;
    // Not by the mode of creation, which the umask cuts.
    fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(io_error("open to all", path))
}

/// The one size that the containers ask for.
fn only_size(pod: &Pod) -> Result<u64, VolumeError> {
    let all = || pod.containers.iter().map(|container| &container.resources).chain(&pod.resources);
    let asks = |of: fn(&Resources) -> Option<u64>| all().any(|one| of(one).is_some_and(|bytes| bytes > 0));
    match (asks(|one| one.hugepages_2mi_bytes), asks(|one| one.hugepages_1gi_bytes)) {
        (true, false) => Ok(2 * MIB),
        (false, true) => Ok(1024 * MIB),
        (false, false) => Err(VolumeError::HugePages("none")),
        (true, true) => {
            Err(VolumeError::HugePages("two sizes of them: write HugePages-2Mi or HugePages-1Gi"))
        }
    }
}
