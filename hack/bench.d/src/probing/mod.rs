//! What probes cost: each kind of handler in real pods, an exec probe beside fork and exec of the same command and
//! beside `podman healthcheck run`, and whether a thousand containers' probes keep their periods.

mod scale;
mod stage;

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use serde::Serialize;

use crate::account::Account;
use crate::candidate::PodNumber;
use crate::failure::{Failure, Outcome, cannot};
use crate::podbox::Podbox;
use crate::podman::Podman;
use crate::results::{Series, millis};
use crate::site::Site;

pub(crate) use scale::Scale;

/// Containers that are probed once a second, beside their server.
const PROBED: u32 = 20;
const POD: PodNumber = 300;
const SETTLE: Duration = Duration::from_secs(2);
const IN_PLACE: u32 = 200;
const HEALTH_CHECKS: u32 = 10;

/// All that is known of probes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Probing {
    pub(crate) kinds: Vec<Kind>,
    /// A probe's command, from the order to its answer.
    pub(crate) exec_ms: Series,
    /// The same with a stage started for it, as `podbox exec` does.
    pub(crate) exec_alone_ms: Series,
    /// The same command: clone, exec and wait, no container.
    pub(crate) in_place_ms: Series,
    pub(crate) in_place_cpu_ms: f64,
    pub(crate) podman: Option<HealthCheck>,
    pub(crate) scale: Scale,
}

/// One kind of handler.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) probes: f64,
    /// Of guardian, supervisor, stage, and for exec the command itself; not of the server that is asked.
    pub(crate) cpu_ms_each: f64,
}

/// `podman healthcheck run` with the same command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HealthCheck {
    pub(crate) took_ms: Series,
    pub(crate) cpu_ms_each: f64,
}

impl Probing {
    pub(crate) fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }
}

/// A handler as a manifest writes it, and the container that it asks.
const HANDLERS: [(&str, &str, &str); 5] = [
    ("exec", "exec: {command: [/bin/true]}", ""),
    ("httpGet", "httpGet: {port: 8080, path: /healthz}", "[http]"),
    ("httpGet, HTTPS", "httpGet: {port: 8443, path: /healthz, scheme: HTTPS}", "[tls]"),
    ("tcpSocket", "tcpSocket: {port: 9000}", "[tcp-echo]"),
    ("grpc", "grpc: {port: 5000}", "[grpc-health]"),
];

/// Measures everything. `podman` is there if it is installed and wanted.
pub(crate) fn measure(site: &Site, podman: Option<&mut Podman>, window: Duration) -> Outcome<Probing> {
    let account = Account::open()?;
    let podbox = Podbox::new(site)?;
    let mut kinds = Vec::new();
    let mut walls = None;
    for (name, handler, server) in HANDLERS {
        say(format_args!("{name} probes for {} s", window.as_secs()));
        let uid = podbox.up_in(&account, POD, &manifest(&Podbox::pod_name(POD), handler, server))?;
        std::thread::sleep(SETTLE);
        if name == "exec" {
            walls = Some(stage::walls(site, &podbox.pod_dir(&uid))?);
        }
        let spent = || -> Outcome<Duration> {
            let commands = if name == "exec" { account.used_by_pod(&uid)? } else { Duration::ZERO };
            Ok(account.used()? + commands)
        };
        let (before, began) = (spent()?, Instant::now());
        std::thread::sleep(window);
        let probes = f64::from(PROBED) * began.elapsed().as_secs_f64();
        kinds.push(Kind { name, probes, cpu_ms_each: millis(spent()? - before) / probes });
        podbox.down_quietly(POD)?;
    }
    let walls = walls.unwrap_or_default();
    let in_place_cpu_ms = in_place_cpu(site)?;
    let podman = podman.map(|podman| health_checks(podman, &account)).transpose()?;
    say("a thousand containers with three probes each");
    let scale = scale::measure(window)?;
    Ok(Probing {
        kinds,
        exec_ms: walls.staying,
        exec_alone_ms: walls.alone,
        in_place_ms: walls.in_place,
        in_place_cpu_ms,
        podman,
        scale,
    })
}

fn say(what: impl std::fmt::Display) {
    eprintln!("bench: {what}");
}

fn manifest(name: &str, handler: &str, server: &str) -> String {
    let head = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n"
    );
    let container = |name: &str, command: &str, probe: &str| {
        format!(
            "  - {{name: {name}, image: podbox.local/toolbox, imagePullPolicy: Never, command: {command}{probe}}}\n"
        )
    };
    let mut text = head;
    if !server.is_empty() {
        text.push_str(&container("server", server, ""));
    }
    if server == "[tls]" {
        text.push_str(&container("plain", "[http]", ""));
    }
    let probe = format!(", livenessProbe: {{{handler}, periodSeconds: 1, failureThreshold: 10}}");
    for number in 0..PROBED {
        text.push_str(&container(&format!("p{number}"), "[sleep, '3000000']", &probe));
    }
    text
}

/// Clone, exec and wait of `true`: how long it took.
fn in_place(site: &Site) -> Outcome<Duration> {
    let began = Instant::now();
    let status = Command::new(site.path("rootfs/bin/true")).env_clear().status();
    let took = began.elapsed();
    match status.map_err(cannot("run true"))? {
        status if status.success() => Ok(took),
        status => Err(Failure(format!("true failed: {status}"))),
    }
}

/// The same: processor time each.
fn in_place_cpu(site: &Site) -> Outcome<f64> {
    let before = processor_time()?;
    for _ in 0..IN_PLACE {
        in_place(site)?;
    }
    Ok(millis(processor_time()?.saturating_sub(before)) / f64::from(IN_PLACE))
}

/// Of this process and of those that it has waited for.
fn processor_time() -> Outcome<Duration> {
    let of = |who| -> Outcome<Duration> {
        let usage: Usage = getrusage(who).map_err(std::io::Error::from).map_err(cannot("read usage"))?;
        let [user, system] = [usage.user_time(), usage.system_time()];
        let micros = 1_000_000 * (user.tv_sec() + system.tv_sec()) + user.tv_usec() + system.tv_usec();
        Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    };
    Ok(of(UsageWho::RUSAGE_SELF)? + of(UsageWho::RUSAGE_CHILDREN)?)
}

fn health_checks(podman: &mut Podman, account: &Account) -> Outcome<HealthCheck> {
    say(format_args!("{HEALTH_CHECKS} health checks of podman"));
    podman.up_checked()?;
    let mut took_ms = Series::default();
    podman.check(account)?;
    let before = account.used()?;
    for _ in 0..HEALTH_CHECKS {
        took_ms.push(podman.check(account)?);
    }
    let cpu = millis(account.used()? - before);
    podman.down_checked()?;
    Ok(HealthCheck { took_ms, cpu_ms_each: cpu / f64::from(HEALTH_CHECKS) })
}
