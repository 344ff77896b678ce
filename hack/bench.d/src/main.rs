//! Measures podbox beside the kernel's floor and whichever of podman, runc and crun are installed.
//!
//! Two processes: the *worker* measures, and the *keeper* waits for it and cleans up after it, whether it has
//! finished, failed, or been stopped by Ctrl-C. The cleaning finds what there is by the run's directory and by
//! names that only the benchmark uses, so it needs nothing that the worker knew.

mod account;
mod candidate;
mod checks;
mod failure;
mod floor;
mod measure;
mod net;
mod oci;
mod podbox;
mod podman;
mod probing;
mod proc;
mod results;
mod run;
mod site;
mod table;
mod waterfall;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use candidate::Candidate;
use checks::Check;
use clap::Parser;
use failure::{Failure, Outcome, cannot};
use floor::Floor;
use measure::Amount;
use net::{Network, Sections};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use podbox::Podbox;
use podman::Podman;
use probing::Probing;
use results::{Found, Host, Results, Series};
use serde::Serialize;
use site::Site;

/// Measures podbox beside the kernel's floor and whichever of podman, runc and crun are installed
#[derive(Clone, Debug, Parser)]
#[command(name = "hack/bench", max_term_width = 110)]
struct Options {
    /// Rounds of up and down
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Pods at once
    #[arg(long, default_value_t = 50)]
    pods: u32,
    /// Seconds of idleness, and of exec probes
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    idle: u64,
    /// Also write the results there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fail if a budget is missed
    #[arg(long)]
    check: bool,
    /// Only draw the steps of one `podbox up` over time
    #[arg(long)]
    waterfall: bool,
    /// Only measure probes
    #[arg(long)]
    probes: bool,
    /// Only measure the network, Services and readiness
    #[arg(long)]
    network: bool,
    /// Leave these out: podbox, podman, runc, crun, network, services, readiness
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    without: Vec<String>,
    /// The podbox to measure [default: the one that was built beside this program]
    #[arg(long, value_name = "FILE")]
    podbox: Option<PathBuf>,
    /// What all others run in their containers: a static program that has sleep and true [default: podbox]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where everything is kept meanwhile
    #[arg(long, value_name = "DIR", default_value = "/var/lib/podbox-bench")]
    dir: PathBuf,
    /// Measure, and leave the cleaning to whoever started this
    #[arg(long, hide = true)]
    worker: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = if options.worker { work(&options) } else { keep(&options) };
    result.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::FAILURE
    })
}

impl Options {
    fn site(&self) -> Outcome<Site> {
        let beside = std::env::current_exe().map(|exe| exe.with_file_name("podbox")).unwrap_or_default();
        let podbox = self.podbox.clone().unwrap_or(beside);
        let program = self.program.clone().unwrap_or_else(|| podbox.clone());
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(cannot(format_args!("find {}", path.display())));
        Ok(Site { dir: absolute(&self.dir)?, podbox: absolute(&podbox)?, program: absolute(&program)? })
    }

    fn includes(&self, name: &str) -> bool {
        !self.without.iter().any(|left_out| left_out == name)
    }
}

/// Starts the worker in a process group of its own, waits for its end or for a signal, and cleans up.
fn keep(options: &Options) -> Outcome<ExitCode> {
    let site = options.site()?;
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure("pods can only be made by root".to_owned()));
    }
    let _lock = site.take()?;
    let awaited = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD]);
    let blocked = awaited.thread_block();
    blocked.map_err(|error| Failure(format!("cannot block signals: {error}")))?;
    let exe = std::env::current_exe().map_err(cannot("find this program"))?;
    let worker = Command::new(exe)
        .args(std::env::args_os().skip(1))
        .arg("--worker")
        .process_group(0)
        .spawn()
        .map_err(cannot("start the worker"))?;
    let worker = Pid::from_raw(worker.id().cast_signed());
    let code = loop {
        match awaited.wait() {
            Ok(Signal::SIGCHLD) => match waitpid(worker, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => break u8::try_from(code).unwrap_or(1),
                Ok(WaitStatus::StillAlive) => {}
                Ok(_) | Err(_) => break 1,
            },
            Ok(_) | Err(_) => {
                eprintln!("bench: stopping");
                break 130;
            }
        }
    };
    // The floor's containers are in the group, too. It may be gone already.
    let _ = killpg(worker, Signal::SIGKILL);
    let _ = waitpid(worker, None);
    site.clean()?;
    // The lock file of a directory that is in use by somebody else keeps it.
    let _ = fs::remove_file(site.path("lock")).and_then(|()| fs::remove_dir(&site.dir));
    Ok(ExitCode::from(code))
}

fn work(options: &Options) -> Outcome<ExitCode> {
    // The keeper waits for signals with them blocked, and that is inherited.
    let unblocked = SigSet::all().thread_unblock();
    unblocked.map_err(|error| Failure(format!("cannot unblock signals: {error}")))?;
    let site = options.site()?;
    if !site.program.exists() {
        return Err(Failure(format!("there is no {}", site.program.display())));
    }
    site.furnish()?;
    if options.waterfall {
        print!("{}", one_up(&site)?);
        return Ok(ExitCode::SUCCESS);
    }
    if options.probes {
        let probing = probing(options, &site)?;
        let checks = checks::of_probes(&probing);
        print!("{}{}", table::render_probing(&probing), table::render_checks(&checks));
        write_json(options, &probing)?;
        return Ok(code(options, &checks));
    }
    if options.network {
        let network = network(options, &site)?;
        let checks = checks::of_network(&network);
        print!("{}{}", net::render(&network), table::render_checks(&checks));
        write_json(options, &network)?;
        return Ok(code(options, &checks));
    }
    let results = measure_all(options, &site)?;
    print!("{}{}", table::render(&results), table::render_checks(&results.checks));
    write_json(options, &results)?;
    Ok(code(options, &results.checks))
}

