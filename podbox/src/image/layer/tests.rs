use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

mod forms;

/// An archive whose names nobody checks.
struct Made(Builder<Vec<u8>>);

impl Made {
    fn new() -> Made {
        Made(Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Made {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_device_major(0).expect("a device number");
        header.set_device_minor(0).expect("a device number");
        header.set_cksum();
        self.0.append(&header, content).expect("an entry");
        self
    }

    fn file(self, name: &str, content: &str) -> Made {
        self.entry(EntryType::Regular, name, "", content.as_bytes())
    }

    fn directory(self, name: &str) -> Made {
        self.entry(EntryType::Directory, name, "", b"")
    }

    fn link(self, name: &str, target: &str) -> Made {
        self.entry(EntryType::Symlink, name, target, b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("an archive")
    }
}

struct Root {
    outer: tempfile::TempDir,
}

impl Root {
    fn new() -> Root {
        Root { outer: tempfile::tempdir().expect("a directory") }
    }

    fn layer(&self) -> PathBuf {
        self.outer.path().join("layer")
    }

    fn unpack(&self, archive: Made) -> Result<Unpacked, UnpackError> {
        unpack(archive.bytes().as_slice(), &self.layer()).map_err(|failed| failed.why)
    }

    fn is_whiteout(&self, name: &str) -> bool {
        fs::symlink_metadata(self.layer().join(name))
            .is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
    }

    fn is_opaque(&self, name: &str) -> bool {
        let mut value = [0; 8];
        let got = rustix::fs::getxattr(self.layer().join(name), "trusted.overlay.opaque", &mut value);
        got.is_ok_and(|length| &value[..length] == b"y")
    }

    /// Nothing but the layer itself is in the directory around it.
    fn nothing_outside(&self) {
        let names: Vec<_> = fs::read_dir(self.outer.path()).expect("a directory").collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}

#[test]
fn files_directories_and_links_become_what_the_archive_says() {
    let root = Root::new();
    let archive = Made::new()
        .directory("./")
        .directory("bin/")
        .file("/bin/tool", "x")
        .link("bin/alias", "tool")
        .entry(EntryType::Link, "bin/twin", "bin/tool", b"")
        .entry(EntryType::Fifo, "queue", "", b"")
        .file("made/on/the/way", "deep");
    let unpacked = root.unpack(archive).expect("unpacks");
    let layer = root.layer();
    assert_eq!(unpacked.size, 5);
    let (tool, twin) = (fs::metadata(layer.join("bin/tool")), fs::metadata(layer.join("bin/twin")));
    assert_eq!(tool.expect("a file").ino(), twin.expect("a file").ino());
    assert_eq!(fs::read_link(layer.join("bin/alias")).expect("a link"), Path::new("tool"));
    assert!(fs::metadata(layer.join("queue")).expect("a FIFO").file_type().is_fifo());
    assert_eq!(fs::read_to_string(layer.join("made/on/the/way")).expect("a file"), "deep");
    assert_eq!(fs::metadata(layer.join("bin")).expect("a directory").mtime(), 1_000_000);
}

#[test]
fn owner_mode_and_capabilities_survive_in_the_right_order() {
    let root = Root::new();
    let mut builder = Builder::new(Vec::new());
    // VFS_CAP_REVISION_2 with CAP_NET_RAW permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    builder
        .append_pax_extensions([
            ("SCHILY.xattr.security.capability", &capability[..]),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.note", b"kept"),
            ("mtime", b"1700000000.5"),
        ])
        .expect("extensions");
    let mut header = Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o4755);
    header.set_uid(1000);
    header.set_gid(1001);
    builder.append_data(&mut header, "ping", &b"x"[..]).expect("an entry");
    let archive = builder.into_inner().expect("an archive");
    unpack(archive.as_slice(), &root.layer()).expect("unpacks");
    let path = root.layer().join("ping");
    let meta = fs::metadata(&path).expect("a file");
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (1000, 1001, 0o4755));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_700_000_000, 500_000_000));
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(&path, "security.capability", &mut value).expect("capabilities");
    assert_eq!(value[..length], capability);
    assert!(rustix::fs::getxattr(&path, "trusted.overlay.redirect", &mut value).is_err());
    let length = rustix::fs::getxattr(&path, "user.note", &mut value).expect("an attribute");
    assert_eq!(&value[..length], b"kept");
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    let root = Root::new();
    let archive = Made::new()
        .directory("etc/")
        .file("etc/.wh.gone", "")
        .directory("var/")
        .file("var/.wh..wh..opq", "")
        .file("var/new", "n")
        .file(".wh..wh.plnk", "")
        .file("unnamed/parent/.wh.x", "");
    root.unpack(archive).expect("unpacks");
    assert!(root.is_whiteout("etc/gone"));
    assert!(root.is_opaque("var") && !root.is_opaque("etc"));
    assert!(root.is_whiteout("unnamed/parent/x"));
    assert!(!root.layer().join(".wh..wh.plnk").exists());
}

