//! Which pod has which addresses: one file an address, nothing else to keep in step.
//!
//! A pod's IPv4 and IPv6 addresses have the same host part, so a reader sees that they belong together. The
//! search begins behind the address that was leased last and goes round: an address that was given back
//! rests as long as possible before somebody else gets it. It costs a try or two however many pods there
//! are; only where many neighbours are taken is the directory read once.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Mac, NetworkConfig, PortMapping, Request, Subnet};
use crate::error::NetError;
use crate::state;

/// What a pod's interface holds, as its file tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The pod.
    pub(crate) id: String,
    /// Who that is to a human.
    pub(crate) owner: String,
    /// The interface inside the pod.
    pub(crate) ifname: String,
    /// IPv4 first.
    pub(crate) addresses: Vec<IpAddr>,
    /// The host ports it holds or was about to take.
    pub(crate) ports: Vec<PortMapping>,
    /// The Ethernet address that it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<Mac>,
    /// The boot that this is true for.
    pub(crate) boot: String,
}

impl Lease {
    /// The interface's Ethernet address.
    pub(crate) fn mac(&self) -> Mac {
        self.mac.unwrap_or_else(|| pod_mac(&self.addresses))
    }
}

/// The Ethernet address of an interface that did not ask for one.
pub(crate) fn pod_mac(addresses: &[IpAddr]) -> Mac {
    Mac::of(0x0a, addresses.first().copied().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()))
}

/// How many tries before the whole directory is read.
const PATIENCE: u32 = 8;

/// The subnets that a pod gets an address of.
pub(crate) fn subnets(config: &NetworkConfig, ipv6: crate::host::Ipv6) -> Vec<Subnet> {
    let usable = |subnet: &Subnet| subnet.network().is_ipv4() || ipv6 == crate::host::Ipv6::On;
    config.subnets().filter(usable).collect()
}

/// What a pod's interface holds already.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// Just what it asks for.
    Fits(Lease),
    /// Something else: half a lease that a crash left, or one of another boot or configuration.
    Stale,
}

/// Looks for what the interface holds already.
pub(crate) fn find(
    config: &NetworkConfig,
    request: &Request<'_>,
    subnets: &[Subnet],
) -> Result<Found, NetError> {
    let file = file_of(config, request.id, request.ifname);
    let Some(lease) = state::read::<Lease>(&file)? else { return Ok(Found::Nothing) };
    let fits = lease.addresses.len() == subnets.len()
        && lease.addresses.iter().zip(subnets).all(|(address, subnet)| subnet.contains(*address))
        && is_whole(config, &lease)
        && lease.ports == request.ports
        && lease.mac == request.wishes.mac
        && request.wishes.addresses.iter().all(|wished| lease.addresses.contains(wished))
        && lease.boot == boot_id()?;
    Ok(if fits { Found::Fits(lease) } else { Found::Stale })
}

/// Leases an address of each subnet to an interface that holds nothing; none whose first address is in use without a lease.
/// The caller holds the lock, shared.
pub(crate) fn lease(
    config: &NetworkConfig,
    request: &Request<'_>,
    subnets: &[Subnet],
    is_in_use: &dyn Fn(IpAddr) -> bool,
) -> Result<Lease, NetError> {
    if let Some(address) = first_wished(request, subnets).filter(|address| is_in_use(*address)) {
        return Err(held(config, address));
    }
    let file = file_of(config, request.id, request.ifname);
    state::make_directory(&pod_directory(config, request.id))?;
    let mut lease = Lease {
        id: request.id.to_owned(),
        owner: request.owner.to_owned(),
        ifname: request.ifname.to_owned(),
        addresses: Vec::new(),
        ports: request.ports.to_vec(),
        mac: request.wishes.mac,
        boot: boot_id()?,
    };
    if lease.mac.is_some() {
        remember_chosen_macs(config)?;
    }
    let is_first_in_use = |addresses: &[IpAddr]| addresses.first().is_some_and(|first| is_in_use(*first));
    let result = take_what_is_wished(config, request, subnets, |addresses| {
        if is_first_in_use(addresses) {
            return Ok(false);
        }
        lease.addresses = addresses.to_vec();
        state::replace(&file, &lease)?;
        take(config, &file, addresses)
    });
    match result.and_then(|number| check_mac(config, &lease).map(|()| number)) {
        Ok(number) => {
            if let Some(number) = number {
                write_hint(config, number);
            }
            Ok(lease)
        }
        Err(error) => {
            let _ = give_back(config, &lease);
            let _ = state::remove_directory(&pod_directory(config, request.id));
            Err(error)
        }
    }
}

