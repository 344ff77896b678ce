//! The images that podbox brings itself: its own binary, the host's root, and any directory.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::store::{FileIdentity, Store};
use super::work::Work;
use super::{Image, ImageConfig, ImageError, Reference, digest, documents, layer};
use crate::toolbox::APPLETS;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    app:x:1000:1000:app:/home/app:/bin/sh\n\
    nobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\napp:x:1000:\nnogroup:x:65534:\n";

/// The host's own root directory as the one layer.
pub(crate) fn host() -> Result<Image, ImageError> {
    Ok(in_place(&Reference::Host, PathBuf::from("/")))
}

/// A directory as the one layer, if it is one.
pub(crate) fn rootfs(directory: &Path) -> Result<Option<Image>, ImageError> {
    Ok(directory.is_dir().then(|| in_place(&Reference::Rootfs(directory.to_owned()), directory.to_owned())))
}

/// An image that is not in the store: its id says where it is, since nobody knows what is in it.
fn in_place(reference: &Reference, directory: PathBuf) -> Image {
    let reference = reference.to_string();
    Image {
        id: digest::of(reference.as_bytes()),
        reference,
        repo_digest: None,
        layers: vec![directory],
        config: ImageConfig { env: vec![PATH.to_owned()], ..ImageConfig::default() },
    }
}

/// The file whose change makes another toolbox.
pub(crate) fn toolbox_source() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Makes the toolbox image of the running binary.
///
/// The layer goes through the same door as any other, as a tar archive, so that its digests are real ones:
/// the image can be told from that of another podbox, and the same binary gives the same image.
pub(crate) fn make_toolbox(store: &Store) -> Result<Image, ImageError> {
    let source = toolbox_source();
    let identity = FileIdentity::of(&source).map_err(ImageError::io("look at", &source))?;
    let binary = fs::read(&source).map_err(ImageError::io("read", &source))?;
    let archive = toolbox_archive(&binary).map_err(ImageError::io("archive", &source))?;
    let work = Work::new(store)?;
    let path = work.fresh_path();
    let unpacked =
        layer::unpack(archive.as_slice(), &path).map_err(|failed| failed.of("podbox.local/toolbox", None))?;
    work.publish_layer(store, &path, &unpacked)?;
    let config = ImageConfig {
        env: vec![PATH.to_owned()],
        cmd: vec!["/bin/toolbox".to_owned()],
        ..ImageConfig::default()
    };
    let bytes = documents::write_configuration(&config, &[unpacked.diff_id], None);
    let mut record =
        documents::configuration(&bytes, "podbox.local/toolbox")?.record(Reference::Toolbox.to_string());
    record.source = Some(identity);
    store.commit(record, &[&bytes])
}

fn toolbox_archive(binary: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Builder::new(Vec::with_capacity(binary.len() + (1 << 18)));
    for (name, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("run", 0o755),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("var", 0o755),
        ("var/tmp", 0o1777),
    ] {
        entry(&mut out, name, (EntryType::Directory, mode), &[])?;
    }
    let mut home = header(EntryType::Directory, 0o755, 0);
    home.set_uid(1000);
    home.set_gid(1000);
    out.append_data(&mut home, "home/app", io::empty())?;
    entry(&mut out, "etc/passwd", (EntryType::Regular, 0o644), PASSWD.as_bytes())?;
    entry(&mut out, "etc/group", (EntryType::Regular, 0o644), GROUP.as_bytes())?;
    // Every container has these bound over: where they are in the image, nothing has to be made in the layer above.
    for name in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
        entry(&mut out, name, (EntryType::Regular, 0o644), &[])?;
    }
    entry(&mut out, "bin/toolbox", (EntryType::Regular, 0o755), binary)?;
    for applet in APPLETS.iter().filter(|applet| **applet != "toolbox") {
        let mut link = header(EntryType::Symlink, 0o777, 0);
        out.append_link(&mut link, format!("bin/{applet}"), "/bin/toolbox")?;
    }
    out.into_inner()
}

fn entry(
    out: &mut Builder<Vec<u8>>,
    name: &str,
    (kind, mode): (EntryType, u32),
    mut content: &[u8],
) -> io::Result<()> {
    let mut header = header(kind, mode, content.len() as u64);
    out.append_data(&mut header, name, &mut content as &mut dyn Read)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
