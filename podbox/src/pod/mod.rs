//! The Pod as the rest of podbox sees it: validated, defaulted, nothing left to check.
//!
//! `manifest` turns what the user wrote into a [`Pod`]; every later function takes `&Pod` and trusts it.
//! The whole value is stored as `pods/<uid>/pod.json`, and the supervisor knows nothing else of the manifest.

mod model;

pub use model::*;
