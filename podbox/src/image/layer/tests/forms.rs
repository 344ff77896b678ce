//! Archives as different tools write them.

use std::process::Command;

use super::super::super::{digest, testing};
use super::*;

/// A header by hand, for what the tar crate does not write.
fn header(kind: u8, name: &str, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkflag = [kind];
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

/// A header with its content, filled up to whole blocks.
fn raw(header: &Header, content: &[u8]) -> Vec<u8> {
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A pax header of these records.
fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions(records.iter().copied()).expect("extensions");
    let mut bytes = builder.into_inner().expect("an archive");
    // Without the two empty blocks at the end.
    bytes.truncate(bytes.len() - 1024);
    bytes
}

/// The same bytes, one at a time.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(1);
        self.0.read(&mut buffer[..count])
    }
}

fn text(root: &Root, name: &str) -> String {
    fs::read_to_string(root.layer().join(name)).expect(name)
}

#[test]
fn a_hard_link_to_a_symbolic_link_is_that_link_again() {
    let root = Root::new();
    let archive = Made::new().link("first", "/nowhere").entry(EntryType::Link, "second", "first", b"");
    root.unpack(archive).expect("unpacks");
    let [first, second] =
        ["first", "second"].map(|name| fs::symlink_metadata(root.layer().join(name)).expect("a link"));
    assert!(second.is_symlink());
    assert_eq!(first.ino(), second.ino());
}

#[test]
fn names_of_any_length_come_in_gnus_form_and_in_pax() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let mut gnu = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    gnu.append_data(&mut header, &long, &b"x"[..]).expect("an entry");
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    gnu.append_link(&mut link, "link", &long).expect("an entry");
    let gnu = gnu.into_inner().expect("an archive");
    let in_pax = [
        pax(&[("path", long.as_bytes())]),
        raw(&self::header(b'0', "short", 1), b"x"),
        pax(&[("linkpath", long.as_bytes())]),
        raw(&self::header(b'2', "link", 0), b""),
    ]
    .concat();
    for archive in [gnu, in_pax] {
        let root = Root::new();
        unpack(archive.as_slice(), &root.layer()).expect("unpacks");
        assert_eq!(text(&root, &long), "x");
        assert_eq!(fs::read_link(root.layer().join("link")).expect("a link"), Path::new(&long));
        assert!(!root.layer().join("short").exists());
    }
    let root = Root::new();
    let too_long = [pax(&[("path", &[b'f'; 256])]), raw(&self::header(b'0', "short", 0), b"")].concat();
    let refused = unpack(too_long.as_slice(), &root.layer());
    assert!(matches!(refused, Err(Failed { why: UnpackError::Write { .. }, .. })), "{refused:?}");
}

#[test]
fn an_attribute_with_newlines_disturbs_nothing_behind_it() {
    let value = b"one\n\n12 path=no\ntwo";
    let archive = [
        pax(&[("SCHILY.xattr.user.note", value), ("path", b"right"), ("size", b"2")]),
        // A size that only pax can tell, as of files that are too large for the field.
        raw(&header(b'0', "wrong", 0), b"ok"),
        raw(&header(b'0', "next", 1), b"n"),
    ]
    .concat();
    let root = Root::new();
    unpack(archive.as_slice(), &root.layer()).expect("unpacks");
    assert_eq!((text(&root, "right").as_str(), text(&root, "next").as_str()), ("ok", "n"));
    let mut found = [0; 64];
    let length =
        rustix::fs::getxattr(root.layer().join("right"), "user.note", &mut found).expect("an attribute");
    assert_eq!(&found[..length], value);
}

