//! Extended attributes, of the file itself and never of what a link points to.

use super::check;
use nix::errno::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn name_of(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// An attribute's value, of whatever length; `None` if there is no such attribute.
pub(crate) fn get(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = name_of(path).ok()?;
    // SAFETY: both names are C strings, and the kernel writes at most the length it is told.
    grown(|room| unsafe {
        libc::lgetxattr(path.as_ptr(), name.as_ptr(), room.as_mut_ptr().cast(), room.len())
    })
    .ok()
}

/// The names of all attributes.
pub(crate) fn list(path: &Path) -> io::Result<Vec<CString>> {
    let path = name_of(path)?;
    // SAFETY: the path is a C string, and the kernel writes at most the length it is told.
    let all = grown(|room| unsafe { libc::llistxattr(path.as_ptr(), room.as_mut_ptr().cast(), room.len()) })?;
    let names = all.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// What a call puts into a buffer, which grows until it fits.
fn grown(mut call: impl FnMut(&mut [u8]) -> isize) -> io::Result<Vec<u8>> {
    let mut room = vec![0_u8; 256];
    loop {
        match check(call(&mut room) as libc::c_long) {
            Ok(length) => {
                room.truncate(length as usize);
                return Ok(room);
            }
            // The kernel's own limit for values and lists is 64 KiB.
            Err(Errno::ERANGE) if room.len() < 1 << 16 => room.resize(room.len() * 4, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
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

/// Removes an attribute.
pub(crate) fn remove(path: &Path, name: &CStr) -> io::Result<()> {
    let path = name_of(path)?;
    // SAFETY: both names are C strings.
    check(unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) }.into())?;
    Ok(())
}
