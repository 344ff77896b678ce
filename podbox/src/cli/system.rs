//! `podbox system`: what this host can do, what is missing and how to mend it.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use netplugin::{Firewall, Led, LedState, NetworkConfig};
use runtime::cgroup::Cgroups;

use crate::chain::owed::{self, Owed};
use crate::context::Context;
use crate::services::Catalogue;
use crate::supervisor::inside;
use crate::supervisor::interfaces::lost;

use super::pods::{Care, Found};
use super::{Failure, Session, out, pods};

/// Subcommands of `system`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum SystemCommand {
    /// Print versions, places and limits
    Info,
    /// Try what podbox needs, and say how to mend what is missing
    Check,
}

/// Runs the command.
pub(super) fn run(session: &Session, command: &SystemCommand) -> Result<ExitCode, Failure> {
    match command {
        SystemCommand::Info => {
            out::print(info(session))?;
            Ok(ExitCode::SUCCESS)
        }
        SystemCommand::Check => check(session),
    }
}

fn info(session: &Session) -> String {
    let settings = &session.settings;
    let first = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let subnet =
        |subnet: Option<netplugin::Subnet>| subnet.map_or("none".to_owned(), |subnet| subnet.to_string());
    let rows = [
        ("podbox", env!("CARGO_PKG_VERSION").to_owned()),
        ("kernel", first("/proc/sys/kernel/osrelease")),
        ("host", crate::node::name()),
        ("memory", format!("{} MiB", crate::node::memory_bytes() >> 20)),
        ("processors", (crate::node::cpu_milli() / 1000).to_string()),
        ("cgroups", cgroups().to_owned()),
        ("root", settings.store.data.display().to_string()),
        ("run", settings.store.run.display().to_string()),
        ("logs", settings.store.logs.display().to_string()),
        ("bridge", settings.network.bridge.clone()),
        ("ipv4", subnet(settings.network.ipv4)),
        ("ipv6", subnet(settings.network.ipv6)),
        ("pods", pods::all(session, None).len().to_string()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect()
}

/// One thing that was tried.
struct Finding {
    what: Cow<'static, str>,
    problem: Option<String>,
    mend: &'static str,
    /// podbox runs without it, with less.
    optional: bool,
}

fn check(session: &Session) -> Result<ExitCode, Failure> {
    let findings = findings(session);
    let mut missing = 0;
    for Finding { what, problem, mend, optional } in findings {
        match problem {
            None => out::line(format_args!("ok       {what}"))?,
            Some(problem) => {
                let word = if optional { "limited" } else { "missing" };
                out::line(format_args!("{word:<9}{what}: {problem}\n         {mend}"))?;
                missing += usize::from(!optional);
            }
        }
    }
    if missing == 0 {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::cannot(match missing {
            1 => "podbox needs what is missing here".to_owned(),
            many => format!("podbox needs what is missing here, {many} things"),
        }))
    }
}

fn findings(session: &Session) -> Vec<Finding> {
    let settings = &session.settings;
    let mut findings = vec![
        Finding {
            what: "root".into(),
            problem: (!nix::unistd::geteuid().is_root()).then(|| "this is not root".to_owned()),
            mend: "run podbox with sudo",
            optional: false,
        },
        capability(
            "CAP_SYS_ADMIN",
            caps_have(21),
            "namespaces and mounts need it: docker/podman run --privileged",
        ),
        capability(
            "CAP_NET_ADMIN",
            caps_have(12),
            "the pod network needs it: docker/podman run --privileged",
        ),
        Finding {
            optional: true,
            ..capability(
                "CAP_SYS_RESOURCE",
                caps_have(24),
                "without it limits cannot be raised and OOM scores not lowered; podbox goes on without",
            )
        },
        Finding {
            what: "overlayfs".into(),
            problem: file_lists("/proc/filesystems", "overlay"),
            mend: "modprobe overlay; without it podbox copies every image for every container",
            optional: true,
        },
        Finding {
            what: "cgroups".into(),
            problem: cgroups_problem(),
            mend: "mount them writable; without them limits and OOMKilled are not to be had",
            optional: true,
        },
        Finding {
            what: "network".into(),
            problem: match &settings.chain {
                Some(chain) => chain.check().err(),
                None => netplugin::check(&settings.network).err().map(|error| crate::report::chain(&error)),
            },
            mend: "choose another network, or other addresses or another bridge, under [network] in podbox.toml",
            optional: false,
        },
    ];
    if settings.chain.is_none() {
        findings.extend(switches(&settings.network));
        findings.extend(firewall(&settings.network));
        findings.extend(running(session));
        findings.extend(unleased(&settings.network));
        findings.extend(peers(&settings.network));
    }
    findings.extend(owed(session));
    for dir in [&settings.store.run, &settings.store.data] {
        findings.push(Finding {
            what: format!("writable {}", dir.display()).into(),
            problem: writable(dir).err().map(|error| error.to_string()),
            mend: "choose others with --root and --run",
            optional: false,
        });
    }
    findings
}

/// Whether the network has been made. /sys may show those of another network namespace.
fn has_bridge(network: &NetworkConfig) -> bool {
    nix::net::if_::if_nametoindex(network.bridge.as_str()).is_ok()
}

/// What podbox has switched on with the bridge, and somebody has switched off again.
fn switches(network: &NetworkConfig) -> Vec<Finding> {
    let bridge = &network.bridge;
    let of_bridge = format!("net/ipv4/conf/{bridge}/route_localnet");
    let switches = [
        ("net/ipv4/ip_forward", network.ipv4.is_some(), "pods reach nothing beyond their bridge"),
        ("net/ipv6/conf/all/forwarding", network.ipv6.is_some(), "pods reach nothing beyond their bridge"),
        (of_bridge.as_str(), network.ipv4.is_some(), "host ports do not answer at 127.0.0.1"),
    ];
    let is_off = |switch: &str| {
        fs::read_to_string(Path::new("/proc/sys").join(switch)).is_ok_and(|value| value.trim() == "0")
    };
    // Until there is a bridge nobody has needed them.
    let has_bridge = has_bridge(network);
    let off = switches.iter().filter(|(switch, wanted, _)| has_bridge && *wanted && is_off(switch));
    let finding = |(switch, _, why): &(&str, bool, &str)| Finding {
        what: switch.replace('/', ".").into(),
        problem: Some(format!("it is 0: {why}")),
        mend: "set it to 1 with sysctl(8); whoever starts after podbox and sets it to 0 does so again",
        optional: true,
    };
    off.map(finding).collect()
}

/// What others' rules do to forwarded packets, if there are any.
fn firewall(network: &NetworkConfig) -> Vec<Finding> {
    let Ok(review) = netplugin::review(network) else { return Vec::new() };
    let bridged = match review.sees_bridged {
        true => "; frames between pods pass there too (bridge-nf-call-iptables)",
        false => "",
    };
    let mut findings = Vec::new();
    if !review.chains.is_empty() {
        let chains = review.chains.join(", ");
        // Until there is a bridge nothing needs to pass.
        let has_bridge = has_bridge(network);
        let is_left = network.firewall == Firewall::Leave;
        let closed = review.closed.join(", ");
        let is_closed = !closed.is_empty() && (is_left || has_bridge);
        findings.push(Finding {
            what: match is_closed {
                true => "firewall".into(),
                false => format!("firewall: pods' packets pass {chains}{bridged}").into(),
            },
            problem: is_closed.then(|| format!("{closed} may stop what is forwarded{bridged}")),
            mend: match is_left {
                true => "set firewall = \"open\" under [network], or let what comes from the bridge and goes to it pass in these chains",
                false => "these chains are their owner's alone: have him let pass what comes from the bridge and goes to it",
            },
            optional: true,
        });
    }
    for program in review.legacy {
        findings.push(Finding {
            what: program.into(),
            problem: Some(format!(
                "its table filter is in use and may stop what is forwarded, and podbox cannot change it{bridged}"
            )),
            mend: "if its FORWARD drops: -I FORWARD -i BRIDGE -j ACCEPT, and the same with -o",
            optional: true,
        });
    }
    findings
}

/// What running pods' networks have lost, if there are any.
fn running(session: &Session) -> Option<Finding> {
    let found = pods::all(session, None).into_iter().filter(|pod| pod.care() != Care::Finished);
    let catalogue = Catalogue::read(&session.settings.store);
    let mut count = 0;
    let mut problems = Vec::new();
    for Found { pod, dir } in found.filter(|found| !found.pod.host.network) {
        let Ok(Context { settings, .. }) = Context::read(dir.run()) else { continue };
        if settings.chain.is_some() {
            continue;
        }
        count += 1;
        let all = lost(&settings, &pod, &dir.namespaces().join("net"));
        let inside = || inside::lost(&settings, (&pod, &dir), &catalogue);
        match all.and_then(|all| Ok([all, inside()?].concat())) {
            Ok(lost) if lost.is_empty() => {}
            Ok(lost) => problems.push(format!("{}/{}: {}", pod.namespace, pod.name, lost.join("; "))),
            Err(error) => problems.push(format!("{}/{}: {error}", pod.namespace, pod.name)),
        }
    }
    (count > 0).then(|| Finding {
        what: "network of running pods".into(),
        problem: (!problems.is_empty()).then(|| problems.join("\n         ")),
        mend: "each pod's supervisor restores this, ever more slowly if it is taken away again and again; `podbox restart` and `podbox up` do so at once",
        optional: false,
    })
}

/// Containers that run on a network without a lease, if there are any.
fn unleased(network: &NetworkConfig) -> Option<Finding> {
    let found = netplugin::unleased(network).ok().filter(|found| !found.is_empty())?;
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    Some(Finding {
        what: "leases".into(),
        problem: Some(format!("nothing says who has {} on {}", told.join(", "), network.bridge)),
        mend: "somebody has removed files below the run directory's ipam; nobody else gets these addresses while their cables are plugged in. Begin those containers anew",
        optional: false,
    })
}

/// Other hosts that packets do not get to as the configuration has it, once there are pods.
fn peers(network: &NetworkConfig) -> Option<Finding> {
    let pods = netplugin::leases(network).unwrap_or_default();
    let led = netplugin::peers(network).ok().filter(|led| !led.is_empty() && !pods.is_empty())?;
    let wrong = led.iter().filter(|led| led.state != LedState::Ready);
    let told: Vec<String> = wrong
        .map(|Led { peer, state }| match state {
            LedState::Stale => {
                let slices: Vec<String> = peer.slices.iter().map(ToString::to_string).collect();
                format!("something still leads to {}, which is no peer's", slices.join(","))
            }
            LedState::Outdated => format!("what leads to {} is not what the configuration says", peer.name),
            LedState::Absent | LedState::Ready => format!("nothing leads to {}", peer.name),
        })
        .collect();
    Some(Finding {
        what: "peers".into(),
        problem: (!told.is_empty()).then(|| told.join("; ")),
        mend: "podbox net peers --apply",
        optional: true,
    })
}

/// What CNI plugins have not taken back of pods that are gone.
fn owed(session: &Session) -> Option<Finding> {
    let owed = owed::list(&session.settings.store);
    let told = |one: &Owed| format!("of pod {} on {} ({})", one.pod, one.network, one.file.display());
    let told: Vec<String> = owed.iter().map(told).collect();
    (!told.is_empty()).then(|| Finding {
        what: "what CNI plugins have not taken back".into(),
        problem: Some(told.join("\n         ")),
        mend: "`podbox down --all` and the next pod on a CNI network have them try again; if a plugin is gone for good, remove the file",
        optional: true,
    })
}

/// What stands against cgroups for pods.
fn cgroups_problem() -> Option<String> {
    let found = Cgroups::detect();
    if found.is_empty() {
        Some(cgroups().to_owned())
    } else {
        found.check().err().map(|error| error.to_string())
    }
}

/// Which kind of control groups the host has.
fn cgroups() -> &'static str {
    let there = |path: &str| Path::new(path).exists();
    match (
        there("/sys/fs/cgroup/cgroup.controllers"),
        there("/sys/fs/cgroup/unified"),
        there("/sys/fs/cgroup/memory"),
    ) {
        (true, ..) => "v2",
        (false, true, _) => "v1 and v2 (hybrid)",
        (false, false, true) => "v1",
        (false, false, false) => "none",
    }
}

fn capability(what: &'static str, have: bool, mend: &'static str) -> Finding {
    Finding { what: what.into(), problem: (!have).then(|| "not held".to_owned()), mend, optional: false }
}

/// Whether this process holds the capability of that number (capabilities(7)).
fn caps_have(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask >> number & 1 == 1
}

fn file_lists(path: &str, word: &str) -> Option<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().any(|line| line.split_whitespace().last() == Some(word));
    (!found).then(|| format!("{path} does not list it"))
}

/// Whether a file can be made in the nearest directory that exists.
fn writable(dir: &Path) -> std::io::Result<()> {
    let nearest = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    let probe = nearest.join(format!(".podbox-check-{}", std::process::id()));
    fs::write(&probe, "")?;
    fs::remove_file(probe)
}
