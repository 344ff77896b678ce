//! No address is ever leased twice, whoever asks and however many at once.

use std::collections::{BTreeMap, HashSet};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::config::Masquerade;
use crate::state::Sharing;

fn config(state_dir: &Path, ipv4: &str, ipv6: Option<&str>) -> NetworkConfig {
    NetworkConfig {
        name: "default".to_owned(),
        bridge: "podbox0".to_owned(),
        ipv4: Some(ipv4.parse().unwrap()),
        ipv6: ipv6.map(|text| text.parse().unwrap()),
        mtu: None,
        beside: Vec::new(),
        peers: netplugin::Peers::default(),
        masquerade: Masquerade::Egress,
        firewall: crate::config::Firewall::default(),
        state_dir: state_dir.to_owned(),
    }
}

fn take_lease(config: &NetworkConfig, id: &str) -> Result<Lease, NetError> {
    let owner = format!("default/{id}");
    let request = Request {
        id,
        owner: &owner,
        netns: Path::new("/"),
        ifname: "eth0",
        ports: &[],
        wishes: netplugin::Wishes::default(),
    };
    let subnets: Vec<Subnet> = config.subnets().collect();
    let _lock = state::lock(&config.state_dir, Sharing::Shared)?;
    match find(config, &request, &subnets)? {
        Found::Fits(lease) => Ok(lease),
        _ => lease(config, &request, &subnets, &|_| false),
    }
}

/// What an interface asks for.
#[derive(Debug, Clone)]
struct Asked {
    id: String,
    ifname: &'static str,
    addresses: Vec<IpAddr>,
    mac: Option<Mac>,
}

fn take_asked(config: &NetworkConfig, asked: &Asked) -> Result<Lease, NetError> {
    let owner = format!("default/{}", asked.id);
    let wishes = crate::Wishes { addresses: &asked.addresses, mac: asked.mac, ..crate::Wishes::default() };
    let request = Request {
        id: &asked.id,
        owner: &owner,
        netns: Path::new("/"),
        ifname: asked.ifname,
        ports: &[],
        wishes,
    };
    let subnets: Vec<Subnet> = config.subnets().collect();
    let _lock = state::lock(&config.state_dir, Sharing::Exclusive)?;
    match find(config, &request, &subnets)? {
        Found::Fits(lease) => Ok(lease),
        Found::Nothing => lease(config, &request, &subnets, &|_| false),
        Found::Stale => {
            for old in leases_of(config, &asked.id)?.iter().filter(|old| old.ifname == asked.ifname) {
                give_back(config, old)?;
            }
            lease(config, &request, &subnets, &|_| false)
        }
    }
}

/// A pod of some, one of its interfaces, and perhaps wishes; host parts from 2 on are addresses of the subnets.
fn an_interface() -> impl Strategy<Value = Asked> {
    let part = || proptest::option::weighted(0.4, 2u32..14);
    let mac = proptest::option::weighted(0.2, 0u8..4);
    (0u8..8, prop_oneof![Just("eth0"), Just("net1")], part(), part(), mac).prop_map(
        |(pod, ifname, four, six, mac)| {
            let four = four.map(|part| IpAddr::from([10, 9, 8, u8::try_from(part).unwrap()]));
            let six = six.map(|part| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::try_from(part).unwrap()]));
            Asked {
                id: format!("pod-{pod}"),
                ifname,
                addresses: four.into_iter().chain(six).collect(),
                mac: mac.map(|last| Mac([2, 0, 0, 0, 0, last])),
            }
        },
    )
}