#[test]
fn a_whiteout_never_hides_an_entry_of_its_own_layer() {
    for order in [true, false] {
        let root = Root::new();
        let whiteouts =
            |archive: Made| archive.file(".wh.file", "").file(".wh.dir", "").file(".wh.implied", "");
        let entries = |archive: Made| {
            archive.file("file", "new").directory("dir/").file("dir/x", "").file("implied/x", "")
        };
        let archive = if order { entries(whiteouts(Made::new())) } else { whiteouts(entries(Made::new())) };
        root.unpack(archive).expect("unpacks");
        assert_eq!(fs::read_to_string(root.layer().join("file")).expect("a file"), "new");
        for directory in ["dir", "implied"] {
            assert!(root.layer().join(directory).join("x").exists());
            // What the layers below have in it stays hidden.
            assert!(root.is_opaque(directory), "{directory}, whiteout first: {order}");
        }
    }
}

#[test]
fn the_later_of_two_entries_wins_whatever_they_are() {
    let root = Root::new();
    let archive = Made::new()
        .directory("a/")
        .file("a/deep/er/file", "x")
        .link("b", "a")
        .file("a", "now a file")
        .directory("b/")
        .file("b/inside", "y");
    root.unpack(archive).expect("unpacks");
    assert_eq!(fs::read_to_string(root.layer().join("a")).expect("a file"), "now a file");
    assert!(fs::symlink_metadata(root.layer().join("b")).expect("a directory").is_dir());
}

#[test]
fn a_name_with_dots_is_refused() {
    for name in ["../escape", "a/../../escape", "/../escape", "a/..", ".wh..", ".wh..."] {
        let root = Root::new();
        let result = root.unpack(Made::new().directory("a/").file(name, "x"));
        assert!(matches!(result, Err(UnpackError::Unsafe { .. })), "{name}: {result:?}");
        root.nothing_outside();
    }
}

#[test]
fn symbolic_links_lead_back_inside() {
    let root = Root::new();
    let archive = Made::new()
        .directory("inside/")
        .directory("inside/etc/")
        .link("absolute", "/inside/etc")
        .link("above", "../../../../inside")
        .file("absolute/one", "1")
        .file("above/two", "2");
    root.unpack(archive).expect("unpacks");
    assert_eq!(fs::read_to_string(root.layer().join("inside/etc/one")).expect("a file"), "1");
    assert_eq!(fs::read_to_string(root.layer().join("inside/two")).expect("a file"), "2");
    root.nothing_outside();
}

#[test]
fn a_link_out_cannot_be_written_through() {
    let outside = tempfile::tempdir().expect("a directory");
    let target = outside.path().to_str().expect("a name").to_owned();
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").expect("a file");

    let root = Root::new();
    let through = root.unpack(Made::new().link("out", &target).file("out/victim", "owned"));
    assert!(through.is_err(), "{through:?}");

    let root = Root::new();
    let name = format!("{target}/victim");
    let replaced = root.unpack(Made::new().link("victim", &name).file("victim", "inside"));
    replaced.expect("the link is replaced, not followed");
    assert_eq!(fs::read_to_string(root.layer().join("victim")).expect("a file"), "inside");

    let root = Root::new();
    let hard = root.unpack(Made::new().entry(EntryType::Link, "x", &name, b""));
    assert!(hard.is_err(), "{hard:?}");

    let root = Root::new();
    let proc = root.unpack(Made::new().link("x", "/proc/self/cwd").file("x/escape", "owned"));
    assert!(proc.is_err(), "{proc:?}");
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "untouched");
    assert_eq!(fs::read_dir(outside.path()).expect("a directory").count(), 1);
}

#[test]
fn chmod_and_chown_never_reach_through_a_link() {
    let outside = tempfile::tempdir().expect("a directory");
    let victim = outside.path().join("victim");
    fs::write(&victim, "").expect("a file");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).expect("a mode");
    let root = Root::new();
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_mode(0o777);
    header.set_uid(1000);
    header.set_gid(1000);
    header.set_size(0);
    builder.append_link(&mut header, "link", &victim).expect("an entry");
    unpack(builder.into_inner().expect("an archive").as_slice(), &root.layer()).expect("unpacks");
    let meta = fs::metadata(&victim).expect("a file");
    assert_eq!((meta.uid(), meta.permissions().mode() & 0o777), (0, 0o600));
    assert_eq!(fs::symlink_metadata(root.layer().join("link")).expect("a link").uid(), 1000);
}

