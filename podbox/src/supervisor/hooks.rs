//! Running lifecycle hooks, and telling how they ended.
//!
//! A hook runs until it is done: whoever waits for it sets the limit, by dropping it. Source: kubelet
//! `pkg/kubelet/lifecycle/handlers.go`.

use std::sync::Arc;
use std::time::Duration;

use probes::{Called, ExecResult, Target};
use tokio::task::AbortHandle;

use crate::pod;
use crate::status;

use super::machine::{Event, HookEnd, HookKind, Index, Note, Record, SandboxFacts};
use super::probing::InContainer;
use super::world::World;

/// A hook that runs; dropping it calls it off, with every process that it started.
pub(super) struct Hook(AbortHandle);

impl Drop for Hook {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a hook of the container's current attempt. `None` if the attempt has no such hook.
pub(super) fn run(
    world: &Arc<World>,
    record: &Record,
    (index, kind): (Index, HookKind),
    facts: &SandboxFacts,
) -> Option<Hook> {
    let pod = world.pod();
    let container = &pod.containers[index];
    let hook = match kind {
        HookKind::PostStart => container.lifecycle.post_start.clone(),
        HookKind::PreStop => container.lifecycle.pre_stop.clone(),
    }?;
    let dir = world.dir.attempt(&record.name, record.attempt);
    let inside = InContainer::new(Arc::clone(world), dir, status::process(record)?);
    let handler = Handler {
        world: Arc::clone(world),
        index,
        inside,
        target: facts.ips.first().map(|ip| Target { ip: *ip }),
    };
    let attempt = record.attempt;
    let task = tokio::spawn(async move {
        let outcome = handler.run(&hook).await;
        handler.world.event(Event::HookDone(index, HookEnd { attempt, kind, outcome }));
    });
    Some(Hook(task.abort_handle()))
}

struct Handler {
    world: Arc<World>,
    index: Index,
    inside: InContainer,
    target: Option<Target>,
}

impl Handler {
    async fn run(&self, hook: &pod::Hook) -> Result<(), String> {
        let pod = self.world.pod();
        let place = format!("{}_{}({})", pod.name, pod.namespace, pod.uid);
        let name = &pod.containers[self.index].name;
        let of = format!("for Container {name:?} in Pod {place:?} failed - error:");
        match hook {
            pod::Hook::Exec(command) => {
                let (error, output) = match self.exec(command).await {
                    Ok(()) => return Ok(()),
                    Err(failed) => failed,
                };
                let command = command.join(" ");
                Err(format!("Exec lifecycle hook ([{command}]) {of} {error}, message: {output:?}"))
            }
            pod::Hook::HttpGet(call) => self
                .call(call)
                .await
                .map_err(|error| format!("HTTP lifecycle hook ({}) {of} {error}", call.path)),
            pod::Hook::TcpSocket => Err("Cannot run handler: invalid handler: tcpSocket".to_owned()),
            pod::Hook::Sleep(seconds) => {
                tokio::time::sleep(Duration::from_secs(*seconds)).await;
                Ok(())
            }
        }
    }

    /// What went wrong, and what the command wrote.
    async fn exec(&self, command: &[String]) -> Result<(), (String, String)> {
        match self.inside.to_the_end(command).await {
            Ok(ExecResult::Exited { code: 0, .. }) => Ok(()),
            Ok(ExecResult::Exited { code, output }) => {
                let output = String::from_utf8_lossy(&output).into_owned();
                let error = format!("command '{}' exited with {code}: {output}", command.join(" "));
                Err((error, output))
            }
            Ok(ExecResult::NotStarted(cause)) => Err((cause, String::new())),
            Ok(ExecResult::TimedOut) => Err(("timed out".to_owned(), String::new())),
            Err(error) => Err((error.to_string(), String::new())),
        }
    }

    async fn call(&self, call: &probes::Call) -> Result<(), String> {
        let target = self.target.ok_or("failed to find networking container")?;
        match call.make(target).await? {
            Called::AsAsked => {}
            Called::InPlainText { host } => self.world.event(Event::Told(Note {
                warning: true,
                reason: "LifecycleHTTPFallback".to_owned(),
                message: format!(
                    "request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded"
                ),
                container: None,
            })),
        }
        Ok(())
    }
}
