//! The kernel's network settings under /proc/sys/net: those of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::error::NetError;

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(name)
}

/// A setting's value, or `None` if there is no such setting.
pub(crate) fn read(name: &str) -> Option<String> {
    Some(fs::read_to_string(path(name)).ok()?.trim_end().to_owned())
}

/// Gives a setting its value, unless it has it: where /proc is read-only that can be good enough.
pub(crate) fn set(name: &str, value: &'static str) -> Result<(), NetError> {
    if read(name).as_deref() == Some(value) {
        return Ok(());
    }
    write(name, value).map_err(|source| NetError::Sysctl {
        name: format!("net.{}", name.replace('/', ".")),
        value,
        source,
    })
}

/// Gives a setting its value.
pub(crate) fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name), value)
}

/// Whether interfaces that are made from now on may have IPv6 addresses.
pub(crate) fn ipv6_is_on() -> bool {
    read("ipv6/conf/default/disable_ipv6").as_deref() == Some("0")
}
