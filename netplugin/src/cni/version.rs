//! The versions of the specification: which there are, and what came with which.

use std::fmt;

/// A version that is spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Results have `ip4` and `ip6`. A configuration without `cniVersion` means this one.
    V0_1_0,
    /// As the one before.
    V0_2_0,
    /// Results have lists of interfaces, addresses and routes.
    V0_3_0,
    /// As the one before.
    V0_3_1,
    /// CHECK; DEL is given the result.
    V0_4_0,
    /// Addresses do not tell their family any more.
    V1_0_0,
    /// STATUS and GC; interfaces tell their MTU.
    V1_1_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 7] = [
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];

    /// The newest.
    pub const NEWEST: Version = Version::V1_1_0;

    /// As configurations write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// The version of that name; no text means the oldest.
    #[must_use]
    pub fn of(text: &str) -> Option<Version> {
        if text.is_empty() {
            return Some(Version::V0_1_0);
        }
        Version::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// Whether there is CHECK.
    #[must_use]
    pub fn has_check(self) -> bool {
        self >= Version::V0_4_0
    }

    /// Whether there are STATUS and GC.
    #[must_use]
    pub fn has_gc(self) -> bool {
        self >= Version::V1_1_0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
