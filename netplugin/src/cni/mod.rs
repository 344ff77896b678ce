//! podbox's network as a plugin of the Container Network Interface (CNI), for runtimes that are not podbox.
//!
//! A runtime starts the plugin with `CNI_COMMAND` and its companions in the environment and the network's
//! configuration on standard input, and reads a result or an error object from standard output: sections 2 and 3
//! of the CNI specification, versions 0.1.0 to 1.1.0. [`answer`] is all of it, apart from the process around it.
//!
//! A container that comes by CNI and a pod that podbox starts are on one network if both say the same name, bridge
//! and subnets: the leases lie in the same directory. Attachments that were made here carry a mark in their id, so
//! that a runtime's GC never touches a pod of podbox.

mod address;
pub(crate) mod call;
mod check;
mod config;
mod environment;
mod error;
mod overseer;
mod plugin;
mod printable;
mod result;
pub(crate) mod strays;
mod version;

pub use call::{CallError, Caller, UNDOING};
pub use error::{CniError, Code};
pub use overseer::Overseer;
pub(crate) use plugin::MARK;
pub use plugin::{Answer, PROGRAM, answer};
pub use printable::printable;
pub use result::{Dns, Interface, Ip, Route, Shape};
pub use version::Version;
