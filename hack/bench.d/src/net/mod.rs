//! The network: pods beside bare namespaces on a bridge, what a thousand Services cost, and how soon a pod that is not ready
//! any more gets no new connection.
//!
//! Clients and servers are threads of this program that have entered the namespaces in question, so that only the network
//! differs between those who are compared.

mod bare;
mod end;
mod pairs;
mod readiness;
mod services;
mod table;
mod traffic;
mod wire;

use serde::Serialize;

use crate::failure::Outcome;
use crate::site::Site;

pub(crate) use bare::{BRIDGE as BARE_BRIDGE, clean};
pub(crate) use end::End;
pub(crate) use pairs::Pairs;
pub(crate) use readiness::Readiness;
pub(crate) use services::Balanced;
pub(crate) use table::render;
pub(crate) use traffic::PORT;
pub(crate) use wire::is_throughput;

/// Which of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sections {
    pub(crate) network: bool,
    pub(crate) services: bool,
    pub(crate) readiness: bool,
}

/// All that is known of the network.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Network {
    /// Pods against bare namespaces; nothing if `ip` is not installed.
    pub(crate) wire: Vec<Pairs>,
    /// The same while there is a Service.
    pub(crate) tracked: Vec<Pairs>,
    pub(crate) services: Option<Balanced>,
    pub(crate) readiness: Option<Readiness>,
}

/// Measures what is wanted.
pub(crate) fn measure(site: &Site, sections: Sections, rounds: u32) -> Outcome<Network> {
    let mut network = Network::default();
    if sections.network {
        [network.wire, network.tracked] = wire::measure(site, rounds)?;
    }
    if sections.readiness {
        network.readiness = Some(readiness::measure(site, rounds.div_ceil(4))?);
    }
    if sections.services {
        network.services = Some(services::measure(site, rounds)?);
    }
    Ok(network)
}

fn say(what: impl std::fmt::Display) {
    eprintln!("bench: {what}");
}
