//! The mounts of an OCI runtime Spec, placed below a container's root while the host can still be seen.
//!
//! Every mount is made detached, given its attributes, and then moved onto a descriptor of its target that
//! was opened inside the root. The host's mounts are still in sight at that time, so that a bind's source
//! is the host's path, and so that a file system that may not be mounted can be bound instead.
//!
//! **Devices.** Where the Spec's device rules are not in force ([`Access::NoNodes`]) every mount is `nodev`, so a
//! node that a container makes for itself opens nothing, and the nodes it may use are bound one by one from a
//! mount that it cannot reach. A mount with the option `dev` is exempt, and so are a bind of a single device
//! node and the container's own devpts.

mod cgroupfs;
mod devices;
mod options;
mod protect;
mod source;

pub(crate) use devices::{nodes_command, populate};
pub(crate) use options::root_propagation;
pub(crate) use protect::{mask, read_only};
use source::clone_of;
pub(crate) use source::clone_source;

use crate::devices::Access;
use crate::in_root::{self, Kind};
use crate::recipe::{During, Fault, quoted};
use crate::sys::mount::{FsContext, MountAttributes, move_mount, set_attributes};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use oci_spec::runtime::Mount;
use options::{Depth, Options};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a mount is placed into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The container's root.
    pub(crate) root: BorrowedFd<'a>,
    /// The container's cgroup, for `type: cgroup`.
    pub(crate) cgroup: Option<&'a crate::cgroup::Cgroup>,
    /// Whether its mounts may hold device nodes.
    pub(crate) devices: Access,
}

/// Whether a mount is a bind mount.
pub(crate) fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind")
        || mount.options().iter().flatten().any(|word| word == "bind" || word == "rbind")
}

/// Whether its ids are to be mapped by the container's user namespace.
pub(crate) fn is_mapped(mount: &Mount) -> bool {
    mount.uid_mappings().is_some()
}

/// The line of mount(8) that does the same.
pub(crate) fn command(mount: &Mount) -> String {
    let target = mount.destination().display().to_string();
    let target = quoted(&target);
    let source = mount.source().as_deref().map_or("none".into(), |path| path.display().to_string());
    let source = quoted(&source);
    let mut options = mount.options().as_deref().unwrap_or_default().join(",");
    for map in mount.uid_mappings().iter().flatten() {
        let (inside, outside, count) = (map.container_id(), map.host_id(), map.size());
        options.push_str(&format!(",X-mount.idmap=b:{inside}:{outside}:{count}"));
    }
    let options = if options.is_empty() { String::new() } else { format!(" -o {}", quoted(&options)) };
    if is_bind(mount) {
        return format!("mount{options} {source} .{target}");
    }
    let kind = mount.typ().as_deref().unwrap_or("none");
    format!("mount -t {kind}{options} {source} .{target}")
}

/// Places one mount of the Spec. `source` is what [`clone_source`] gave, for a bind.
pub(crate) fn place(
    at: Place<'_>,
    mount: &Mount,
    source: Option<OwnedFd>,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let options = options::parse(mount.options().as_deref().unwrap_or_default())?;
    match source {
        Some(source) => bind(at, mount.destination(), source, &options),
        None => {
            let target = target(at.root, mount.destination(), Kind::Directory)?;
            match mount.typ().as_deref().unwrap_or("none") {
                "cgroup" => cgroupfs::place(at.cgroup, &target, &options, notes),
                "sysfs" => sysfs(&target, &options, notes),
                "devpts" => devpts(&target, &options, notes),
                kind => {
                    let made = make(kind, mount.source().as_deref(), &options, at.devices.implied())?;
                    move_onto(&made, &target)
                }
            }
        }
    }
}

/// The target of a mount, made if missing.
///
/// What an image may redirect by a link is caught here: a mount that ends up inside /proc would cover files
/// that decide about the container itself, such as `/proc/self/attr/exec`.
fn target(root: BorrowedFd<'_>, destination: &Path, kind: Kind) -> Result<OwnedFd, Fault> {
    let target = in_root::make(root, destination, kind).during("make the mount point")?;
    let is_root_of_proc = destination == Path::new("/proc");
    if !is_root_of_proc
        && fstatfs(&target)?.filesystem_type() == PROC_SUPER_MAGIC
        && !PROC_FILES.iter().any(|file| destination == Path::new(file))
    {
        return Err(Fault::new("the mount point lies inside /proc"));
    }
    Ok(target)
}

/// The files of /proc that may be mounted over, as all runtimes allow: they show what a resource monitor
/// (lxcfs) wants containers to see.
const PROC_FILES: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
];

fn move_onto(mount: &OwnedFd, target: &OwnedFd) -> Result<(), Fault> {
    Ok(move_mount(mount.as_fd(), target.as_fd())?)
}

