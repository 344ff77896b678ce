//! The probe engine: how to ask (`http`, `tcp`, `exec`), when to ask (`worker`), what is known (`state`).
//!
//! It knows nothing of containers: a caller gives it an address to ask and a way to run a command, and
//! receives verdicts. Behaviour follows the kubelet's `pkg/kubelet/prober` and `pkg/probe`.

mod spec;

pub use spec::{Handler, Kind, Spec};
