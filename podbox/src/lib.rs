//! podbox: Kubernetes Pods on one Linux host, run exactly as a kubelet runs them.
//!
//! Three kinds of code, and a file is only one of them: *decisions* (`manifest`, `objects`, `pod`, `oci`, `environment`,
//! `restart`, `status`, `supervisor::machine`) are pure; *acts* (`volumes`, `subpath`, `ownership`, `image`, the crates
//! `runtime` and `netplugin`) do one privileged thing each; *plumbing* (`supervisor`, `cli`) moves values between the two.

pub mod capture;
pub mod cdi;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod cni;
pub mod config;
mod confinement;
pub mod context;
pub mod dns;
pub mod environment;
pub mod etc_files;
pub mod events;
pub mod exec;
pub mod guardian;
pub mod image;
pub mod logs;
pub mod manifest;
pub mod node;
pub mod objects;
pub mod oci;
pub mod output;
pub mod ownership;
pub mod path;
pub mod picture;
pub mod pod;
pub mod report;
pub mod restart;
pub mod services;
pub mod status;
pub mod store;
pub mod subpath;
pub mod supervisor;
pub mod toolbox;
mod user_ids;
pub mod uuid;
pub mod volumes;
