//! Patterns: `*`, `?` and `[…]`, in `case`, in `${x%…}` and for file names (XCU 2.13).

use std::fs;

/// A letter, and whether it stands for itself.
pub(super) type Letter = (char, bool);

/// Whether the letters hold a sign that matches other than itself.
pub(super) fn is_pattern(letters: &[Letter]) -> bool {
    letters.iter().any(|(letter, quoted)| !quoted && matches!(letter, '*' | '?' | '['))
}

/// Whether all of the text fits the pattern.
pub(super) fn matches(pattern: &[Letter], text: &[char]) -> bool {
    // The last star seen and where its match ended: only that one ever needs to take more.
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if let Some(('*', false)) = pattern.get(p) {
            retry = Some((p, t));
            p += 1;
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        if let Some(length) = text.get(t).and_then(|letter| one(&pattern[p..], *letter)) {
            p += length;
            t += 1;
            continue;
        }
        match retry {
            Some((star, from)) if from < text.len() => {
                retry = Some((star, from + 1));
                (p, t) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
}

/// How many letters of the pattern match this one letter.
fn one(pattern: &[Letter], letter: char) -> Option<usize> {
    match *pattern.first()? {
        ('?', false) => Some(1),
        ('[', false) => match set(pattern, letter) {
            Some((true, length)) => Some(length),
            Some((false, _)) => None,
            // A bracket that is not closed is a letter.
            None => (letter == '[').then_some(1),
        },
        (own, _) => (own == letter).then_some(1),
    }
}

/// Whether the letter is in the set, and how long the set is.
fn set(pattern: &[Letter], letter: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(('!' | '^', false)));
    let first = 1 + usize::from(negated);
    let mut at = first;
    let mut found = false;
    loop {
        let (low, quoted) = *pattern.get(at)?;
        if low == ']' && !quoted && at > first {
            return Some((found != negated, at + 1));
        }
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(('-', false)), Some((high, _))) if *high != ']' => {
                found |= (low..=*high).contains(&letter);
                at += 3;
            }
            _ => {
                found |= low == letter;
                at += 1;
            }
        }
    }
}

/// The file names that fit, sorted; none if there is none.
pub(super) fn files(pattern: &[Letter]) -> Vec<String> {
    let absolute = matches!(pattern.first(), Some(('/', _)));
    let mut found = vec![if absolute { "/".to_owned() } else { String::new() }];
    for part in pattern.split(|(letter, _)| *letter == '/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for dir in found {
            let join = |name: &str| {
                if dir.is_empty() || dir.ends_with('/') {
                    format!("{dir}{name}")
                } else {
                    format!("{dir}/{name}")
                }
            };
            if !is_pattern(part) {
                let name: String = part.iter().map(|(letter, _)| *letter).collect();
                next.extend(fs::symlink_metadata(join(&name)).is_ok().then(|| join(&name)));
                continue;
            }
            let place = if dir.is_empty() { "." } else { &dir };
            let hidden = part[0].0 == '.';
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let letters: Vec<char> = name.chars().collect();
                if name.starts_with('.') == hidden && matches(part, &letters) {
                    next.push(join(&name));
                }
            }
        }
        found = next;
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        let pattern: Vec<Letter> = pattern.chars().map(|letter| (letter, false)).collect();
        matches(&pattern, &text.chars().collect::<Vec<_>>())
    }

    #[test]
    fn stars_questions_and_sets_match_as_posix_says() {
        assert!(fits("*.log", "0.log") && fits("a*b*c", "axxbyyc") && fits("*", "") && fits("", ""));
        assert!(fits("?[a-c]", "xb") && fits("[!a]", "b") && fits("[]x]", "]") && fits("[a", "[a"));
        assert!(!fits("*.log", "0.log.gz") && !fits("[!a]", "a") && !fits("?", "") && !fits("a*b", "a"));
    }

    #[test]
    fn a_quoted_star_is_a_star() {
        assert!(!matches(&[('*', true)], &['x']));
        assert!(matches(&[('*', true)], &['*']));
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!fits(&("*a".repeat(30) + "b"), &"a".repeat(3000)));
    }
}
