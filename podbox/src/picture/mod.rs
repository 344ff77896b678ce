//! A picture of the network: what there is, and how it is drawn. Pure.
//!
//! [`Picture`] is what was found, already in the words that people use; it is what `podbox net graph -o json` prints, so
//! its fields are an interface. The other files each draw it in one way, and each draws all of it.

mod dot;
mod mermaid;
mod model;
mod services;
mod svg;
mod text;

pub use model::{Cable, ContainerPart, End, Endpoint, HostPart, NetworkPart, Picture, PodPart, PortPart};
pub use model::{ServicePart, ServicePort};
pub use services::services;

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::svg;
pub use text::text;

#[cfg(test)]
mod tests;
