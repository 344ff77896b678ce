//! Devices of the host that containers ask for by name: `resources.limits["vendor.com/class"]`, or an annotation
//! `cdi.k8s.io/…: vendor.com/class=name`.
//!
//! What there is, and what a container needs to use it, is told by files of the Container Device Interface, version 0.8
//! (github.com/cncf-tags/container-device-interface). In a cluster a device plugin and a scheduler give devices out; here
//! they are leased to pods, a file each.

mod lease;
mod read;
mod share;
mod spec;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use lease::{Leases, NotFree};
pub use share::{asked, of_container};
pub use spec::{DeviceNode, Edits, Mount};

use crate::pod::{Container, Pod};

/// Annotations with this prefix name devices for all containers of a pod.
pub const ANNOTATION: &str = "cdi.k8s.io/";
/// A device that stands for all the others is not one of them.
const ALL: &str = "all";
/// So many kinds are named in an error.
const NAMED: usize = 8;

/// Whether a pod asks for any device.
#[must_use]
pub fn is_used(pod: &Pod) -> bool {
    pod.containers.iter().any(|container| !container.devices.is_empty())
        || pod.annotations.keys().any(|key| key.starts_with(ANNOTATION))
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    /// The place of its directory in the list: what comes later counts more.
    rank: usize,
    file: PathBuf,
    /// What a container needs, or why that cannot be had.
    edits: Result<Edits, String>,
}

/// All devices that the host offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    directories: Vec<PathBuf>,
    kinds: BTreeMap<String, BTreeMap<String, Device>>,
    /// Files that could not be read, and why.
    problems: Vec<String>,
}

impl Catalogue {
    /// Reads all files of these directories; one that is not there is no mistake, and a file that makes no sense offers
    /// nothing.
    #[must_use]
    pub fn read(directories: &[PathBuf]) -> Catalogue {
        let mut catalogue = Catalogue { directories: directories.to_vec(), ..Catalogue::default() };
        for (rank, directory) in directories.iter().enumerate() {
            for file in read::files(directory) {
                match read::file(&file) {
                    Ok(read) => catalogue.add(rank, &file, read),
                    Err(why) => catalogue.problems.push(format!("{}: {why}", file.display())),
                }
            }
        }
        catalogue
    }

    fn add(&mut self, rank: usize, file: &Path, read: spec::File) {
        let kind = self.kinds.entry(read.kind.clone()).or_default();
        for (name, edits) in read.devices() {
            let device = Device { rank, file: file.to_owned(), edits };
            match kind.get_mut(&name) {
                Some(known) if known.rank == rank => {
                    let (one, other) = (known.file.display(), file.display());
                    known.edits = Err(format!("it is defined twice, by {one} and {other}"));
                }
                _ => drop(kind.insert(name, device)),
            }
        }
    }

    /// The devices of a kind that can be given out, by name.
    pub fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        let devices = self.kinds.get(kind).into_iter().flatten();
        devices.filter(|(name, device)| *name != ALL && device.edits.is_ok()).map(|(name, _)| name.as_str())
    }

    /// What a container needs to use `vendor.com/class=name`.
    ///
    /// # Errors
    /// Why it cannot be had, in containerd's words where it is not there.
    pub fn edits(&self, kind: &str, name: &str) -> Result<&Edits, String> {
        let device = self.kinds.get(kind).and_then(|devices| devices.get(name));
        let device =
            device.ok_or_else(|| format!("unresolvable CDI devices {kind}={name}{}", self.problems()))?;
        device.edits.as_ref().map_err(|why| format!("CDI device {kind}={name} cannot be used: {why}"))
    }

    /// What there is instead of what was asked for.
    #[must_use]
    pub fn offers(&self) -> String {
        let places: Vec<_> = self.directories.iter().map(|path| path.display().to_string()).collect();
        let kinds: Vec<_> = (self.kinds.iter().take(NAMED))
            .map(|(kind, _)| format!("{kind}: {}", self.names(kind).count()))
            .collect();
        let there = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
        format!("CDI offers {there} (in {}){}", places.join(", "), self.problems())
    }

    fn problems(&self) -> String {
        self.problems.first().map(|first| format!("; not read: {first}")).unwrap_or_default()
    }

    /// Checks that all devices are there that pods name or count, and that so many of them are free.
    ///
    /// # Errors
    /// The first pod that would not get what it asks for, and a scheduler's sentence with what there is.
    pub fn check<'p>(&self, pods: &[&'p Pod], leases: &Leases) -> Result<(), (&'p Pod, String)> {
        let mut taken: BTreeMap<String, u64> = BTreeMap::new();
        for pod in pods {
            for (kind, count) in asked(pod) {
                let all: Vec<&str> = self.names(&kind).collect();
                let free = u64::try_from(leases.free(&kind, &all).len()).unwrap_or(u64::MAX);
                let taken = taken.entry(kind.clone()).or_default();
                let left = free.saturating_sub(*taken);
                *taken += count;
                if left < count {
                    let there = (all.len(), usize::try_from(left).unwrap_or(usize::MAX));
                    return Err((pod, self.insufficient(&kind, count, there)));
                }
            }
            let named = share::annotated(pod).map_err(|why| (*pod, why))?;
            named
                .iter()
                .try_for_each(|(kind, name)| self.edits(kind, name).map(drop))
                .map_err(|why| (*pod, why))?;
        }
        Ok(())
    }

    /// What a container needs to use all its devices; what is left open about nodes is as it is on the host.
    ///
    /// # Errors
    /// A device that cannot be used, or is not there any more.
    pub fn edits_of(&self, pod: &Pod, container: &Container, leases: &Leases) -> Result<Vec<Edits>, String> {
        let devices = share::all_of(pod, container, |kind| leases.held(&pod.uid, kind))?;
        let edits = devices.iter().map(|(kind, name)| self.edits(kind, name)?.clone().on_this_host());
        edits.collect()
    }

    /// Too few devices of a kind: `there` are all and those that are free.
    #[must_use]
    pub fn insufficient(&self, kind: &str, count: u64, there: (usize, usize)) -> String {
        let unusable = self.kinds.get(kind).into_iter().flatten().find_map(|(name, device)| {
            device.edits.as_ref().err().map(|why| format!("; {kind}={name} cannot be used: {why}"))
        });
        let (all, free) = there;
        format!(
            "0/1 nodes are available: 1 Insufficient {kind}: {count} asked for, {free} of {all} free{}; {}",
            unusable.unwrap_or_default(),
            self.offers()
        )
    }
}

#[cfg(test)]
mod tests;
