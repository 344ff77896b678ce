//! Addresses of pages, as Go's `net/url` takes them apart and prints them.
//!
//! Only what a probe needs: the `path` of a manifest (which may carry a query, and in odd cases more), and the
//! `Location` of a redirect (RFC 3986, section 5). The printed form goes into events.
//!
//! Source: kubelet `pkg/probe/http/request.go` (`formatURL`), Go `net/url`.

use std::fmt;

use super::dial::join;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    /// No brackets around an IPv6 address.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Escaped.
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

/// A reference to a page, in its parts (RFC 3986, 4.1).
struct Reference {
    scheme: Option<String>,
    authority: Option<(String, Option<u16>)>,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

impl Url {
    /// The page that a probe asks for. A path that cannot be taken apart is used as it is, escaped.
    pub(super) fn of_probe(scheme: &str, host: String, port: u16, path: &str) -> Self {
        let reference = Reference::parse(path).unwrap_or_else(|_| Reference {
            scheme: None,
            authority: None,
            path: escape(path.as_bytes()),
            query: None,
            fragment: None,
        });
        // The probe's own host and port win over any that the path may name.
        Self {
            scheme: scheme.to_owned(),
            host,
            port: Some(port),
            path: reference.path,
            query: reference.query,
            fragment: reference.fragment,
        }
    }

    /// Where a `Location` leads from here; or why it cannot be understood.
    pub(super) fn join(&self, location: &str) -> Result<Self, String> {
        let reference = Reference::parse(location)?;
        let has_authority = reference.authority.is_some();
        let absolute = reference.scheme.is_some();
        let scheme = reference.scheme.unwrap_or_else(|| self.scheme.clone());
        let fragment = reference.fragment;
        if absolute || has_authority {
            let (host, port) = reference.authority.unwrap_or_default();
            let path = remove_dots(&reference.path);
            return Ok(Self { scheme, host, port, path, query: reference.query, fragment });
        }
        let mut next = Self { fragment, ..self.clone() };
        if reference.path.is_empty() {
            next.query = reference.query.or(next.query);
            return Ok(next);
        }
        next.query = reference.query;
        next.path = if reference.path.starts_with('/') {
            remove_dots(&reference.path)
        } else {
            let base = self.path.rfind('/').map_or("/", |end| &self.path[..=end]);
            remove_dots(&format!("{base}{}", reference.path))
        };
        Ok(next)
    }

    /// Whether a `Location` names its scheme.
    pub(super) fn is_absolute(location: &str) -> bool {
        split_scheme(location).is_ok_and(|(scheme, _)| scheme.is_some())
    }

    /// What the request line asks for.
    pub(super) fn path_and_query(&self) -> String {
        let path = self.rooted_path();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        match &self.query {
            Some(query) => format!("{path}?{}", sendable(query)),
            None => path,
        }
    }

    /// What the Host header says.
    pub(super) fn host_header(&self) -> String {
        match self.port {
            Some(port) => join(&self.host, port),
            None if self.host.contains(':') => format!("[{}]", self.host),
            None => self.host.clone(),
        }
    }

    /// The port to connect to.
    pub(super) fn dial_port(&self) -> u16 {
        self.port.unwrap_or(if self.scheme == "https" { 443 } else { 80 })
    }

    fn rooted_path(&self) -> String {
        if self.path.is_empty() || self.path.starts_with('/') {
            self.path.clone()
        } else {
            format!("/{}", self.path)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.host_header(), self.rooted_path())?;
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        if let Some(fragment) = &self.fragment {
            write!(f, "#{fragment}")?;
        }
        Ok(())
    }
}

impl Reference {
    fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let (rest, fragment) = split(text, '#');
        let (scheme, rest) = split_scheme(rest)?;
        let (rest, query) = split(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            // Go takes three slashes without a scheme for a path.
            Some(after) if scheme.is_some() || !after.starts_with('/') => {
                let end = after.find('/').unwrap_or(after.len());
                (Some(parse_authority(&after[..end])?), &after[end..])
            }
            _ => (None, rest),
        };
        if scheme.is_none() && authority.is_none() && path.split('/').next().unwrap_or("").contains(':') {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
        Ok(Self {
            scheme,
            authority,
            path: escaped_path(path)?,
            query: query.map(str::to_owned),
            fragment: fragment.map(str::to_owned),
        })
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn split_scheme(text: &str) -> Result<(Option<String>, &str), String> {
    for (index, letter) in text.char_indices() {
        match letter {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((Some(text[..index].to_ascii_lowercase()), &text[index + 1..])),
            _ => break,
        }
    }
    Ok((None, text))
}

fn parse_authority(text: &str) -> Result<(String, Option<u16>), String> {
    let host_port = text.rsplit_once('@').map_or(text, |(_, host_port)| host_port);
    let (host, port) = match host_port.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("missing ']' in host")?,
        None => host_port.find(':').map_or((host_port, ""), |colon| host_port.split_at(colon)),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) => {
            Some(digits.parse().map_err(|_| format!("invalid port {:?} after host", format!(":{digits}")))?)
        }
        None => return Err(format!("invalid port {port:?} after host")),
    };
    Ok((host.to_owned(), port))
}

/// The path as Go prints it: untouched if it could stand in a URL, otherwise decoded and escaped anew.
fn escaped_path(path: &str) -> Result<String, String> {
    let decoded = decode(path)?;
    let valid = |byte: u8| byte == b'%' || plain(byte) || b"!'()*[]".contains(&byte);
    if path.bytes().all(valid) { Ok(path.to_owned()) } else { Ok(escape(&decoded)) }
}

fn decode(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err("invalid URL escape".to_owned());
        };
        out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
    }
    Ok(out)
}

