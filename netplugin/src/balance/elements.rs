//! What the maps of the table hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, SetElementAttribute, SetElementList, SetElementMessage, Verdict,
    VerdictAttribute,
};

use super::table::{BACKENDS, CHOICES, Die, FRONTS, Family, Inner, Keeper, MAPS, Map, PORTS, Subject};
use super::{Balance, Front, NodePort};
use crate::config::Protocol;
use crate::nft::rules::{IPV4, IPV6, PORT, PROTOCOL, Type};
use crate::nft::{push_address, push_port};

/// Which element of which map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    map: &'static str,
    bytes: Vec<u8>,
}

/// What an element says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Go on in this chain.
    Chain(Inner),
    /// This address and port.
    Backend(Vec<u8>),
}

impl Key {
    /// A key as the kernel has it.
    pub(super) fn raw(map: &'static str, bytes: Vec<u8>) -> Key {
        Key { map, bytes }
    }

    fn element(&self, value: Option<&Value>) -> Vec<SetElementAttribute> {
        let mut element = vec![SetElementAttribute::Key(DataAttribute::Value(self.bytes.clone()))];
        element.extend(match value {
            Some(Value::Chain(chain)) => Some(SetElementAttribute::Data(DataAttribute::Verdict(vec![
                VerdictAttribute::Code(Verdict::Goto),
                VerdictAttribute::Chain(chain.name()),
            ]))),
            Some(Value::Backend(bytes)) => {
                Some(SetElementAttribute::Data(DataAttribute::Value(bytes.clone())))
            }
            None => None,
        });
        element
    }

    /// The element as nft takes it, behind the table: `fronts4 { 10.96.0.7 . tcp . 80 : goto ip4_one_of_3 }`.
    pub(super) fn text(&self, value: Option<&Value>) -> String {
        let map = MAPS.iter().find(|map| map.name == self.map);
        let key = words(&self.bytes, map.map_or(&[], |map| map.key));
        let leads = match value {
            Some(Value::Chain(chain)) => format!(" : goto {}", chain.name()),
            Some(Value::Backend(bytes)) => format!(" : {}", words(bytes, map.map_or(&[], Map::values))),
            None => String::new(),
        };
        format!("{} {{ {key}{leads} }}", self.map)
    }
}

/// What a concatenation says. Every part of it begins at a multiple of four bytes.
fn words(bytes: &[u8], types: &[Type]) -> String {
    let mut rest = bytes;
    let mut texts = Vec::new();
    for kind in types {
        let (own, others) = rest.split_at((kind.2.next_multiple_of(4) as usize).min(rest.len()));
        rest = others;
        let address = || <[u8; 16]>::try_from(own).map(IpAddr::from).ok();
        texts.push(match (*kind, own) {
            (IPV4, [a, b, c, d]) => IpAddr::from([*a, *b, *c, *d]).to_string(),
            (IPV6, _) => address().map(|address| address.to_string()).unwrap_or_default(),
            (PROTOCOL, [number, ..]) => {
                let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
                let known = all.into_iter().find(|protocol| protocol.number() == *number);
                known.map_or_else(|| number.to_string(), |protocol| protocol.to_string())
            }
            (PORT, [high, low, ..]) => u16::from_be_bytes([*high, *low]).to_string(),
            (_, [a, b, c, d]) => u32::from_ne_bytes([*a, *b, *c, *d]).to_string(),
            _ => String::new(),
        });
    }
    texts.join(" . ")
}

/// As many elements as go into one message: the length of their list has 16 bits, and the largest takes some 130 bytes.
pub(super) const TOGETHER: usize = 400;

