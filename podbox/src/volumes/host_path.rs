//! `hostPath`: what must be on the host, or is made. Source: kubelet `volume/hostpath`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::{VolumeError, io_error};
use crate::pod::HostPathType;

/// Checks what is there, or makes what may be made.
///
/// # Errors
/// [`VolumeError::WrongType`] if something else is there.
pub(super) fn check(path: &Path, kind: HostPathType) -> Result<(), VolumeError> {
    let found = fs::metadata(path).ok();
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(|data| test(&data.file_type()));
    let wrong = |wanted| Err(VolumeError::WrongType { path: path.to_path_buf(), wanted });
    match kind {
        HostPathType::Unset if found.is_some() => Ok(()),
        // The container runtime makes what is missing, as a directory.
        HostPathType::Unset => make_directory(path),
        HostPathType::DirectoryOrCreate if found.is_none() => make_directory(path),
        HostPathType::FileOrCreate if found.is_none() => OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .map(drop)
            .map_err(io_error("create", path)),
        HostPathType::DirectoryOrCreate | HostPathType::Directory => {
            if is(fs::FileType::is_dir) {
                Ok(())
            } else {
                wrong("a directory")
            }
        }
        HostPathType::FileOrCreate | HostPathType::File => {
            if is(fs::FileType::is_file) {
                Ok(())
            } else {
                wrong("a file")
            }
        }
        HostPathType::Socket => {
            if is(FileTypeExt::is_socket) {
                Ok(())
            } else {
                wrong("a socket file")
            }
        }
        HostPathType::CharDevice => {
            if is(FileTypeExt::is_char_device) {
                Ok(())
            } else {
                wrong("a character device")
            }
        }
        HostPathType::BlockDevice => {
            if is(FileTypeExt::is_block_device) {
                Ok(())
            } else {
                wrong("a block device")
            }
        }
    }
}

fn make_directory(path: &Path) -> Result<(), VolumeError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io_error("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_path_must_be_what_its_type_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        check(&file, HostPathType::FileOrCreate).unwrap();
        check(&file, HostPathType::File).unwrap();
        let error = check(&file, HostPathType::Directory).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("hostPath type check failed: {} is not a directory", file.display())
        );
        check(&dir.path().join("new/deep"), HostPathType::DirectoryOrCreate).unwrap();
        assert!(check(&dir.path().join("none"), HostPathType::Socket).is_err());
        let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        check(&dir.path().join("socket"), HostPathType::Socket).unwrap();
        check(Path::new("/dev/null"), HostPathType::CharDevice).unwrap();
        for (kind, wanted) in [
            (HostPathType::BlockDevice, "a block device"),
            (HostPathType::FileOrCreate, "a file"),
            (HostPathType::Socket, "a socket file"),
            (HostPathType::DirectoryOrCreate, "a directory"),
        ] {
            let error = check(Path::new("/dev/null"), kind).unwrap_err();
            assert_eq!(error.to_string(), format!("hostPath type check failed: /dev/null is not {wanted}"));
        }
    }
}
