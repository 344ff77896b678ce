//! Beside other people's firewalls.
//!
//! A packet passes all base chains of its hook, of whatever table, and a drop in any of them is final: what our own table
//! accepts, another's may still drop. So a host whose firewall lets nothing be forwarded (docker sets iptables' FORWARD to
//! DROP, firewalld's chain ends in a reject) would have pods without a way out, and with `bridge-nf-call-iptables`, where
//! bridged frames pass these chains too, even without each other. Therefore each foreign chain that might stop a forwarded
//! packet gets two rules at its head: what comes from the bridge passes, and what goes to it. That is what flannel does
//! (`FLANNEL-FWD`), and hack/decisions/0003 says why.
//!
//! Nobody writes down where these rules are: their comments tell, wherever somebody has copied them to. They consist of
//! what iptables-nft makes of `-i BRIDGE -j ACCEPT`, so that it can list its chains as before. They go with the bridge. If
//! somebody loads his rules anew, [`restore`] brings them back, and our own table as well.
//!
//! Rules of the old iptables (x_tables) cannot be changed by netlink; [`review`] tells of them.

mod changes;
mod gates;
mod restore;

use std::fs;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{Expressions, Register};
use netlink_packet_netfilter::nftables::{MetaKey, NfTablesMessage, RuleAttribute, RuleMessage, Verdict};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use crate::bridge;
use crate::config::{Firewall, NetworkConfig};
use crate::error::NetError;
use crate::netlink::{KernelError, Netlink};
use crate::nft::{Transaction, expression as ex};

pub use changes::Changes;
use gates::Gate;
pub(crate) use gates::rules_by_chain;
pub use restore::restore;

/// Which packets one of our rules lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// Those that come from the bridge.
    From,
    /// Those that go to it.
    To,
}

const PASSAGES: [Passage; 2] = [Passage::From, Passage::To];

impl Passage {
    /// By which a rule is known to be ours.
    fn comment(self, bridge: &str) -> String {
        match self {
            Passage::From => format!("podbox: from {bridge}"),
            Passage::To => format!("podbox: to {bridge}"),
        }
    }

    /// As nft(8) would take it.
    fn text(self, bridge: &str) -> String {
        let word = match self {
            Passage::From => "iifname",
            Passage::To => "oifname",
        };
        format!("{word} \"{bridge}\" counter accept comment \"{}\"", self.comment(bridge))
    }

    fn expressions(self, bridge: &str) -> Vec<Expressions> {
        let key = match self {
            Passage::From => MetaKey::Iifname,
            Passage::To => MetaKey::Oifname,
        };
        // As long as iptables-nft has it: the name with the zero at its end.
        let name = [bridge.as_bytes(), &[0]].concat();
        vec![
            ex::meta(key, Register::Reg1),
            ex::equals(name),
            ex::counter(),
            ex::verdict(Verdict::Other(NF_ACCEPT), None),
        ]
    }
}

const NF_ACCEPT: u32 = 1;
/// `NFTNL_UDATA_RULE_COMMENT`: where nft(8) and iptables-nft keep a rule's comment.
const COMMENT: u8 = 0;

fn remark(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[COMMENT, length], text.as_bytes(), &[0]].concat()
}

/// Lets the bridge's packets pass every foreign chain that might stop them; where they are let pass already nothing is done.
/// The notes tell of chains that cannot be changed.
pub(crate) fn open(config: &NetworkConfig) -> Result<Vec<String>, NetError> {
    if config.firewall == Firewall::Leave {
        return Ok(Vec::new());
    }
    let failed = |source| NetError::Kernel { step: STEP.to_owned(), source };
    let Some(mut netlink) = netfilter().map_err(failed)? else { return Ok(Vec::new()) };
    let mut notes = Vec::new();
    for gate in gates::read(&mut netlink).map_err(failed)?.iter().filter(|gate| gate.may_stop) {
        let missing: Vec<Passage> = gate.missing(&config.bridge).collect();
        if missing.is_empty() {
            continue;
        }
        match insert(&mut netlink, gate, &missing, &config.bridge) {
            Ok(()) => (),
            // It has gone meanwhile.
            Err(error) if error.is(Errno::ENOENT) => (),
            // Its table may belong to a program that lets nobody else change it (NFT_TABLE_F_OWNER).
            Err(error) => notes.push(format!(
                "the chain {gate} may stop what the host forwards to pods and from them, and cannot be changed ({error}): tell whoever made it to let {} pass",
                config.bridge
            )),
        }
    }
    Ok(notes)
}

pub(crate) const STEP: &str = "let the host's firewall pass what pods send and get";

/// One transaction a chain: one that refuses must not keep the others closed.
fn insert(netlink: &mut Netlink, gate: &Gate, missing: &[Passage], bridge: &str) -> Result<(), KernelError> {
    let mut transaction = Transaction::begin_in(netlink, family(gate.family));
    for passage in missing {
        let attributes = vec![
            RuleAttribute::Table(gate.table.clone()),
            RuleAttribute::Chain(gate.chain.clone()),
            RuleAttribute::Expressions(passage.expressions(bridge).into_iter().map(Into::into).collect()),
            RuleAttribute::UserData(remark(&passage.comment(bridge))),
        ];
        // Without NLM_F_APPEND it becomes the first rule.
        transaction.push(NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE);
    }
    transaction.commit()
}

