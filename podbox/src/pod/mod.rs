//! The Pod as the rest of podbox sees it: validated, defaulted, nothing left to check.
//!
//! `manifest` turns what the user wrote into a [`Pod`]; every later function takes `&Pod` and trusts it.
//! The whole value is stored as `pods/<uid>/pod.json`, and the supervisor knows nothing else of the manifest.

pub(crate) mod aggregate;
pub(crate) mod change;
mod convert;
mod downward;
pub(crate) mod ephemeral;
pub mod field;
mod files;
pub mod interfaces;
mod model;
mod mount;
pub mod quantity;
pub(crate) mod sysctl;
mod validate;

pub(crate) use convert::{CLUSTER_DOMAIN, convert, host_path_type};
pub use files::*;
pub use model::*;
pub use mount::*;
pub use quantity::Quantity;
pub(crate) use validate::{APPARMOR, names, pod as validate, volume_source as claims};

/// Kubernetes' map of resources, as text.
pub(crate) type QuantityMap =
    std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>;
