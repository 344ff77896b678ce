//! Volumes whose files podbox writes itself: configMap, secret, downwardAPI, projected.

use serde::{Deserialize, Serialize};

use super::{FieldPath, ResourceField};

/// The files of a volume. Later sources win where two write the same path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Where the files come from, in order.
    pub sources: Vec<FilesFrom>,
    /// `defaultMode`: permission bits of files that name none.
    pub default_mode: u32,
    /// Whether they lie in memory, so that no disk ever sees them: all but plain configMaps, as in a kubelet.
    pub in_memory: bool,
}

/// One source of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilesFrom {
    /// Keys of a ConfigMap.
    ConfigMap(KeysOf),
    /// Keys of a Secret.
    Secret(KeysOf),
    /// Fields of the pod.
    Downward(Vec<DownwardFile>),
    /// A token of the pod's service account.
    Token(TokenFile),
}

/// Which keys of which object, and to where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysOf {
    /// The object's name.
    pub name: String,
    /// `items`; every key, as a file of its name, if there are none.
    pub items: Vec<KeyItem>,
    /// Neither the object nor a key needs to be there.
    pub optional: bool,
}

/// One of `items`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyItem {
    /// The key.
    pub key: String,
    /// The file, relative to the volume.
    pub path: String,
    /// Permission bits of its own.
    pub mode: Option<u32>,
}

/// A file with a field of the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownwardFile {
    /// The file, relative to the volume.
    pub path: String,
    /// Permission bits of its own.
    pub mode: Option<u32>,
    /// What it says.
    pub fact: DownwardFact,
}

/// What a file of the downward API says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownwardFact {
    /// All labels, a line each.
    Labels,
    /// All annotations, a line each.
    Annotations,
    /// `fieldRef`.
    Field(FieldPath),
    /// `resourceFieldRef`.
    Resource {
        /// The container whose resources are meant.
        container: String,
        /// Which resource.
        resource: ResourceField,
        /// The divisor in thousandths.
        divisor_milli: u64,
    },
}

/// `serviceAccountToken`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFile {
    /// The file, relative to the volume.
    pub path: String,
    /// Whom it is for; the issuer itself if nobody is named.
    pub audience: Option<String>,
    /// How long it is good for, seconds.
    pub expiration_seconds: u64,
}
