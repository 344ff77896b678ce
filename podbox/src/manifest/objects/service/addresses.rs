//! Addresses and their families: `ValidateServiceClusterIPsRelatedFields`, `ValidateNonSpecialIP`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as k8s;
use serde_json::Value;

use super::{is_headless, one_of};
use crate::pod::field::{Errors, Path};

const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const MAPPED: &str = "must not be an IPv4-mapped IPv6 address";

/// The only address is the first of all addresses. The other way round both must be written.
pub(super) fn fill(spec: &mut k8s::ServiceSpec) {
    spec.cluster_ip = spec.cluster_ip.take().filter(|ip| !ip.is_empty());
    spec.cluster_ips = spec.cluster_ips.take().filter(|ips| !ips.is_empty());
    if spec.cluster_ips.is_none() {
        spec.cluster_ips = spec.cluster_ip.clone().map(|ip| vec![ip]);
    }
}

pub(super) fn check(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    let ips = spec.cluster_ips.as_deref().unwrap_or(&[]);
    let at = path.field("clusterIPs");
    match &spec.cluster_ip {
        Some(one) if ips.first() != Some(one) => {
            errors.invalid(&at, Value::from(ips), "first value must match `clusterIP`");
        }
        None if !ips.is_empty() => {
            errors.invalid(&at, Value::from(ips), "must be empty when `clusterIP` is not specified");
        }
        _ => {}
    }
    let families = spec.ip_families.as_deref().unwrap_or(&[]);
    check_families(errors, path, (families, spec.ip_family_policy.as_deref()));
    if headless(errors, path, spec) {
        return;
    }
    let mut addresses = Vec::new();
    for (index, ip) in ips.iter().enumerate() {
        match address(ip) {
            Ok(address) => addresses.push(address),
            Err(why) => {
                errors.invalid(&at.index(index), ip, why);
                blame_the_single(errors, path, index);
            }
        }
    }
    if ips.len() > 2 {
        errors.invalid(&at, Value::from(ips), "may only hold up to 2 values");
    }
    // What else is wrong would only follow from what is no address.
    if addresses.len() < ips.len() {
        return;
    }
    let count_of = |is_ipv4: bool| addresses.iter().filter(|one| one.is_ipv4() == is_ipv4).count();
    if addresses.len() > 1 && (count_of(true) == 0 || count_of(false) == 0) {
        errors.invalid(&at, Value::from(ips), "may specify no more than one IP for each IP family");
    }
    for (index, (address, family)) in addresses.iter().zip(families).enumerate() {
        let is_wanted = match family.as_str() {
            "IPv4" => address.is_ipv4(),
            "IPv6" => address.is_ipv6(),
            _ => true,
        };
        if !is_wanted {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            errors.invalid(&at.index(index), &ips[index], &why);
            blame_the_single(errors, path, index);
        }
    }
}

/// `None` in the place of addresses; whether there is nothing more to be said of them.
fn headless(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) -> bool {
    let ips = spec.cluster_ips.as_deref().unwrap_or(&[]);
    let at = path.field("clusterIPs");
    let kind = super::kind(spec);
    if is_headless(spec) {
        if matches!(kind, "LoadBalancer" | "NodePort") {
            errors.invalid(&at.index(0), "None", &format!("may not be set to 'None' for {kind} services"));
            blame_the_single(errors, path, 0);
        }
        return true;
    }
    let begins = ips.first().is_some_and(|ip| ip == "None");
    if begins {
        errors.invalid(&at, Value::from(ips), "'None' must be the first and only value");
    }
    begins
}

/// The first of `clusterIPs` is mostly written as `clusterIP`.
fn blame_the_single(errors: &mut Errors, path: &Path<'_>, index: usize) {
    if index == 0 {
        errors.blame(&path.field("clusterIP"));
    }
}

fn check_families(errors: &mut Errors, path: &Path<'_>, (families, policy): (&[String], Option<&str>)) {
    let at = path.field("ipFamilies");
    let mut seen = BTreeSet::new();
    for (index, family) in families.iter().enumerate() {
        if !["IPv4", "IPv6"].contains(&family.as_str()) {
            errors.unsupported(&at.index(index), family, &["IPv4", "IPv6"]);
        }
        if !seen.insert(family) {
            errors.duplicate(&at.index(index), family);
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of(errors, &path.field("ipFamilyPolicy"), policy, &policies);
}

/// `externalIPs`: what is led to the pods must not be what everybody has for himself.
pub(super) fn external(errors: &mut Errors, path: &Path<'_>, spec: &k8s::ServiceSpec) {
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        let why = match address(ip) {
            Ok(address) => special(address),
            Err(why) => Some(why.to_owned()),
        };
        if let Some(why) = why {
            errors.invalid(&path.index(index), ip, &why);
        }
    }
}

/// An address as it must be written since Kubernetes v1.36: an IPv4 one in an IPv6 one's clothes is none.
pub(in super::super) fn address(text: &str) -> Result<IpAddr, &'static str> {
    match text.parse() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => Err(MAPPED),
        Ok(ip) => Ok(ip),
        Err(_) => Err(IP),
    }
}

pub(in super::super) fn special(ip: IpAddr) -> Option<String> {
    let (link_local, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let why = if ip.is_unspecified() {
        return Some(format!("may not be unspecified ({ip})"));
    } else if ip.is_loopback() {
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"
    } else if link_local {
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    } else if multicast {
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
    } else {
        return None;
    };
    Some(why.to_owned())
}
