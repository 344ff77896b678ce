//! Rules in the words of nft(8), from the instructions that the kernel has for them.
//!
//! A rule is a small program: each expression loads something into registers, compares a register, or acts
//! (`linux/netfilter/nf_tables.h`). Read in order, with what the registers hold at each moment, it becomes the sentence
//! that was typed. Expressions that neither podbox nor most other programs use appear as their name in brackets.

use std::collections::BTreeMap;

use super::raw::{self, Attributes};

/// What kind of thing some bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of either family: their length tells.
    Address,
    Port,
    /// `tcp`, `udp` …
    Transport,
    /// `ipv4`, `ipv6`.
    Family,
    /// An interface's name.
    Name,
    /// What `fib … type` says.
    Route,
    /// Bits of a connection's status.
    Status,
    /// A number in the host's byte order.
    Number,
    /// A mark, in the host's byte order.
    Mark,
    /// A number of the network.
    Bytes,
}

impl Kind {
    /// How many bytes one of a concatenation takes, without what fills it up to four.
    fn length(self) -> usize {
        match self {
            Kind::Transport | Kind::Family => 1,
            Kind::Port => 2,
            Kind::Name => 16,
            _ => 4,
        }
    }
}

/// What a register holds.
#[derive(Debug, Clone)]
struct Held {
    text: String,
    kind: Kind,
    mask: Option<Vec<u8>>,
    /// The bytes, if it is a constant.
    constant: Vec<u8>,
}

/// The rule that these expressions are.
pub(super) fn rule<'a>(expressions: impl Iterator<Item = Attributes<'a>>) -> String {
    let [name, data] = [1, 2];
    let mut reader = Reader::default();
    for expression in expressions {
        reader.read(&expression.text(name).unwrap_or_default(), expression.nested(data));
    }
    without_the_obvious(reader.words).join(" ")
}

/// As `nft` prints it: the family is not said where a header of that family is looked at.
fn without_the_obvious(mut words: Vec<String>) -> Vec<String> {
    for (family, header) in [("meta nfproto ipv4", "ip"), ("meta nfproto ipv6", "ip6")] {
        let addresses = [format!("{header} saddr"), format!("{header} daddr")];
        let looks = |word: &String| addresses.iter().any(|address| word.contains(address.as_str()));
        let said = words.iter().position(|word| word == family);
        if let Some(said) = said.filter(|said| words[said + 1..].iter().any(looks)) {
            words.remove(said);
        }
    }
    words
}

/// The kinds in a concatenation's number: six bits each (nft's `TYPE_BITS`).
pub(super) fn parts(mut number: u32) -> Vec<Kind> {
    let mut parts = Vec::new();
    while number > 0 {
        parts.push(match number & 0x3f {
            7 | 8 => Kind::Address,
            12 => Kind::Transport,
            13 => Kind::Port,
            41 => Kind::Name,
            _ => Kind::Bytes,
        });
        // An IPv6 address is told by its number, for its length.
        number >>= 6;
    }
    parts.reverse();
    parts
}

/// What a concatenation says. Each part begins at a multiple of four bytes; all that is not told by the other parts is
/// the address's.
pub(super) fn concatenation(bytes: &[u8], kinds: &[Kind]) -> String {
    let whole = |kind: &Kind| kind.length().next_multiple_of(4);
    let addresses = kinds.iter().filter(|kind| **kind == Kind::Address).count();
    let others: usize = kinds.iter().filter(|kind| **kind != Kind::Address).map(whole).sum();
    let per_address = bytes.len().saturating_sub(others).checked_div(addresses).unwrap_or(0);
    let mut rest = bytes;
    let mut texts = Vec::new();
    for kind in kinds {
        let (length, step) = match kind {
            Kind::Address => (per_address, per_address),
            kind => (kind.length(), whole(kind)),
        };
        texts.push(value(rest.get(..length).unwrap_or(rest), *kind));
        rest = rest.get(step..).unwrap_or_default();
    }
    texts.join(" . ")
}

/// What is done with a packet.
pub(super) fn verdict(all: Attributes<'_>) -> String {
    let [code, chain] = [1, 2];
    let to = all.text(chain).unwrap_or_default();
    match all.big(code).unwrap_or_default().cast_signed() {
        0 => "drop".to_owned(),
        1 => "accept".to_owned(),
        3 => "queue".to_owned(),
        -1 => "continue".to_owned(),
        -3 => format!("jump {to}"),
        -4 => format!("goto {to}"),
        -5 => "return".to_owned(),
        other => format!("verdict {other}"),
    }
}

