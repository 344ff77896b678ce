//! How a pod comes onto the network: a list of named steps, which [`crate::attach`] does and times and
//! [`crate::describe`] prints.
//!
//! ```text
//!  host namespace                                  pod's namespace
//!  ┌──────────────────────────────┐               ┌──────────────────────────┐
//!  │ podbox0  10.244.0.1/16       │               │ lo                       │
//!  │   └── pb3f…  ════════════════╪═════veth══════╪═ eth0  10.244.0.5/16     │
//!  │   └── pb81…  ═══ …           │               │   default via 10.244.0.1 │
//!  └──────────────────────────────┘               └──────────────────────────┘
//! ```
//!
//! The order: what can be refused comes first (namespace, address, ports, bridge), what the kernel must make
//! after it, and what lets strangers in, the mapped ports, last. Whatever is made is written down before.

use std::fs::File;
use std::iter;
use std::net::IpAddr;
use std::time::Instant;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;

use crate::barrier;
use crate::bridge::{self, Bridge};
use crate::config::{
    Attachment, Described, InterfaceAddress, Mac, NetworkConfig, Protocol, Request, Subnet, Timed,
};
use crate::error::NetError;
use crate::firewall;
use crate::hash::fnv1a;
use crate::host::{Facts, Ipv6};
use crate::ipam::{self, Lease};
use crate::links::{self, Link};
use crate::netlink::{KernelError, Netlink};
use crate::nft;
use crate::owner;
use crate::peers;
use crate::shaping;
use crate::way_back;
use crate::wishes::{Bandwidth, WayOut};

mod acts;
mod remedy;

pub(crate) use remedy::Remedy;

/// Why a step failed; the step's name is added by whoever runs it.
#[derive(Debug)]
pub(crate) enum Fault {
    Net(NetError),
    Kernel(KernelError),
}

impl From<NetError> for Fault {
    fn from(error: NetError) -> Fault {
        Fault::Net(error)
    }
}

impl From<KernelError> for Fault {
    fn from(error: KernelError) -> Fault {
        Fault::Kernel(error)
    }
}

/// One step: what it is for, how a reader would type it, and the act.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) command: String,
    act: fn(&mut World<'_>) -> Result<(), Fault>,
}

/// The pod's side.
struct Inside {
    netns: File,
    netlink: Netlink,
    ipv6: Ipv6,
    /// The interface's number there, once it is made.
    index: u32,
}

/// How a pod comes to a network that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joining {
    /// The network becomes what the configuration says now.
    AsConfigured,
    /// The network stays as it is, for those who are on it.
    AsItIs,
}

/// What the steps work on and what they have found out.
pub(crate) struct World<'a> {
    config: &'a NetworkConfig,
    request: &'a Request<'a>,
    joining: Joining,
    /// Opened where the caller is: on the host.
    host: Netlink,
    host_ipv6: Ipv6,
    inside: Option<Inside>,
    lease: Option<Lease>,
    lock: Option<File>,
    found: Option<Facts>,
    bridge: Option<Bridge>,
    /// What leads to other hosts, where the bridge is to be made.
    beyond: peers::Plan,
    /// The largest packet of a bridge that is to be made, in bytes.
    mtu: u32,
    /// Whether a cable of ours may exist.
    has_cable: bool,
    trace: Vec<Timed>,
    /// What could not be had.
    notes: Vec<String>,
    /// For tests of crashes: do no more than so many steps.
    #[cfg(test)]
    stop_after: usize,
    /// For tests of what others do meanwhile: called before each step, with its name.
    #[cfg(test)]
    interfere: fn(&str),
}

impl<'a> World<'a> {
    pub(crate) fn new(config: &'a NetworkConfig, request: &'a Request<'a>) -> Result<World<'a>, NetError> {
        let host = Netlink::route()?;
        Ok(World {
            config,
            request,
            joining: Joining::AsConfigured,
            host,
            host_ipv6: Ipv6::here(),
            inside: None,
            lease: None,
            lock: None,
            found: None,
            bridge: None,
            beyond: peers::Plan::default(),
            mtu: 0,
            has_cable: false,
            trace: Vec::with_capacity(16),
            notes: Vec::new(),
            #[cfg(test)]
            stop_after: usize::MAX,
            #[cfg(test)]
            interfere: |_| {},
        })
    }

    /// The same, in the other way.
    pub(crate) fn joining(self, joining: Joining) -> World<'a> {
        World { joining, ..self }
    }