/// Go's `shouldEscape` for a path, turned round.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte)
}

fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if plain(*byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Queries are sent as they are written, except for what no request line can hold.
fn sendable(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    for byte in query.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// RFC 3986, 5.2.4.
fn remove_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                out.pop();
            }
            other => {
                out.push(other);
                continue;
            }
        }
        if last {
            out.push("");
        }
    }
    format!("/{}", out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(path: &str) -> Url {
        Url::of_probe("http", "10.0.0.1".to_owned(), 8080, path)
    }

    #[test]
    fn a_path_is_printed_and_sent_as_a_kubelet_does() {
        for (why, path, sent, shown) in [
            ("the usual case", "/healthz", "/healthz", "/healthz"),
            ("a query is carried", "/h?a=b&c", "/h?a=b&c", "/h?a=b&c"),
            ("a missing slash is added", "healthz", "/healthz", "/healthz"),
            ("no path asks for the root", "", "/", ""),
            ("a query alone asks the root", "?a=b", "/?a=b", "?a=b"),
            ("a space is escaped", "/a b", "/a%20b", "/a%20b"),
            ("an escape stays as it is", "/a%2Fb", "/a%2Fb", "/a%2Fb"),
            ("a broken escape makes it raw", "/%zz?x", "/%25zz%3Fx", "/%25zz%3Fx"),
            ("a fragment is shown, not sent", "/a#b", "/a", "/a#b"),
            ("a host in the path does not count", "//other/x", "/x", "/x"),
            ("nor does a whole URL", "https://other:9/x", "/x", "/x"),
            ("a colon makes it raw", "1a:b", "/1a:b", "/1a:b"),
            ("letters of the world are escaped", "/ü", "/%C3%BC", "/%C3%BC"),
        ] {
            let url = probe(path);
            assert_eq!(url.path_and_query(), sent, "{why}");
            assert_eq!(url.to_string(), format!("http://10.0.0.1:8080{shown}"), "{why}");
        }
    }

    #[test]
    fn an_ipv6_host_stands_in_brackets() {
        let url = Url::of_probe("http", "fd00::2".to_owned(), 80, "/x");
        assert_eq!(url.to_string(), "http://[fd00::2]:80/x");
        assert_eq!(url.host_header(), "[fd00::2]:80");
    }

    #[test]
    fn a_location_is_resolved_against_the_page_it_came_from() {
        for (why, location, result) in [
            ("a rooted path", "/x?y", "http://10.0.0.1:8080/x?y"),
            ("a relative path", "c", "http://10.0.0.1:8080/a/c"),
            ("up one", "../c", "http://10.0.0.1:8080/c"),
            ("no further up than the root", "../../../c", "http://10.0.0.1:8080/c"),
            ("a dot at the end keeps the slash", "./", "http://10.0.0.1:8080/a/"),
            ("another port", "http://10.0.0.1:9/", "http://10.0.0.1:9/"),
            ("another scheme, default port", "HTTPS://10.0.0.1/", "https://10.0.0.1/"),
            ("the same scheme, another host", "//other/x", "http://other/x"),
            ("an IPv6 host", "http://[::1]:80/x", "http://[::1]:80/x"),
            ("a query alone", "?z", "http://10.0.0.1:8080/a/b?z"),
            ("a user is not shown", "http://me:secret@h/", "http://h/"),
        ] {
            let url = probe("/a/b?q").join(location).unwrap();
            assert_eq!(url.to_string(), result, "{why}");
        }
        assert!(probe("/").join("http://h:port/").is_err());
        assert!(probe("/").join(":x").is_err());
    }
}
