//! podbox's low-level runtime: an OCI runtime Spec and a sandbox become running processes.
//!
//! It knows nothing of Kubernetes. The caller makes a plan ([`plan`]), starts a stage ([`launch`]), hands
//! it the plan and hears what came of it. A stage ([`stage`]) is a fresh, single-threaded copy of the
//! program that does one privileged thing, step by step ([`recipe`]), and leaves. What outlives it is held
//! by identity ([`process`]), in a cgroup ([`cgroup`]), in pinned namespaces ([`sandbox`]).

pub mod cgroup;
pub mod guard;
pub mod identity;
pub mod launch;
pub mod layers;
pub mod plan;
pub mod process;
pub mod recipe;
pub mod resolve;
pub mod sandbox;
pub mod stage;
pub mod terminal;

mod devices;
mod in_root;
mod mounts;
mod privileges;
mod rootfs;
mod seccomp;
mod sys;