    /// Does steps and notes how long each took.
    pub(crate) fn run(&mut self, steps: Vec<Step>) -> Result<(), NetError> {
        for step in steps {
            #[cfg(test)]
            if self.trace.len() == self.stop_after {
                return Err(NetError::Request { id: self.request.id.to_owned(), problem: "stop".to_owned() });
            }
            #[cfg(test)]
            (self.interfere)(step.name);
            let start = Instant::now();
            (step.act)(self).map_err(|fault| match fault {
                Fault::Net(error) => error,
                Fault::Kernel(source) => NetError::Kernel { step: step.name.to_owned(), source },
            })?;
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.trace.push(Timed { name: step.name.to_owned(), command: step.command, micros });
        }
        Ok(())
    }

    /// Does all steps of the recipe.
    pub(crate) fn attach(mut self) -> Result<(Attachment, Vec<Timed>), NetError> {
        match self.attach_steps() {
            Ok(()) => Ok((self.attachment(), self.trace)),
            Err(error) => {
                self.undo();
                Err(error)
            }
        }
    }

    fn attach_steps(&mut self) -> Result<(), NetError> {
        self.run(first_steps(self.config, self.request, &[]))?;
        if let Some(timed) = self.trace.iter_mut().find(|timed| timed.name == LEASE) {
            let addresses = self.lease.as_ref().map(|lease| lease.addresses.as_slice());
            timed.command = lease_command(self.config, self.request, addresses.unwrap_or_default());
        }
        for _ in 1..TRIES {
            match self.join() {
                Err(_) if self.has_lost_its_network()? => {}
                result => return result,
            }
            self.lock = None;
            self.remove_cable();
            self.run(vec![find_step(self.config)])?;
        }
        self.join()
    }

    fn join(&mut self) -> Result<(), NetError> {
        self.make_bridge_if_none()?;
        let plan = self.plan();
        self.run(pod_steps(self.config, self.request, &plan))
    }

    fn make_bridge_if_none(&mut self) -> Result<(), NetError> {
        if self.bridge.is_none() {
            self.beyond = peers::plan(&mut self.host, self.config, self.host_ipv6)?;
            self.mtu = self.beyond.fit(bridge::mtu(&mut self.host, self.config));
            self.run(bridge_steps(self.config, self.host_ipv6, self.mtu, &self.beyond))?;
            self.lock = None;
        }
        Ok(())
    }

    /// Whether somebody has taken away what the pod was to be plugged into: the bridge, or the rules (which are back then).
    fn has_lost_its_network(&mut self) -> Result<bool, NetError> {
        let there = bridge::find_link(&mut self.host, self.config)?.map_or(0, |link| link.index);
        let made = self.bridge.as_ref().map_or(0, |bridge| bridge.index);
        // A network whose lock is held here is being made.
        Ok(made != 0 && made != there || self.lock.is_none() && firewall::restore(self.config)?)
    }

    fn plan(&self) -> Plan {
        let mtu = self.bridge.as_ref().map_or(0, |bridge| bridge.mtu);
        Plan::new(self.config, self.request, self.addresses(), (self.host_ipv6, mtu))
    }

    fn addresses(&self) -> &[IpAddr] {
        self.lease.as_ref().map(|lease| lease.addresses.as_slice()).unwrap_or_default()
    }

    fn subnets(&self) -> Vec<Subnet> {
        ipam::subnets(self.config, self.ipv6())
    }

    fn ipv6(&self) -> Ipv6 {
        match &self.inside {
            Some(Inside { ipv6: Ipv6::Off, .. }) => Ipv6::Off,
            _ => self.host_ipv6,
        }
    }

    fn inside(&mut self) -> Result<&mut Inside, Fault> {
        // The steps' order makes this impossible to be absent; an error is still better than a panic.
        self.inside.as_mut().ok_or_else(|| KernelError::from(std::io::Error::from(Errno::EBADF)).into())
    }

    fn attachment(&self) -> Attachment {
        let plan = self.plan();
        let mut notes = self.bridge.as_ref().map(|bridge| bridge.notes.clone()).unwrap_or_default();
        notes.extend(self.notes.iter().cloned());
        if self.config.ipv6.is_some() && self.ipv6() == Ipv6::Off {
            notes.push("the pod has no IPv6 address: IPv6 is off on this host".to_owned());
        }
        Attachment {
            network: self.config.name.clone(),
            interface: self.request.ifname.to_owned(),
            mac: plan.pod_mac,
            mtu: plan.mtu,
            addresses: plan.addresses,
            gateways: match self.request.wishes.way_out {
                WayOut::Here => plan.gateways,
                WayOut::Elsewhere => Vec::new(),
            },
            bridge: self.config.bridge.clone(),
            host_interface: plan.host_interface,
            ports: self.request.ports.to_vec(),
            notes,
        }
    }

