//! Users by name: what an image's `USER` and a pod's security context mean in the container's own
//! `/etc/passwd` and `/etc/group`.
//!
//! Pure functions over the files' text. libc's name service is never asked: it would read the host's
//! files, and in a static program it can load modules that crash it.

use crate::plan::{GroupPolicy, UserSpec};

/// Who a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, without duplicates.
    pub groups: Vec<u32>,
    /// Home directory; `/` if nobody says otherwise.
    pub home: String,
}

/// A name that the files do not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
}

/// One line of a passwd file, see passwd(5).
struct PasswdEntry<'t> {
    name: &'t str,
    uid: u32,
    gid: u32,
    home: &'t str,
}

/// One line of a group file, see group(5).
struct GroupEntry<'t> {
    name: &'t str,
    gid: u32,
    members: &'t str,
}

/// Malformed lines are skipped, as libc does.
fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.trim();
        let uid = fields.nth(1)?.trim().parse().ok()?;
        let gid = fields.next()?.trim().parse().ok()?;
        let home = fields.nth(1).unwrap_or("").trim();
        (!name.is_empty() && !name.starts_with('#')).then_some(PasswdEntry { name, uid, gid, home })
    })
}

fn group_entries(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.trim();
        let gid = fields.nth(1)?.trim().parse().ok()?;
        let members = fields.next().unwrap_or("").trim();
        (!name.is_empty() && !name.starts_with('#')).then_some(GroupEntry { name, gid, members })
    })
}

impl GroupEntry<'_> {
    fn has(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member.trim() == user)
    }
}

/// Resolves `user[:group]`, each a name or a number; empty is root. Without a group it is the user's own
/// from the passwd file, else 0. The supplementary groups are those that list the user.
///
/// # Errors
/// A name that the files do not know. A number need not be in them.
pub fn resolve(user: &str, passwd: &str, group: &str) -> Result<Identity, UnknownName> {
    let (user, group_name) = user.split_once(':').unwrap_or((user, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let entry = passwd_entries(passwd).find(|entry| entry.name == user || Some(entry.uid) == number);
    let uid = match (&entry, number) {
        (Some(entry), _) => entry.uid,
        (None, Some(uid)) => uid,
        (None, None) => return Err(UnknownName::User(user.to_owned())),
    };
    let gid = if group_name.is_empty() {
        entry.as_ref().map_or(0, |entry| entry.gid)
    } else {
        group_by_name(group_name, group)?
    };
    let groups = entry.as_ref().map_or_else(Vec::new, |entry| {
        group_entries(group).filter(|line| line.has(entry.name)).map(|line| line.gid).collect()
    });
    let home = entry.map_or("", |entry| entry.home);
    let home = if home.is_empty() { "/" } else { home };
    Ok(Identity { uid, gid, groups: unique(groups), home: home.to_owned() })
}

fn group_by_name(name: &str, group: &str) -> Result<u32, UnknownName> {
    let number: Option<u32> = name.parse().ok();
    let found = group_entries(group).find(|line| line.name == name || Some(line.gid) == number);
    found.map(|line| line.gid).or(number).ok_or_else(|| UnknownName::Group(name.to_owned()))
}

/// Resolves what the image and the pod say together. A user or group that the pod names by number takes
/// the place of the image's; with the pod's user, the image's group does not apply either.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_spec(spec: &UserSpec, passwd: &str, group: &str) -> Result<Identity, UnknownName> {
    let user = spec.run_as_user.map_or_else(|| spec.image.clone(), |uid| uid.to_string());
    let mut identity = resolve(&user, passwd, group)?;
    if let Some(gid) = spec.run_as_group {
        identity.gid = gid;
    }
    let mut groups = spec.supplementary.clone();
    if spec.policy == GroupPolicy::Merge {
        groups.append(&mut identity.groups);
    }
    identity.groups = unique(groups);
    Ok(identity)
}

/// Keeps the first of each.
fn unique(groups: Vec<u32>) -> Vec<u32> {
    let mut seen = Vec::with_capacity(groups.len());
    for group in groups {
        if !seen.contains(&group) {
            seen.push(group);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment:x:1:1::/:\nbroken\n\
                          web:x:101:102:Web,,,:/srv/web:/bin/false\n1000:x:7:8::/seven:\nnohome:x:9:9\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:web,root\nweb:x:102:\nlog:x:51:other, web\nbad:x:y:web\n";

    fn who(user: &str) -> (u32, u32, Vec<u32>, String) {
        let id = resolve(user, PASSWD, GROUP).unwrap();
        (id.uid, id.gid, id.groups, id.home)
    }

    #[test]
    fn names_and_numbers_mean_what_the_images_files_say() {
        assert_eq!(who(""), (0, 0, vec![50], "/root".into()));
        assert_eq!(who("web"), (101, 102, vec![50, 51], "/srv/web".into()));
        assert_eq!(who("101"), (101, 102, vec![50, 51], "/srv/web".into()));
        assert_eq!(who("web:staff"), (101, 50, vec![50, 51], "/srv/web".into()));
        assert_eq!(who("4711"), (4711, 0, vec![], "/".into()), "a number need not be listed");
        assert_eq!(who("4711:4712"), (4711, 4712, vec![], "/".into()));
        assert_eq!(who("1000"), (7, 8, vec![], "/seven".into()), "a name that looks like a number wins");
        assert_eq!(who("nohome"), (9, 9, vec![], "/".into()));
        assert_eq!(who(":staff").1, 50);
    }

    #[test]
    fn unknown_names_are_errors_in_the_words_that_people_search_for() {
        let error = resolve("nobodyx", PASSWD, GROUP).unwrap_err().to_string();
        assert_eq!(error, "unable to find user nobodyx: no matching entries in passwd file");
        let error = resolve("web:nogroupx", PASSWD, GROUP).unwrap_err().to_string();
        assert_eq!(error, "unable to find group nogroupx: no matching entries in group file");
        assert!(resolve("-1", PASSWD, GROUP).is_err());
        assert!(resolve("4294967296", "", "").is_err());
    }

    #[test]
    fn the_pods_numbers_take_the_place_of_the_images() {
        let spec = |user: Option<u32>, group: Option<u32>, policy| UserSpec {
            image: "web:staff".into(),
            run_as_user: user,
            run_as_group: group,
            supplementary: vec![2000, 50],
            policy,
        };
        let get = |s: UserSpec| {
            let id = resolve_spec(&s, PASSWD, GROUP).unwrap();
            (id.uid, id.gid, id.groups)
        };
        assert_eq!(get(spec(None, None, GroupPolicy::Merge)), (101, 50, vec![2000, 50, 51]));
        assert_eq!(get(spec(None, None, GroupPolicy::Strict)), (101, 50, vec![2000, 50]));
        assert_eq!(get(spec(Some(7), None, GroupPolicy::Merge)), (7, 8, vec![2000, 50]));
        assert_eq!(get(spec(Some(5), Some(6), GroupPolicy::Merge)), (5, 6, vec![2000, 50]));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(user in ".{0,20}", passwd in "(?s).{0,200}", group in "(?s).{0,200}") {
            let _ = resolve(&user, &passwd, &group);
        }
    }
}