fn value(bytes: &[u8], kind: Kind) -> String {
    let number = || bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let of_host = || bytes.try_into().map(u32::from_ne_bytes).map_or_else(|_| number(), u64::from);
    match kind {
        Kind::Address => raw::address(bytes).map_or_else(|| hex(bytes), |address| address.to_string()),
        Kind::Port => number().to_string(),
        Kind::Transport => match bytes.first() {
            Some(1) => "icmp".to_owned(),
            Some(6) => "tcp".to_owned(),
            Some(17) => "udp".to_owned(),
            Some(58) => "ipv6-icmp".to_owned(),
            Some(132) => "sctp".to_owned(),
            _ => number().to_string(),
        },
        Kind::Family => match bytes.first() {
            Some(2) => "ipv4".to_owned(),
            Some(10) => "ipv6".to_owned(),
            _ => number().to_string(),
        },
        Kind::Name => format!("\"{}\"", raw::text(bytes)),
        Kind::Route => match of_host() {
            1 => "unicast".to_owned(),
            2 => "local".to_owned(),
            3 => "broadcast".to_owned(),
            5 => "multicast".to_owned(),
            other => other.to_string(),
        },
        Kind::Status => match of_host() {
            0x10 => "snat".to_owned(),
            0x20 => "dnat".to_owned(),
            other => format!("{other:#x}"),
        },
        Kind::Number => of_host().to_string(),
        Kind::Mark => format!("{:#010x}", of_host()),
        Kind::Bytes => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("0x{digits}")
}

/// How many leading bits a mask keeps, if it keeps leading bits only.
fn prefix(mask: &[u8]) -> Option<u32> {
    let ones: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
    let all: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let leading = mask.iter().take_while(|byte| **byte == 0xff).count();
    let tail = mask.get(leading + 1..).unwrap_or_default();
    (ones == all && tail.iter().all(|byte| *byte == 0)).then_some(ones)
}

#[derive(Default)]
struct Reader {
    /// What the registers hold, by their place in units of four bytes.
    held: BTreeMap<u32, Held>,
    words: Vec<String>,
}

/// A register's place: the first four are wide, the others are those four once more, in pieces.
fn place(register: u32) -> u32 {
    if (1..=4).contains(&register) { (register - 1) * 4 } else { register.saturating_sub(8) }
}

impl Reader {
    fn read(&mut self, name: &str, data: Attributes<'_>) {
        match name {
            "meta" => self.meta(data),
            "payload" => self.payload(data),
            "cmp" => self.compare(data),
            "bitwise" => self.mask(data),
            "lookup" => self.look_up(data),
            "immediate" => self.immediate(data),
            "fib" => self.load(data.big(1), "fib daddr type", Kind::Route),
            "ct" => self.connection(data),
            "numgen" => {
                let way = if data.big(3) == Some(1) { "random" } else { "inc" };
                let text = format!("numgen {way} mod {}", data.big(2).unwrap_or_default());
                self.load(data.big(1), &text, Kind::Number);
            }
            "hash" => {
                let text = format!("jhash mod {}", data.big(4).unwrap_or_default());
                self.load(data.big(2), &text, Kind::Number);
            }
            "nat" => self.translate(data),
            "masq" => self.say("masquerade"),
            "reject" => self.say(match data.big(1) {
                Some(1) => "reject with tcp reset",
                Some(2) => "reject with icmpx port-unreachable",
                _ => "reject",
            }),
            "dynset" => self.change_map(data),
            "counter" => {
                let (bytes, packets) = (data.long(1).unwrap_or_default(), data.long(2).unwrap_or_default());
                self.say(format!("counter packets {packets} bytes {bytes}"));
            }
            other => self.say(format!("[{other}]")),
        }
    }

    fn say(&mut self, text: impl Into<String>) {
        self.words.push(text.into());
    }

    fn load(&mut self, register: Option<u32>, text: &str, kind: Kind) {
        let held = Held { text: text.to_owned(), kind, mask: None, constant: Vec::new() };
        self.held.insert(place(register.unwrap_or_default()), held);
    }

    fn meta(&mut self, data: Attributes<'_>) {
        let [to, key, from] = [1, 2, 3];
        let (text, kind) = match data.big(key).unwrap_or_default() {
            3 => ("meta mark", Kind::Mark),
            4 => ("iif", Kind::Number),
            5 => ("oif", Kind::Number),
            6 => ("iifname", Kind::Name),
            7 => ("oifname", Kind::Name),
            15 => ("meta nfproto", Kind::Family),
            16 => ("meta l4proto", Kind::Transport),
            _ => ("meta", Kind::Bytes),
        };
        match data.big(from) {
            Some(register) => self.set(text, register, kind),
            None => self.load(data.big(to), text, kind),
        }
    }

    /// What a register holds is written somewhere, and is of the kind that is kept there.
    fn set(&mut self, text: &str, register: u32, kind: Kind) {
        let held = self.held.get(&place(register));
        let to = held.map(|held| match &*held.constant {
            [] => held.text.clone(),
            constant => value(constant, kind),
        });
        self.say(format!("{text} set {}", to.unwrap_or_default()));
    }

    fn payload(&mut self, data: Attributes<'_>) {
        let [to, base, offset, length] = [1, 2, 3, 4];
        let at = [base, offset, length].map(|kind| data.big(kind).unwrap_or_default());
        let (text, kind) = match at {
            [1, 12, 4] => ("ip saddr".to_owned(), Kind::Address),
            [1, 16, 4] => ("ip daddr".to_owned(), Kind::Address),
            [1, 8, 16] => ("ip6 saddr".to_owned(), Kind::Address),
            [1, 24, 16] => ("ip6 daddr".to_owned(), Kind::Address),
            [1, 9, 1] => ("ip protocol".to_owned(), Kind::Transport),
            [2, 0, 2] => ("th sport".to_owned(), Kind::Port),
            [2, 2, 2] => ("th dport".to_owned(), Kind::Port),
            [base, offset, length] => {
                let base = ["ll", "nh", "th"].get(base as usize).copied().unwrap_or("ih");
                (format!("@{base},{},{}", offset * 8, length * 8), Kind::Bytes)
            }
        };
        self.load(data.big(to), &text, kind);
    }

    fn compare(&mut self, data: Attributes<'_>) {
        let [from, operator, right] = [1, 2, 3];
        let right = data.nested(right).get(1).unwrap_or_default();
        let Some(held) = self.held.get(&place(data.big(from).unwrap_or_default())).cloned() else {
            return self.say("[cmp]");
        };
        let differs = data.big(operator) == Some(1);
        let sign = match data.big(operator).unwrap_or_default() {
            0 => "",
            1 => "!= ",
            2 => "< ",
            3 => "<= ",
            4 => "> ",
            _ => ">= ",
        };
        let text = held.text;
        self.say(match held.mask {
            None => format!("{text} {sign}{}", value(right, held.kind)),
            Some(mask) if differs && right.iter().all(|byte| *byte == 0) => {
                format!("{text} {}", value(&mask, held.kind))
            }
            Some(mask) => match prefix(&mask).filter(|_| held.kind == Kind::Address) {
                Some(bits) => format!("{text} {sign}{}/{bits}", value(right, held.kind)),
                None => {
                    let (mask, right) = (value(&mask, held.kind), value(right, held.kind));
                    format!("{text} & {mask} {}{right}", if sign.is_empty() { "== " } else { sign })
                }
            },
        });
    }

    fn mask(&mut self, data: Attributes<'_>) {
        let [from, to, mask] = [1, 2, 4];
        let Some(mut held) = self.held.get(&place(data.big(from).unwrap_or_default())).cloned() else {
            return self.say("[bitwise]");
        };
        held.mask = data.nested(mask).get(1).map(<[u8]>::to_vec);
        self.held.insert(place(data.big(to).unwrap_or_default()), held);
    }

    fn connection(&mut self, data: Attributes<'_>) {
        let [to, key, from] = [1, 2, 4];
        let (text, kind) = match data.big(key).unwrap_or_default() {
            0 => ("ct state", Kind::Number),
            1 => ("ct direction", Kind::Number),
            2 => ("ct status", Kind::Status),
            3 => ("ct mark", Kind::Mark),
            _ => ("ct", Kind::Bytes),
        };
        match data.big(from) {
            Some(register) => self.set(text, register, kind),
            None => self.load(data.big(to), text, kind),
        }
    }

    /// All that is held from a register on, as far as it was loaded piece by piece.
    fn key(&self, register: u32) -> String {
        let mut at = place(register);
        let mut texts = Vec::new();
        while let Some(held) = self.held.get(&at) {
            texts.push(held.text.clone());
            at += if held.text.starts_with("ip6") { 4 } else { 1 };
        }
        texts.join(" . ")
    }

    fn look_up(&mut self, data: Attributes<'_>) {
        let [set, from, to, flags] = [1, 2, 3, 5];
        const INVERTED: u32 = 1;
        let set = data.text(set).unwrap_or_default();
        let key = self.key(data.big(from).unwrap_or_default());
        match data.big(to) {
            Some(0) => self.say(format!("{key} vmap @{set}")),
            Some(to) => {
                self.held.retain(|at, _| *at < place(to));
                self.load(Some(to), &format!("{key} map @{set}"), Kind::Bytes);
            }
            None => {
                let sign = if data.big(flags) == Some(INVERTED) { "!= " } else { "" };
                self.say(format!("{key} {sign}@{set}"));
            }
        }
    }

    /// `update @kept4 { ip saddr . ip daddr timeout 60s : 10.244.0.9 . 80 }`
    fn change_map(&mut self, data: Attributes<'_>) {
        let [map, operation, key, value, timeout] = [1, 3, 4, 5, 6];
        let way = ["add", "update", "delete"].get(data.big(operation).unwrap_or_default() as usize);
        // A map's value may lie right behind its key.
        let mut parts = self.key(data.big(key).unwrap_or_default());
        let value = data.big(value).map(|register| self.key(register)).unwrap_or_default();
        if let Some(key) = parts.strip_suffix(&value).and_then(|key| key.strip_suffix(" . ")) {
            parts = key.to_owned();
        }
        if let Some(millis) = data.long(timeout) {
            parts = format!("{parts} timeout {}s", millis / 1000);
        }
        if !value.is_empty() {
            parts = format!("{parts} : {value}");
        }
        let map = data.text(map).unwrap_or_default();
        self.say(format!("{} @{map} {{ {parts} }}", way.unwrap_or(&"change")));
    }

    fn immediate(&mut self, data: Attributes<'_>) {
        let [to, right] = [1, 2];
        let [plain, decision] = [1, 2];
        let right = data.nested(right);
        if let Some(decision) = right.get(decision) {
            return self.say(verdict(Attributes(decision)));
        }
        let constant = right.get(plain).unwrap_or_default().to_vec();
        let kind = match constant.len() {
            2 => Kind::Port,
            4 | 16 => Kind::Address,
            _ => Kind::Bytes,
        };
        let held = Held { text: value(&constant, kind), kind, mask: None, constant };
        self.held.insert(place(data.big(to).unwrap_or_default()), held);
    }

    fn translate(&mut self, data: Attributes<'_>) {
        let [kind, family, address, port] = [1, 2, 3, 5];
        let word = if data.big(kind) == Some(0) { "snat" } else { "dnat" };
        let family = if data.big(family) == Some(10) { "ip6" } else { "ip" };
        let held = |kind: u16| data.big(kind).and_then(|register| self.held.get(&place(register)));
        let constant = |held: &&Held| !held.constant.is_empty();
        let to = held(address).map(|held| held.text.clone()).unwrap_or_default();
        let to = match held(port).filter(constant) {
            Some(port) => format!("{to}:{}", port.text),
            None => to,
        };
        self.say(format!("{word} {family} to {to}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concatenation_is_read_part_by_part_whatever_its_family() {
        let kinds = parts(12 << 6 | 13);
        assert_eq!(kinds, [Kind::Transport, Kind::Port]);
        assert_eq!(concatenation(&[6, 0, 0, 0, 0x1f, 0x90, 0, 0], &kinds), "tcp . 8080");
        let kinds = parts(7 << 6 | 13);
        assert_eq!(concatenation(&[10, 244, 0, 2, 0, 80, 0, 0], &kinds), "10.244.0.2 . 80");
        let mut bytes = std::net::Ipv6Addr::LOCALHOST.octets().to_vec();
        bytes.extend([0, 80, 0, 0]);
        assert_eq!(concatenation(&bytes, &parts(8 << 6 | 13)), "::1 . 80");
    }

    #[test]
    fn a_mask_of_leading_bits_is_a_prefix_and_no_other_is() {
        assert_eq!(prefix(&[0xff, 0xff, 0, 0]), Some(16));
        assert_eq!(prefix(&[0xff, 0xf0, 0, 0]), Some(12));
        assert_eq!(prefix(&[0, 0xff, 0, 0]), None);
        assert_eq!(prefix(&[0xff, 0x0f, 0, 0]), None);
    }
}
