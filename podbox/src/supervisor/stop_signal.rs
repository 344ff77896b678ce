//! The signal that asks a container to end: which one, and when it is sent.

use std::fs::{self, File};
use std::str::FromStr;
use std::sync::Arc;

use nix::sys::signal::Signal;
use runtime::process::Process;

use crate::pod::Container;
use crate::report;
use crate::status;

use super::followers;
use super::machine::{ProcessId, Record};
use super::world::World;

/// Sends a signal to a container's process, if it is still there.
pub(super) fn send(name: &str, process: ProcessId, signal: i32) {
    let sent =
        Process::open(process).and_then(|process| process.map_or(Ok(()), |process| process.signal(signal)));
    if let Err(error) = sent {
        report::log(format_args!("supervisor: signal {signal} to container {name}: {error}"));
    }
}

/// Sends the signal to a container of a pod that is ending when nobody is led to the pod any more. Meanwhile a file says
/// that it is owed, in case that this supervisor is killed; where there is no room for one nobody waits.
pub(super) fn send_when_let_go(world: &Arc<World>, record: &Record, (process, signal): (ProcessId, i32)) {
    let owed = world.dir.attempt(&record.name, record.attempt).owed_signal();
    if !followers::lead_here(world) || File::create(&owed).is_err() {
        return send(&record.name, process, signal);
    }
    let (world, name) = (Arc::clone(world), record.name.clone());
    tokio::spawn(async move {
        followers::let_go(&world).await;
        send(&name, process, signal);
        let _ = fs::remove_file(owed);
    });
}

/// Sends what the supervisor before this one was killed over.
pub(super) fn send_owed(world: &World, container: &Container, record: &Record) {
    let owed = world.dir.attempt(&record.name, record.attempt).owed_signal();
    if let Some(process) = status::process(record).filter(|_| owed.exists()) {
        send(&record.name, process, of(container, record));
        let _ = fs::remove_file(owed);
    }
}

/// What the manifest asks for, or the image (`SIGQUIT`, `QUIT` or a number), or SIGTERM.
pub(super) fn of(container: &Container, record: &Record) -> i32 {
    let of_image = record.image.as_ref().and_then(|image| image.stop_signal.as_deref());
    let asked = container.lifecycle.stop_signal.as_deref().or(of_image);
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Signal::SIGTERM as i32 };
    let named = |name: &str| {
        Signal::from_str(name).ok().map(|signal| signal as i32).or_else(|| real_time_signal(name))
    };
    asked
        .parse::<i32>()
        .ok()
        .filter(|number| (1..=64).contains(number))
        .or_else(|| named(asked))
        .or_else(|| named(&format!("SIG{asked}")))
        .unwrap_or(Signal::SIGTERM as i32)
}

/// `SIGRTMIN+3` and `SIGRTMAX-2`, counted from the kernel's own ends as Kubernetes does.
fn real_time_signal(name: &str) -> Option<i32> {
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    let from_min = name.strip_prefix("SIGRTMIN").and_then(offset).map(|more| libc::SIGRTMIN() + more);
    let from_max = || name.strip_prefix("SIGRTMAX").and_then(offset).map(|less| libc::SIGRTMAX() + less);
    from_min.or_else(from_max)
}
