//! The command line: one file a command, each a thin layer over the library.

mod api_resources;
mod attach;
mod behind;
mod capture;
mod cni;
mod completion;
mod condition;
mod containers;
mod cp;
mod debug;
mod derived;
mod describe;
mod diff;
mod down;
mod events;
mod exec;
mod failure;
mod follow;
mod get;
mod habit;
mod image;
mod kinds;
mod logs;
mod man;
mod names;
mod net;
mod out;
mod plan;
mod pods;
mod port_forward;
mod quick;
mod removal;
mod resize;
mod restart;
mod run;
mod show;
mod stored;
mod strictness;
mod system;
mod targets;
mod top;
mod trace;
mod up;
mod validate;
mod wait;
mod watch;
mod wish;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Flags, Settings};

pub use failure::Failure;

/// Kubernetes Pods on one Linux host, run exactly as a kubelet runs them.
#[derive(Debug, Parser)]
#[command(name = "podbox", version, about, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes. The environment is read with the configuration file: to clap a variable would be an
/// argument that was given, and so a part of every usage line.
#[derive(Debug, Clone, Args)]
struct Global {
    /// Images and what else survives a reboot [env: PODBOX_ROOT] [default: /var/lib/podbox]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// What dies with the boot [env: PODBOX_RUN] [default: /run/podbox]
    #[arg(long, global = true, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Configuration file [env: PODBOX_CONFIG] [default: /etc/podbox/podbox.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print results only
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the pods of a manifest
    Up(up::UpArgs),
    /// Stop pods and remove all that is left of them
    Down(down::DownArgs),
    /// Print what `up` would do, step by step, as commands; touches nothing
    Plan(plan::PlanArgs),
    /// Print what `up` would change, as a unified diff; touches nothing
    Diff(diff::DiffArgs),
    /// Read and check manifests; touches nothing
    Validate(validate::ValidateArgs),
    /// List pods and other objects, or print them
    Get(get::GetArgs),
    /// Tell all about pods and other objects
    Describe(describe::DescribeArgs),
    /// List what happened
    Events(events::EventsArgs),
    /// Print a container's output
    Logs(logs::LogsArgs),
    /// Start a pod of one container, described by flags
    Run(run::RunArgs),
    /// Attach to a container's own process
    Attach(attach::AttachArgs),
    /// Run a command in a container
    Exec(exec::ExecArgs),
    /// Look around in a pod from a container of another image
    Debug(debug::DebugArgs),
    /// Copy files from or to a container
    Cp(cp::CpArgs),
    /// Forward local ports to a pod
    PortForward(port_forward::PortForwardArgs),
    /// Show the packets of a pod, or write them to a file
    Capture(capture::CaptureArgs),
    /// Wait until something is true of a pod
    Wait(wait::WaitArgs),
    /// Restart containers in place
    Restart(restart::RestartArgs),
    /// Change a container's resources while it runs
    Resize(resize::ResizeArgs),
    /// Show what pods use
    Top(top::TopArgs),
    /// Set a condition of a pod, such as a readiness gate
    Condition(condition::ConditionArgs),
    /// Print every step that was taken for a pod, with its duration
    Trace(trace::TraceArgs),
    /// Manage images
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// The pods' network
    #[command(subcommand)]
    Net(net::NetCommand),
    /// podbox as a network plugin of other container runtimes
    #[command(subcommand)]
    Cni(cni::CniCommand),
    /// What this host can do
    #[command(subcommand)]
    System(system::SystemCommand),
    /// Print a completion script
    Completion(completion::CompletionArgs),
    /// List the kinds of object that there are, with their short names
    ApiResources(api_resources::ApiResourcesArgs),
    /// Write the manual pages, for packages
    #[command(hide = true)]
    Man(man::ManArgs),
    /// Print the version
    Version,
}

/// What every command is given.
#[derive(Clone, Debug)]
struct Session {
    settings: Settings,
    quiet: bool,
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = completion::answer() {
        return code;
    }
    let words: Vec<_> = std::env::args_os().collect();
    let cli = quick::parse(&words).unwrap_or_else(|| {
        Cli::try_parse_from(&words).unwrap_or_else(|error| {
            let words: Vec<_> =
                words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            habit::explain(error, &words).exit()
        })
    });
    match run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let flags = Flags { root: cli.global.root, run: cli.global.run, config: cli.global.config };
    // These work on any machine, whatever its configuration says.
    match &cli.command {
        Command::Completion(args) => return completion::run(args),
        Command::ApiResources(args) => return api_resources::run(args),
        Command::Man(args) => return man::run(args),
        Command::Cni(command) => return cni::run(command),
        Command::Version => {
            out::line(format_args!("podbox {}", env!("CARGO_PKG_VERSION")))?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let settings = config::load(&flags).map_err(|error| Failure::request(&error))?;
    let session = Session { settings, quiet: cli.global.quiet };
    match cli.command {
        Command::Up(args) => up::run(&session, &args),
        Command::Down(args) => down::run(&session, &args),
        Command::Plan(args) => plan::run(&session, &args),
        Command::Diff(args) => diff::run(&session, &args),
        Command::Validate(args) => validate::run(&session, &args),
        Command::Get(args) => get::run(&session, &args),
        Command::Describe(args) => describe::run(&session, &args),
        Command::Events(args) => events::run(&session, &args),
        Command::Logs(args) => logs::run(&session, &args),
        Command::Run(args) => run::run(&session, &args),
        Command::Attach(args) => attach::run(&session, &args),
        Command::Exec(args) => exec::run(&session, &args),
        Command::Debug(args) => debug::run(&session, &args),
        Command::Cp(args) => cp::run(&session, &args),
        Command::PortForward(args) => port_forward::run(&session, &args),
        Command::Capture(args) => capture::run(&session, &args),
        Command::Wait(args) => wait::run(&session, &args),
        Command::Restart(args) => restart::run(&session, &args),
        Command::Resize(args) => resize::run(&session, &args),
        Command::Top(args) => top::run(&session, &args),
        Command::Condition(args) => condition::run(&session, &args),
        Command::Trace(args) => trace::run(&session, &args),
        Command::Image(command) => image::run(&session, command),
        Command::Net(command) => net::run(&session, &command),
        Command::System(command) => system::run(&session, &command),
        Command::ApiResources(_)
        | Command::Cni(_)
        | Command::Completion(_)
        | Command::Man(_)
        | Command::Version => Ok(ExitCode::SUCCESS),
    }
}
