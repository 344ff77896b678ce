//! Putting a pod on somebody else's network: a chain of CNI plugins, run as section 4 of the specification has a
//! runtime run it.
//!
//! ```text
//! ADD    bridge ──result──► portmap ──result──► …      each is given the result of the one before
//! DEL    … ◄── portmap ◄── bridge                      in reverse, each with the last result
//! ```
//!
//! What is about to be made is written down before the first plugin starts (see [`Record`]): the chain as it was read,
//! so that DEL does what undoes that ADD, also after a crash or a reboot, and whatever the file says by then.

mod load;
mod run;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cni::{CallError, Caller, Version, printable};

pub use load::{find, list};
pub use run::Added;

/// A chain of plugins, as its file tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// The network's name.
    pub name: String,
    /// The versions it may be run in, as its file has them: `cniVersion`, then `cniVersions`.
    pub versions: Vec<String>,
    /// Whether it must not be checked.
    #[serde(default)]
    pub disable_check: bool,
    /// The plugins' configurations, in order.
    pub plugins: Vec<Map<String, Value>>,
    /// The file.
    pub source: PathBuf,
}

impl Chain {
    /// Whether one of its plugins declares a capability, and so is given what pods want of it.
    #[must_use]
    pub fn has_capability(&self, name: &str) -> bool {
        self.plugins.iter().any(|plugin| plugin.get("capabilities").is_some_and(|all| all[name] == true))
    }
}

/// One pod's attachment by a chain: all that DEL needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The chain as it was when the pod came.
    pub chain: Chain,
    /// How its plugins are found and called.
    pub caller: Caller,
    /// The version that all of its plugins speak; empty until they were asked.
    #[serde(default)]
    pub version: String,
    /// The pod's unique name: `CNI_CONTAINERID`.
    pub container: String,
    /// A file that is the pod's network namespace.
    pub netns: PathBuf,
    /// The interface's name inside the pod.
    pub ifname: String,
    /// `CNI_ARGS`.
    #[serde(default)]
    pub args: Vec<(String, String)>,
    /// Values for the capabilities that plugins declare: `portMappings`, `dns`, …
    #[serde(default)]
    pub capabilities: Map<String, Value>,
    /// What the last plugin said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

/// Why a chain cannot be run, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// No file has this name.
    #[error("find CNI network {name:?}: {}", missing(.directory, .present, .broken))]
    NotFound {
        /// The name.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
        /// The names that are there.
        present: Vec<String>,
        /// Files that could not be understood, each with the reason.
        broken: Vec<String>,
    },
    /// The directory or a file in it cannot be read.
    #[error("read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold a chain.
    #[error("{}: {problem}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column where it is no JSON.
        problem: String,
    },
    /// The plugins and the file have no version in common.
    #[error("run CNI network {network}: {}", versions(.asked, .plugin, .speaks))]
    Version {
        /// The network.
        network: String,
        /// What the file asks for.
        asked: Vec<String>,
        /// The plugin that does not speak any of them; none if podbox itself does not.
        plugin: Option<String>,
        /// What it speaks instead.
        speaks: Vec<Version>,
    },
    /// A plugin failed.
    #[error("CNI {command} of {network}")]
    Plugin {
        /// ADD, DEL, CHECK or VERSION.
        command: &'static str,
        /// The network.
        network: String,
        /// Why, with the plugin's name.
        #[source]
        source: CallError,
    },
    /// A plugin that was left by a caller that was killed runs on.
    #[error("end the plugins of CNI network {network} that were left")]
    Stray {
        /// The network.
        network: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The chain's result makes no sense.
    #[error("read the result of CNI network {network}: {problem}")]
    Result {
        /// The network.
        network: String,
        /// What is wrong.
        problem: String,
    },
    /// What is about to be made cannot be written down.
    #[error(transparent)]
    State(#[from] crate::NetError),
}

fn missing(directory: &std::path::Path, present: &[String], broken: &[String]) -> String {
    let mut text = match present {
        [] => format!("there is none in {}", directory.display()),
        names => format!("{} has {}", directory.display(), printable(&names.join(", "))),
    };
    for problem in broken {
        text += &format!("; {problem}");
    }
    text
}

fn versions(asked: &[String], plugin: &Option<String>, speaks: &[Version]) -> String {
    let speaks: Vec<_> = speaks.iter().map(|version| version.as_str()).collect();
    let who = plugin.as_deref().unwrap_or("podbox");
    format!("it is written for version {}; {who} speaks {}", asked.join(", "), speaks.join(", "))
}