type Held = BTreeMap<(String, &'static str), Lease>;

/// Nobody has what somebody else has, and everybody has an address of each family.
fn all_is_exclusive(held: &Held) -> Result<(), TestCaseError> {
    let (mut addresses, mut macs) = (HashSet::new(), HashSet::new());
    for lease in held.values() {
        prop_assert_eq!(lease.addresses.iter().map(IpAddr::is_ipv4).collect::<Vec<_>>(), [true, false]);
        for address in &lease.addresses {
            prop_assert!(addresses.insert(*address), "{} is leased twice", address);
        }
        prop_assert!(macs.insert(lease.mac().0), "{} is leased twice", lease.mac());
    }
    Ok(())
}

/// Why a wish was not granted must be true.
fn is_true(error: &NetError, held: &Held, asked: &Asked) -> Result<(), TestCaseError> {
    let others = || held.iter().filter(|((id, ifname), _)| (id, *ifname) != (&asked.id, asked.ifname));
    match error {
        NetError::AddressHeld { address, holder } => {
            let has = |lease: &Lease| {
                let mac = lease.mac().to_string();
                lease.addresses.iter().map(IpAddr::to_string).chain([mac]).any(|own| own == *address)
            };
            let found = others().any(|(_, lease)| has(lease) && lease.owner == *holder);
            prop_assert!(found, "{} is said to hold {}, of {:?}", holder, address, held);
        }
        NetError::PoolFull { .. } => {
            // Without a wish, or with one of one family: there is no number whose rest is free.
            prop_assert!(others().count() > 6, "{:?}", held);
        }
        other => return Err(TestCaseError::fail(other.to_string())),
    }
    Ok(())
}

fn give_up(config: &NetworkConfig, id: &str) {
    for lease in leases_of(config, id).unwrap() {
        give_back(config, &lease).unwrap();
    }
    forget_pod(config, id).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_lease_is_exclusive_stable_and_never_the_network_gateway_or_broadcast_address(
        acts in proptest::collection::vec((0u8..20, any::<bool>()), 1..80),
        prefix in 27u8..30,
    ) {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let config = config(directory.path(), &format!("10.9.8.0/{prefix}"), Some("fd00::/64"));
        let size = (1usize << (32 - prefix)) - 3;
        let mut held: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (pod, takes) in acts {
            let id = format!("pod-{pod}");
            if takes {
                match take_lease(&config, &id) {
                    Ok(lease) => {
                        if let Some(before) = held.get(&id) {
                            prop_assert_eq!(before, &lease.addresses);
                        }
                        held.insert(id, lease.addresses);
                    }
                    Err(NetError::PoolFull { size: told, .. }) => {
                        prop_assert_eq!(held.len(), size);
                        prop_assert_eq!(told as usize, size);
                    }
                    Err(other) => return Err(TestCaseError::fail(other.to_string())),
                }
            } else {
                give_up(&config, &id);
                held.remove(&id);
            }
            let mut seen = HashSet::new();
            for address in held.values().flatten() {
                prop_assert!(seen.insert(*address), "{} is leased twice", address);
                let last = match address {
                    IpAddr::V4(v4) => u32::from(*v4) & ((1 << (32 - prefix)) - 1),
                    IpAddr::V6(v6) => u32::try_from(u128::from(*v6) & u128::from(u32::MAX)).unwrap(),
                };
                prop_assert!(last >= 2 && last <= (1 << (32 - prefix)) - 2, "{}", address);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Chosen addresses and those given by turns, of several interfaces of a pod, in one network, and beside it another
    /// network in which the same pods have the same interfaces: neither knows of the other.
    #[test]
    fn chosen_addresses_and_further_interfaces_are_exclusive_too_and_networks_do_not_meet(
        acts in proptest::collection::vec((an_interface(), 0u8..4, any::<bool>()), 1..60),
    ) {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let networks = ["first", "second"].map(|name| {
            config(&directory.path().join(name), "10.9.8.0/28", Some("fd00::/64"))
        });
        let mut held = [Held::new(), Held::new()];
        for (asked, act, second) in acts {
            let (network, held) = (&networks[usize::from(second)], &mut held[usize::from(second)]);
            if act == 0 {
                give_up(network, &asked.id);
                held.retain(|(id, _), _| *id != asked.id);
            } else {
                let key = (asked.id.clone(), asked.ifname);
                match take_asked(network, &asked) {
                    Ok(lease) => {
                        prop_assert!(asked.addresses.iter().all(|one| lease.addresses.contains(one)));
                        prop_assert_eq!(lease.mac, asked.mac);
                        held.insert(key, lease);
                    }
                    Err(error) => {
                        is_true(&error, held, &asked)?;
                        // What it had before was given back for what it did not get.
                        held.remove(&key);
                    }
                }
            }
            all_is_exclusive(held)?;
            let files = state::names(&network.state_dir).unwrap();
            let leased = files.iter().filter(|name| name.parse::<IpAddr>().is_ok()).count();
            prop_assert_eq!(leased, held.len() * 2, "a file for each address, and none for another");
        }
    }
}

#[test]
fn an_address_that_was_given_back_rests_while_others_are_free() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let config = config(directory.path(), "10.9.8.0/24", None);
    let first = take_lease(&config, "a").unwrap();
    give_up(&config, "a");
    assert_ne!(take_lease(&config, "b").unwrap().addresses, first.addresses);
}

#[test]
fn both_families_have_the_same_host_part() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let config = config(directory.path(), "10.9.8.0/24", Some("fd00:1::/64"));
    take_lease(&config, "a").unwrap();
    let lease = take_lease(&config, "b").unwrap();
    assert_eq!(lease.addresses, ["10.9.8.3".parse::<IpAddr>().unwrap(), "fd00:1::3".parse().unwrap()]);
}

#[test]
fn threads_never_get_the_same_address() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let config = config(directory.path(), "10.9.0.0/16", Some("fd00::/64"));
    let mut all: Vec<IpAddr> = Vec::new();
    std::thread::scope(|scope| {
        let lease_many = |thread: usize| {
            let config = &config;
            move || {
                let leases = (0..50).map(|n| take_lease(config, &format!("{thread}-{n}")).unwrap());
                leases.flat_map(|lease| lease.addresses).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(lease_many(thread))).collect();
        all.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
    });
    assert_eq!(all.len(), 800);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 800);
}

const STATE: &str = "NETPLUGIN_TEST_STATE";

#[test]
fn processes_never_get_the_same_address() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let start = |number: usize| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "ipam::tests::one_of_several_processes", "--nocapture"])
            .env(STATE, directory.path())
            .env("NETPLUGIN_TEST_NUMBER", number.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    let mut all = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        all.extend(text.lines().filter_map(|line| line.strip_prefix("leased ")).map(str::to_owned));
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 200);
}

#[test]
#[ignore = "started by processes_never_get_the_same_address"]
fn one_of_several_processes() {
    let Some(state_dir) = std::env::var_os(STATE) else { return };
    let number = std::env::var("NETPLUGIN_TEST_NUMBER").unwrap();
    let config = config(Path::new(&state_dir), "10.9.0.0/16", None);
    for n in 0..50 {
        let lease = take_lease(&config, &format!("{number}-{n}")).unwrap();
        println!("\nleased {}", lease.addresses[0]);
    }
}
