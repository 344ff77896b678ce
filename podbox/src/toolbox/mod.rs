//! The toolbox applets.

/// The applets' names.
pub const APPLETS: &[&str] = &[];
