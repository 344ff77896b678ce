//! An interface that is not the way out answers all the same: what comes in by it from beyond its subnets is answered by it,
//! and not by the way out. So a packet and its answer take the same way, which firewalls that follow connections, and reverse
//! path filters, insist on. It is done by the source address, as in the CNI project's plugin `sbr`: a rule that leads from each
//! address to a table of routes of its own (ip-rule(8)).

use std::net::IpAddr;

use nix::errno::Errno;

use crate::config::{InterfaceAddress, Subnet};
use crate::links::{self, RULE_PRIORITY};
use crate::netlink::{KernelError, Netlink};

/// Lets what an interface's addresses send leave by it. What is there already stays.
pub(crate) fn lead(
    netlink: &mut Netlink,
    index: u32,
    addresses: &[InterfaceAddress],
) -> Result<(), KernelError> {
    let Some(table) = table(addresses) else { return Ok(()) };
    for InterfaceAddress { address, prefix } in addresses {
        let Ok(subnet) = Subnet::new(*address, *prefix) else { continue };
        for (message, flags) in [
            links::in_table(links::add_link_route(index, subnet), table),
            links::in_table(links::add_default_route(index, subnet.gateway()), table),
        ] {
            netlink.push(message, flags);
        }
        netlink.commit()?;
        let (message, flags) = links::add_rule(*address, table);
        netlink.push(message, flags);
        match netlink.commit() {
            Err(error) if !error.is(Errno::EEXIST) => return Err(error),
            _ => (),
        }
    }
    Ok(())
}

/// The commands that mean the same.
pub(crate) fn commands(interface: &str, addresses: &[InterfaceAddress]) -> Vec<String> {
    let Some(table) = table(addresses) else { return Vec::new() };
    let of = |InterfaceAddress { address, prefix }: &InterfaceAddress| {
        let subnet = Subnet::new(*address, *prefix).ok()?;
        let family = if address.is_ipv4() { "-4" } else { "-6" };
        Some([
            format!("ip {family} route replace {subnet} dev {interface} table {table}"),
            format!(
                "ip {family} route replace default via {} dev {interface} table {table}",
                subnet.gateway()
            ),
            format!("ip {family} rule add from {address} lookup {table} priority {RULE_PRIORITY}"),
        ])
    };
    addresses.iter().filter_map(of).flatten().collect()
}

/// The table's number: the first address, which no other interface of the pod has. The kernel's own tables have numbers below
/// 256, which are no addresses of pods.
fn table(addresses: &[InterfaceAddress]) -> Option<u32> {
    Some(match addresses.first()?.address {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(v6) => {
            let [.., a, b, c, d] = v6.octets();
            u32::from_be_bytes([a, b, c, d]) | 1 << 31
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_an_interfaces_own() {
        let of = |text: &str| table(&[text.to_owned().try_into().unwrap()]).unwrap();
        assert_ne!(of("10.9.8.2/24"), of("10.9.9.2/24"));
        assert!(of("fd00::2/64") > 255 && of("10.9.8.2/24") > 255);
        assert_eq!(table(&[]), None);
    }
}
