//! What the maps of the table hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, SetElementAttribute, SetElementList, SetElementMessage, Verdict,
    VerdictAttribute,
};

use super::table::{BACKENDS, Die, FRONTS, Family, LIVE, MAPS, Map, PORTS, Subject};
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
    Chain(Die),
    /// This address and port.
    Backend(Vec<u8>),
    /// That it is there.
    Nothing,
}

impl Key {
    pub(super) fn message(&self, table: &str, value: Option<&Value>) -> SetElementMessage {
        let mut element = vec![SetElementAttribute::Key(DataAttribute::Value(self.bytes.clone()))];
        element.extend(match value {
            Some(Value::Chain(die)) => Some(SetElementAttribute::Data(DataAttribute::Verdict(vec![
                VerdictAttribute::Code(Verdict::Goto),
                VerdictAttribute::Chain(die.name()),
            ]))),
            Some(Value::Backend(bytes)) => {
                Some(SetElementAttribute::Data(DataAttribute::Value(bytes.clone())))
            }
            Some(Value::Nothing) | None => None,
        });
        let attributes = vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(self.map.to_owned()),
            SetElementList::Elements(vec![ListAttribute::Element(element)]),
        ];
        SetElementMessage { attributes }
    }
}

impl Key {
    /// The element as nft takes it, behind the table: `fronts4 { 10.96.0.7 . tcp . 80 : goto ip4_one_of_3 }`.
    pub(super) fn text(&self, value: &Value) -> String {
        let map = MAPS.iter().find(|map| map.name == self.map);
        let key = words(&self.bytes, map.map_or(&[], |map| map.key));
        let leads = match value {
            Value::Chain(die) => format!(" : goto {}", die.name()),
            Value::Backend(bytes) => format!(" : {}", words(bytes, map.map_or(&[], Map::values))),
            Value::Nothing => String::new(),
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

/// All elements of all maps.
#[derive(Debug, Default)]
pub(super) struct Elements(BTreeMap<Key, Value>);

impl Elements {
    pub(super) fn of(balance: &Balance) -> Elements {
        let mut elements = Elements::default();
        balance.fronts.iter().for_each(|front| elements.add_front(front));
        for port in &balance.node_ports {
            for family in [Family::V4, Family::V6] {
                elements.add_port(port, family);
            }
        }
        elements
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.0.iter()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Value> {
        self.0.get(key)
    }

    /// The chains that the elements lead to, by name.
    pub(super) fn chains(&self) -> BTreeMap<String, Die> {
        let dice = self.0.values().filter_map(|value| match value {
            Value::Chain(die) => Some((die.name(), *die)),
            Value::Backend(_) | Value::Nothing => None,
        });
        dice.collect()
    }

    fn insert(&mut self, map: &'static str, bytes: Vec<u8>, value: Value) {
        self.0.insert(Key { map, bytes }, value);
    }

    /// Without backends it leads nowhere, and what leads nowhere is refused.
    fn add_front(&mut self, front: &Front) {
        let family = Family::of(front.address);
        let what = (Subject::Address, family, front.affinity);
        if let Some(die) =
            self.add_backends(what, key(front.address, front.protocol, front.port), &front.backends)
        {
            let bytes = key(front.address, front.protocol, front.port);
            self.insert(FRONTS[family as usize], bytes, Value::Chain(die));
        }
    }

    /// The backends of a port lie under the address of nobody.
    fn add_port(&mut self, port: &NodePort, family: Family) {
        let nobody: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let what = (Subject::Port, family, port.affinity);
        if let Some(die) = self.add_backends(what, key(nobody, port.protocol, port.port), &port.backends) {
            self.insert(PORTS[family as usize], end(port.protocol, port.port), Value::Chain(die));
        }
    }

    fn add_backends(
        &mut self,
        (subject, family, affinity): (Subject, Family, Option<Duration>),
        front: Vec<u8>,
        backends: &[SocketAddr],
    ) -> Option<Die> {
        let fits = |backend: &&SocketAddr| Family::of(backend.ip()) == family;
        let mut sides = 0_u32;
        for backend in backends.iter().filter(fits) {
            let mut at = Vec::with_capacity(20);
            push_address(&mut at, backend.ip());
            push_port(&mut at, backend.port());
            if affinity.is_some() {
                self.insert(LIVE[family as usize], [front.as_slice(), &at].concat(), Value::Nothing);
            }
            // In the host's byte order, as the die has it.
            let bytes = [front.as_slice(), &sides.to_ne_bytes()].concat();
            self.insert(BACKENDS[family as usize], bytes, Value::Backend(at));
            sides += 1;
        }
        (sides > 0).then_some(Die { subject, family, sides, affinity })
    }
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
    use super::*;

    fn front(count: u16, affinity: Option<Duration>) -> Balance {
        let backends = (1..=count).map(|n| SocketAddr::from(([10, 0, 0, n as u8], 80))).collect();
        let front =
            Front { address: [10, 96, 0, 1].into(), protocol: Protocol::Tcp, port: 80, affinity, backends };
        Balance { fronts: vec![front], ..Balance::default() }
    }

    #[test]
    fn a_front_leads_to_a_die_with_a_side_for_each_backend() {
        let elements = Elements::of(&front(3, None));
        assert_eq!(elements.chains().keys().collect::<Vec<_>>(), ["ip4_one_of_3"]);
        assert_eq!(elements.all().count(), 1 + 3);
        let elements = Elements::of(&front(2, Some(Duration::from_secs(60))));
        assert_eq!(elements.chains().keys().collect::<Vec<_>>(), ["ip4_same_of_2_for_60s"]);
        assert_eq!(elements.all().count(), 1 + 2 + 2);
        assert_eq!(Elements::of(&front(0, None)).all().count(), 0);
    }

    #[test]
    fn a_port_leads_to_each_family_by_itself() {
        let backends = vec!["10.0.0.1:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap()];
        let port = NodePort { protocol: Protocol::Udp, port: 30_000, affinity: None, backends };
        let elements = Elements::of(&Balance { node_ports: vec![port], ..Balance::default() });
        assert_eq!(elements.chains().keys().collect::<Vec<_>>(), ["port4_one_of_1", "port6_one_of_1"]);
    }
}
