//! Mount options as mount(8) and the OCI runtime Spec write them, taken apart by what they act on.

use crate::recipe::Fault;
use crate::sys::mount::MountAttributes;
use std::ffi::CString;
use std::path::PathBuf;

/// A mount's options, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `bind`: copy this mount; `rbind`: and what is mounted below it.
    pub(crate) bind: Option<Depth>,
    /// For this mount alone.
    pub(crate) own: MountAttributes,
    /// For this mount and all below (`rro`, `rnosuid` …).
    pub(crate) recursive: MountAttributes,
    /// `MS_PRIVATE` …, and how deep.
    pub(crate) propagation: Option<(u64, Depth)>,
    /// `X-mount.subdir`: the part of a bind mount's source that is mounted. It does not lead out of it.
    pub(crate) subdirectory: Option<PathBuf>,
    /// What the file system itself is told: `size=1m`, or a bare word.
    pub(crate) data: Vec<(CString, Option<CString>)>,
}

/// One mount, or a whole tree of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The mount itself.
    One,
    /// It and all below.
    All,
}

/// As mount(8) has it.
const SUBDIRECTORY: &str = "X-mount.subdir=";

/// `MOUNT_ATTR__ATIME`: the access-time attributes are one field of three bits, not three flags.
const ATIME: u64 = 0x70;

/// The attribute bits that an option sets and clears, without its `r` for recursive.
fn attribute(word: &str) -> Option<(u64, u64)> {
    Some(match word {
        "ro" => (libc::MOUNT_ATTR_RDONLY, 0),
        "rw" => (0, libc::MOUNT_ATTR_RDONLY),
        "nosuid" => (libc::MOUNT_ATTR_NOSUID, 0),
        "suid" => (0, libc::MOUNT_ATTR_NOSUID),
        "nodev" => (libc::MOUNT_ATTR_NODEV, 0),
        "dev" => (0, libc::MOUNT_ATTR_NODEV),
        "noexec" => (libc::MOUNT_ATTR_NOEXEC, 0),
        "exec" => (0, libc::MOUNT_ATTR_NOEXEC),
        "noatime" => (libc::MOUNT_ATTR_NOATIME, ATIME),
        "strictatime" => (libc::MOUNT_ATTR_STRICTATIME, ATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (0, ATIME),
        "nodiratime" => (libc::MOUNT_ATTR_NODIRATIME, 0),
        "diratime" => (0, libc::MOUNT_ATTR_NODIRATIME),
        "nosymfollow" => (libc::MOUNT_ATTR_NOSYMFOLLOW, 0),
        "symfollow" => (0, libc::MOUNT_ATTR_NOSYMFOLLOW),
        _ => return None,
    })
}

fn propagation(word: &str) -> Option<(u64, Depth)> {
    let (word, depth) = word.strip_prefix('r').map_or((word, Depth::One), |rest| (rest, Depth::All));
    let kind = match word {
        "private" => libc::MS_PRIVATE,
        "slave" => libc::MS_SLAVE,
        "shared" => libc::MS_SHARED,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((kind, depth))
}

/// The kind of propagation that `linux.rootfsPropagation` names.
pub(crate) fn root_propagation(word: &str) -> Option<u64> {
    propagation(word).map(|(kind, _)| kind)
}

/// A later option wins over an earlier one.
fn apply(to: &mut MountAttributes, (set, clear): (u64, u64)) {
    to.set = (to.set & !clear) | set;
    to.clear = (to.clear & !set) | clear;
}

/// Takes options apart.
///
/// # Errors
/// Options that are known and not supported: `idmap`, `tmpcopyup`. Unknown ones are the file system's business.
pub(crate) fn parse<S: AsRef<str>>(words: &[S]) -> Result<Options, Fault> {
    let mut options = Options::default();
    for word in words.iter().map(AsRef::as_ref) {
        if let Some(bits) = attribute(word) {
            apply(&mut options.own, bits);
        } else if let Some(found) = propagation(word) {
            options.propagation = Some(found);
        } else if let Some(bits) = word.strip_prefix('r').and_then(attribute) {
            apply(&mut options.recursive, bits);
        } else {
            other(word, &mut options)?;
        }
    }
    Ok(options)
}

fn other(word: &str, options: &mut Options) -> Result<(), Fault> {
    match word {
        "bind" => options.bind = Some(Depth::One),
        "rbind" => options.bind = Some(Depth::All),
        "defaults" | "async" | "loud" | "nomand" | "nolazytime" | "noiversion" | "" => {}
        "idmap" | "ridmap" | "tmpcopyup" | "remount" => {
            return Err(Fault::new(format!("mount option {word} is not supported")));
        }
        _ if word.starts_with(SUBDIRECTORY) => {
            options.subdirectory = Some(PathBuf::from(&word[SUBDIRECTORY.len()..]));
        }
        _ => {
            let text = |s: &str| CString::new(s).map_err(|_| Fault::new("a mount option has a zero byte"));
            let (key, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
            options.data.push((text(key)?, value.map(text).transpose()?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_sorted_by_what_they_act_on() {
        let o = parse(&["rbind", "rprivate", "rro", "nosuid", "noatime", "size=1m", "newinstance"]).unwrap();
        assert_eq!(o.bind, Some(Depth::All));
        assert_eq!(o.propagation, Some((libc::MS_PRIVATE, Depth::All)));
        assert_eq!(o.recursive.set, libc::MOUNT_ATTR_RDONLY);
        assert_eq!(o.own.set, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOATIME);
        assert_eq!(o.own.clear, ATIME);
        assert_eq!(o.data, [(c"size".into(), Some(c"1m".into())), (c"newinstance".into(), None)]);
    }

    #[test]
    fn relatime_is_no_recursive_latime_and_the_last_word_wins() {
        assert_eq!(parse(&["relatime"]).unwrap().own.clear, ATIME);
        let o = parse(&["ro", "rw"]).unwrap();
        assert_eq!((o.own.set, o.own.clear), (0, libc::MOUNT_ATTR_RDONLY));
        let o = parse(&["rw", "ro"]).unwrap();
        assert_eq!((o.own.set, o.own.clear), (libc::MOUNT_ATTR_RDONLY, 0));
    }

    #[test]
    fn a_part_of_a_source_is_named_as_mount_8_names_it() {
        let o = parse(&["rbind", "X-mount.subdir=a/b,c=d"]).unwrap();
        assert_eq!(o.subdirectory.as_deref(), Some(std::path::Path::new("a/b,c=d")));
        assert!(o.data.is_empty());
    }

    #[test]
    fn what_is_known_and_not_supported_is_refused() {
        assert!(parse(&["idmap"]).unwrap_err().text.contains("idmap"));
    }
}