/// The address that was asked for in the first subnet, from which a cable's Ethernet address is made.
fn first_wished(request: &Request<'_>, subnets: &[Subnet]) -> Option<IpAddr> {
    let first = subnets.first()?;
    request.wishes.addresses.iter().copied().find(|address| first.contains(*address))
}

/// Takes a lease again whose files somebody has removed, while what it is about is in use. The caller holds the lock alone.
///
/// # Errors
/// [`NetError::AddressHeld`] if somebody else has got one of its addresses.
pub(crate) fn restore(config: &NetworkConfig, lease: &Lease) -> Result<(), NetError> {
    let file = file_of(config, &lease.id, &lease.ifname);
    if !file.exists() {
        keep(config, lease)?;
    }
    if lease.mac.is_some() {
        remember_chosen_macs(config)?;
    }
    for address in &lease.addresses {
        let name = address_file(config, *address);
        if state::link(&file, &name)? || is_same_file(&file, &name) {
            continue;
        }
        // The pod's own, of before its file was removed.
        if state::read::<Lease>(&name)?
            .is_none_or(|other| (&other.id, &other.ifname) != (&lease.id, &lease.ifname))
        {
            return Err(held(config, *address));
        }
        state::remove_file(&name)?;
        state::link(&file, &name)?;
    }
    Ok(())
}

/// Whether every address of a lease has its file.
pub(crate) fn is_whole(config: &NetworkConfig, lease: &Lease) -> bool {
    let file = file_of(config, &lease.id, &lease.ifname);
    lease.addresses.iter().all(|address| is_same_file(&file, &address_file(config, *address)))
}

/// What an interface holds by its looks.
pub(crate) fn seen(request: &Request<'_>, addresses: Vec<IpAddr>) -> Result<Lease, NetError> {
    let reserved = reservation((request.id, request.owner), request.ifname, request.ports)?;
    Ok(Lease { addresses, mac: request.wishes.mac, ..reserved })
}

/// What somebody holds who has no interface, and so no addresses: ports of the host.
pub(crate) fn reservation(
    (id, owner): (&str, &str),
    name: &str,
    ports: &[PortMapping],
) -> Result<Lease, NetError> {
    Ok(Lease {
        id: id.to_owned(),
        owner: owner.to_owned(),
        ifname: name.to_owned(),
        addresses: Vec::new(),
        ports: ports.to_vec(),
        mac: None,
        boot: boot_id()?,
    })
}

/// Writes a lease down before anything of it is taken.
pub(crate) fn keep(config: &NetworkConfig, lease: &Lease) -> Result<(), NetError> {
    state::make_directory(&pod_directory(config, &lease.id))?;
    state::replace(&file_of(config, &lease.id, &lease.ifname), lease)
}

/// The addresses that [`lease`] would give, as far as one can know without taking them.
pub(crate) fn peek(config: &NetworkConfig, request: &Request<'_>, subnets: &[Subnet]) -> Vec<IpAddr> {
    if let Ok(Found::Fits(lease)) = find(config, request, subnets) {
        return lease.addresses;
    }
    let mut found = Vec::new();
    let _ = take_what_is_wished(config, request, subnets, |addresses| {
        found = addresses.to_vec();
        Ok(!addresses.iter().any(|address| address_file(config, *address).exists()))
    });
    found
}

/// All leases of a pod.
pub(crate) fn leases_of(config: &NetworkConfig, id: &str) -> Result<Vec<Lease>, NetError> {
    leases_in(&config.state_dir, id)
}

/// All leases of a pod, by the network's state directory.
pub(crate) fn leases_in(state_dir: &Path, id: &str) -> Result<Vec<Lease>, NetError> {
    let directory = directory_in(state_dir, id);
    let mut leases = Vec::new();
    for name in state::names(&directory)? {
        leases.extend(state::read(&directory.join(name))?);
    }
    Ok(leases)
}

/// Removes the names of a lease's addresses, where they are this lease's, and then the lease.
pub(crate) fn give_back(config: &NetworkConfig, lease: &Lease) -> Result<(), NetError> {
    let file = file_of(config, &lease.id, &lease.ifname);
    for address in &lease.addresses {
        let name = address_file(config, *address);
        if is_same_file(&file, &name) {
            state::remove_file(&name)?;
        }
    }
    state::remove_file(&file)?;
    Ok(())
}

/// Removes a pod's directory with whatever a crash left in it.
pub(crate) fn forget_pod(config: &NetworkConfig, id: &str) -> Result<(), NetError> {
    let directory = pod_directory(config, id);
    match fs::remove_dir_all(&directory) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(NetError::State { action: "remove", path: directory, source })
        }
        _ => Ok(()),
    }
}