/// Takes all rules of ours for the bridge out of others' chains, whichever configuration put them there.
pub(crate) fn close(config: &NetworkConfig) -> Result<(), NetError> {
    let failed = |source| NetError::Kernel {
        step: format!("take what lets {} pass out of the host's firewall", config.bridge),
        source,
    };
    let Some(mut netlink) = netfilter().map_err(failed)? else { return Ok(()) };
    let gates = match gates::read(&mut netlink) {
        // Whoever may not look now did not put anything there either.
        Err(error) if error.is(Errno::EPERM) && !bridge::may_translate(config) => return Ok(()),
        gates => gates.map_err(failed)?,
    };
    let mut deleted = false;
    for gate in gates {
        let ours: Vec<u64> = gate.ours(&config.bridge).map(|ours| ours.handle).collect();
        if ours.is_empty() {
            continue;
        }
        deleted = true;
        match delete(&mut netlink, &gate, &ours) {
            Err(source) if !source.is(Errno::ENOENT) => return Err(failed(source)),
            _ => (),
        }
    }
    if deleted {
        netlink.close_later();
    }
    Ok(())
}

fn delete(netlink: &mut Netlink, gate: &Gate, handles: &[u64]) -> Result<(), KernelError> {
    let mut transaction = Transaction::begin_in(netlink, family(gate.family));
    for handle in handles {
        let attributes = vec![
            RuleAttribute::Table(gate.table.clone()),
            RuleAttribute::Chain(gate.chain.clone()),
            RuleAttribute::Handle(*handle),
        ];
        transaction.push(NfTablesMessage::DeleteRule(RuleMessage { attributes }), 0);
    }
    transaction.commit()
}

/// Whether some chain that might stop the bridge's packets does not let them pass, and should.
fn is_closed(netlink: &mut Netlink, config: &NetworkConfig) -> Result<bool, KernelError> {
    if config.firewall == Firewall::Leave {
        return Ok(false);
    }
    let gates = gates::read(netlink)?;
    Ok(gates.iter().any(|gate| gate.may_stop && gate.missing(&config.bridge).next().is_some()))
}

/// `None` where the kernel has no netfilter sockets, and so none of these chains either.
fn netfilter() -> Result<Option<Netlink>, KernelError> {
    match Netlink::open(NETLINK_NETFILTER).map_err(KernelError::from) {
        Err(error) if error.is(Errno::EPROTONOSUPPORT) => Ok(None),
        opened => opened.map(Some),
    }
}

fn family(number: u8) -> NetfilterProtoFamily {
    NetfilterProtoFamily::from(number)
}

/// The commands that [`open`] stands for, for the firewall that is there now.
pub(crate) fn commands(config: &NetworkConfig) -> String {
    let gates = netfilter().ok().flatten().and_then(|mut netlink| gates::read(&mut netlink).ok());
    let closed = gates.unwrap_or_default().into_iter().filter(|gate| gate.may_stop);
    let lines: Vec<String> = closed
        .flat_map(|gate| {
            let missing: Vec<Passage> = gate.missing(&config.bridge).collect();
            missing
                .into_iter()
                .map(move |passage| format!("nft 'insert rule {gate} {}'", passage.text(&config.bridge)))
        })
        .collect();
    // Nothing stands in the way: all that is done is to look.
    if lines.is_empty() { "nft list chains".to_owned() } else { lines.join("\n") }
}

/// What stands between pods and the networks beyond the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Foreign chains that might stop packets, as nft(8) names them: `ip filter FORWARD`.
    pub chains: Vec<String>,
    /// Those of them that do not let the network's packets pass.
    pub closed: Vec<String>,
    /// Programs whose rules netlink does not reach: `iptables-legacy`, `ip6tables-legacy`.
    pub legacy: Vec<&'static str>,
    /// Whether bridged packets pass the host's chains too (br_netfilter's `bridge-nf-call-iptables`, `-ip6tables`).
    pub sees_bridged: bool,
}

/// Looks at the host's firewall, and changes nothing.
///
/// # Errors
/// If the kernel does not tell.
pub fn review(config: &NetworkConfig) -> Result<Review, NetError> {
    let failed = |source| NetError::Kernel { step: "look at the host's firewall".to_owned(), source };
    let gates = match netfilter().map_err(failed)? {
        Some(mut netlink) => gates::read(&mut netlink).map_err(failed)?,
        None => Vec::new(),
    };
    let stopping: Vec<&Gate> = gates.iter().filter(|gate| gate.may_stop).collect();
    let closed = stopping.iter().filter(|gate| gate.missing(&config.bridge).next().is_some());
    let filters = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.lines().any(|l| l == "filter"));
    let mut legacy = Vec::new();
    legacy.extend(filters("/proc/net/ip_tables_names").then_some("iptables-legacy"));
    legacy.extend(filters("/proc/net/ip6_tables_names").then_some("ip6tables-legacy"));
    let is_on = |name: &str| {
        fs::read_to_string(format!("/proc/sys/net/bridge/{name}")).is_ok_and(|text| text.trim() == "1")
    };
    Ok(Review {
        chains: stopping.iter().map(ToString::to_string).collect(),
        closed: closed.map(ToString::to_string).collect(),
        legacy,
        sees_bridged: is_on("bridge-nf-call-iptables") || is_on("bridge-nf-call-ip6tables"),
    })
}