#[test]
fn every_compression_gives_the_same_layer() {
    let plain = Made::new().file("a", "content").bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("compresses");
    let gzip = gzip.finish().expect("compresses");
    // Several members one after the other are one stream.
    let (first, second) = plain.split_at(600);
    let mut members = Vec::new();
    for part in [first, second] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).expect("compresses");
        members.extend(encoder.finish().expect("compresses"));
    }
    let zstd = zstd::encode_all(plain.as_slice(), 1).expect("compresses");
    let mut ids = BTreeMap::new();
    for (name, bytes) in [("plain", &plain), ("gzip", &gzip), ("members", &members), ("zstd", &zstd)] {
        let root = Root::new();
        let unpacked = unpack(bytes.as_slice(), &root.layer()).expect(name);
        assert_eq!(unpacked.blob, super::super::digest::of(bytes), "{name}");
        ids.insert(unpacked.diff_id, name);
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let root = Root::new();
    let xz = unpack(&b"\xfd7zXZ\0rest"[..], &root.layer());
    assert!(matches!(xz, Err(Failed { why: UnpackError::Unsupported { .. }, .. })), "{xz:?}");
}

#[test]
fn bytes_after_the_archive_count_in_both_digests() {
    let mut bytes = Made::new().file("a", "x").bytes();
    bytes.extend([0; 10_240]);
    bytes.extend(b"junk");
    let root = Root::new();
    let unpacked = unpack(bytes.as_slice(), &root.layer()).expect("unpacks");
    assert_eq!(unpacked.diff_id, super::super::digest::of(&bytes));
    assert_eq!(unpacked.blob, unpacked.diff_id);
}

/// What stopped it, with all its causes.
fn message(failed: &Failed) -> String {
    crate::report::chain(&failed.why)
}

#[test]
fn a_file_that_is_no_archive_is_called_so_in_one_line() {
    let text = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:\u{1b}[31m:/:/bin/false\n";
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.repeat(40).as_bytes()).expect("compresses");
        encoder.finish().expect("compresses")
    };
    for bytes in [text.as_bytes(), text.repeat(40).as_bytes(), &[0xff; 4096], &gzip, b"x"] {
        let root = Root::new();
        let failed = unpack(bytes, &root.layer()).expect_err("no archive");
        assert_eq!(
            message(&failed),
            "read the archive: not a tar archive, plain or compressed with gzip or zstd"
        );
    }
    let mut broken = Made::new().file("a", "x").file("b", "x").bytes();
    broken[1024 + 3] ^= 1;
    let failed = unpack(broken.as_slice(), &Root::new().layer()).expect_err("a broken header");
    assert_eq!(message(&failed), "read the archive: a header's checksum is not right");
}

#[test]
fn of_bytes_that_do_not_unpack_all_are_read_so_that_their_digest_can_tell_why() {
    let mut bytes = Made::new().file("a", "x").bytes();
    bytes.extend([0x55; 300_000]);
    bytes[3] ^= 1;
    let digest = super::super::digest::of(&bytes);
    let failed = || unpack(bytes.as_slice(), &Root::new().layer()).expect_err("a broken header");
    let other = format!("sha256:{}", "0".repeat(64));
    match failed().of("l", Some(&other)) {
        ImageError::Mismatch { expected, found, .. } => {
            assert_eq!((expected, found), (other, digest.clone()))
        }
        error => panic!("{error:?}"),
    }
    for expected in [Some(digest.as_str()), None] {
        let error = failed().of("l", expected);
        assert!(matches!(error, ImageError::Unpack { .. }), "{error:?}");
    }
}

#[test]
fn of_bytes_that_stop_coming_nobody_says_that_they_were_changed() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
    let bytes = Made::new().file("a", &"x".repeat(4000)).bytes();
    let failed = unpack(bytes[..2000].chain(Broken), &Root::new().layer()).expect_err("cut off");
    let error = failed.of("l", Some("sha256:other"));
    assert!(matches!(error, ImageError::Unpack { .. }), "{error:?}");
}

#[test]
fn a_truncated_archive_is_an_error() {
    let bytes = Made::new().file("a", &"x".repeat(4000)).bytes();
    let root = Root::new();
    assert!(unpack(&bytes[..2000], &root.layer()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_entries_writes_outside(
        entries in proptest::collection::vec((0_u8..5, "[ab./]{1,7}", "[ab./]{1,9}"), 1..12)
    ) {
        let root = Root::new();
        let mut archive = Made::new();
        for (kind, name, target) in &entries {
            archive = match kind {
                0 => archive.file(name, "x"),
                1 => archive.directory(name),
                2 => archive.link(name, target),
                3 => archive.entry(EntryType::Link, name, target, b""),
                _ => archive.file(&format!("{name}/.wh.{}", target.replace('/', "c")), ""),
            };
        }
        let _ = root.unpack(archive);
        root.nothing_outside();
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let root = Root::new();
        let _ = unpack(bytes.as_slice(), &root.layer());
    }
}
