//! Endpoints and EndpointSlice: who is behind a Service beside the pods that it selects.
//!
//! From `pkg/apis/core/validation` (ValidateEndpoints) and `pkg/apis/discovery/validation`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::service::addresses::{address, special};
use super::service::ports::PORT;
use super::{Stored, one_of, set};
use crate::pod::field::{Errors, Path};
use crate::pod::names;
use crate::services::SERVICE_NAME;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;

impl Stored for k8s::Endpoints {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn fill(&mut self) {
        let subsets = self.subsets.iter_mut().flatten();
        subsets
            .flat_map(|subset| subset.ports.iter_mut().flatten())
            .for_each(|port| set(&mut port.protocol, "TCP"));
    }

    fn check(&self, errors: &mut Errors, path: &Path<'_>) {
        let path = path.field("subsets");
        for (index, subset) in self.subsets.iter().flatten().enumerate() {
            let path = path.index(index);
            let all = [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)];
            if all.iter().all(|(_, all)| all.as_ref().is_none_or(Vec::is_empty)) {
                errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
            }
            for (field, all) in all {
                let path = path.field(field);
                for (index, one) in all.iter().flatten().enumerate() {
                    let path = path.index(index);
                    check_address(errors, &path.field("ip"), &one.ip);
                    check_hostname(errors, &path.field("hostname"), one.hostname.as_deref());
                }
            }
            let ports = subset.ports.as_deref().unwrap_or(&[]);
            let path = path.field("ports");
            for (index, port) in ports.iter().enumerate() {
                let path = path.index(index);
                let name = port.name.as_deref().unwrap_or("");
                if name.is_empty() && ports.len() > 1 {
                    errors.required(&path.field("name"), "");
                } else if !name.is_empty() {
                    errors.invalid_all(&path.field("name"), name, &names::label(name));
                }
                check_port(
                    errors,
                    &path,
                    (port.port, port.protocol.as_deref(), port.app_protocol.as_deref()),
                );
            }
        }
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

impl Stored for EndpointSlice {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn fill(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            set(&mut port.protocol, "TCP");
            port.name.get_or_insert_default();
        }
    }

    fn check(&self, errors: &mut Errors, path: &Path<'_>) {
        let kind = path.field("addressType");
        match self.address_type.as_str() {
            "" => errors.required(&kind, ""),
            other => one_of(errors, &kind, Some(other), &["FQDN", "IPv4", "IPv6"]),
        }
        let at = path.field("endpoints");
        let endpoints = self.endpoints.as_deref().unwrap_or(&[]);
        if endpoints.len() > MOST_ENDPOINTS {
            errors.too_many(&at, endpoints.len(), MOST_ENDPOINTS);
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            check_endpoint(errors, &at.index(index), (&self.address_type, endpoint));
        }
        check_ports(errors, &path.field("ports"), self.ports.as_deref().unwrap_or(&[]));
    }

    fn warn(&self, warnings: &mut Errors, path: &Path<'_>) {
        if self.address_type == "FQDN" {
            let why =
                "nobody is led to names, as in a cluster: a Service with type: ExternalName is another name";
            warnings.say(&path.field("addressType"), format!("{why}: ignored"));
        }
        let labels = self.metadata.labels.as_ref();
        if labels.and_then(|labels| labels.get(SERVICE_NAME)).is_none() {
            let why = format!("without the label {} it is behind no Service", SERVICE_NAME);
            warnings.say(&path.field("metadata").field("labels"), why);
        }
    }

    fn write(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

fn check_endpoint(errors: &mut Errors, path: &Path<'_>, (kind, endpoint): (&str, &Endpoint)) {
    let at = path.field("addresses");
    match endpoint.addresses.len() {
        0 => errors.required(&at, "must contain at least 1 address"),
        count if count > MOST_ADDRESSES => errors.too_many(&at, count, MOST_ADDRESSES),
        _ => {}
    }
    for (index, text) in endpoint.addresses.iter().enumerate() {
        let path = at.index(index);
        match (kind, text.parse::<IpAddr>()) {
            ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => check_address(errors, &path, text),
            ("IPv4" | "IPv6", _) => errors.invalid(&path, text, &format!("must be a valid {kind} address")),
            _ => errors.invalid_all(&path, text, &names::subdomain(text.strip_suffix('.').unwrap_or(text))),
        }
    }
    check_hostname(errors, &path.field("hostname"), endpoint.hostname.as_deref());
}

fn check_ports(errors: &mut Errors, path: &Path<'_>, ports: &[EndpointPort]) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = port.name.as_deref().unwrap_or("");
        if !name.is_empty() {
            errors.invalid_all(&path.field("name"), name, &names::label(name));
        }
        if !seen.insert(name) {
            errors.duplicate(&path.field("name"), name);
        }
        // Without one it would be all ports, which a Service does not ask for.
        let number = port.port.unwrap_or(1);
        check_port(errors, &path, (number, port.protocol.as_deref(), port.app_protocol.as_deref()));
    }
}

fn check_port(
    errors: &mut Errors,
    path: &Path<'_>,
    (number, protocol, app): (i32, Option<&str>, Option<&str>),
) {
    if !(1..=65535).contains(&number) {
        errors.invalid(&path.field("port"), number, PORT);
    }
    one_of(errors, &path.field("protocol"), protocol, &PROTOCOLS);
    if let Some(app) = app {
        errors.invalid_all(&path.field("appProtocol"), app, &names::qualified(app));
    }
}

fn check_address(errors: &mut Errors, path: &Path<'_>, text: &str) {
    let why = match address(text) {
        Ok(ip) => special(ip),
        Err(why) => Some(why.to_owned()),
    };
    if let Some(why) = why {
        errors.invalid(path, text, &why);
    }
}

fn check_hostname(errors: &mut Errors, path: &Path<'_>, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        errors.invalid_all(path, name, &names::label(name));
    }
}
