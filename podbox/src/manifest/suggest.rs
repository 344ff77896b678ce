//! "Did you mean …": the known name that is nearest to a wrong one.

/// The nearest of `known`, if it is near enough to be what was meant.
pub(crate) fn nearest(wrong: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let lower = wrong.to_lowercase();
    let allowed = (wrong.chars().count() / 3).clamp(1, 4);
    known
        .iter()
        .filter(|name| name.len().abs_diff(wrong.len()) <= allowed)
        .map(|name| (distance(&lower, &name.to_lowercase()), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_field() {
        const KNOWN: &[&str] = &["args", "command", "env", "image", "livenessProbe", "name", "ports"];
        for (wrong, want) in [
            ("livenesProbe", Some("livenessProbe")),
            ("livenessprobe", Some("livenessProbe")),
            ("imgae", Some("image")),
            ("imag", Some("image")),
            ("port", Some("ports")),
            ("arg", Some("args")),
            ("comand", Some("command")),
            ("nothingLikeIt", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, KNOWN), want, "{wrong}");
        }
    }
}