    /// Takes everything back, as well as it can: the first error is the one to tell.
    fn undo(&mut self) {
        self.lock = None;
        self.remove_cable();
        if let Some(lease) = &self.lease {
            let mut errors = Vec::new();
            crate::give_back(self.config, lease, &mut errors);
            let _ = ipam::forget_pod_if_empty(self.config, &lease.id);
        }
        let _ = crate::release_idle(self.config);
    }

    /// Deletes the cable, if there may be one that was made here.
    fn remove_cable(&mut self) {
        if self.has_cable {
            let name = host_interface(self.config, self.request);
            let (message, flags) = links::delete(Link::Name(&name));
            self.host.push(message, flags);
            let _ = self.host.commit();
        }
    }
}

/// What follows from the addresses, for messages and for texts.
struct Plan {
    addresses: Vec<InterfaceAddress>,
    gateways: Vec<IpAddr>,
    pod_mac: Mac,
    host_mac: Mac,
    host_interface: String,
    mtu: u32,
    /// Whether the host has IPv6.
    ipv6: Ipv6,
}

impl Plan {
    fn new(
        config: &NetworkConfig,
        request: &Request<'_>,
        addresses: &[IpAddr],
        (ipv6, mtu): (Ipv6, u32),
    ) -> Plan {
        let subnet_of = |address: &IpAddr| config.subnets().find(|subnet| subnet.contains(*address));
        let first = addresses.first().copied().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        Plan {
            addresses: addresses
                .iter()
                .filter_map(|a| Some(InterfaceAddress { address: *a, prefix: subnet_of(a)?.prefix() }))
                .collect(),
            gateways: addresses.iter().filter_map(|a| Some(subnet_of(a)?.gateway())).collect(),
            pod_mac: request.wishes.mac.unwrap_or_else(|| ipam::pod_mac(addresses)),
            host_mac: host_mac(first),
            host_interface: host_interface(config, request),
            mtu,
            ipv6,
        }
    }
}

/// The name of the cable's end on the host: from what it belongs to, so that `detach` and a second `attach`
/// find it again, and unique among all networks of a host (FNV-1a, 48 bits).
pub(crate) fn host_interface(config: &NetworkConfig, request: &Request<'_>) -> String {
    host_interface_of(config, (request.id, request.ifname))
}

/// The same, by the pod's id and its interface.
pub(crate) fn host_interface_of(config: &NetworkConfig, (id, ifname): (&str, &str)) -> String {
    let hash = fnv1a([config.bridge.as_str(), "/", id, "/", ifname].map(str::as_bytes));
    format!("pb{:012x}", hash >> 16)
}