#[test]
fn files_with_holes_keep_them_in_all_forms_that_gnu_tar_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("holes");
    let length = 64 << 20;
    let mut content = vec![0; length];
    let made = fs::File::create(&file).expect("a file");
    made.set_len(length as u64).expect("a length");
    // More pieces than GNU tar's header, and than one block behind it, has room for.
    for piece in 0..40 {
        let at = (piece + 1) << 20;
        let bytes = format!("piece {piece}\n").into_bytes();
        std::os::unix::fs::FileExt::write_all_at(&made, &bytes, at).expect("writes");
        let at = usize::try_from(at).expect("a small number");
        content[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    for form in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let output = Command::new("tar")
            .args(form)
            .args(["--sparse", "-C"])
            .arg(directory.path())
            .args(["-c", "holes"])
            .output()
            .expect("tar starts");
        assert!(output.status.success() && output.stdout.len() < 1 << 20, "{form:?}");
        let archive = [&output.stdout[..], &testing::layer(&[])].concat();
        let root = Root::new();
        let unpacked = unpack(archive.as_slice(), &root.layer()).expect("unpacks");
        assert_eq!(unpacked.size, length as u64);
        let path = root.layer().join("holes");
        assert!(fs::read(&path).expect("a file") == content, "{form:?}");
        let room = fs::metadata(&path).expect("a file").blocks() * 512;
        assert!(room < length as u64 / 8, "{form:?} takes {room} bytes on the disk");
        assert_eq!(fs::read_dir(root.layer()).expect("a directory").count(), 1, "{form:?}");
    }
}

#[test]
fn a_file_with_holes_that_lies_about_them_is_refused() {
    let lies: [&[(&str, &[u8])]; 5] = [
        &[("GNU.sparse.map", b"0,1,5,1"), ("GNU.sparse.size", b"6"), ("GNU.sparse.numblocks", b"2")],
        &[("GNU.sparse.map", b"5,1"), ("GNU.sparse.size", b"5")],
        &[("GNU.sparse.map", b"18446744073709551615,1"), ("GNU.sparse.size", b"6")],
        &[("GNU.sparse.map", b"1"), ("GNU.sparse.size", b"6")],
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"6")],
    ];
    for records in lies {
        let archive = [pax(records), raw(&header(b'0', "f", 1), b"x")].concat();
        let root = Root::new();
        let refused = unpack(archive.as_slice(), &root.layer());
        assert!(matches!(refused, Err(Failed { why: UnpackError::Read(_), .. })), "{records:?}: {refused:?}");
    }
}

#[test]
fn headers_of_old_tars_mean_what_they_meant() {
    let mut directory = header(0, "old/", 0);
    let mut blank = header(0, "old/file", 1);
    for header in [&mut directory, &mut blank] {
        // The format of before POSIX: no magic, and fields that are left out.
        header.as_mut_bytes()[257..].fill(0);
        header.as_old_mut().uid = *b"        ";
        header.as_old_mut().gid = [0; 8];
        header.set_cksum();
    }
    let mut archive = [raw(&directory, b""), raw(&blank, b"x")].concat();
    // Some end without filling up their last block.
    archive.truncate(archive.len() - 511);
    let root = Root::new();
    unpack(archive.as_slice(), &root.layer()).expect("unpacks");
    assert_eq!(text(&root, "old/file"), "x");
    assert!(root.layer().join("old").is_dir());
    assert_eq!(fs::metadata(root.layer().join("old/file")).expect("a file").uid(), 0);
}

#[test]
fn what_describes_an_entry_has_a_limit() {
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut archive = header(kind, "big", 3 << 20).as_bytes().to_vec();
        archive.resize(archive.len() + (3 << 20), b'a');
        let root = Root::new();
        let refused = unpack(archive.as_slice(), &root.layer());
        assert!(matches!(refused, Err(Failed { why: UnpackError::Read(_), .. })), "{kind}: {refused:?}");
    }
}

#[test]
fn an_entry_that_is_announced_must_come() {
    let root = Root::new();
    let refused = unpack(pax(&[("path", b"x")]).as_slice(), &root.layer());
    assert!(matches!(refused, Err(Failed { why: UnpackError::Read(_), .. })), "{refused:?}");
    let mut damaged = Made::new().file("a", "x").bytes();
    damaged[0] = b'b';
    let root = Root::new();
    let refused = unpack(damaged.as_slice(), &root.layer());
    assert!(matches!(refused, Err(Failed { why: UnpackError::Read(_), .. })), "{refused:?}");
}

