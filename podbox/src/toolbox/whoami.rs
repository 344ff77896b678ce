//! `hostname` and `id`; user and group names from `/etc/passwd` and `/etc/group`, read by hand.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;

use nix::unistd::{getegid, geteuid, getgroups, gethostname};

use super::failure::Failure;
use super::flags::{parse, switch};
use super::{Outcome, text};

/// The kernel's host name.
pub(super) fn own_name() -> String {
    gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// `hostname [-i]`: the name, or the addresses that `/etc/hosts` gives it.
pub(super) fn hostname(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[switch("ip-address").or(b'i'), switch("fqdn").or(b'f')])?;
    if !parsed.rest.is_empty() {
        return Err(Failure::usage("hostname only shows the name, it does not set it"));
    }
    let name = own_name();
    if !parsed.has("ip-address") {
        return text::print((name + "\n").as_bytes());
    }
    let addresses = super::resolve::addresses(&name)?;
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    text::print((shown.join(" ") + "\n").as_bytes())
}

/// `id [-u] [-g] [-n]`: the effective user and all groups.
pub(super) fn id(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[switch("user").or(b'u'), switch("group").or(b'g'), switch("name").or(b'n')])?;
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let line = match (parsed.has("user"), parsed.has("group"), parsed.has("name")) {
        (true, _, true) => user_name(user),
        (true, _, false) => user.to_string(),
        (_, true, true) => group_name(group),
        (_, true, false) => group.to_string(),
        _ => all(user, group)?,
    };
    text::print((line + "\n").as_bytes())
}

fn all(user: u32, group: u32) -> Result<String, Failure> {
    let with = |number: u32, name: Option<String>| match name {
        Some(name) => format!("{number}({name})"),
        None => number.to_string(),
    };
    let mut groups: BTreeSet<u32> =
        getgroups().map_err(Failure::system("groups"))?.iter().map(|group| group.as_raw()).collect();
    groups.insert(group);
    let groups: Vec<String> = groups.iter().map(|group| with(*group, named("/etc/group", *group))).collect();
    let user = with(user, named("/etc/passwd", user));
    Ok(format!("uid={user} gid={} groups={}", with(group, named("/etc/group", group)), groups.join(",")))
}

/// The user's name, or the number where `/etc/passwd` has none.
pub(super) fn user_name(id: u32) -> String {
    named("/etc/passwd", id).unwrap_or_else(|| id.to_string())
}

/// The group's name, or the number where `/etc/group` has none.
pub(super) fn group_name(id: u32) -> String {
    named("/etc/group", id).unwrap_or_else(|| id.to_string())
}

fn named(file: &str, id: u32) -> Option<String> {
    name_in(&fs::read_to_string(file).ok()?, id)
}

/// passwd(5) and group(5) agree in what matters here: the name first, the number third.
fn name_in(text: &str, id: u32) -> Option<String> {
    let id = id.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_its_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:1000:1000::/:\n";
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("web"));
        assert_eq!(name_in(passwd, 5), None);
    }
}
