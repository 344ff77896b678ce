//! Kubernetes' `$(NAME)` expansion: not a shell's.
//!
//! `$(NAME)` of a known name is its value, of an unknown name stays as written; `$$` is one `$`; everything else
//! stays. A value is not expanded again. Source: `third_party/forked/golang/expansion/expand.go`.

/// Expands `$(NAME)` in `text`; `lookup` knows the names.
#[must_use]
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn expansion_follows_the_kubelets_rules() {
        let known = |name: &str| match name {
            "A" => Some("va"),
            "B" => Some("$(A)"),
            "EMPTY" => Some(""),
            _ => None,
        };
        for (input, output, why) in [
            ("x $(A) y", "x va y", "a known name is its value"),
            ("$(NOPE)", "$(NOPE)", "an unknown name stays as written"),
            ("$$(A)", "$(A)", "a doubled dollar escapes"),
            ("$$$(A)", "$va", "an escaped dollar and a value"),
            ("$(B)", "$(A)", "a value is not expanded again"),
            ("$(A", "$(A", "no closing bracket"),
            ("$A ${A} $", "$A ${A} $", "a shell's forms and a trailing dollar stay"),
            ("$(EMPTY)|$()", "|$()", "an empty value and an empty name"),
            ("$(A)$(A)", "vava", "one after the other"),
        ] {
            assert_eq!(expand(input, known), output, "{why}");
        }
    }
}
