use super::super::{make_directory, new_overlay};
use super::*;
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

/// Two layers with everything that a layer can say about the one below it.
fn two_layers(dir: &Path) -> [PathBuf; 2] {
    let path = |name: &str| dir.join(name);
    for name in [
        "low/gone",
        "low/kept",
        "low/opaque",
        "low/marked",
        "low/becomes-file",
        "high/kept",
        "high/opaque",
        "high/marked",
        "high/becomes-directory",
    ] {
        fs::create_dir_all(path(name)).unwrap();
    }
    for name in [
        "low/gone/x",
        "low/kept/a",
        "low/kept/b",
        "low/opaque/old",
        "low/marked/gone",
        "low/marked/stays",
        "low/file",
        "low/becomes-file/x",
        "low/becomes-directory",
        "high/opaque/new",
        "high/marked/new",
        "high/becomes-file",
        "high/becomes-directory/x",
        "high/kept/empty",
    ] {
        fs::write(path(name), if name.ends_with("empty") { "" } else { name }).unwrap();
    }
    fs::write(path("high/kept/b"), "replaced").unwrap();
    fs::hard_link(path("high/kept/b"), path("high/kept/c")).unwrap();
    symlink("a", path("high/kept/link")).unwrap();
    for name in ["high/gone", "high/file"] {
        mknod(&path(name), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    }
    mknod(&path("high/kept/null"), SFlag::S_IFCHR, Mode::empty(), nix::sys::stat::makedev(1, 3)).unwrap();
    mknod(&path("high/kept/fifo"), SFlag::S_IFIFO, Mode::empty(), 0).unwrap();
    // The second form of a whiteout. The root is marked too: the kernel looks there whether a layer has any.
    fs::write(path("high/marked/gone"), "").unwrap();
    let set = |name: &str, attribute: &CStr, value: &[u8]| xattr::set(&path(name), attribute, value).unwrap();
    set("high/marked/gone", c"trusted.overlay.whiteout", b"y");
    set("high/marked", c"trusted.overlay.opaque", b"x");
    set("high", c"trusted.overlay.opaque", b"x");
    set("high/opaque", c"trusted.overlay.opaque", b"y");
    set("low/kept", c"user.old", b"of the lower layer");
    set("high/kept", c"user.new", &[b'n'; 1000]);
    set("high/kept/b", c"user.long", b"a value");
    // cap_net_raw=ep, as setcap(8) writes it.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    lchown(path("high/becomes-file"), Some(1234), Some(4321)).unwrap();
    fs::set_permissions(path("high/becomes-file"), Permissions::from_mode(0o6755)).unwrap();
    set("high/becomes-file", CAPABILITY, &capability);
    lchown(path("high/kept/link"), Some(7), Some(8)).unwrap();
    fs::set_permissions(path("high/kept"), Permissions::from_mode(0o1777)).unwrap();
    for (name, seconds) in
        [("high/kept/link", 1_000_000), ("high/kept", 2_000_000), ("low/kept/a", 3_000_000)]
    {
        let time = TimeSpec::new(seconds, 5);
        utimensat(AT_FDCWD, &path(name), &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
    }
    [path("high"), path("low")]
}

/// Everything that can be seen of a tree, by path. Inode numbers only count in how they come together.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut first_names = HashMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = match meta.file_type() {
                kind if kind.is_dir() => "directory".to_owned(),
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                kind if kind.is_file() => fs::read_to_string(&path).unwrap(),
                _ => format!("device {}", meta.rdev()),
            };
            if meta.is_dir() {
                pending.push(path.clone());
            }
            let below = path.strip_prefix(root).unwrap().to_owned();
            let same_as = first_names.entry(meta.ino()).or_insert_with(|| below.clone());
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            let values: Vec<_> =
                images_own(&path).unwrap().into_iter().map(|name| (xattr::get(&path, &name), name)).collect();
            let (mode, owner) = (meta.mode(), (meta.uid(), meta.gid()));
            let line = format!(
                "{mode:o} {owner:?} {}.{} {links} {same_as:?} {content:?} {values:?}",
                meta.mtime(),
                meta.mtime_nsec()
            );
            all.insert(below, line);
        }
    }
    all
}

#[test]
fn a_copy_is_what_the_kernels_own_overlay_shows() {
    let dir = tempfile::tempdir().unwrap();
    let lower = two_layers(dir.path());
    for name in ["upper", "work"] {
        make_directory(&dir.path().join(name), 0o755).unwrap();
    }
    let overlay = new_overlay(&lower, &dir.path().join("upper"), &dir.path().join("work"), &[]);
    let overlay = overlay.unwrap().mount(0).unwrap();
    let root = dir.path().join("root");
    layers(&lower, &root).unwrap();
    let copied = seen(&root);
    assert_eq!(copied, seen(Path::new(&format!("/proc/self/fd/{}/", overlay.as_raw_fd()))));
    let names: Vec<_> = copied.keys().map(|path| path.to_str().unwrap()).collect();
    assert!(names.contains(&"marked/stays") && names.contains(&"kept/empty"), "{names:?}");
    assert!(
        ["gone", "file", "marked/gone", "opaque/old"].iter().all(|name| !names.contains(name)),
        "{names:?}"
    );
}

#[test]
fn three_layers_are_applied_from_the_lowest_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["1", "2", "3", "1/d", "3/d"] {
        fs::create_dir(path(name)).unwrap();
    }
    fs::write(path("1/d/old"), "").unwrap();
    mknod(&path("2/d"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    fs::write(path("3/d/new"), "").unwrap();
    layers(&[path("3"), path("2"), path("1")], &path("root")).unwrap();
    assert!(path("root/d/new").exists() && !path("root/d/old").exists());
}
