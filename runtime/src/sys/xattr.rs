//! Extended attributes, of the file itself and never of what a link points to.

use super::check;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn name_of(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// An attribute's value of at most 256 bytes, which is plenty for those that are asked for here.
pub(crate) fn get(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let (path, mut value) = (name_of(path).ok()?, vec![0_u8; 256]);
    // SAFETY: both names are C strings, and the kernel writes at most the length it is told.
    let length =
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}

/// Sets an attribute.
pub(crate) fn set(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = name_of(path)?;
    // SAFETY: both names are C strings, and the kernel reads exactly the length of `value`.
    let done =
        unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    check(done.into())?;
    Ok(())
}
