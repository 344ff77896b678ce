//! What can go wrong, by what a caller can do about it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::config::{Mac, Protocol, Subnet};

/// Why a pod is not, or not cleanly, on or off the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The configuration contradicts itself.
    #[error("use network {network}: {problem}")]
    Config {
        /// The network's name.
        network: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The request cannot be understood.
    #[error("attach {id:?}: {problem}")]
    Request {
        /// The request's id.
        id: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The host already uses these addresses for something else.
    #[error("use subnet {subnet}: it overlaps with {holder}")]
    SubnetClash {
        /// The configured subnet.
        subnet: Subnet,
        /// What it overlaps with: a route or an interface's address.
        holder: String,
    },
    /// The bridge's name belongs to something that is not ours.
    #[error("use bridge {bridge}: {problem}")]
    BridgeTaken {
        /// The interface's name.
        bridge: String,
        /// What it is instead.
        problem: String,
    },
    /// There is no way to another host of the flat space.
    #[error("lead the way to peer {peer}: {problem}")]
    Peer {
        /// Its name.
        peer: String,
        /// What is in the way.
        problem: String,
    },
    /// No address is left.
    #[error("lease an address: all {size} addresses of {subnet} are leased")]
    PoolFull {
        /// The subnet that ran out.
        subnet: Subnet,
        /// How many pods it holds.
        size: u32,
    },
    /// An address that was asked for cannot be a pod's.
    #[error("address {address} cannot be given: {problem}")]
    AddressRefused {
        /// The address.
        address: IpAddr,
        /// Why.
        problem: String,
    },
    /// An Ethernet address that was asked for cannot be an interface's.
    #[error("Ethernet address {mac} cannot be given: {problem}")]
    MacRefused {
        /// The address.
        mac: Mac,
        /// Why.
        problem: String,
    },
    /// Another pod has the address that was asked for.
    #[error("address {address} is held by {holder}")]
    AddressHeld {
        /// The IP address, or the Ethernet address.
        address: String,
        /// The owner of the pod that has it.
        holder: String,
    },
    /// Another pod has this host port.
    #[error("host port {}{port}/{protocol} is held by {holder}", before_port(.host_ip))]
    PortHeld {
        /// The address that was asked for, if any.
        host_ip: Option<IpAddr>,
        /// The port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// The owner of the pod that has it.
        holder: String,
    },
    /// A program of the host listens on this port, and would hear nothing more.
    #[error(
        "host port {}{port}/{protocol} is in use by {} at {address}",
        before_port(.host_ip), .program.as_deref().unwrap_or("a program of this host")
    )]
    PortInUse {
        /// The address that was asked for, if any.
        host_ip: Option<IpAddr>,
        /// The port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// Where the program listens.
        address: SocketAddr,
        /// The program, `NAME (process NUMBER)`, if that can be found out.
        program: Option<String>,
    },
    /// A state file cannot be used.
    #[error("{action} {}", .path.display())]
    State {
        /// "read", "write", "remove", …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A state file holds something that this program did not write.
    #[error("understand {}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The pod's network namespace cannot be entered.
    #[error("enter network namespace {}", .path.display())]
    Netns {
        /// The namespace's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refused.
    #[error("{step}")]
    Kernel {
        /// What was tried.
        step: String,
        /// The kernel's answer.
        #[source]
        source: crate::netlink::KernelError,
    },
    /// A kernel setting could not be changed.
    #[error("set {name} to {value}")]
    Sysctl {
        /// As `sysctl` names it.
        name: String,
        /// The wanted value.
        value: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This kernel has no nf_tables, so host ports cannot lead anywhere.
    #[error("map host ports: this kernel has no nf_tables")]
    NoNftables,
}

fn before_port(host_ip: &Option<IpAddr>) -> String {
    match host_ip {
        Some(IpAddr::V4(v4)) => format!("{v4}:"),
        Some(IpAddr::V6(v6)) => format!("[{v6}]:"),
        None => String::new(),
    }
}
