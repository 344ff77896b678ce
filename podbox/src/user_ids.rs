//! The ids of the host that a pod with a user namespace of its own has, beside everybody else's.
//!
//! A lease is a symbolic link from the first id to the pod: made in one step, with its content, and only once. It is
//! found again by its content, so nobody has to remember it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use runtime::plan::IdRange;

use crate::config;
use crate::store::PodDir;

/// So many ids a pod gets, as from a kubelet: every id that an image may use.
pub(crate) const COUNT: u32 = 65536;

/// Leases a block for a pod, the same again if it has one.
///
/// # Errors
/// A sentence: that all are taken, or what the disk says.
pub(crate) fn lease(dir: &PodDir, uid: &str, pool: config::IdRange) -> Result<IdRange, String> {
    if let Some(range) = held(dir, uid) {
        return Ok(range);
    }
    let leases = dir.id_leases();
    for first in pool.bases() {
        match make(&leases, first, uid) {
            Ok(()) => return Ok(IdRange { first, count: COUNT }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("lease ids in {}: {error}", leases.display())),
        }
    }
    Err(format!(
        "all ids for user namespaces are taken: {} from {} on ([pods] user-namespace-ids)",
        pool.count, pool.start
    ))
}

/// Makes a link; the directory as well, which whoever gives the last one back removes.
fn make(leases: &Path, first: u32, uid: &str) -> io::Result<()> {
    let link = leases.join(first.to_string());
    loop {
        match symlink(uid, &link) {
            Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(leases)?,
            other => return other,
        }
    }
}

/// The block that a pod holds.
pub(crate) fn held(dir: &PodDir, uid: &str) -> Option<IdRange> {
    let first = link_of(dir, uid)?.file_name()?.to_str()?.parse().ok()?;
    Some(IdRange { first, count: COUNT })
}

fn link_of(dir: &PodDir, uid: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir.id_leases()).ok()?;
    let mut links = entries.flatten().map(|entry| entry.path());
    links.find(|link| fs::read_link(link).is_ok_and(|target| target == Path::new(uid)))
}

/// Gives a pod's block back. None held is what is wanted.
pub(crate) fn release(dir: &PodDir, uid: &str) -> io::Result<()> {
    let Some(link) = link_of(dir, uid) else { return Ok(()) };
    fs::remove_file(link)?;
    // Fails while others hold theirs.
    let _ = fs::remove_dir(dir.id_leases());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Layers, Store};

    #[test]
    fn each_pod_has_ids_of_its_own_and_the_next_one_gets_those_that_were_given_back() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let store = Store { run: at("run"), data: at("data"), logs: at("logs"), layers: Layers::Disk };
        let pool = config::IdRange { start: 131_072, count: 2 * COUNT };
        let lease = |uid: &str| lease(&store.pod(uid), uid, pool).map(|range| range.first);
        assert_eq!((lease("a"), lease("b"), lease("a")), (Ok(131_072), Ok(196_608), Ok(131_072)));
        let full = lease("c").unwrap_err();
        assert!(full.contains("131072 from 131072 on"), "{full}");
        release(&store.pod("a"), "a").unwrap();
        assert_eq!(held(&store.pod("a"), "a"), None);
        assert_eq!(lease("c"), Ok(131_072));
        for uid in ["b", "c", "a"] {
            release(&store.pod(uid), uid).unwrap();
        }
        assert!(!at("run/user-ids").exists(), "nothing is left");
    }
}
