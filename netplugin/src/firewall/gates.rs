//! Chains that forwarded packets pass, and what in them might stop one.

use std::collections::BTreeMap;
use std::fmt;

use nix::errno::Errno;

use super::{COMMENT, NF_ACCEPT, PASSAGES, Passage};
use crate::look::raw::{self, Attributes, Raw};
use crate::netlink::{KernelError, Netlink};

const SUBSYSTEM: u16 = 10 << 8;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const GET_RULE: u16 = SUBSYSTEM | 7;
/// The length of `struct nfgenmsg`, which begins with the family.
const HEADER: usize = 4;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const NF_DROP: u32 = 0;
/// Chains and rules both tell of which table they are in their first attribute; rules of which chain in the second.
const OF_TABLE: u16 = 1;
const OF_CHAIN: u16 = 2;

/// A base chain of somebody else's at the hook `forward`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gate {
    /// `NFPROTO_…` of its table.
    pub(super) family: u8,
    pub(super) table: String,
    pub(super) chain: String,
    /// Whether it is possible that a packet ends there: by its policy or by a rule.
    pub(super) may_stop: bool,
    remarked: Vec<Remarked>,
}

/// A rule that somebody has written a comment to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remarked {
    /// By which the kernel knows it.
    pub(super) handle: u64,
    comment: String,
}

impl Gate {
    /// Rules of ours for a bridge.
    pub(super) fn ours(&self, bridge: &str) -> impl Iterator<Item = &Remarked> {
        let comments = PASSAGES.map(|passage| passage.comment(bridge));
        self.remarked.iter().filter(move |rule| comments.contains(&rule.comment))
    }

    /// What is not let pass yet.
    pub(super) fn missing(&self, bridge: &str) -> impl Iterator<Item = Passage> {
        PASSAGES.into_iter().filter(move |passage| {
            let comment = passage.comment(bridge);
            !self.remarked.iter().any(|rule| rule.comment == comment)
        })
    }
}

/// As nft(8) names it.
impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            NFPROTO_IPV4 => "ip",
            NFPROTO_IPV6 => "ip6",
            _ => "inet",
        };
        write!(f, "{family} {} {}", self.table, self.chain)
    }
}

/// All of them, as they are now. Where the kernel has no nf_tables there are none.
pub(super) fn read(netlink: &mut Netlink) -> Result<Vec<Gate>, KernelError> {
    let request = Raw::new(GET_CHAIN, &[NFPROTO_UNSPEC, 0, 0, 0]);
    let mut gates: Vec<Gate> = some(netlink.dump(request))?.iter().filter_map(gate).collect();
    for gate in &mut gates {
        let request = Raw::new(GET_RULE, &[gate.family, 0, 0, 0]);
        let request = request.with_text(OF_TABLE, &gate.table).with_text(OF_CHAIN, &gate.chain);
        for message in some(netlink.dump(request))? {
            let rule = message.attributes(HEADER);
            // Older kernels tell of all rules.
            let is_here = rule.text(OF_TABLE).as_deref() == Some(&gate.table)
                && rule.text(OF_CHAIN).as_deref() == Some(&gate.chain);
            if is_here {
                gate.may_stop |= may_stop(expressions(rule));
                gate.remarked.extend(remarked(rule));
            }
        }
    }
    Ok(gates)
}

/// How many rules each chain of a table of family inet has; those without any are left out.
pub(crate) fn rules_by_chain(
    netlink: &mut Netlink,
    table: &str,
) -> Result<BTreeMap<String, usize>, KernelError> {
    let request = Raw::new(GET_RULE, &[NFPROTO_INET, 0, 0, 0]).with_text(OF_TABLE, table);
    let mut counts = BTreeMap::new();
    for message in some(netlink.dump(request))? {
        let rule = message.attributes(HEADER);
        if rule.text(OF_TABLE).as_deref() == Some(table) {
            *counts.entry(rule.text(OF_CHAIN).unwrap_or_default()).or_default() += 1;
        }
    }
    Ok(counts)
}

/// No such netlink protocol, no such subsystem, no such table (any more): nothing is there.
fn some(found: Result<Vec<Raw>, KernelError>) -> Result<Vec<Raw>, KernelError> {
    let absent = [Errno::ENOENT, Errno::EPROTONOSUPPORT, Errno::EOPNOTSUPP, Errno::EINVAL];
    match found {
        Err(error) if absent.iter().any(|errno| error.is(*errno)) => Ok(Vec::new()),
        found => found,
    }
}

/// A chain of the kernel's list, if it is such a one. All tables of podboxes have names that begin alike.
fn gate(message: &Raw) -> Option<Gate> {
    const NF_INET_FORWARD: u32 = 2;
    let [table, name, hook, policy, kind] = [1, 3, 4, 5, 7];
    let number = 1;
    let chain = message.attributes(HEADER);
    let (family, table) = (message.byte(0), chain.text(table)?);
    let is_forward = chain.nested(hook).big(number) == Some(NF_INET_FORWARD)
        && chain.text(kind).as_deref() == Some("filter")
        && [NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6].contains(&family);
    (is_forward && !table.starts_with("podbox")).then(|| Gate {
        family,
        table,
        chain: chain.text(name).unwrap_or_default(),
        may_stop: chain.big(policy) == Some(NF_DROP),
        remarked: Vec::new(),
    })
}