fn bind(at: Place<'_>, destination: &Path, source: OwnedFd, options: &Options) -> Result<(), Fault> {
    if let Some((key, _)) = options.data.first() {
        return Err(Fault::new(format!("a bind mount has no option {}", key.to_string_lossy())));
    }
    let file_type = in_root::kind_of(source.as_fd())?;
    let kind = if file_type == SFlag::S_IFDIR { Kind::Directory } else { Kind::File };
    let target = target(at.root, destination, kind)?;
    let device = file_type == SFlag::S_IFCHR || file_type == SFlag::S_IFBLK;
    let mut all = options.recursive;
    if !device {
        all.set |= at.devices.implied() & !options.own.clear & !all.clear;
    }
    let mut own = options.own;
    // Private unless asked otherwise: what the container mounts is nobody else's business.
    match options.propagation.unwrap_or((libc::MS_PRIVATE, Depth::All)) {
        (kind, Depth::All) => all.propagation = kind,
        (kind, Depth::One) => own.propagation = kind,
    }
    change(&source, all, libc::AT_RECURSIVE as u32)?;
    change(&source, own, 0)?;
    move_onto(&source, &target).map_err(|fault| mismatch(kind, &target).unwrap_or(fault))
}

/// What the kernel calls an invalid argument: a directory on a file, or the other way round. Asked only after it has
/// refused.
fn mismatch(kind: Kind, target: &OwnedFd) -> Option<Fault> {
    let is_on_directory = in_root::kind_of(target.as_fd()).ok()? == SFlag::S_IFDIR;
    let why = match (kind, is_on_directory) {
        (Kind::Directory, false) => "a directory cannot be mounted on a file",
        (Kind::File, true) => "a file cannot be mounted on a directory",
        (Kind::Directory, true) | (Kind::File, false) => return None,
    };
    Some(Fault { errno: Some(Errno::ENOTDIR as i32), ..Fault::new(why) })
}

fn change(mount: &OwnedFd, attributes: MountAttributes, flags: u32) -> Result<(), Fault> {
    if attributes.is_empty() {
        return Ok(());
    }
    set_attributes(mount.as_fd(), attributes, flags).during("set the mount's attributes")
}

/// Makes a file system of a type, detached. `implied` are attributes that it gets unless its options say no.
fn make(kind: &str, source: Option<&Path>, options: &Options, implied: u64) -> Result<OwnedFd, Fault> {
    let name = CString::new(kind).map_err(|_| Fault::new("zero byte in a file system type"))?;
    let context = FsContext::open(&name).during(format_args!("file system {kind}"))?;
    let configured = configure(&context, source, options);
    if let Err(fault) = configured.and_then(|()| Ok(context.create()?)) {
        let complaint = context.complaint().map(|text| format!(" ({text})")).unwrap_or_default();
        return Err(Fault { text: format!("{}{complaint}", fault.text), ..fault });
    }
    let made = context.mount(options.own.set | implied & !options.own.clear)?;
    if let Some((kind, _)) = options.propagation {
        change(&made, MountAttributes { propagation: kind, ..Default::default() }, 0)?;
    }
    change(&made, options.recursive, libc::AT_RECURSIVE as u32)?;
    Ok(made)
}

fn configure(context: &FsContext, source: Option<&Path>, options: &Options) -> Result<(), Fault> {
    if let Some(source) = source.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()) {
        context.set(c"source", &source)?;
    }
    for (key, value) in &options.data {
        let set = match value {
            Some(value) => context.set(key, value),
            None => context.flag(key),
        };
        set.during(format_args!("option {}", key.to_string_lossy()))?;
    }
    Ok(())
}

/// Makes a small tmpfs of podbox's own.
fn tmpfs(mode: &CStr, attributes: u64) -> Result<OwnedFd, Fault> {
    let context = FsContext::open(c"tmpfs")?;
    context.set(c"mode", mode)?;
    context.create()?;
    Ok(context.mount(attributes)?)
}

/// sysfs belongs to a network namespace and may be mounted only by its owner. Inside another container it
/// may not be mounted at all, and then the one that is there is shown, read-only.
fn sysfs(target: &OwnedFd, options: &Options, notes: &mut Vec<String>) -> Result<(), Fault> {
    let refused = match make("sysfs", None, options, libc::MOUNT_ATTR_NODEV) {
        Ok(made) => return move_onto(&made, target),
        Err(fault) => fault,
    };
    let host = Path::new("/sys");
    let copy =
        clone_of(host, 0).or_else(|_| clone_of(host, libc::AT_RECURSIVE as u32)).during("bind /sys")?;
    let set = options.own.set | libc::MOUNT_ATTR_RDONLY;
    let attributes = MountAttributes { set, propagation: libc::MS_PRIVATE, ..Default::default() };
    change(&copy, attributes, libc::AT_RECURSIVE as u32)?;
    move_onto(&copy, target)?;
    notes.push(format!("sysfs could not be mounted ({}): /sys is the host's, read-only", refused.text));
    Ok(())
}

/// Every container has pseudo terminals of its own. Group 5 (`tty`) may be unknown to a user namespace.
fn devpts(target: &OwnedFd, options: &Options, notes: &mut Vec<String>) -> Result<(), Fault> {
    let mut options = options.clone();
    options.own.set &= !libc::MOUNT_ATTR_NODEV;
    let made = match make("devpts", None, &options, 0) {
        Err(fault) if fault.errno == Some(Errno::EINVAL as i32) => {
            options.data.retain(|(key, _)| key.as_c_str() != c"gid");
            notes.push("pseudo terminals do not belong to group tty: it is not mapped".to_owned());
            make("devpts", None, &options, 0)?
        }
        other => other?,
    };
    move_onto(&made, target)
}

/// Opens something inside the root, as a handle; `None` if it is not there.
fn find(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Fault> {
    match in_root::open(root, Path::new(path), OFlag::O_PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno).during(path),
    }
}
