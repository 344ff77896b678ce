//! Which file system is full.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

/// What could not be written, and where the file system is that did not take it; `path` lies on it.
pub(super) fn told(text: &str, path: &Path) -> String {
    let device = |path: &Path| fs::metadata(path).map(|data| data.st_dev()).ok();
    let own = path.ancestors().take_while(|above| device(above) == device(path));
    let mount = own.last().unwrap_or(path).display();
    format!("{text}: the file system at {mount} is full")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_named_by_where_it_is_mounted() {
        assert_eq!(
            told("write x", Path::new("/proc/sys/kernel")),
            "write x: the file system at /proc is full"
        );
    }
}