/// The elements in as few messages as they fit into. Every message is acknowledged by itself, and the acknowledgements of a
/// transaction wait in the socket together, so there must not be one for each of ten thousand elements.
pub(super) fn messages(table: &str, elements: &[(&Key, Option<&Value>)]) -> Vec<SetElementMessage> {
    let of_one_map = elements.chunk_by(|(a, _), (b, _)| a.map == b.map);
    let message = |elements: &[(&Key, Option<&Value>)]| {
        let list = elements.iter().map(|(key, value)| ListAttribute::Element(key.element(*value)));
        let attributes = vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(elements[0].0.map.to_owned()),
            SetElementList::Elements(list.collect()),
        ];
        SetElementMessage { attributes }
    };
    of_one_map.flat_map(|elements| elements.chunks(TOGETHER)).map(message).collect()
}

/// What a table leads where, by what it is found by. If two claim the same, the later one has it.
#[derive(Debug, Default)]
pub(super) struct Holding<'a> {
    fronts: BTreeMap<(IpAddr, Protocol, u16), &'a Front>,
    ports: BTreeMap<(Protocol, u16), &'a NodePort>,
}

impl<'a> Holding<'a> {
    pub(super) fn of(balance: &'a Balance) -> Holding<'a> {
        let fronts = balance.fronts.iter().map(|front| ((front.address, front.protocol, front.port), front));
        let ports = balance.node_ports.iter().map(|port| ((port.protocol, port.port), port));
        Holding { fronts: fronts.collect(), ports: ports.collect() }
    }

    /// What of it the other does not lead to the same places.
    pub(super) fn without(&self, other: &Holding<'_>) -> Holding<'a> {
        let fronts = self.fronts.iter().filter(|(key, front)| other.fronts.get(key) != Some(front));
        let ports = self.ports.iter().filter(|(key, port)| other.ports.get(key) != Some(port));
        Holding {
            fronts: fronts.map(|(key, front)| (*key, *front)).collect(),
            ports: ports.map(|(key, port)| (*key, *port)).collect(),
        }
    }

    /// The chains that are needed for it.
    pub(super) fn chains(&self) -> BTreeSet<Inner> {
        let mut chains = BTreeSet::new();
        let mut add = |die: Option<Die>, backends: &[SocketAddr]| {
            let Some(die) = die else { return };
            chains.insert(Inner::Die(die));
            chains.extend(of_family(backends, die.family).filter_map(|backend| keeper_of(die, backend)));
        };
        self.fronts.values().for_each(|front| add(die_of(front), &front.backends));
        for port in self.ports.values() {
            FAMILIES.iter().for_each(|family| add(die_of_port(port, *family), &port.backends));
        }
        chains
    }

    /// Where clients may stay, of one family: what they find it by, and the backend, as the map has both.
    pub(super) fn stays(&self, family: Family) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
        let fronts = self.fronts.values().filter(|front| front.affinity.is_some());
        let fronts = fronts.filter(|front| Family::of(front.address) == family);
        let fronts = fronts.map(|front| (key(front.address, front.protocol, front.port), &front.backends));
        let ports = self.ports.values().filter(|port| port.affinity.is_some());
        let ports = ports.map(|port| (key(nobody(family), port.protocol, port.port), &port.backends));
        let stays = fronts.chain(ports).flat_map(|(key, backends)| {
            of_family(backends, family).map(move |backend| (key.clone(), place(backend)))
        });
        stays.collect()
    }

    pub(super) fn elements(&self) -> Elements {
        let mut elements = Elements::default();
        self.fronts.values().for_each(|front| elements.add_front(front));
        for port in self.ports.values() {
            FAMILIES.iter().for_each(|family| elements.add_port(port, *family));
        }
        elements
    }
}

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Without backends it leads nowhere, and what leads nowhere is refused.
fn die_of(front: &Front) -> Option<Die> {
    let family = Family::of(front.address);
    let sides = of_family(&front.backends, family).count() as u32;
    (sides > 0).then_some(Die { subject: Subject::Address, family, sides, affinity: front.affinity })
}

fn die_of_port(port: &NodePort, family: Family) -> Option<Die> {
    let sides = of_family(&port.backends, family).count() as u32;
    (sides > 0).then_some(Die { subject: Subject::Port, family, sides, affinity: port.affinity })
}

/// Which chain remembers a backend, for clients that stay with it.
fn keeper_of(die: Die, backend: SocketAddr) -> Option<Inner> {
    die.affinity.map(|time| Inner::Keeper(Keeper { subject: die.subject, backend, time }))
}

fn of_family(backends: &[SocketAddr], family: Family) -> impl Iterator<Item = SocketAddr> {
    backends.iter().copied().filter(move |backend| Family::of(backend.ip()) == family)
}

/// Elements of the maps, by map.
#[derive(Debug, Default)]
pub(super) struct Elements(BTreeMap<Key, Value>);

impl Elements {
    /// With what they say, to be added.
    pub(super) fn all(&self) -> Vec<(&Key, Option<&Value>)> {
        self.0.iter().map(|(key, value)| (key, Some(value))).collect()
    }

