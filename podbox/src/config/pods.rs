//! `[pods]`: what this host lets pods do, and what it has for them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::pod::sysctl;

/// So many ids a pod with a user namespace of its own gets, as from a kubelet.
const IDS: u32 = 65536;
/// Where those ids begin: the first that are no ids of the host's own.
const FIRST_ID: u32 = 65536;
/// For how many pods there are ids, as with a kubelet: its default is 110 pods.
const PODS: u32 = 110;
const ALL_IDS: IdRange = IdRange { start: FIRST_ID, count: PODS * IDS };

/// The section, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSettings {
    /// Where `localhostProfile` of a seccomp profile is looked for.
    pub seccomp_profiles: PathBuf,
    /// Patterns of kernel parameters that pods may set beside the safe ones.
    pub allowed_unsafe_sysctls: Vec<String>,
    /// The ids of the host for pods with `hostUsers: false`.
    pub user_namespace_ids: IdRange,
}

/// What a pod goes on with that an older podbox has started.
impl Default for PodSettings {
    fn default() -> Self {
        PodSettings {
            seccomp_profiles: Path::new(super::ROOT).join("seccomp"),
            allowed_unsafe_sysctls: Vec::new(),
            user_namespace_ids: ALL_IDS,
        }
    }
}

/// Ids of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first.
    pub start: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// The first id of each pod that has room in the range.
    pub fn bases(self) -> impl Iterator<Item = u32> {
        (0..self.count / IDS).map(move |at| self.start + at * IDS)
    }
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    seccomp_profiles: Option<PathBuf>,
    allowed_unsafe_sysctls: Vec<String>,
    user_namespace_ids: Option<String>,
}

impl File {
    /// Fills in what is not there; `data` is the root directory.
    pub(super) fn resolve(self, data: &Path) -> Result<PodSettings, String> {
        if let Some(wrong) = self.allowed_unsafe_sysctls.iter().find_map(|text| sysctl::pattern(text).err()) {
            return Err(format!("allowed-unsafe-sysctls: {wrong}"));
        }
        let ids = self.user_namespace_ids.as_deref().map(ids).transpose()?;
        Ok(PodSettings {
            seccomp_profiles: super::absolute(self.seccomp_profiles.unwrap_or_else(|| data.join("seccomp"))),
            allowed_unsafe_sysctls: self.allowed_unsafe_sysctls,
            user_namespace_ids: ids.unwrap_or(ALL_IDS),
        })
    }
}

/// `START:COUNT`. The rules are the kubelet's: whole blocks of 65536, none of them the host's own.
fn ids(text: &str) -> Result<IdRange, String> {
    let wrong = |why: &str| format!("user-namespace-ids \"{text}\": {why}");
    let numbers = text
        .split_once(':')
        .and_then(|(start, count)| Some((start.trim().parse::<u32>().ok()?, count.trim().parse().ok()?)));
    let (start, count): (u32, u32) =
        numbers.ok_or_else(|| wrong("write START:COUNT, such as 65536:7208960"))?;
    if start == 0 || start % IDS != 0 {
        return Err(wrong("the start must be a multiple of 65536, and not 0"));
    }
    if count == 0 || count % IDS != 0 || start.checked_add(count).is_none() {
        return Err(wrong("the count must be a multiple of 65536, not 0, and end below 2^32"));
    }
    Ok(IdRange { start, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_in_whole_blocks_that_are_not_the_hosts() {
        let range = ids("131072:196608").unwrap();
        assert_eq!(range.bases().collect::<Vec<_>>(), [131_072, 196_608, 262_144]);
        for wrong in ["", "65536", "0:65536", "1000:65536", "65536:1", "65536:0", "4294901760:65536", "a:b"] {
            assert!(ids(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_written_has_a_default_and_wrong_patterns_are_refused() {
        let made = File::default().resolve(Path::new("/data")).unwrap();
        assert_eq!(made.seccomp_profiles, Path::new("/data/seccomp"));
        assert_eq!(made.user_namespace_ids.bases().count(), 110);
        let file = File { allowed_unsafe_sysctls: vec!["vm.swappiness".into()], ..File::default() };
        assert!(file.resolve(Path::new("/data")).unwrap_err().contains("vm.swappiness"));
    }
}
