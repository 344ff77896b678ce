//! What a table of virtual addresses is, as commands that a reader could type.

use netlink_packet_netfilter::nftables::Expressions;

use super::elements::Holding;
use super::table::{self, Place};
use super::{Balance, INSIDE};
use crate::config::Described;
use crate::look::rule_in_words;

impl Balance {
    /// What [`super::Balancer::apply`] does where there is no table yet: in a namespace of clients, or on the host, whose
    /// network has this table's name.
    #[must_use]
    pub fn describe(&self, of_host: Option<&str>) -> Vec<Described> {
        let (table, place) = match of_host {
            Some(network) => (super::table_here(network), Place::Host),
            None => (INSIDE.to_owned(), Place::Inside),
        };
        let step =
            |name: &str, lines: Vec<String>| Described { name: name.to_owned(), command: lines.join("\n") };
        let rule = |rule: table::Rule| rule_command(&table, &rule.chain, &rule.expressions);
        let mut make = vec![format!("nft add table inet {table}")];
        let chains = table::base_chains(place).iter();
        make.extend(chains.map(|chain| format!("nft add chain inet {table} {}", chain.text())));
        make.extend(table::MAPS.iter().map(|map| format!("nft add {}", map.text(&table))));
        make.extend(table::base_rules(place, &self.ranges).into_iter().map(rule));
        let mut steps = vec![step("make the table of virtual addresses", make)];
        let holding = Holding::of(self);
        // nft(8) knows no die within a map's key; the kernel does. So these rules can be read and not typed.
        let mut chains = Vec::new();
        for chain in holding.chains() {
            let name = chain.name();
            chains.push(format!("nft add chain inet {table} {name}"));
            let rules = chain.rules();
            chains.extend(
                rules.iter().map(|rule| format!("# rule of {name}: {}", rule_in_words(&rule.expressions))),
            );
        }
        if chains.is_empty() {
            steps.push(step("without backends nothing more: what goes there is refused", Vec::new()));
            return steps;
        }
        steps.push(step("choose among so many backends", chains));
        let elements = holding.elements();
        let leads = elements.all().into_iter();
        let leads = leads.map(|(key, value)| format!("nft 'add element inet {table} {}'", key.text(value)));
        let leads = leads.collect();
        steps.push(step("lead the virtual addresses there", leads));
        steps
    }
}

fn rule_command(table: &str, chain: &str, expressions: &[Expressions]) -> String {
    format!("nft 'add rule inet {table} {chain} {}'", rule_in_words(expressions))
}
