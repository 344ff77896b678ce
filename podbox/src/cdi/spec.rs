//! The files' form, as far as podbox can give it effect; the rest is refused by name.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// Versions whose files can be read; 1.0 is 0.8 under another name.
const VERSIONS: [&str; 11] =
    ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "0.8.1", "1.0.0", "1.1.0"];

/// One file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    cdi_version: String,
    pub(super) kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "only people read them")]
    annotations: Value,
    #[serde(default)]
    container_edits: Edits,
    devices: Vec<Named>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "only people read them")]
    annotations: Value,
    #[serde(default)]
    container_edits: Edits,
}

/// What is changed in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Edits {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Nodes below `/dev`, mostly.
    pub device_nodes: Vec<DeviceNode>,
    /// Files and directories of the host.
    pub mounts: Vec<Mount>,
    /// Groups of the container's process.
    #[serde(rename = "additionalGIDs")]
    pub additional_gids: Vec<u32>,
    hooks: Vec<Value>,
    intel_rdt: Option<Value>,
    net_devices: Vec<Value>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    /// In the container.
    pub path: PathBuf,
    /// On the host; the same if not given.
    pub host_path: Option<PathBuf>,
    /// `b`, `c`, `u` or `p`; the host's node tells if not given.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// As `kind`.
    pub major: Option<i64>,
    /// As `kind`.
    pub minor: Option<i64>,
    /// As `kind`.
    pub file_mode: Option<u32>,
    /// Which of `rwm` the container may do; all if not given.
    pub permissions: Option<String>,
    /// The owner.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// On the host.
    pub host_path: PathBuf,
    /// In the container.
    pub container_path: PathBuf,
    /// mount(8)'s options; a bind mount if they say nothing else.
    pub options: Vec<String>,
    /// The file system's type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl File {
    /// Whether it means something.
    pub(super) fn check(self) -> Result<File, String> {
        if !VERSIONS.contains(&self.cdi_version.trim_start_matches('v')) {
            return Err(format!("version {:?} of CDI is not known", self.cdi_version));
        }
        let parts = self.kind.split_once('/').filter(|(vendor, class)| is_name(vendor) && is_name(class));
        if parts.is_none() {
            return Err(format!("kind {:?} is not VENDOR/CLASS", self.kind));
        }
        match self.devices.iter().find(|device| !is_device(&device.name)) {
            Some(device) => Err(format!("{:?} is no name of a device", device.name)),
            None => Ok(self),
        }
    }

    /// Its devices, each with what the whole file adds to it.
    pub(super) fn devices(self) -> impl Iterator<Item = (String, Result<Edits, String>)> {
        let all = self.container_edits;
        self.devices.into_iter().map(move |device| (device.name, all.clone().and(device.container_edits)))
    }
}

/// Letters, digits and `-`, `_`, `.` in between.
fn is_name(text: &str) -> bool {
    is_made_of(text, &['-', '_', '.'])
}

fn is_device(text: &str) -> bool {
    is_made_of(text, &['-', '_', '.', ':'])
}

fn is_made_of(text: &str, between: &[char]) -> bool {
    let end = |one: Option<char>| one.is_some_and(|one| one.is_ascii_alphanumeric());
    end(text.chars().next())
        && end(text.chars().next_back())
        && text.chars().all(|one| one.is_ascii_alphanumeric() || between.contains(&one))
}

impl Edits {
    /// Asks the host for what the file leaves open of its nodes.
    pub(super) fn on_this_host(mut self) -> Result<Edits, String> {
        for node in &mut self.device_nodes {
            let source = node.host_path.clone().unwrap_or_else(|| node.path.clone());
            if node.kind.is_some() && (node.major.is_some() || node.kind.as_deref() == Some("p")) {
                continue;
            }
            let found = crate::node::device_at(&source).ok_or_else(|| {
                format!(
                    "failed to stat CDI host device {:?}: no device is there",
                    source.display().to_string()
                )
            })?;
            node.kind = Some(found.typ().as_str().to_owned());
            node.major = Some(found.major());
            node.minor = Some(found.minor());
            node.file_mode = node.file_mode.or(found.file_mode());
        }
        Ok(self)
    }

    fn and(mut self, other: Edits) -> Result<Edits, String> {
        self.env.extend(other.env);
        self.device_nodes.extend(other.device_nodes);
        self.mounts.extend(other.mounts);
        self.additional_gids.extend(other.additional_gids);
        self.hooks.extend(other.hooks);
        self.net_devices.extend(other.net_devices);
        self.intel_rdt = other.intel_rdt.or(self.intel_rdt);
        let refused = [
            (!self.hooks.is_empty(), "hooks: podbox runs no programs of the host for a container"),
            (self.intel_rdt.is_some(), "intelRdt: podbox does not divide caches"),
            (!self.net_devices.is_empty(), "netDevices: podbox moves no network devices of the host"),
        ];
        match refused.into_iter().find(|(there, _)| *there) {
            Some((_, why)) => Err(format!("it needs {why}")),
            None => Ok(self),
        }
    }
}