    /// Those that are not the same in the other.
    pub(super) fn without(&self, other: &Elements) -> Vec<(&Key, Option<&Value>)> {
        self.all().into_iter().filter(|(key, value)| other.0.get(key) != *value).collect()
    }

    fn insert(&mut self, map: &'static str, bytes: Vec<u8>, value: Value) {
        self.0.insert(Key { map, bytes }, value);
    }

    fn add_front(&mut self, front: &Front) {
        let Some(die) = die_of(front) else { return };
        let bytes = key(front.address, front.protocol, front.port);
        self.add_backends(die, &bytes, &front.backends);
        self.insert(FRONTS[die.family as usize], bytes, Value::Chain(Inner::Die(die)));
    }

    /// The backends of a port lie under the address of nobody.
    fn add_port(&mut self, port: &NodePort, family: Family) {
        let Some(die) = die_of_port(port, family) else { return };
        self.add_backends(die, &key(nobody(family), port.protocol, port.port), &port.backends);
        self.insert(PORTS[family as usize], end(port.protocol, port.port), Value::Chain(Inner::Die(die)));
    }

    fn add_backends(&mut self, die: Die, front: &[u8], backends: &[SocketAddr]) {
        let at = die.family as usize;
        for (side, backend) in (0_u32..).zip(of_family(backends, die.family)) {
            // In the host's byte order, as the die has it.
            let bytes = [front, &side.to_ne_bytes()].concat();
            match keeper_of(die, backend) {
                Some(keeper) => self.insert(CHOICES[at], bytes, Value::Chain(keeper)),
                None => self.insert(BACKENDS[at], bytes, Value::Backend(place(backend))),
            }
        }
    }
}

fn nobody(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn place(backend: SocketAddr) -> Vec<u8> {
    let mut place = Vec::with_capacity(20);
    push_address(&mut place, backend.ip());
    push_port(&mut place, backend.port());
    place
}

fn key(address: IpAddr, protocol: Protocol, port: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(44);
    push_address(&mut bytes, address);
    bytes.extend(end(protocol, port));
    bytes
}

/// Every part of a concatenation begins at a multiple of four bytes.
fn end(protocol: Protocol, port: u16) -> Vec<u8> {
    let mut bytes = vec![protocol.number(), 0, 0, 0];
    push_port(&mut bytes, port);
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn front(address: u8, backends: u16, affinity: Option<Duration>) -> Front {
        let backends = (1..=backends).map(|n| SocketAddr::from(([10, 0, 0, n as u8], 80))).collect();
        Front { address: [10, 96, 0, address].into(), protocol: Protocol::Tcp, port: 80, affinity, backends }
    }

    fn fronts(fronts: Vec<Front>) -> Balance {
        Balance { fronts, ..Balance::default() }
    }

    fn names(holding: &Holding<'_>) -> Vec<String> {
        holding.chains().iter().map(Inner::name).collect()
    }

    #[test]
    fn a_front_leads_to_a_die_with_a_side_for_each_backend() {
        let balance = fronts(vec![front(1, 3, None)]);
        let holding = Holding::of(&balance);
        assert_eq!(names(&holding), ["ip4_one_of_3"]);
        assert_eq!(holding.elements().all().len(), 1 + 3);
        let balance = fronts(vec![front(1, 2, Some(Duration::from_secs(60)))]);
        let holding = Holding::of(&balance);
        let keepers = ["ip4_keep_10.0.0.1_80_for_60s", "ip4_keep_10.0.0.2_80_for_60s"];
        assert_eq!(names(&holding), [&["ip4_same_of_2_for_60s"], &keepers[..]].concat());
        assert_eq!(holding.elements().all().len(), 1 + 2);
        let balance = fronts(vec![front(1, 0, None)]);
        assert!(names(&Holding::of(&balance)).is_empty());
        assert_eq!(Holding::of(&balance).elements().all().len(), 0);
    }

    #[test]
    fn clients_may_stay_with_each_backend_of_their_own_family_where_they_stay_at_all() {
        let backends = vec!["10.0.0.1:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap()];
        let affinity = Some(Duration::from_secs(60));
        let port = NodePort { protocol: Protocol::Tcp, port: 30_000, affinity, backends };
        let fronts = vec![front(1, 2, None), front(2, 3, affinity)];
        let balance = Balance { fronts, node_ports: vec![port], ..Balance::default() };
        let holding = Holding::of(&balance);
        assert_eq!(holding.stays(Family::V4).len(), 3 + 1);
        let six: Vec<_> = holding.stays(Family::V6).into_iter().collect();
        let port = [[0; 16].as_slice(), &[6, 0, 0, 0, 0x75, 0x30, 0, 0]].concat();
        assert_eq!(six, [(port, place("[fd00::1]:80".parse().unwrap()))]);
        assert!(names(&holding).contains(&"port6_keep_fd00--1_80_for_60s".to_owned()));
    }

    #[test]
    fn a_port_leads_to_each_family_by_itself() {
        let backends = vec!["10.0.0.1:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap()];
        let port = NodePort { protocol: Protocol::Udp, port: 30_000, affinity: None, backends };
        let balance = Balance { node_ports: vec![port], ..Balance::default() };
        assert_eq!(names(&Holding::of(&balance)), ["port4_one_of_1", "port6_one_of_1"]);
    }

    #[test]
    fn a_change_concerns_what_has_changed_and_of_two_claims_the_later() {
        let before = fronts(vec![front(1, 2, None), front(2, 2, None), front(3, 2, None)]);
        let after = fronts(vec![front(1, 2, None), front(2, 1, None), front(2, 3, None)]);
        let (old, new) = (Holding::of(&before), Holding::of(&after));
        let (gone, come) = (old.without(&new), new.without(&old));
        assert_eq!(gone.fronts.len(), 2);
        assert_eq!(names(&come), ["ip4_one_of_3"]);
        let (gone, come) = (gone.elements(), come.elements());
        // All of the third, and of the second the die that has another side; its backends were there but for one.
        assert_eq!(gone.without(&come).len(), (1 + 2) + 1);
        assert_eq!(come.without(&gone).len(), 1 + 1);
    }

    #[test]
    fn many_elements_go_into_few_messages_that_are_not_too_long() {
        use netlink_packet_core::Emitable;
        let all = (1..=200).map(|address| front(address, 10, Some(Duration::from_secs(86_400))));
        let balance = fronts(all.collect());
        let elements = Holding::of(&balance).elements();
        let messages = messages("podbox-services", &elements.all());
        assert_eq!(elements.all().len(), 200 * (1 + 10));
        assert_eq!(messages.len(), 1 + 2000_usize.div_ceil(TOGETHER));
        let length = |message: &SetElementMessage| message.attributes.as_slice().buffer_len();
        assert!(messages.iter().all(|message| length(message) < usize::from(u16::MAX)));
    }
}
