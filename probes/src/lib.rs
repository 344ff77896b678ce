//! The probe engine: how to ask (`ask`, a file for each handler), when to ask (`worker`), what is known (`state`).
//!
//! It knows nothing of containers: a caller gives it an address to ask and a way to run a command, and
//! receives verdicts. Behaviour follows the kubelet's `pkg/kubelet/prober` and `pkg/probe`.
//!
//! The three parts meet in one place each. `state` is pure: it counts outcomes and says when they add up
//! to a verdict. `ask` turns one `Spec` into one `Outcome` and keeps nothing. `worker` owns the clock: one
//! task per probe of one *attempt* (one run of one container), which ends with the attempt. Since a worker
//! never outlives the run that it watches, it never has to ask whether its container is still the same one.
//!
//! `names` looks host names up, for probes and for everybody above.

mod ask;
mod event;
mod exec;
pub mod names;
mod spec;
mod state;
mod words;
mod worker;

pub use ask::{Call, Called, Target};
pub use event::event_text;
pub use exec::{Exec, ExecFuture, ExecResult, NoExec};
pub use spec::{Handler, Kind, Probes, Spec};
pub use state::{Known, Outcome, Threshold, Verdict};
pub use worker::{Attempt, Report, Workers, start};
