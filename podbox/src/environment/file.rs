//! Files of variables, as `fileKeyRef` reads them: `NAME='value'`, a subset of what a shell takes.
//!
//! Blank lines and those that begin with `#` say nothing. A value stands in single quotes and is what stands between
//! them, over several lines if need be; blanks around `=` and before the name do not count. Source: kubernetes.io
//! "Define Environment Variable Values Using An Init Container" (v1.35: values without quotes are refused).

/// The file is not in this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The value of the first variable of that name; `None` if there is none.
pub(super) fn variable(text: &str, key: &str) -> Result<Option<String>, Malformed> {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let line_ends = rest.find('\n').unwrap_or(rest.len());
        let (name, after) = rest[..line_ends].split_once('=').ok_or(Malformed)?;
        let name = name.trim_end();
        if name.is_empty() {
            return Err(Malformed);
        }
        let quoted = after.trim_start_matches([' ', '\t']).strip_prefix('\'').ok_or(Malformed)?;
        // From here on the value may reach beyond the line.
        let quoted = &rest[line_ends - quoted.len()..];
        let (value, after) = quoted.split_once('\'').ok_or(Malformed)?;
        let (behind, next) = after.split_once('\n').unwrap_or((after, ""));
        if !behind.trim().is_empty() {
            return Err(Malformed);
        }
        if name == key {
            return Ok(Some(value.to_owned()));
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_stands_between_single_quotes() {
        let text = "# made by setup\n\n  A='1'\nB = ' two # words '  \nMULTI='x\ny=z'\nEMPTY=''\nA='again'\nLAST='end'";
        for (key, want) in [
            ("A", Some("1")),
            ("B", Some(" two # words ")),
            ("MULTI", Some("x\ny=z")),
            ("EMPTY", Some("")),
            ("LAST", Some("end")),
            ("y", None),
            ("NONE", None),
        ] {
            assert_eq!(variable(text, key).unwrap().as_deref(), want, "{key}");
        }
    }

    #[test]
    fn what_a_shell_would_have_to_interpret_is_refused() {
        for text in ["A=1", "A=\"1\"", "A='1''2'", "A='1'$B", "A='1", "='1'", "A", "export"] {
            assert_eq!(variable(text, "B"), Err(Malformed), "{text}");
        }
    }
}
