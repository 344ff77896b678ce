//! What a plugin says when it cannot do what it should: section 5 of the specification, "Error".

use serde::{Deserialize, Serialize};

use crate::error::NetError;

/// Why, as a number that runtimes understand. Up to 99 they are the specification's; beyond, a plugin's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The configuration's version is not spoken here, or does not know the command.
    IncompatibleVersion = 1,
    /// A key asks for something that there is not here. The message tells key and value.
    UnsupportedField = 2,
    /// There is no such container, so that nothing has to be taken back.
    UnknownContainer = 3,
    /// An environment variable is missing or makes no sense. The message names it.
    InvalidEnvironment = 4,
    /// A file cannot be read or written.
    Io = 5,
    /// The input is not what it should be: no JSON, or a key of another type.
    Decode = 6,
    /// The configuration contradicts itself or the host.
    InvalidConfig = 7,
    /// It may work later.
    TryAgain = 11,
    /// STATUS: no container can be added now.
    NotAvailable = 50,
    /// The kernel refused.
    Kernel = 100,
    /// A host port, an address or the bridge belongs to somebody else.
    Taken = 101,
    /// CHECK: the container has not all that it was given.
    Incomplete = 102,
    /// Another plugin, for addresses, failed without saying how.
    Delegate = 103,
}

/// An error as plugins print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CniError {
    /// The version of the configuration, where it has one.
    #[serde(default)]
    pub cni_version: String,
    /// See [`Code`].
    #[serde(default)]
    pub code: u32,
    /// One line.
    #[serde(default)]
    pub msg: String,
    /// The rest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// An error of this plugin.
    #[must_use]
    pub fn new(code: Code, msg: impl Into<String>) -> CniError {
        CniError { cni_version: String::new(), code: code as u32, msg: msg.into(), details: String::new() }
    }

    /// With what else there is to say.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> CniError {
        self.details = details.into();
        self
    }
}

impl From<NetError> for CniError {
    fn from(error: NetError) -> CniError {
        let code = match &error {
            NetError::Config { .. }
            | NetError::Request { .. }
            | NetError::SubnetClash { .. }
            | NetError::AddressRefused { .. }
            | NetError::MacRefused { .. } => Code::InvalidConfig,
            NetError::PoolFull { .. } => Code::TryAgain,
            NetError::PortHeld { .. }
            | NetError::PortInUse { .. }
            | NetError::AddressHeld { .. }
            | NetError::BridgeTaken { .. } => Code::Taken,
            NetError::State { .. } => Code::Io,
            NetError::Corrupt { .. } => Code::Decode,
            NetError::Netns { .. } => Code::UnknownContainer,
            _ => Code::Kernel,
        };
        let mut details = Vec::new();
        let mut next = std::error::Error::source(&error);
        while let Some(cause) = next {
            details.push(cause.to_string());
            next = cause.source();
        }
        CniError::new(code, error.to_string()).with_details(details.join(": "))
    }
}