#[test]
fn the_compression_is_told_even_if_the_bytes_come_one_by_one() {
    let plain = Made::new().file("a", "content").bytes();
    let zstd = zstd::encode_all(plain.as_slice(), 1).expect("compresses");
    for bytes in [plain.clone(), testing::gzip(&plain), zstd] {
        let root = Root::new();
        let unpacked = unpack(Dribble(&bytes), &root.layer()).expect("unpacks");
        assert_eq!((unpacked.diff_id, unpacked.blob), (digest::of(&plain), digest::of(&bytes)));
        assert_eq!(text(&root, "a"), "content");
    }
}

/// As zstd:chunked writes: a frame for each file, and a skippable one with the table of contents.
#[test]
fn zstd_in_several_frames_is_one_stream() {
    let plain = Made::new().file("a", "content").file("b", "more").bytes();
    let (first, second) = plain.split_at(700);
    let mut bytes = zstd::encode_all(first, 1).expect("compresses");
    bytes.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0]);
    bytes.extend(b"toc");
    bytes.extend(zstd::encode_all(second, 1).expect("compresses"));
    let root = Root::new();
    let unpacked = unpack(bytes.as_slice(), &root.layer()).expect("unpacks");
    assert_eq!((unpacked.diff_id, unpacked.blob), (digest::of(&plain), digest::of(&bytes)));
    assert_eq!(text(&root, "b"), "more");
}

#[test]
fn a_layer_of_nothing_is_an_empty_directory() {
    for bytes in [Vec::new(), vec![0; 1024], testing::gzip(&[]), testing::gzip(&[0; 1024])] {
        let root = Root::new();
        let unpacked = unpack(bytes.as_slice(), &root.layer()).expect("unpacks");
        assert_eq!((unpacked.size, unpacked.blob), (0, digest::of(&bytes)));
        assert_eq!(fs::read_dir(root.layer()).expect("a directory").count(), 0);
    }
}

fn devices() -> Vec<u8> {
    let mut archive = Vec::new();
    for (kind, name, minor) in [(b'3', "null", 3), (b'4', "loop", 0)] {
        let mut header = header(kind, name, 0);
        header.set_device_major(if kind == b'3' { 1 } else { 7 }).expect("a number");
        header.set_device_minor(minor).expect("a number");
        header.set_cksum();
        archive.extend(raw(&header, b""));
    }
    archive.extend(raw(&header(b'0', "file", 1), b"x"));
    archive
}

#[test]
fn devices_are_what_their_numbers_say() {
    let root = Root::new();
    unpack(devices().as_slice(), &root.layer()).expect("unpacks");
    let null = fs::symlink_metadata(root.layer().join("null")).expect("a device");
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), nix::sys::stat::makedev(1, 3));
    let disk = fs::symlink_metadata(root.layer().join("loop")).expect("a device");
    assert!(disk.file_type().is_block_device());
    assert_eq!(disk.rdev(), nix::sys::stat::makedev(7, 0));
}

/// Run by the next test, without CAP_MKNOD.
#[test]
#[ignore = "another test runs it as a process of its own"]
fn devices_in_a_process_of_its_own() {
    let root = Root::new();
    unpack(devices().as_slice(), &root.layer()).expect("unpacks");
    let whiteout =
        unpack(Made::new().file(".wh.gone", "").bytes().as_slice(), &root.outer.path().join("second"));
    whiteout.expect("a whiteout is no device");
    let mut names: Vec<_> =
        fs::read_dir(root.layer()).expect("a directory").flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    println!("made {names:?}");
}

#[test]
fn without_the_right_to_make_devices_a_layer_goes_without_them() {
    let inner = testing::child("image::layer::tests::forms::devices_in_a_process_of_its_own");
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-mknod", "--inh-caps", "-mknod"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .output()
        .expect("setpriv starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains(r#"made ["file"]"#), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
}
