//! The stages alone, without the rest of podbox: for the tests, and for whoever wants to run one by hand:
//! `runtime-stage stage container < plan.json`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == "stage") {
        return runtime::stage::main(args);
    }
    eprintln!("usage: runtime-stage stage sandbox|container|exec");
    ExitCode::from(2)
}
