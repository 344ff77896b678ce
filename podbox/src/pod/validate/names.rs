//! The kinds of names that Kubernetes knows, and its words for a wrong one.
//!
//! From `k8s.io/apimachinery/pkg/util/validation`. The regular expressions in the messages are what the API
//! server prints; the checks are written out, so that no expression has to be compiled at every start.

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
                     must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex \
                     used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
                         or '.', and must start and end with an alphanumeric character (e.g. 'example.com', \
                         regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' \
                           or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
                           'my_value',  or '12345', regex used for validation is \
                           '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and \
                         end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex \
                         used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const PREFIX_PART: &str = "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                           characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
                           'example.com', regex used for validation is \
                           '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must \
                         start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
                         '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') \
                         with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const ENV_NAME: &str = "a valid environment variable name must consist only of printable ASCII characters other \
                        than '='";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
                          'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is \
                          '[-._a-zA-Z0-9]+')";
const HEADER_NAME: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
                           'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const SYSCTL: &str = "must have at most 253 characters and match regex \
                      ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const MAX_63: &str = "must be no more than 63 characters";
const MAX_253: &str = "must be no more than 253 characters";

/// The messages for what is wrong; none if the name is good.
pub(crate) type Wrong = Vec<&'static str>;

fn lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Begins and ends with `edge`, and holds only `edge` and `inner` between.
fn shaped(text: &str, edge: fn(u8) -> bool, inner: &[u8]) -> bool {
    match text.as_bytes() {
        [] => false,
        bytes @ ([only] | [only, ..]) => {
            edge(*only)
                && edge(bytes[bytes.len() - 1])
                && bytes.iter().all(|byte| edge(*byte) || inner.contains(byte))
        }
    }
}

fn checks(checks: &[(bool, &'static str)]) -> Wrong {
    checks.iter().filter(|(good, _)| !good).map(|(_, message)| *message).collect()
}

/// A DNS-1123 label.
pub(crate) fn label(text: &str) -> Wrong {
    checks(&[(text.len() <= 63, MAX_63), (shaped(text, lower, b"-"), LABEL)])
}

/// A key of a ConfigMap or a Secret.
pub(crate) fn config_key(text: &str) -> Wrong {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    checks(&[
        (text.len() <= 253, MAX_253),
        (!text.is_empty() && text.bytes().all(plain), CONFIG_KEY),
        (text != ".", "must not be '.'"),
        (text != "..", "must not be '..'"),
        (text == ".." || !text.starts_with(".."), "must not start with '..'"),
    ])
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(|part| shaped(part, lower, b"-"))
}

/// A DNS-1123 subdomain.
pub(crate) fn subdomain(text: &str) -> Wrong {
    checks(&[(text.len() <= 253, MAX_253), (is_subdomain(text), SUBDOMAIN)])
}

/// A DNS search path: a subdomain in which a label may begin with or hold underscores.
pub(super) fn search_path(text: &str) -> Wrong {
    let edge = |byte: u8| lower(byte) || byte == b'_';
    let good = text.split('.').all(|part| shaped(part, edge, b"-"));
    checks(&[(text.len() <= 253, MAX_253), (good, SUBDOMAIN)])
}

/// A label's value.
pub(crate) fn label_value(text: &str) -> Wrong {
    let alphanumeric = |byte: u8| byte.is_ascii_alphanumeric();
    let good = text.is_empty() || shaped(text, alphanumeric, b"-_.");
    checks(&[(text.len() <= 63, MAX_63), (good, LABEL_VALUE)])
}

/// A label's or an annotation's key: `name` or `prefix/name`.
pub(crate) fn qualified(text: &str) -> Wrong {
    let mut wrong = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty");
            } else if !is_subdomain(prefix) {
                wrong.push(PREFIX_PART);
            }
            name
        }
        _ => return vec![QUALIFIED],
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty");
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 characters");
    }
    if !shaped(name, |byte| byte.is_ascii_alphanumeric(), b"-_.") {
        wrong.push(NAME_PART);
    }
    wrong
}

/// The name of a port.
pub(crate) fn port(text: &str) -> Wrong {
    let known = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    checks(&[
        (text.len() <= 15, "must be no more than 15 characters"),
        (known && !text.is_empty(), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        (text.bytes().any(|byte| byte.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (!text.contains("--"), "must not contain consecutive hyphens"),
        (!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen"),
    ])
}

/// The name of an environment variable.
pub(super) fn env(text: &str) -> Wrong {
    checks(&[(text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'='), ENV_NAME)])
}

/// The name of an HTTP header.
pub(super) fn header(text: &str) -> Wrong {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    checks(&[(good, HEADER_NAME)])
}

/// The name of a sysctl, with dots or slashes.
pub(super) fn sysctl(text: &str) -> Wrong {
    let good = text.split(['.', '/']).all(|part| shaped(part, lower, b"-_"));
    checks(&[(good && text.len() <= 253, SYSCTL)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_api_server_does() {
        let long_label = "a".repeat(64);
        let long_domain = "a.".repeat(127);
        for (check, text, good) in [
            (label as fn(&str) -> Wrong, "web", true),
            (label, "w", true),
            (label, "123-abc", true),
            (label, "", false),
            (label, "-a", false),
            (label, "a-", false),
            (label, "A", false),
            (label, "a.b", false),
            (label, &long_label, false),
            (subdomain, "a.b-c.d", true),
            (subdomain, "a..b", false),
            (subdomain, "a_b", false),
            (subdomain, &long_domain, false),
            (search_path, "_tcp.example.com", true),
            (label_value, "", true),
            (label_value, "My_value.1", true),
            (label_value, "a b", false),
            (label_value, "-a", false),
            (qualified, "app", true),
            (qualified, "example.com/App_1", true),
            (qualified, "/x", false),
            (qualified, "Example.com/x", false),
            (qualified, "a/b/c", false),
            (qualified, "", false),
            (port, "web", true),
            (port, "WEB", false),
            (port, "8080", false),
            (port, "a--b", false),
            (port, "-a", false),
            (port, "liveness-port-1x", false),
            (env, "A.b c", true),
            (env, "A=b", false),
            (env, "é", false),
            (header, "X-Header-1", true),
            (header, "X Header", false),
            (sysctl, "net.ipv4.ip_forward", true),
            (sysctl, "net/ipv4/ip_forward", true),
            (sysctl, "foo-", false),
            (sysctl, "", false),
        ] {
            assert_eq!(check(text).is_empty(), good, "{text:?}");
        }
    }
}
