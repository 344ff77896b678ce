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
    let page_bytes = size(pod, page_bytes)?;
    fs::create_dir_all(path).map_err(io_error("create", path))?;
    let options = format!("mode=0777,pagesize={page_bytes}");
    mount(Some("hugetlbfs"), path, Some("hugetlbfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(io::Error::from)
        .map_err(io_error("mount a hugetlbfs on", path))?;
    // Not by the mode of creation, which the umask cuts.
    fs::set_permissions(path, Permissions::from_mode(0o777)).map_err(io_error("open to all", path))
}

/// The size of the pages: the one that is given, which somebody has to ask for, or the only one that anybody asks for.
fn size(pod: &Pod, given: Option<u64>) -> Result<u64, VolumeError> {
    let all = || pod.containers.iter().map(|container| &container.resources).chain(&pod.resources);
    let asks = |of: fn(&Resources) -> Option<u64>| all().any(|one| of(one).is_some());
    let small = asks(|one| one.hugepages_2mi_bytes).then_some(2 * MIB);
    let large = asks(|one| one.hugepages_1gi_bytes).then_some(1024 * MIB);
    if given.is_none() && small.is_some() && large.is_some() {
        let why = "medium: HugePages can't be used if container requests multiple huge page sizes";
        return Err(VolumeError::Content(why.to_owned()));
    }
    let mut asked = small.into_iter().chain(large);
    asked.find(|bytes| given.is_none_or(|given| given == *bytes)).ok_or_else(|| {
        let medium = given
            .map_or("HugePages", |bytes| if bytes == 2 * MIB { "HugePages-2Mi" } else { "HugePages-1Gi" });
        VolumeError::Content(format!(
            "medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_has_to_ask_for_the_pages_of_a_volume() {
        let said = |limits: &str, given: Option<u64>| {
            let text = format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{containers: [{{name: c, image: i, \
                 resources: {{limits: {{memory: 1Gi{limits}}}}}}}]}}}}"
            );
            let source = crate::manifest::Source::new("x", text);
            let pod = crate::manifest::load(&[source], &Default::default()).unwrap().pods.remove(0).pod;
            size(&pod, given).map_err(|error| error.to_string())
        };
        let (small, large) = (", hugepages-2Mi: 4Mi", ", hugepages-1Gi: 1Gi");
        let none = |medium: &str| {
            Err(format!(
                "medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
            ))
        };
        assert_eq!(said(small, None), Ok(2 * MIB));
        assert_eq!(said(large, None), Ok(1024 * MIB));
        assert_eq!(said(small, Some(2 * MIB)), Ok(2 * MIB));
        assert_eq!(said(small, Some(1024 * MIB)), none("HugePages-1Gi"));
        assert_eq!(said("", Some(2 * MIB)), none("HugePages-2Mi"));
        assert_eq!(said("", None), none("HugePages"));
        let both = format!("{small}{large}");
        assert_eq!(said(&both, Some(1024 * MIB)), Ok(1024 * MIB));
        assert!(said(&both, None).unwrap_err().contains("multiple huge page sizes"));
    }
}
