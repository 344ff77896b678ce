//! The toolbox as a program of its own: `cargo run --example toolbox -- http --port 8080`.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let argv0 = args.next().unwrap_or_default();
    let applet = podbox::toolbox::applet_for(argv0).unwrap_or("toolbox");
    podbox::toolbox::main(applet, &args.collect::<Vec<OsString>>())
}