/// Removes a pod's directory if it holds nothing.
pub(crate) fn forget_pod_if_empty(config: &NetworkConfig, id: &str) -> Result<bool, NetError> {
    state::remove_directory(&pod_directory(config, id))
}

/// Removes what is left of earlier boots, whose pods are all gone. The caller holds the lock alone.
pub(crate) fn forget_other_boots(config: &NetworkConfig) -> Result<(), NetError> {
    let boot = boot_id()?;
    for id in state::names(&config.state_dir.join("pods"))? {
        let leases = leases_of(config, &id)?;
        for lease in leases.iter().filter(|lease| lease.boot != boot) {
            crate::ports::forget(config, lease)?;
            give_back(config, lease)?;
        }
        if !leases.is_empty() {
            let _ = state::remove_directory(&pod_directory(config, &id));
        }
    }
    Ok(())
}

/// Offers addresses to `take` until it takes them: those that were asked for, with what goes best with them. Returns the
/// host part where the search for it went round.
fn take_what_is_wished(
    config: &NetworkConfig,
    request: &Request<'_>,
    subnets: &[Subnet],
    mut take: impl FnMut(&[IpAddr]) -> Result<bool, NetError>,
) -> Result<Option<u32>, NetError> {
    let wished = request.wishes.addresses;
    if wished.is_empty() {
        return take_first_free(config, subnets, take).map(Some);
    }
    if let Some(address) = wished.iter().find(|address| !subnets.iter().any(|s| s.contains(**address))) {
        let problem = "pods have no addresses of its family here: IPv6 is off on this host".to_owned();
        return Err(NetError::AddressRefused { address: *address, problem });
    }
    let in_subnet = |subnet: &Subnet| wished.iter().find(|address| subnet.contains(**address)).copied();
    let together = |number: u32| -> Vec<IpAddr> {
        subnets.iter().map(|subnet| in_subnet(subnet).unwrap_or_else(|| subnet.host(number))).collect()
    };
    let last = subnets.iter().map(Subnet::last_host).min().unwrap_or(1);
    let number = subnets.iter().find_map(|subnet| subnet.number_of(in_subnet(subnet)?));
    if let Some(number) = number.filter(|number| (2..=last).contains(number) || wished.len() == subnets.len())
        && take(&together(number))?
    {
        return Ok(None);
    }
    refuse_held(config, request)?;
    if wished.len() == subnets.len() {
        // Both are free, each by itself: one of IPv6 may lie beyond all host parts. Or somebody has just let go.
        return match take(&together(0))? {
            true => Ok(None),
            false => Err(held(config, wished[0])),
        };
    }
    let rest: Vec<Subnet> = subnets.iter().filter(|subnet| in_subnet(subnet).is_none()).copied().collect();
    take_first_free(config, &rest, |others| {
        refuse_held(config, request)?;
        let mut others = others.iter();
        let all = subnets.iter().map(|subnet| in_subnet(subnet).or_else(|| others.next().copied()));
        take(&all.flatten().collect::<Vec<_>>())
    })?;
    Ok(None)
}

/// Fails if another pod has an address that was asked for.
fn refuse_held(config: &NetworkConfig, request: &Request<'_>) -> Result<(), NetError> {
    match request.wishes.addresses.iter().find(|address| address_file(config, **address).exists()) {
        Some(address) => Err(held(config, *address)),
        None => Ok(()),
    }
}

fn held(config: &NetworkConfig, address: IpAddr) -> NetError {
    let lease = state::read::<Lease>(&address_file(config, address)).ok().flatten();
    let holder =
        lease.map_or_else(|| "a pod whose lease somebody has removed".to_owned(), |lease| lease.owner);
    NetError::AddressHeld { address: address.to_string(), holder }
}

/// Fails if an Ethernet address that was asked for is another interface's: the bridge would send each the other's
/// packets. The caller holds the lock alone if it asked for one.
fn check_mac(config: &NetworkConfig, lease: &Lease) -> Result<(), NetError> {
    let Some(mac) = lease.mac else { return Ok(()) };
    if mac == crate::bridge::mac(config) {
        let problem = "it is the gateway's".to_owned();
        return Err(NetError::MacRefused { mac, problem });
    }
    for id in state::names(&config.state_dir.join("pods"))? {
        let same =
            |other: &Lease| other.mac() == mac && (&other.id, &other.ifname) != (&lease.id, &lease.ifname);
        if let Some(other) = leases_of(config, &id)?.into_iter().find(same) {
            return Err(NetError::AddressHeld { address: mac.to_string(), holder: other.owner });
        }
    }
    Ok(())
}

/// Says from now on that an IP address may be known with an Ethernet address that does not follow from it. It is true for as
/// long as there is somebody to know it: until nobody is on the network.
fn remember_chosen_macs(config: &NetworkConfig) -> Result<(), NetError> {
    match has_chosen_macs(config) {
        true => Ok(()),
        false => state::replace(&chosen_macs(config), &true),
    }
}