/// Whether a name is one that [`host_interface`] gives.
pub(crate) fn is_host_interface(name: &str) -> bool {
    name.strip_prefix("pb").is_some_and(|hash| {
        hash.len() == 12 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// The Ethernet address of the cable's end on the host, from the pod's first address.
pub(crate) fn host_mac(first: IpAddr) -> Mac {
    Mac::of(0x0e, first)
}

const LEASE: &str = "lease addresses";
/// How often a pod is plugged in whose bridge somebody takes away in that very moment.
const TRIES: u32 = 5;
/// See [`links::create_veth`].
const QUEUES: &str = "numtxqueues 1 numrxqueues 1";

fn enter_step(request: &Request<'_>) -> Step {
    Step {
        name: "open a netlink socket in the pod's network namespace",
        command: format!(
            "nsenter --net={} sysctl -w net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.accept_dad=0",
            request.netns.display()
        ),
        act: acts::enter,
    }
}

/// The steps that find out whether the pod can be here at all.
fn first_steps(config: &NetworkConfig, request: &Request<'_>, addresses: &[IpAddr]) -> Vec<Step> {
    let mut steps = vec![
        enter_step(request),
        Step { name: LEASE, command: lease_command(config, request, addresses), act: acts::lease },
    ];
    if !request.ports.is_empty() {
        let directory = config.state_dir.join("ports");
        let look = request.ports.iter().map(|mapping| {
            let kind = match mapping.protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "-S",
            };
            format!("ss -Hln {kind} 'sport = :{}'", mapping.host_port)
        });
        let listed = iter::once(format!("ls {}", directory.display()));
        let command = listed.chain(look).collect::<Vec<_>>().join("\n");
        steps.push(Step { name: "hold the host ports", command, act: acts::hold_ports });
    }
    steps.push(find_step(config));
    steps
}

fn find_step(config: &NetworkConfig) -> Step {
    let command = format!("ip link show {}", config.bridge);
    Step { name: "look for the bridge", command, act: acts::find_bridge }
}

fn lease_command(config: &NetworkConfig, request: &Request<'_>, addresses: &[IpAddr]) -> String {
    let file = ipam::file_of(config, request.id, request.ifname);
    let links = addresses
        .iter()
        .map(|address| format!("ln {} {}", file.display(), ipam::address_file(config, *address).display()));
    links.collect::<Vec<_>>().join("\n")
}

/// The steps that make what all pods share.
fn bridge_steps(config: &NetworkConfig, ipv6: Ipv6, mtu: u32, beyond: &peers::Plan) -> Vec<Step> {
    let name = &config.bridge;
    let mut make = format!(
        "ip link add {name} address {} mtu {mtu} type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
        bridge::mac(config)
    );
    make += &format!("\nip link set {name} alias '{}'", owner::mark(&config.state_dir));
    if ipv6 == Ipv6::On {
        make += &format!("\nip link set {name} addrgenmode none");
    }
    make += &format!("\nip link set {name} up");
    let addresses = bridge::addresses(config, ipv6);
    let mut give: Vec<_> =
        addresses.iter().map(|a| format!("ip address replace {a} dev {name} nodad")).collect();
    give.extend(barrier::commands(config, &ipam::subnets(config, ipv6)));
    let mut forward = Vec::new();
    forward.extend(config.ipv4.map(|_| "sysctl -w net.ipv4.ip_forward=1"));
    forward
        .extend(config.ipv6.filter(|_| ipv6 == Ipv6::On).map(|_| "sysctl -w net.ipv6.conf.all.forwarding=1"));
    let mut steps = vec![
        Step {
            name: "check that nobody else uses these addresses",
            command: "ip address show\nip route show table all".to_owned(),
            act: acts::check_host,
        },
        Step { name: "make the bridge", command: make, act: acts::make_bridge },
        Step {
            name: "give the bridge the gateway's addresses",
            command: give.join("\n"),
            act: acts::address_bridge,
        },
        Step {
            name: "let the host forward packets",
            command: forward.join("\n"),
            act: acts::forward_packets,
        },
    ];
    if !beyond.ways.is_empty() {
        let command = peers::record::commands(&beyond.ways);
        steps.push(Step { name: "lead the way to the other hosts", command, act: acts::lead_beyond });
    }
    steps.extend([
        Step {
            name: "make the table of address translation",
            command: nft::commands(config),
            act: acts::translate,
        },
        Step { name: firewall::STEP, command: firewall::commands(config), act: acts::open_firewall },
        Step {
            name: "note that the bridge is complete",
            command: format!("touch {}", config.state_dir.join("bridge").display()),
            act: acts::remember_bridge,
        },
    ]);
    steps
}

/// The steps that belong to the pod alone.
fn pod_steps(config: &NetworkConfig, request: &Request<'_>, plan: &Plan) -> Vec<Step> {
    let (bridge, ifname, host) = (&config.bridge, request.ifname, &plan.host_interface);
    let netns = request.netns.display();
    let inside = |lines: Vec<String>| inside(request, &lines);
    let family = |address: &IpAddr| if address.is_ipv4() { "-4" } else { "-6" };
    let addresses =
        plan.addresses.iter().map(|a| format!("ip address replace {a} dev {ifname} nodad")).collect();
    let mac = bridge::mac(config);
    let ways = plan.gateways.iter().flat_map(|gateway| {
        let neighbour = format!("ip neighbour replace {gateway} lladdr {mac} dev {ifname} nud permanent");
        let route = format!("ip {} route replace default via {gateway} dev {ifname}", family(gateway));
        iter::once(neighbour).chain((request.wishes.way_out == WayOut::Here).then_some(route))
    });
    let mut steps = vec![
        Step {
            name: "lay a cable into the pod",
            command: format!(
                "ip link add {host} address {} mtu {mtu} {QUEUES} type veth \
                 peer name {ifname} address {} mtu {mtu} {QUEUES} netns {netns}",
                plan.host_mac,
                plan.pod_mac,
                mtu = plan.mtu,
            ),
            act: acts::lay_cable,
        },
        Step { name: "give the pod its addresses", command: inside(addresses), act: acts::address_pod },
        Step {
            name: "raise the pod's interfaces",
            command: inside(vec!["ip link set lo up".to_owned(), format!("ip link set {ifname} up")]),
            act: acts::raise,
        },
        Step { name: "show the pod the way out", command: inside(ways.collect()), act: acts::route_pod },
    ];
    if request.wishes.way_out == WayOut::Elsewhere {
        let command = inside(way_back::commands(ifname, &plan.addresses));
        steps.push(Step { name: "let answers leave where questions came in", command, act: acts::lead_back });
    }
    steps.extend(limit_step(request, plan));
    steps.extend([
        plug_step(config, plan),
        Step {
            name: "see that it carries packets",
            command: format!(
                "{}\nip link show {host}\nip link show {bridge}",
                inside(vec![format!("ip link show {ifname}")])
            ),
            act: acts::await_carrier,
        },
    ]);
    if request.wishes.mac.is_some() || ipam::has_chosen_macs(config) {
        steps.push(announcement(ifname, plan, inside));
    }
    if !request.ports.is_empty() {
        let addresses: Vec<_> = plan.addresses.iter().map(|a| a.address).collect();
        let command = nft::add_commands(config, request.ports, &addresses);
        steps.push(Step { name: "lead the host ports to the pod", command, act: acts::map_ports });
    }
    steps
}

/// Commands, in the pod's network namespace.
fn inside(request: &Request<'_>, lines: &[String]) -> String {
    let netns = request.netns.display();
    lines.iter().map(|line| format!("nsenter --net={netns} {line}")).collect::<Vec<_>>().join("\n")
}

/// `None` for a pod that may send and get what it likes.
fn limit_step(request: &Request<'_>, plan: &Plan) -> Option<Step> {
    if request.wishes.bandwidth.is_unlimited() {
        return None;
    }
    let Bandwidth { ingress, egress } = request.wishes.bandwidth;
    let egress = egress.map(|rate| inside(request, &[shaping::command(request.ifname, rate, plan.mtu)]));
    let ingress = ingress.map(|rate| shaping::command(&plan.host_interface, rate, plan.mtu));
    let command = egress.into_iter().chain(ingress).collect::<Vec<_>>().join("\n");
    Some(Step { name: "limit the pod's bandwidth", command, act: acts::limit })
}

fn plug_step(config: &NetworkConfig, plan: &Plan) -> Step {
    let (host, bridge) = (&plan.host_interface, &config.bridge);
    Step {
        name: "plug the cable into the bridge",
        command: format!(
            "ip link set {host} master {bridge}{}\nip link set {host} up type bridge_slave hairpin on",
            if plan.ipv6 == Ipv6::On { " addrgenmode none" } else { "" }
        ),
        act: acts::plug,
    }
}

/// The step that tells the neighbours; `inside` makes a command of the pod's of each line.
fn announcement(ifname: &str, plan: &Plan, inside: impl Fn(Vec<String>) -> String) -> Step {
    let lines = plan.addresses.iter().map(|a| match a.address {
        IpAddr::V4(v4) => format!("arping -c 1 -U -I {ifname} {v4}"),
        IpAddr::V6(v6) => format!("ndsend {v6} {ifname}"),
    });
    Step {
        name: "tell the neighbours whose addresses these are now",
        command: inside(lines.collect()),
        act: acts::announce,
    }
}

/// The whole recipe as text.
pub(crate) fn describe(config: &NetworkConfig, request: &Request<'_>) -> Vec<Described> {
    let ipv6 = Ipv6::here();
    let addresses = ipam::peek(config, request, &ipam::subnets(config, ipv6));
    let mut steps = first_steps(config, request, &addresses);
    let mut host = Netlink::open(NETLINK_ROUTE).ok();
    let bridge = host.as_mut().and_then(|host| bridge::find(host, config).ok()?);
    let beyond = match (&bridge, &mut host) {
        (None, Some(host)) => peers::plan(host, config, ipv6).unwrap_or_default(),
        _ => peers::Plan::default(),
    };
    let mtu = match (&bridge, &mut host) {
        (Some(bridge), _) => bridge.mtu,
        (None, Some(host)) => beyond.fit(bridge::mtu(host, config)),
        (None, None) => config.mtu.unwrap_or_default(),
    };
    if bridge.is_none() {
        steps.extend(bridge_steps(config, ipv6, mtu, &beyond));
    }
    steps.extend(pod_steps(config, request, &Plan::new(config, request, &addresses, (ipv6, mtu))));
    steps.into_iter().map(|s| Described { name: s.name.to_owned(), command: s.command }).collect()
}

#[cfg(test)]
mod tests;
