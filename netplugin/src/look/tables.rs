//! nftables tables as they are in the kernel.

use netlink_packet_core::Emitable;
use netlink_packet_netfilter::nftables::{Expressions, NfTablesMessage, RuleAttribute, RuleMessage};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::raw::{Attributes, Raw};
use super::words::{self, Kind};
use crate::netlink::{KernelError, Netlink};

/// A table of family inet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTable {
    /// Its name.
    pub name: String,
    /// Its chains, in the order in which they were made.
    pub chains: Vec<SeenChain>,
    /// Its named sets and maps.
    pub maps: Vec<SeenMap>,
}

/// A chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenChain {
    /// Its name.
    pub name: String,
    /// Where packets enter it: `prerouting`, `output` …; none if only jumps lead there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Its place among the chains of that hook: lower ones come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Its rules, in order.
    pub rules: Vec<SeenRule>,
}

/// A rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRule {
    /// The number by which `nft delete rule` knows it.
    pub handle: u64,
    /// What it says, in the words of nft(8); `[name]` where we have no words for one of its expressions.
    pub text: String,
}

/// A set, or a map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenMap {
    /// Its name.
    pub name: String,
    /// What it holds: `tcp . 8080 : 10.244.0.2 . 80`.
    pub elements: Vec<String>,
}

impl SeenTable {
    /// The chain of that name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<&SeenChain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// All elements of all maps in which a word stands by itself, with the name of their map.
    pub fn elements_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all =
            self.maps.iter().flat_map(|map| map.elements.iter().map(|e| (map.name.as_str(), e.as_str())));
        all.filter(move |(_, element)| element.split(' ').any(|part| part == word))
    }
}

const SUBSYSTEM: u16 = 10 << 8;
const GET_TABLE: u16 = 1;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const GET_ELEMENT: u16 = 13;
/// The length of `struct nfgenmsg`.
const HEADER: usize = 4;
const NFPROTO_INET: u8 = 1;
/// Chains, rules, sets and elements all tell of which table they are in their first attribute; rules of which
/// chain, sets and elements of which set in the second.
const OF_TABLE: u16 = 1;
const NAME: u16 = 2;

fn request(kind: u16) -> Raw {
    Raw::new(SUBSYSTEM | kind, &[NFPROTO_INET, 0, 0, 0])
}

/// Dumps what is of a table; the kernel may tell of other tables too.
fn dump(netlink: &mut Netlink, kind: u16, table: &str) -> Result<Vec<Raw>, KernelError> {
    let mut found = netlink.dump(request(kind).with_text(OF_TABLE, table))?;
    found.retain(|message| message.attributes(HEADER).text(OF_TABLE).as_deref() == Some(table));
    Ok(found)
}

