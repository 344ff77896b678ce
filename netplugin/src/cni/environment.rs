//! What a runtime says in the environment: section 2 of the specification, "Parameters".

use std::path::PathBuf;

use super::error::{CniError, Code};

/// What the plugin shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Status,
    Gc,
    Version,
}

impl Command {
    /// Whether it only takes back what was made, which it shall do as well as it can whatever else is wrong.
    pub(crate) fn takes_back(self) -> bool {
        matches!(self, Command::Del | Command::Gc)
    }
}

/// The parameters, as far as the command has them.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) command: Command,
    /// Empty for commands that are about no container.
    pub(crate) container: String,
    pub(crate) netns: PathBuf,
    pub(crate) ifname: String,
    /// `CNI_ARGS`, taken apart.
    pub(crate) args: Vec<(String, String)>,
    /// Where other plugins are.
    pub(crate) path: Vec<PathBuf>,
}

/// The longest id that still is a file's name with the mark in front of it.
const LONGEST_ID: usize = 190;

impl Environment {
    /// Reads them by `get`, which knows the variables.
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`], with the variable's name.
    pub(crate) fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Environment, CniError> {
        let value = |name: &str| get(name).unwrap_or_default();
        let command = match value("CNI_COMMAND").as_str() {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "STATUS" => Command::Status,
            "GC" => Command::Gc,
            "VERSION" => Command::Version,
            "" => {
                return Err(wrong(
                    "CNI_COMMAND is not set; this is podbox's CNI plugin, which container runtimes call",
                ));
            }
            other => {
                return Err(wrong(format!(
                    "CNI_COMMAND is {other:?}; it must be ADD, DEL, CHECK, STATUS, GC or VERSION"
                )));
            }
        };
        let environment = Environment {
            command,
            container: value("CNI_CONTAINERID"),
            netns: value("CNI_NETNS").into(),
            ifname: value("CNI_IFNAME"),
            args: pairs(&value("CNI_ARGS"), command)?,
            path: std::env::split_paths(&value("CNI_PATH")).filter(|p| !p.as_os_str().is_empty()).collect(),
        };
        environment.validate()?;
        Ok(environment)
    }

    fn validate(&self) -> Result<(), CniError> {
        if !matches!(self.command, Command::Add | Command::Del | Command::Check) {
            return Ok(());
        }
        for (name, value) in [("CNI_CONTAINERID", &self.container), ("CNI_IFNAME", &self.ifname)] {
            if value.is_empty() {
                return Err(wrong(format!("{name} is not set")));
            }
        }
        // The runtime may have lost the namespace by the time of DEL.
        if self.netns.as_os_str().is_empty() && self.command != Command::Del {
            return Err(wrong("CNI_NETNS is not set"));
        }
        if !is_id(&self.container) {
            return Err(wrong(format!(
                "CNI_CONTAINERID is {:?}; it must begin with a letter or digit and go on with those, '_', '.' and '-'",
                self.container
            )));
        }
        if !crate::config::is_interface_name(&self.ifname) {
            return Err(wrong(format!("CNI_IFNAME is {:?}; no interface can have that name", self.ifname)));
        }
        Ok(())
    }

    /// An argument of `CNI_ARGS`.
    pub(crate) fn arg(&self, name: &str) -> Option<&str> {
        let (_, value) = self.args.iter().find(|(key, _)| key == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whom the attachment belongs to, for people: the pod, if the runtime says which.
    pub(crate) fn owner(&self) -> String {
        match (self.arg("K8S_POD_NAMESPACE"), self.arg("K8S_POD_NAME")) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => format!("container {}", self.container.chars().take(12).collect::<String>()),
        }
    }
}

/// The specification's rule for container ids.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() <= LONGEST_ID
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// What makes no sense of them keeps nothing from being taken back.
fn pairs(text: &str, command: Command) -> Result<Vec<(String, String)>, CniError> {
    let pair = |part: &str| match part.split_once('=') {
        Some((key, value)) if !key.is_empty() => Some(Ok((key.to_owned(), value.to_owned()))),
        _ if command.takes_back() => None,
        _ => Some(Err(wrong(format!("CNI_ARGS holds {part:?}; it must be KEY=VALUE;KEY=VALUE")))),
    };
    text.split(';').filter(|part| !part.is_empty()).filter_map(pair).collect()
}

fn wrong(message: impl Into<String>) -> CniError {
    CniError::new(Code::InvalidEnvironment, message)
}