/// Whether anybody on the network has, or had, an Ethernet address that was asked for.
pub(crate) fn has_chosen_macs(config: &NetworkConfig) -> bool {
    chosen_macs(config).exists()
}

/// Once nobody is on the network.
pub(crate) fn forget_chosen_macs(config: &NetworkConfig) -> Result<(), NetError> {
    state::remove_file(&chosen_macs(config)).map(|_| ())
}

fn chosen_macs(config: &NetworkConfig) -> PathBuf {
    config.state_dir.join("chosen-macs")
}

/// Offers the addresses of one host part after the other to `take` until it takes them; returns the host part.
fn take_first_free(
    config: &NetworkConfig,
    subnets: &[Subnet],
    mut take: impl FnMut(&[IpAddr]) -> Result<bool, NetError>,
) -> Result<u32, NetError> {
    // Host part 0 is the network, 1 the gateway.
    let last = subnets.iter().map(Subnet::last_host).min().unwrap_or(1);
    let size = last - 1;
    let start = read_hint(config).filter(|hint| (2..=last).contains(hint)).unwrap_or(1);
    let after = |start: u32, offset: u32| 2 + (start - 1 + offset) % size;
    let mut try_number = |number: u32| {
        let addresses: Vec<IpAddr> = subnets.iter().map(|subnet| subnet.host(number)).collect();
        take(&addresses).map(|taken| taken.then_some(number))
    };
    for offset in 0..PATIENCE.min(size) {
        if let Some(number) = try_number(after(start, offset))? {
            return Ok(number);
        }
    }
    let taken = taken_numbers(config, subnets)?;
    for offset in 0..size {
        let number = after(start, offset);
        if !taken.contains(&number) && try_number(number)?.is_some() {
            return Ok(number);
        }
    }
    let subnet = subnets.iter().min_by_key(|subnet| subnet.last_host()).copied();
    Err(match subnet {
        Some(subnet) => NetError::PoolFull { subnet, size },
        None => NetError::Config { network: config.name.clone(), problem: "it has no subnet".to_owned() },
    })
}

/// Makes the address files; true if all could be had, and else none is kept.
fn take(config: &NetworkConfig, file: &Path, addresses: &[IpAddr]) -> Result<bool, NetError> {
    for (index, address) in addresses.iter().enumerate() {
        let made = state::link(file, &address_file(config, *address));
        if !matches!(made, Ok(true)) {
            for address in &addresses[..index] {
                state::remove_file(&address_file(config, *address))?;
            }
            return made;
        }
    }
    Ok(true)
}

/// The host parts in use, from one reading of the directory.
fn taken_numbers(config: &NetworkConfig, subnets: &[Subnet]) -> Result<BTreeSet<u32>, NetError> {
    let number = |name: String| {
        let address: IpAddr = name.parse().ok()?;
        subnets.iter().find(|subnet| subnet.contains(address))?.number_of(address)
    };
    Ok(state::names(&config.state_dir)?.into_iter().filter_map(number).collect())
}

fn read_hint(config: &NetworkConfig) -> Option<u32> {
    fs::read_to_string(config.state_dir.join("last")).ok()?.trim().parse().ok()
}

/// Only a hint: if it cannot be written, or two write at once, the next search takes a little longer. Written over
/// what is there, always at the same length: a file that is emptied first is sent to the disk at once by ext4.
fn write_hint(config: &NetworkConfig, number: u32) {
    let file =
        fs::File::options().create(true).truncate(false).write(true).open(config.state_dir.join("last"));
    let _ = file.and_then(|mut file| file.write_all(format!("{number:>10}\n").as_bytes()));
}

fn pod_directory(config: &NetworkConfig, id: &str) -> PathBuf {
    directory_in(&config.state_dir, id)
}

fn directory_in(state_dir: &Path, id: &str) -> PathBuf {
    state_dir.join("pods").join(id)
}

/// The file that tells what a pod's interface holds.
pub(crate) fn file_of(config: &NetworkConfig, id: &str, ifname: &str) -> PathBuf {
    pod_directory(config, id).join(ifname)
}

/// The file whose existence means that an address is leased.
pub(crate) fn address_file(config: &NetworkConfig, address: IpAddr) -> PathBuf {
    config.state_dir.join(address.to_string())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.ino() == other.ino() && one.dev() == other.dev(),
        _ => false,
    }
}

fn boot_id() -> Result<String, NetError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    match fs::read_to_string(path) {
        Ok(id) => Ok(id.trim_end().to_owned()),
        Err(source) => Err(NetError::State { action: "read", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
