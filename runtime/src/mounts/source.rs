//! Where a bind mount comes from: a path of the host, or a part of what lies there.

use super::options::{self, Depth};
use crate::recipe::{During, Fault};
use crate::resolve;
use crate::sys::mount::open_tree;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::Mount;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A copy of a bind mount's source, not yet placed. This happens before propagation from the host is
/// stopped, so that a mount that is to be shared with the host is still of the host's peer group.
///
/// A part of a source is looked up and copied by descriptor, beneath the source: whoever writes to the source may swap
/// what lies there for a link at any time, and still cannot have anything else mounted.
pub(crate) fn clone_source(mount: &Mount) -> Result<OwnedFd, Fault> {
    let source = mount.source().as_deref().ok_or_else(|| Fault::new("a bind mount needs a source"))?;
    let options = options::parse(mount.options().as_deref().unwrap_or_default())?;
    let recursive = if options.bind == Some(Depth::One) { 0 } else { libc::AT_RECURSIVE as u32 };
    let wanted = options.propagation.map(|(kind, _)| kind);
    let wanted = wanted.filter(|kind| matches!(*kind, libc::MS_SHARED | libc::MS_SLAVE));
    if options.subdirectory.is_none() && wanted.is_none() {
        return clone_of(source, recursive).during(source.display());
    }
    let handle = open(source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during(source.display())?;
    let handle = match &options.subdirectory {
        Some(part) => resolve::beneath(&handle, part).during(format_args!(
            "{} in {}",
            part.display(),
            source.display()
        ))?,
        None => handle,
    };
    if let Some(kind) = wanted {
        check_propagation(source, &handle, kind)?;
    }
    Ok(open_tree(handle.as_fd(), c"", libc::OPEN_TREE_CLONE | recursive)?)
}

pub(super) fn clone_of(path: &Path, flags: u32) -> Result<OwnedFd, Fault> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Fault::new("zero byte in a path"))?;
    Ok(open_tree(AT_FDCWD, &path, libc::OPEN_TREE_CLONE | flags)?)
}

/// A mount that nobody shares has nothing to propagate: refused, in containerd's words, instead of being silently
/// something else.
fn check_propagation(source: &Path, handle: &OwnedFd, wanted: u64) -> Result<(), Fault> {
    let facts = fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd()))?;
    let id = facts.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let Some((at, peers)) = table.lines().find_map(|line| propagation_of(line, id)) else { return Ok(()) };
    let (fits, what) = match wanted {
        libc::MS_SHARED => (peers.shared, "a shared mount"),
        _ => (peers.shared || peers.slave, "a shared or slave mount"),
    };
    if fits {
        return Ok(());
    }
    Err(Fault::new(format!(
        "path {:?} is mounted on {at:?} but it is not {what}",
        source.display().to_string()
    )))
}

/// With whom a mount shares what is mounted below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peers {
    shared: bool,
    slave: bool,
}

/// The mount point and the peers of the mount of that id, from its line of mountinfo.
fn propagation_of<'t>(line: &'t str, id: &str) -> Option<(&'t str, Peers)> {
    let mut words = line.split(' ');
    if words.next()? != id {
        return None;
    }
    let at = words.nth(3)?;
    let mut peers = Peers { shared: false, slave: false };
    for word in words.skip(1).take_while(|word| *word != "-") {
        peers.shared |= word.starts_with("shared:");
        peers.slave |= word.starts_with("master:");
    }
    Some((at, peers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_tells_who_shares_a_mount() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime shared:7 master:1 - ext3 /dev/root rw";
        assert_eq!(propagation_of(line, "36"), Some(("/mnt2", Peers { shared: true, slave: true })));
        assert_eq!(propagation_of(line, "3"), None);
        let line = "21 1 0:20 / / rw,relatime - overlay shared:9 rw";
        assert_eq!(propagation_of(line, "21"), Some(("/", Peers { shared: false, slave: false })));
    }
}
