//! The toolbox: small programs that live inside the podbox binary.
//!
//! The image `podbox.local/toolbox` holds the podbox binary as `/bin/toolbox` and one symlink per applet, so
//! that a manifest can be tried with nothing to pull: an HTTP server whose health can be told to fail, echo
//! servers, clients, a shell, and what a shell script needs. The base name of `argv[0]` picks the applet, as
//! in busybox; `toolbox APPLET …` does the same by hand.
//!
//! An applet is often a container's process 1, and the kernel drops signals for process 1 unless it asked for
//! them. Everything here that waits therefore ends on SIGTERM by itself (see [`signals`]).
//!
//! The binary is static: a name-service call of the C library could load a module and crash. Names are
//! resolved by [`resolve`], user names by reading `/etc/passwd`.

mod condition;
mod failure;
mod files;
mod flags;
mod health;
mod http;
mod http_client;
mod http_server;
mod interfaces;
mod misbehave;
mod processes;
mod relay;
mod resolve;
mod serve_async;
mod sh;
mod signals;
mod sleep;
mod strain;
mod text;
mod tls;
mod udp;
mod whoami;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::Signal;

use failure::{Failure, chain};

/// What an applet ends with: its exit code, or why it could not do its work.
type Outcome = Result<u8, Failure>;

/// One applet: its name and its code.
struct Applet {
    name: &'static str,
    run: fn(&[OsString]) -> Outcome,
}

const TABLE: &[Applet] = &[
    Applet { name: "[", run: condition::bracket },
    Applet { name: "addr", run: interfaces::addr },
    Applet { name: "cat", run: files::cat },
    Applet { name: "connect", run: relay::connect },
    Applet { name: "date", run: text::date },
    Applet { name: "eat", run: strain::eat },
    Applet { name: "echo", run: text::echo },
    Applet { name: "env", run: text::env },
    Applet { name: "exitcode", run: strain::exitcode },
    Applet { name: "false", run: text::no },
    Applet { name: "flood", run: strain::flood },
    Applet { name: "get", run: http_client::get },
    Applet { name: "goproxy", run: relay::goproxy },
    Applet { name: "grpc-health", run: health::grpc_health },
    Applet { name: "head", run: files::head },
    Applet { name: "hostname", run: whoami::hostname },
    Applet { name: "http", run: http_server::http },
    Applet { name: "http-go", run: http_server::http_go },
    Applet { name: "id", run: whoami::id },
    Applet { name: "kill", run: processes::kill },
    Applet { name: "ls", run: files::ls },
    Applet { name: "misbehave", run: misbehave::misbehave },
    Applet { name: "mkdir", run: files::mkdir },
    Applet { name: "printenv", run: text::printenv },
    Applet { name: "printf", run: text::printf },
    Applet { name: "ps", run: processes::ps },
    Applet { name: "pwd", run: text::pwd },
    Applet { name: "resolve", run: resolve::applet },
    Applet { name: "rm", run: files::rm },
    Applet { name: "seq", run: text::seq },
    Applet { name: "server", run: http_server::server },
    Applet { name: "sh", run: sh::sh },
    Applet { name: "sleep", run: sleep::sleep },
    Applet { name: "spin", run: strain::spin },
    Applet { name: "tcp-echo", run: relay::tcp_echo },
    Applet { name: "test", run: condition::test },
    Applet { name: "tls", run: tls::tls },
    Applet { name: "touch", run: files::touch },
    Applet { name: "true", run: text::yes },
    Applet { name: "udp-echo", run: udp::udp_echo },
];

/// The name of the binary inside the toolbox image; as `argv[0]` it takes the applet as first argument.
const TOOLBOX: &str = "toolbox";

const NAMES: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = TABLE[at].name;
        at += 1;
    }
    names
};

/// The applets' names, sorted: one symlink each in the toolbox image's `/bin`.
pub const APPLETS: &[&str] = &NAMES;

/// The applet that a program started as `argv0` shall be, by its base name; `None` for podbox itself.
///
/// `toolbox` is one of them: it takes the applet's name as its first argument.
pub fn applet_for(argv0: impl AsRef<OsStr>) -> Option<&'static str> {
    let name = Path::new(argv0.as_ref()).file_name()?.to_str()?;
    if name == TOOLBOX {
        return Some(TOOLBOX);
    }
    find(name).map(|applet| applet.name)
}

/// Runs one applet to its end. `args` are the arguments after the applet's name.
///
/// Failures are printed to standard error as `APPLET: what: why`. The exit code is the applet's own; 1 for
/// a failure, 2 for a wrong call and 127 for an applet that does not exist.
pub fn main(applet: &str, args: &[OsString]) -> ExitCode {
    if applet == TOOLBOX {
        return multi_call(args);
    }
    let Some(applet) = find(applet) else {
        complain(TOOLBOX, &format!("{applet}: no such applet"));
        return ExitCode::from(127);
    };
    match (applet.run)(args) {
        Ok(code) => ExitCode::from(code),
        // A reader that went away is no mistake; without Rust's runtime its signal would have ended the applet.
        Err(failure) if failure.is_broken_pipe() => ExitCode::from(signals::exit_code(Signal::SIGPIPE)),
        Err(failure) => {
            complain(applet.name, &chain(&failure));
            ExitCode::from(failure.code())
        }
    }
}

fn multi_call(args: &[OsString]) -> ExitCode {
    match args.split_first() {
        Some((name, rest)) => main(&name.to_string_lossy(), rest),
        None => {
            let list = APPLETS.join("\n") + "\n";
            ExitCode::from(u8::from(text::print(list.as_bytes()).is_err()))
        }
    }
}

fn find(name: &str) -> Option<&'static Applet> {
    TABLE.binary_search_by(|applet| applet.name.cmp(name)).ok().map(|at| &TABLE[at])
}

/// Nothing can be done about a standard error that is closed, so its errors are let go.
fn complain(who: &str, what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{who}: {what}");
}

#[cfg(test)]
mod tests;
