//! podbox: Kubernetes Pods on one Linux host, run exactly as a kubelet runs them.

pub mod image;
pub mod logs;
pub mod manifest;
pub mod output;
pub mod pod;
pub mod toolbox;
