//! What a file of the downward API says. Source: kubelet `volume/downwardapi`, `pkg/fieldpath`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Place;
use crate::node;
use crate::oci::{self, Surroundings};
use crate::pod::DownwardFact;

/// The file's text, without a newline at its end.
pub(super) fn text(place: &Place<'_>, fact: &DownwardFact) -> String {
    let pod = place.pod;
    match fact {
        DownwardFact::Labels => lines(&pod.labels),
        DownwardFact::Annotations => lines(&pod.annotations),
        DownwardFact::Field(path) => oci::field(pod, path, &Surroundings::default()),
        DownwardFact::Resource { container, resource, divisor_milli } => {
            let around = Surroundings {
                node_cpu_milli: node::cpu_milli(),
                node_memory_bytes: node::memory_bytes(),
                node_storage_bytes: node::storage_bytes(place.dir.data()),
                ..Surroundings::default()
            };
            let named = pod.containers.iter().find(|one| one.name == *container);
            named.map_or_else(String::new, |one| {
                oci::resource_field(&oci::effective(pod, one), *resource, *divisor_milli, &around)
            })
        }
    }
}

/// `key="value"`, a line each, sorted by key.
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = map.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// A text as Go's `%q` writes it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for one in text.chars() {
        let _ = match one {
            '"' | '\\' => write!(out, "\\{one}"),
            '\u{7}' => write!(out, "\\a"),
            '\u{8}' => write!(out, "\\b"),
            '\u{c}' => write!(out, "\\f"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\u{b}' => write!(out, "\\v"),
            '\0'..='\u{1f}' | '\u{7f}' => write!(out, "\\x{:02x}", u32::from(one)),
            _ if is_printable(one) => write!(out, "{one}"),
            '\0'..='\u{ffff}' => write!(out, "\\u{:04x}", u32::from(one)),
            _ => write!(out, "\\U{:08x}", u32::from(one)),
        };
    }
    out.push('"');
    out
}

/// Whether a character is shown as it is. Behind a letter, so that an accent that goes with it is no reason to escape it.
fn is_printable(one: char) -> bool {
    one.is_ascii_graphic() || one == ' ' || !format!("a{one}").escape_debug().to_string().contains("\\u{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_and_quoted_as_go_quotes_them() {
        let map = [("b", "two\nlines"), ("a", "say \"é\"\u{301}\\"), ("c", "\u{1}\u{7f}\u{200b}\t\u{e0001}")];
        let map = map.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let want = "a=\"say \\\"é\\\"\u{301}\\\\\"\nb=\"two\\nlines\"\nc=\"\\x01\\x7f\\u200b\\t\\U000e0001\"";
        assert_eq!(lines(&map), want);
        assert_eq!(lines(&BTreeMap::new()), "");
    }
}
