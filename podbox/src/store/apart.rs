//! Pods' directories lie far apart on the disk.

use std::fs::File;
use std::path::Path;

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::{StoreError, make_dir, make_parent};

/// Makes a directory whose neighbours come and go as it does.
///
/// ext4 keeps a directory and what is in it in one block group, beside its neighbours, and does not use an inode again within
/// the minutes after it was deleted (`recently_deleted` in fs/ext4/ialloc.c). Where pods come and go, each new file had to
/// look for its inode behind all of those: 160 µs rather than 8, and a pod has dozens. So the directory that the pods lie in is
/// marked as the top of a hierarchy (`FS_TOPDIR_FL`, `T` in chattr(1)), and each of them goes to a block group of its own.
///
/// # Errors
/// If it cannot be made. A file system without such marks does without.
pub fn make_apart(path: &Path) -> Result<(), StoreError> {
    make_parent(path)?;
    path.parent().map(spread);
    make_dir(path)
}

/// Lets directories that are made in this one go far from each other, where the file system can.
fn spread(dir: &Path) {
    let Ok(dir) = File::open(dir) else { return };
    if let Ok(flags) = ioctl_getflags(&dir)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = ioctl_setflags(&dir, flags | IFlags::TOPDIR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_lie_in_is_marked_where_the_file_system_knows_the_mark() {
        let dir = tempfile::tempdir().unwrap();
        let pods = dir.path().join("pods");
        make_apart(&pods.join("a")).unwrap();
        make_apart(&pods.join("a")).unwrap();
        assert!(pods.join("a").is_dir());
        let flags = |path: &Path| ioctl_getflags(File::open(path).unwrap());
        // Others answer that they have no flags, or do not have this one.
        if let (Ok(whole), Ok(one)) = (flags(&pods), flags(&pods.join("a")))
            && nix::sys::statfs::statfs(&pods).unwrap().filesystem_type()
                == nix::sys::statfs::EXT4_SUPER_MAGIC
        {
            assert!(whole.contains(IFlags::TOPDIR) && !one.contains(IFlags::TOPDIR));
        }
    }
}