fn expressions(rule: Attributes<'_>) -> impl Iterator<Item = (String, Attributes<'_>)> {
    let [list, name, data] = [4, 1, 2];
    let all = rule.nested(list).all().map(|(_, expression)| Attributes(expression));
    all.map(move |one| (one.text(name).unwrap_or_default(), one.nested(data)))
}

/// Whether a packet that meets a rule might end by it. What we have never heard of might do anything; so might what follows
/// behind a jump.
fn may_stop<'a>(mut expressions: impl Iterator<Item = (String, Attributes<'a>)>) -> bool {
    // They only load, compare, count or tell.
    const HARMLESS: [&str; 24] = [
        "bitwise",
        "byteorder",
        "cmp",
        "connlimit",
        "counter",
        "ct",
        "dynset",
        "exthdr",
        "fib",
        "hash",
        "inner",
        "last",
        "limit",
        "log",
        "match",
        "meta",
        "notrack",
        "numgen",
        "osf",
        "payload",
        "quota",
        "range",
        "rt",
        "socket",
    ];
    expressions.any(|(name, data)| match name.as_str() {
        "immediate" => {
            let [value, verdict, code] = [2, 2, 1];
            data.nested(value).nested(verdict).big(code).is_some_and(|code| !lets_go_on(code))
        }
        "lookup" => {
            // What the set says is where the packet goes on.
            let (target, verdict) = (3, 0);
            data.big(target) == Some(verdict)
        }
        name => !HARMLESS.contains(&name),
    })
}

fn lets_go_on(code: u32) -> bool {
    const NFT_CONTINUE: i32 = -1;
    const NFT_BREAK: i32 = -2;
    const NFT_RETURN: i32 = -5;
    code == NF_ACCEPT || [NFT_CONTINUE, NFT_BREAK, NFT_RETURN].contains(&code.cast_signed())
}

fn remarked(rule: Attributes<'_>) -> Option<Remarked> {
    let [handle, remarks] = [3, 7];
    let comment = rule.get(remarks).and_then(comment).or_else(|| matched_comment(rule))?;
    Some(Remarked { handle: rule.long(handle)?, comment })
}

/// What iptables-restore makes of a comment: an expression that matches everything, with a text (`xt_comment`).
fn matched_comment(rule: Attributes<'_>) -> Option<String> {
    let [name, info] = [1, 3];
    let is_comment = |data: &Attributes<'_>| data.text(name).as_deref() == Some("comment");
    expressions(rule)
        .find_map(|(kind, data)| (kind == "match" && is_comment(&data)).then(|| data.text(info)).flatten())
}

/// What programs keep with a rule: a row of kind, length and value, each a byte long but the last.
fn comment(mut remarks: &[u8]) -> Option<String> {
    loop {
        let (kind, length) = (*remarks.first()?, usize::from(*remarks.get(1)?));
        let value = remarks.get(2..2 + length)?;
        if kind == COMMENT {
            return Some(raw::text(value));
        }
        remarks = &remarks[2 + length..];
    }
}

#[cfg(test)]
mod tests {
    use super::super::remark;
    use super::*;

    #[test]
    fn a_comment_is_found_among_other_remarks_and_torn_ones_are_none() {
        let own = remark("podbox: from podbox0");
        assert_eq!(comment(&own).as_deref(), Some("podbox: from podbox0"));
        let behind = [&[1, 2, 7, 7][..], &own].concat();
        assert_eq!(comment(&behind).as_deref(), Some("podbox: from podbox0"));
        for end in 0..own.len() {
            assert_eq!(comment(&own[..end]), None, "{end}");
        }
    }

    #[test]
    fn only_what_can_end_a_packets_way_counts() {
        let verdict = |code: i32| {
            let code = Raw::new(0, &[]).with(1, &code.to_be_bytes()).bytes;
            let verdict = Raw::new(0, &[]).with(2, &code).bytes;
            Raw::new(0, &[]).with(1, &[0; 4]).with(2, &verdict).bytes
        };
        let lookup = |target: Option<u32>| {
            let lookup = Raw::new(0, &[]).with_text(1, "set");
            target.map_or(lookup.clone(), |target| lookup.with(3, &target.to_be_bytes())).bytes
        };
        let cases = [
            ("immediate", verdict(0), true),
            ("immediate", verdict(1), false),
            ("immediate", verdict(-5), false),
            ("immediate", verdict(-3), true),
            ("immediate", verdict(-4), true),
            ("lookup", lookup(None), false),
            ("lookup", lookup(Some(1)), false),
            ("lookup", lookup(Some(0)), true),
            ("reject", Vec::new(), true),
            ("target", Vec::new(), true),
            ("queue", Vec::new(), true),
            ("of tomorrow", Vec::new(), true),
            ("counter", Vec::new(), false),
        ];
        for (name, data, expected) in cases {
            let one = [(name.to_owned(), Attributes(&data))];
            assert_eq!(may_stop(one.into_iter()), expected, "{name} {data:?}");
        }
    }
}
