//! The names of a cluster: what a question gets, from what is known of Services (`zone`, `answer`: pure), what is known
//! (`known`), whom to ask for the rest (`upstream`) and what they have said (`cache`: pure).
//!
//! Source: Kubernetes' DNS specification 1.1.0, and `plugin/kubernetes` of CoreDNS where that leaves a choice.

mod alias;
mod answer;
mod cache;
mod known;
mod upstream;
mod wire;
mod zone;

pub use alias::{Alias, MOST_ALIASES, is_cut, joined};
pub use answer::{Reply, Transport, respond, unanswered};
pub use cache::Cache;
pub use known::Known;
pub use upstream::{Silent, ask, servers};
pub use zone::{Endpoint, Entry, Names, Port, Zone};

/// How long an answer may be kept, in seconds; also how long that there is none.
pub const TTL: u32 = 5;