/// The names of all tables.
pub(super) fn names(netlink: &mut Netlink) -> Result<Vec<String>, KernelError> {
    const NFTA_TABLE_NAME: u16 = 1;
    match netlink.dump(request(GET_TABLE)) {
        Ok(found) => {
            Ok(found.iter().filter_map(|table| table.attributes(HEADER).text(NFTA_TABLE_NAME)).collect())
        }
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A table with all that is in it. What is removed between two questions about it is not there: then they are asked anew.
pub(super) fn read(netlink: &mut Netlink, name: &str) -> Result<Option<SeenTable>, KernelError> {
    const TRIES: u32 = 20;
    for _ in 1..TRIES {
        match read_once(netlink, name) {
            Err(error) if error.is(Errno::ENOENT) => {}
            read => return read,
        }
    }
    read_once(netlink, name)
}

fn read_once(netlink: &mut Netlink, name: &str) -> Result<Option<SeenTable>, KernelError> {
    if !names(netlink)?.iter().any(|known| known == name) {
        return Ok(None);
    }
    let mut table = SeenTable { name: name.to_owned(), ..SeenTable::default() };
    // NFTA_CHAIN_NAME is 3, behind its handle.
    for message in dump(netlink, GET_CHAIN, name)? {
        table.chains.push(chain(message.attributes(HEADER)));
    }
    for message in dump(netlink, GET_RULE, name)? {
        let all = message.attributes(HEADER);
        let (of, rule) = (all.text(NAME).unwrap_or_default(), rule(all));
        if let Some(chain) = table.chains.iter_mut().find(|chain| chain.name == of) {
            chain.rules.push(rule);
        }
    }
    for message in dump(netlink, GET_SET, name)? {
        let set = message.attributes(HEADER);
        table.maps.push(map(netlink, name, set)?);
    }
    Ok(Some(table))
}

/// A rule of a chain, given as its table and its name.
pub(super) fn rule_text(
    netlink: &mut Netlink,
    family: u8,
    (table, chain): (&str, &str),
    handle: u64,
) -> Option<String> {
    let ask = Raw::new(SUBSYSTEM | GET_RULE, &[family, 0, 0, 0]);
    let found = netlink.dump(ask.with_text(OF_TABLE, table).with_text(NAME, chain)).ok()?;
    let all = found.iter().map(|message| message.attributes(HEADER));
    let of_chain = all.filter(|all| {
        all.text(OF_TABLE).as_deref() == Some(table) && all.text(NAME).as_deref() == Some(chain)
    });
    of_chain.map(rule).find(|rule| rule.handle == handle).map(|rule| rule.text)
}

/// No such netlink protocol, no such subsystem, no such table (any more).
fn is_absent(error: &KernelError) -> bool {
    [Errno::ENOENT, Errno::EPROTONOSUPPORT, Errno::EOPNOTSUPP, Errno::EINVAL].iter().any(|e| error.is(*e))
}

fn chain(all: Attributes<'_>) -> SeenChain {
    let [name, hook] = [3, 4];
    let [number, priority] = [1, 2];
    let hook = all.nested(hook);
    let place = hook.big(number).map(|number| match number {
        0 => "prerouting",
        1 => "input",
        2 => "forward",
        3 => "output",
        4 => "postrouting",
        _ => "ingress",
    });
    SeenChain {
        name: all.text(name).unwrap_or_default(),
        hook: place.map(str::to_owned),
        priority: hook.big(priority).map(u32::cast_signed),
        rules: Vec::new(),
    }
}

fn rule(all: Attributes<'_>) -> SeenRule {
    let [handle, expressions] = [3, 4];
    let text = words::rule(all.nested(expressions).all().map(|(_, expression)| Attributes(expression)));
    SeenRule { handle: all.long(handle).unwrap_or_default(), text }
}

/// What a rule of these expressions says.
pub(crate) fn rule_in_words(expressions: &[Expressions]) -> String {
    let attributes = vec![RuleAttribute::Expressions(expressions.iter().cloned().map(Into::into).collect())];
    let message = NfTablesMessage::NewRule(RuleMessage { attributes });
    let message = NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message);
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    rule(Attributes(bytes.get(HEADER..).unwrap_or_default())).text
}

fn map(netlink: &mut Netlink, table: &str, set: Attributes<'_>) -> Result<SeenMap, KernelError> {
    let [key, value] = [4, 6];
    let name = set.text(NAME).unwrap_or_default();
    let key = words::parts(set.big(key).unwrap_or_default());
    let value = set.big(value).map(words::parts);
    let mut elements = Vec::new();
    each_element(netlink, table, &name, |found| elements.push(element(found, &key, value.as_deref())))?;
    elements.sort();
    Ok(SeenMap { name, elements })
}

fn each_element(
    netlink: &mut Netlink,
    table: &str,
    map: &str,
    mut see: impl FnMut(Attributes<'_>),
) -> Result<(), KernelError> {
    let [list, one] = [3, 1];
    let ask = request(GET_ELEMENT).with_text(OF_TABLE, table).with_text(NAME, map);
    for message in netlink.dump(ask)? {
        let all = message.attributes(HEADER).nested(list);
        all.all().filter(|(kind, _)| *kind == one).for_each(|(_, bytes)| see(Attributes(bytes)));
    }
    Ok(())
}

/// A key and what a map says of it, as bytes.
#[derive(Debug)]
pub(crate) struct RawElement {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// How long it is kept and how much of that is left, in milliseconds, if it is not kept for good.
    pub(crate) kept: Option<(u64, u64)>,
}

/// What a map says.
pub(crate) fn raw_elements(
    netlink: &mut Netlink,
    table: &str,
    map: &str,
) -> Result<Vec<RawElement>, KernelError> {
    let [key, value, timeout, expiration] = [1, 2, 4, 5];
    let plain = 1;
    let mut found = Vec::new();
    each_element(netlink, table, map, |element| {
        let bytes = |of: u16| element.nested(of).get(plain).unwrap_or_default().to_vec();
        let kept = element.long(timeout).zip(element.long(expiration));
        found.push(RawElement { key: bytes(key), value: bytes(value), kept });
    })?;
    Ok(found)
}

fn element(all: Attributes<'_>, key: &[Kind], value: Option<&[Kind]>) -> String {
    let [of_key, of_value] = [1, 2];
    let [plain, verdict] = [1, 2];
    let key = words::concatenation(all.nested(of_key).get(plain).unwrap_or_default(), key);
    let leads = all.nested(of_value);
    match (leads.get(verdict), leads.get(plain), value) {
        (Some(verdict), _, _) => format!("{key} : {}", words::verdict(Attributes(verdict))),
        (None, Some(bytes), Some(kinds)) => format!("{key} : {}", words::concatenation(bytes, kinds)),
        _ => key,
    }
}