fn write_json(options: &Options, results: &impl Serialize) -> Outcome<()> {
    let Some(file) = &options.json else { return Ok(()) };
    let text = serde_json::to_string_pretty(results).map_err(std::io::Error::from);
    text.and_then(|text| fs::write(file, text + "\n"))
        .map_err(cannot(format_args!("write {}", file.display())))
}

fn code(options: &Options, checks: &[Check]) -> ExitCode {
    let missed = options.check && checks.iter().any(|check| !check.met);
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn probing(options: &Options, site: &Site) -> Outcome<Probing> {
    let mut podman = if options.includes("podman") { Podman::new(site)? } else { None };
    probing::measure(site, podman.as_mut(), Duration::from_secs(options.idle))
}

fn network(options: &Options, site: &Site) -> Outcome<Network> {
    let sections = Sections {
        network: options.includes("network"),
        services: options.includes("services"),
        readiness: options.includes("readiness"),
    };
    net::measure(site, sections, options.rounds)
}

fn measure_all(options: &Options, site: &Site) -> Outcome<Results> {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let amount =
        Amount { rounds: options.rounds, pods: options.pods, idle: Duration::from_secs(options.idle) };
    let mut candidates = candidates(options, site)?;
    let mut found: Vec<Found> = candidates.iter().map(|candidate| describe(candidate.as_ref())).collect();
    let with_podbox = options.includes("podbox");
    let mut podbox = Podbox::new(site)?;
    if with_podbox {
        let first = measure::first_pod(&mut podbox, amount.rounds)?;
        found
            .iter_mut()
            .filter(|found| found.name == "podbox")
            .for_each(|found| found.first_up_ms = first.clone());
    }
    measure::latency(&mut candidates, &mut found, amount.rounds)?;
    measure::restart_and_exec(&mut candidates, &mut found, amount.rounds.div_ceil(2))?;
    for (candidate, found) in
        candidates.iter_mut().zip(&mut found).filter(|(candidate, _)| candidate.has_pods())
    {
        found.many = Some(measure::many(candidate.as_mut(), amount)?);
    }
    let mut fork_exec_ms = Series::default();
    drop(candidates);
    let mut floor = Floor::start(site)?;
    for _ in 0..amount.rounds {
        fork_exec_ms.push(floor.plain()?);
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(floor);
    let probing = if with_podbox { Some(probing(options, site)?) } else { None };
    let network = if with_podbox { Some(network(options, site)?) } else { None };
    let binary_bytes = fs::metadata(&site.podbox).map_or(0, |metadata| metadata.len());
    let mut results = Results {
        host: host(site, &load),
        rounds: amount.rounds,
        candidates: found,
        fork_exec_ms,
        probing,
        network,
        binary_bytes,
        checks: Vec::new(),
    };
    results.checks = checks::all(&results);
    Ok(results)
}

fn candidates(options: &Options, site: &Site) -> Outcome<Vec<Box<dyn Candidate>>> {
    let mut all: Vec<Box<dyn Candidate>> = vec![Box::new(Floor::start(site)?)];
    if options.includes("podbox") {
        all.push(Box::new(Podbox::new(site)?));
    }
    for runtime in oci::installed(site)?.into_iter().filter(|runtime| options.includes(runtime.name())) {
        all.push(Box::new(runtime));
    }
    if options.includes("podman")
        && let Some(podman) = Podman::new(site)?
    {
        all.push(Box::new(podman));
    }
    Ok(all)
}

fn describe(candidate: &dyn Candidate) -> Found {
    Found {
        name: candidate.name().to_owned(),
        version: candidate.version(),
        has_pods: candidate.has_pods(),
        ..Found::default()
    }
}

fn host(site: &Site, load: &str) -> Host {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kind = nix::sys::statfs::statfs(&site.dir).map(|stat| stat.filesystem_type());
    let filesystem = match kind {
        Ok(nix::sys::statfs::TMPFS_MAGIC) => "tmpfs",
        Ok(nix::sys::statfs::EXT4_SUPER_MAGIC) => "ext4",
        Ok(nix::sys::statfs::BTRFS_SUPER_MAGIC) => "btrfs",
        Ok(nix::sys::statfs::XFS_SUPER_MAGIC) => "xfs",
        Ok(_) | Err(_) => "another file system",
    };
    Host {
        kernel: release.trim().to_owned(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        filesystem: filesystem.to_owned(),
        load: load.split(' ').next().unwrap_or_default().to_owned(),
    }
}

/// One `up` that a few others have warmed up for, drawn.
fn one_up(site: &Site) -> Outcome<String> {
    let mut podbox = Podbox::new(site)?;
    podbox.up(1)?;
    for _ in 0..3 {
        podbox.up(2)?;
        podbox.down(2)?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    let took = podbox.up(2)?;
    let trace = podbox.trace(2)?;
    waterfall::render(&trace, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), took)
}
