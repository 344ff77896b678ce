//! Addresses and ports of the host for Services, as an API server gives them out. Pure.
//!
//! Source: `pkg/registry/core/service/storage/alloc.go` and `defaultOnWrite` there. Two differences: what is not asked for
//! follows from the Service's name, so that one that is made anew mostly gets what it had; and on one host it can be known
//! who else has a port of it, so that is asked too.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use netplugin::Subnet;
use serde_json::{Value, json};

use crate::pod::Protocol;
use crate::pod::field::{Errors, FieldError, Path};

use super::node_ports::{self, protocol};
use super::{Bounds, Family, hash, strings};

/// Who is in the way of a port of the host, of all of its addresses or of one, in words: no Service, but a pod or a program.
/// `None` if nobody is, or the host has no such address.
type InTheWay = Box<dyn Fn(Protocol, Option<IpAddr>, u16) -> Option<String>>;

/// Where addresses and ports come from.
pub struct Allotment {
    /// What can be had at all.
    pub bounds: Bounds,
    /// Who has a port of the host, though no Service.
    pub in_the_way: InTheWay,
}

impl fmt::Debug for Allotment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allotment").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// What nobody gets who does not ask for it: the gateway's customary address.
const KEPT: u32 = 1;

/// Gives the Service what it needs and does not have; `others` are all other Services that there are, `before` what it was
/// until now: the ports that it has it keeps, whoever listens on them by now.
///
/// # Errors
/// What an API server would say: an address or port outside the range or taken, a family that there is not.
pub fn allot<'a>(
    service: &mut Value,
    before: Option<&Value>,
    others: impl IntoIterator<Item = &'a Value>,
    from: &Allotment,
) -> Result<(), Vec<FieldError>> {
    let mut errors = Errors::default();
    let others: Vec<&Value> = others.into_iter().collect();
    let spec = &mut service["spec"];
    match spec["type"].as_str() {
        Some("ExternalName") => return Ok(()),
        Some("NodePort" | "LoadBalancer") => {
            let own = before.map(|before| node_ports::node_ports(&before["spec"])).unwrap_or_default();
            let in_the_way = |port: (Protocol, u16)| {
                if own.contains(&port) { None } else { (from.in_the_way)(port.0, None, port.1) }
            };
            ports_of_the_host(&mut errors, spec, &others, &from.bounds, in_the_way);
        }
        _ => {}
    }
    external(&mut errors, service, before, from);
    addresses(&mut errors, service, &others, &from.bounds);
    let wrong = errors.into_vec();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Addresses of this host that are to lead to pods: what listens there already would hear nothing any more.
fn external(errors: &mut Errors, service: &Value, before: Option<&Value>, from: &Allotment) {
    let ends = |service: &Value| node_ports::external_ends(&service["spec"]);
    let had = before.map(ends).unwrap_or_default();
    let path = Path::ROOT.field("spec");
    for (ip, protocol, number) in ends(service).into_iter().filter(|end| !had.contains(end)) {
        if let Some(why) = (from.in_the_way)(protocol, Some(ip), number) {
            errors.invalid(&path.field("externalIPs"), ip.to_string().as_str(), &why);
        }
    }
}

fn addresses(errors: &mut Errors, service: &mut Value, others: &[&Value], from: &Bounds) {
    let seed = seed(service);
    let spec = &mut service["spec"];
    let path = Path::ROOT.field("spec");
    let wished: Vec<String> = strings(&spec["clusterIPs"]);
    let headless = wished.first().is_some_and(|ip| ip == "None");
    let Some(families) = families(errors, spec, &wished, from) else { return };
    spec["ipFamilies"] = json!(families.iter().map(|family| family.word()).collect::<Vec<_>>());
    if headless {
        spec["clusterIPs"] = json!(["None"]);
        return;
    }
    let of_one = |other: &&Value| {
        let holder = holder(other);
        let ips = strings(&other["spec"]["clusterIPs"]).into_iter().filter_map(|ip| ip.parse().ok());
        ips.map(move |ip: IpAddr| (ip, holder.clone()))
    };
    let mut taken: BTreeMap<IpAddr, String> = others.iter().flat_map(of_one).collect();
    taken.extend(from.dns().map(|dns| (dns, "the pods' name server".to_owned())));
    let mut given = Vec::new();
    for (index, family) in families.iter().enumerate() {
        let Some(range) = from.range(*family) else { continue };
        let at = path.field("clusterIPs");
        match wished.get(index).and_then(|ip| ip.parse::<IpAddr>().ok()) {
            Some(ip) if from.refuse_address(ip).is_some() => {
                let why = from.refuse_address(ip).unwrap_or_default();
                errors.invalid(&at, Value::from(wished.as_slice()), &why);
            }
            Some(ip) if taken.contains_key(&ip) => {
                let why = format!("provided IP is already allocated to {}", taken[&ip]);
                errors.invalid(
                    &at,
                    Value::from(wished.as_slice()),
                    &format!("failed to allocate IP {ip}: {why}"),
                );
            }
            Some(ip) => given.push(ip),
            None => match free(range, seed, &taken) {
                Some(ip) => given.push(ip),
                None => errors.say(
                    &at,
                    format!("Internal error: failed to allocate a serviceIP: range is full: {range}"),
                ),
            },
        }
    }
    spec["clusterIP"] = json!(given.first());
    spec["clusterIPs"] = json!(given);
}

/// The first free address from the Service's own place on.
fn free(range: Subnet, seed: u64, taken: &BTreeMap<IpAddr, String>) -> Option<IpAddr> {
    let last = range.last_host();
    let start = (seed % u64::from(last.max(1))) as u32;
    let all = (0..last).map(|step| 1 + (start + step) % last);
    all.filter(|host| *host != KEPT).map(|host| range.host(host)).find(|ip| !taken.contains_key(ip))
}

/// The families that a Service is to have, in their order; `None` if that cannot be.
fn families(errors: &mut Errors, spec: &mut Value, wished: &[String], from: &Bounds) -> Option<Vec<Family>> {
    let path = Path::ROOT.field("spec");
    let of_words = |words: Vec<String>| -> Vec<Family> {
        words.iter().map(|word| if word == "IPv6" { Family::V6 } else { Family::V4 }).collect()
    };
    let mut families = of_words(strings(&spec["ipFamilies"]));
    let addresses = wished.iter().filter_map(|ip| ip.parse().ok()).map(Family::of).collect::<Vec<_>>();
    if families.is_empty() {
        families = addresses;
    }
    // One that has neither addresses nor pods may have any: it is for whoever writes its EndpointSlices.
    let is_bare = wished.first().is_some_and(|ip| ip == "None")
        && spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    if is_bare {
        return Some(bare_families(spec, families, from));
    }
    if let Some(missing) = families.iter().find(|family| from.range(**family).is_none()) {
        let why = "not configured on this cluster";
        let at = path.field("ipFamilies");
        errors.invalid(&at.index(0), missing.word(), why);
        return None;
    }
    let there: Vec<Family> = from.ranges.iter().map(|range| Family::of(range.network())).collect();
    let policy = spec["ipFamilyPolicy"].as_str().map(str::to_owned);
    let policy = policy
        .unwrap_or_else(|| if families.len() > 1 { "RequireDualStack" } else { "SingleStack" }.to_owned());
    if policy == "RequireDualStack" && there.len() < 2 {
        let why = "this cluster is not configured for dual-stack services";
        errors.invalid(&path.field("ipFamilyPolicy"), &*policy, why);
        return None;
    }
    if policy == "SingleStack" && families.len() > 1 {
        let why = "may only hold one family when the policy is SingleStack";
        errors.invalid(&path.field("ipFamilies"), families[1].word(), why);
        return None;
    }
    let most = if policy == "SingleStack" { 1 } else { 2 };
    for family in there {
        if families.len() < most && !families.contains(&family) {
            families.push(family);
        }
    }
    spec["ipFamilyPolicy"] = json!(policy);
    Some(families)
}

fn bare_families(spec: &mut Value, mut families: Vec<Family>, from: &Bounds) -> Vec<Family> {
    if spec["ipFamilyPolicy"].is_null() {
        spec["ipFamilyPolicy"] = json!("RequireDualStack");
    }
    if families.is_empty() {
        families.extend(from.ranges.first().map(|range| Family::of(range.network())));
    }
    for family in [Family::V4, Family::V6] {
        if spec["ipFamilyPolicy"] != "SingleStack" && !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

fn ports_of_the_host(
    errors: &mut Errors,
    spec: &mut Value,
    others: &[&Value],
    bounds: &Bounds,
    in_the_way: impl Fn((Protocol, u16)) -> Option<String>,
) {
    let of_one = |other: &&Value| {
        let holder = holder(other);
        node_ports::node_ports(&other["spec"]).into_iter().map(move |port| (port, holder.clone()))
    };
    let mut taken: BTreeMap<(Protocol, u16), String> = others.iter().flat_map(of_one).collect();
    let itself = || "another port of this Service".to_owned();
    // Some balancers lead to the pods themselves.
    let by_itself = spec["allocateLoadBalancerNodePorts"] != false;
    let spec_path = Path::ROOT.field("spec");
    let path = spec_path.field("ports");
    let ports = spec["ports"].as_array_mut().map(|ports| ports.iter_mut()).into_iter().flatten();
    for (index, port) in ports.enumerate() {
        let protocol = protocol(port);
        let port_path = path.index(index);
        let at = port_path.field("nodePort");
        match port["nodePort"].as_i64().filter(|number| *number != 0) {
            Some(number) => match bounds.node_port(number) {
                Err(why) => errors.invalid(&at, number, &why),
                Ok(number) => {
                    if let Some(holder) = taken.insert((protocol, number), itself()) {
                        let why = format!("provided port is already allocated to {holder}");
                        errors.invalid(&at, i64::from(number), &why);
                    } else if let Some(why) = in_the_way((protocol, number)) {
                        errors.invalid(&at, i64::from(number), &why);
                    }
                }
            },
            None if !by_itself => {}
            None => {
                let own = port["port"].as_u64().unwrap_or(0);
                let range = &bounds.node_ports;
                let count = u64::from(range.end() - range.start()) + 1;
                let all = (0..count).map(|step| range.start() + ((own + step) % count) as u16);
                let is_free =
                    |port: (Protocol, u16)| !taken.contains_key(&port) && in_the_way(port).is_none();
                match all.into_iter().find(|number| is_free((protocol, *number))) {
                    Some(number) => {
                        taken.insert((protocol, number), itself());
                        port["nodePort"] = json!(number);
                    }
                    None => errors
                        .say(&at, "Internal error: failed to allocate a nodePort: range is full".to_owned()),
                }
            }
        }
    }
}

/// The Service, for those who are told that it has something.
fn holder(service: &Value) -> String {
    let [namespace, name] =
        ["namespace", "name"].map(|key| service["metadata"][key].as_str().unwrap_or_default());
    format!("service {namespace}/{name}")
}

/// Follows from namespace and name.
fn seed(service: &Value) -> u64 {
    let metadata = &service["metadata"];
    hash(["namespace", "name"].map(|field| metadata[field].as_str().unwrap_or_default())) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from() -> Allotment {
        let bounds = Bounds {
            ranges: vec!["10.96.0.0/24".parse().unwrap(), "fd00::/112".parse().unwrap()],
            node_ports: 30_000..=30_003,
            pods: Vec::new(),
        };
        Allotment { bounds, in_the_way: Box::new(|_, _, _| None) }
    }

    fn service(name: &str, spec: &Value) -> Value {
        let mut spec = spec.clone();
        spec["ports"] = json!([{"port": 80, "protocol": "TCP"}]);
        json!({"metadata": {"namespace": "default", "name": name}, "spec": spec})
    }

    fn given(mut one: Value, others: &[Value]) -> Value {
        allot(&mut one, None, others, &from()).unwrap();
        one
    }

    fn refused(spec: &Value, others: &[Value]) -> String {
        allot(&mut service("x", spec), None, others, &from()).unwrap_err()[0].to_string()
    }

    #[test]
    fn a_service_gets_one_address_that_nobody_has_and_the_same_again() {
        let one = given(service("a", &json!({})), &[]);
        assert_eq!(one["spec"]["ipFamilies"], json!(["IPv4"]));
        assert_eq!(one["spec"]["clusterIP"], one["spec"]["clusterIPs"][0]);
        assert_eq!(given(service("a", &json!({})), &[]), one);
        let other = given(service("a", &json!({})), std::slice::from_ref(&one));
        assert_ne!(other["spec"]["clusterIP"], one["spec"]["clusterIP"]);
    }

    #[test]
    fn every_address_of_the_range_but_two_is_given_once() {
        let mut all: Vec<Value> = Vec::new();
        for index in 0..252 {
            let next = given(service(&format!("s{index}"), &json!({})), &all);
            let ip = &next["spec"]["clusterIP"];
            assert!(*ip != "10.96.0.1" && *ip != "10.96.0.10", "{ip}");
            assert!(all.iter().all(|other| other["spec"]["clusterIP"] != *ip));
            all.push(next);
        }
        assert!(refused(&json!({}), &all).contains("range is full"));
    }

    #[test]
    fn two_families_are_given_if_they_are_asked_for() {
        let both = given(service("a", &json!({"ipFamilyPolicy": "PreferDualStack"})), &[]);
        assert_eq!(both["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
        let six = given(service("a", &json!({"ipFamilies": ["IPv6"]})), &[]);
        assert!(six["spec"]["clusterIP"].as_str().unwrap().starts_with("fd00::"));
        assert_eq!(six["spec"]["ipFamilyPolicy"], "SingleStack");
        let wrong = refused(&json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]}), &[]);
        assert!(wrong.contains("spec.ipFamilies"), "{wrong}");
    }

    #[test]
    fn a_headless_service_gets_no_address() {
        let headless =
            |selector: &Value| json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": selector});
        let one = given(service("a", &headless(&json!({"app": "a"}))), &[]);
        assert_eq!(one["spec"]["clusterIPs"], json!(["None"]));
        assert_eq!(one["spec"]["ipFamilies"], json!(["IPv4"]));
        let bare = given(service("a", &headless(&Value::Null)), &[]);
        assert_eq!(bare["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
        assert_eq!(bare["spec"]["ipFamilyPolicy"], "RequireDualStack");
    }

    #[test]
    fn what_is_asked_for_must_be_in_the_range_and_free() {
        let ip = |ip: &str| json!({"clusterIP": ip, "clusterIPs": [ip]});
        assert_eq!(given(service("a", &ip("10.96.0.7")), &[])["spec"]["clusterIP"], "10.96.0.7");
        let taken = service("b", &ip("10.96.0.7"));
        assert!(
            refused(&ip("10.96.0.7"), &[taken])
                .contains("provided IP is already allocated to service default/")
        );
        assert!(refused(&ip("10.9.0.7"), &[]).contains("The range of valid IPs is 10.96.0.0/24"));
        assert!(refused(&ip("10.96.0.10"), &[]).contains("already allocated"));
    }

    #[test]
    fn ports_of_the_host_come_from_their_range_and_are_given_once() {
        let port = |number: u64| {
            let mut one = service("n", &json!({"type": "NodePort"}));
            if number > 0 {
                one["spec"]["ports"][0]["nodePort"] = json!(number);
            }
            one
        };
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(given(port(0), &all));
        }
        let numbers: std::collections::BTreeSet<u64> =
            all.iter().map(|one| one["spec"]["ports"][0]["nodePort"].as_u64().unwrap()).collect();
        assert_eq!(numbers.len(), 4);
        assert!(
            allot(&mut port(0), None, &all, &from()).unwrap_err()[0].to_string().contains("range is full")
        );
        let mut none = port(0);
        none["spec"]["type"] = json!("LoadBalancer");
        none["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
        assert_eq!(given(none, &all)["spec"]["ports"][0].get("nodePort"), None, "it wants none");
        let wrong = allot(&mut port(80), None, &[], &from()).unwrap_err()[0].to_string();
        assert!(wrong.contains("The range of valid ports is 30000-30003"), "{wrong}");
        let wrong = allot(&mut port(30_001), None, &all, &from()).unwrap_err()[0].to_string();
        assert!(wrong.contains("provided port is already allocated to service default/n"), "{wrong}");
    }

    #[test]
    fn an_address_of_the_host_is_taken_from_nobody_who_listens_there() {
        let in_the_way = |_: Protocol, ip: Option<IpAddr>, number: u16| {
            (ip == "192.0.2.7".parse().ok() && number == 80).then(|| "in use by sshd".to_owned())
        };
        let from = Allotment { in_the_way: Box::new(in_the_way), ..from() };
        let mut one = service("n", &json!({"externalIPs": ["192.0.2.6", "192.0.2.7"]}));
        let wrong = allot(&mut one.clone(), None, &[], &from).unwrap_err()[0].to_string();
        assert_eq!(wrong, "spec.externalIPs: Invalid value: \"192.0.2.7\": in use by sshd");
        // What it has it keeps.
        allot(&mut one.clone(), Some(&one), &[], &from).unwrap();
        one["spec"]["ports"][0]["port"] = json!(81);
        allot(&mut one, None, &[], &from).unwrap();
    }

    #[test]
    fn a_port_that_a_pod_or_a_program_has_is_passed_over_and_refused_if_it_is_asked_for() {
        let in_the_way = |protocol: Protocol, _: Option<IpAddr>, number: u16| {
            (protocol == Protocol::Tcp && number != 30_002).then(|| "held by default/web".to_owned())
        };
        let from = Allotment { in_the_way: Box::new(in_the_way), ..from() };
        let mut one = service("n", &json!({"type": "NodePort"}));
        allot(&mut one, None, &[], &from).unwrap();
        assert_eq!(one["spec"]["ports"][0]["nodePort"], 30_002);
        let mut other = service("o", &json!({"type": "NodePort"}));
        let wrong = allot(&mut other.clone(), None, &[one], &from).unwrap_err()[0].to_string();
        assert!(wrong.contains("range is full"), "{wrong}");
        other["spec"]["ports"][0]["nodePort"] = json!(30_001);
        let wrong = allot(&mut other.clone(), None, &[], &from).unwrap_err()[0].to_string();
        assert_eq!(wrong, "spec.ports[0].nodePort: Invalid value: 30001: held by default/web");
        // What it has it keeps.
        allot(&mut other.clone(), Some(&other), &[], &from).unwrap();
        other["spec"]["ports"][0]["protocol"] = json!("UDP");
        allot(&mut other, None, &[], &from).unwrap();
    }
}
