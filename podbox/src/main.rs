//! The podbox program. Which of its parts runs is decided by the first words of the command line, before any
//! argument parser, thread or async runtime exists: stages and the guardian must stay small and single-threaded.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use podbox::{cli, cni, guardian, image, supervisor, toolbox};

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().collect();
    let word = |index: usize| args.get(index).and_then(|arg| arg.to_str()).unwrap_or_default();
    if args.first().is_some_and(|name| cni::is_plugin(name)) {
        return cni::main();
    }
    if let Some(applet) = args.first().and_then(|name| toolbox::applet_for(name)) {
        return toolbox::main(applet, &args[1..]);
    }
    match (word(1), args.len()) {
        ("stage", 3) if word(2) == "pull" => image::stage_main(),
        ("stage", _) => runtime::stage::main(args.into_iter().skip(2)),
        ("guardian", 3 | 4) => guardian::main(Path::new(&args[2])),
        ("supervise", 3) => supervisor::main(Path::new(&args[2]), nix::unistd::getppid(), Vec::new()),
        ("toolbox", 3..) => toolbox::main(word(2), &args[3..]),
        _ => cli::main(),
    }
}
