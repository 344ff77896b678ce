//! The limits of a cgroup in which processes live already.

use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::{Cgroup, Refused, v1};

/// What a cgroup may have now; `None` where that is not limited, or not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Microseconds of CPU time in each period.
    pub cpu_quota_us: Option<i64>,
    /// Bytes of memory.
    pub memory_bytes: Option<i64>,
}

/// v1 writes "no limit" as the largest number of whole pages.
const UNLIMITED: i64 = i64::MAX / 2;

impl Cgroup {
    /// Sets other limits. Gives back notes of what the host does not offer.
    ///
    /// # Errors
    /// A limit that the kernel does not take: in v1 one of memory that the processes have more of already.
    pub fn change(&self, limits: &LinuxResources) -> Result<Vec<String>, Refused> {
        let mut notes = Vec::new();
        // What could not be made has no limits to change.
        if self.exists() {
            self.limit(limits, &mut notes)?;
        }
        Ok(notes)
    }

    /// What it may have now.
    #[must_use]
    pub fn allowed(&self) -> Allowed {
        let limited = |number: Option<i64>| number.filter(|number| (0..UNLIMITED).contains(number));
        let of_v1 = |controller, file: &str| {
            let hierarchy = self.v1.iter().find(|h| h.controllers.contains(&controller))?;
            first_number(&hierarchy.root, file)
        };
        let v2 = self.v2.as_deref().filter(|_| self.v1.is_empty());
        let of_v2 = |file: &str| first_number(v2?, file);
        Allowed {
            cpu_quota_us: limited(
                of_v1(v1::Controller::Cpu, "cpu.cfs_quota_us").or_else(|| of_v2("cpu.max")),
            ),
            memory_bytes: limited(
                of_v1(v1::Controller::Memory, "memory.limit_in_bytes").or_else(|| of_v2("memory.max")),
            ),
        }
    }
}

/// The number at the beginning of a file; none if there is a word, such as `max`.
fn first_number(directory: &Path, file: &str) -> Option<i64> {
    let text = std::fs::read_to_string(directory.join(file)).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
