//! podbox as a CNI plugin: what the process called `podbox-bridge` does. The rest is [`netplugin::cni`].

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use netplugin::cni::{PROGRAM, answer};

/// More than any configuration with any result in it, in bytes.
const LONGEST: u64 = 16 << 20;

/// Whether a program started as `argv0` is to be the plugin.
#[must_use]
pub fn is_plugin(argv0: &OsStr) -> bool {
    Path::new(argv0).file_name() == Some(OsStr::new(PROGRAM))
}

/// Answers a runtime. The result or the error object goes to standard output, as the specification has it; the exit
/// code is 1 for an error.
pub fn main() -> ExitCode {
    let mut input = Vec::new();
    // What cannot be read cannot be understood either, and that is said.
    let _ = std::io::stdin().lock().take(LONGEST).read_to_end(&mut input);
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let answer = answer(&variable, &input);
    let written = std::io::stdout().lock().write_all(answer.output.as_bytes());
    if answer.done && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
