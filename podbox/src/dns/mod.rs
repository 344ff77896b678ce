//! The names of a cluster: what a question gets, from what is known of Services (`zone`, `answer`: pure), what is known
//! (`stored`), and whom to ask for the rest (`upstream`).
//!
//! Source: Kubernetes' DNS specification 1.1.0, and `plugin/kubernetes` of CoreDNS where that leaves a choice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod answer;
mod stored;
mod upstream;
mod zone;

pub use answer::{Reply, Transport, respond, unanswered};
pub use stored::Stored;
pub use upstream::{ask, servers};
pub use zone::{Endpoint, Entry, Names, Port, Zone};

/// Where a pod asks: host number 10 of the range of Services of each family, as in every cluster made by kubeadm.
pub const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
    IpAddr::V6(Ipv6Addr::new(0xfd70, 0x6f64, 0x626f, 0x7801, 0, 0, 0, 0xa)),
];

/// How long an answer may be kept, in seconds; also how long that there is none.
pub const TTL: u32 = 5;
