//! What a request means, and the one request that changes what the pod is to be.

use std::fs;
use std::io;
use std::sync::Arc;

use serde_json::Value;

use crate::pod::{Pod, change};
use crate::report;
use crate::status;
use crate::store::write_atomic;

use super::control::Request;
use super::machine::{Event, Memory, PodMachine};
use super::mending;
use super::world::World;

/// The event that a request is, or why it cannot be followed. A pod that is to change is written down before anybody
/// hears of it, so that a supervisor that takes over knows it too.
pub(super) fn event(world: &World, request: &Request, machine: &PodMachine) -> Result<Event, String> {
    let event = request.event(machine.pod(), machine.memory())?;
    match request {
        Request::Update { pod, object } => changed(world, machine.memory(), (pod, object)),
        Request::Restart { .. } => {
            for error in mending::now(world) {
                report::log(format_args!("supervisor: mend the pod's network: {error}"));
            }
            Ok(event)
        }
        _ => Ok(event),
    }
}

fn changed(world: &World, memory: &Memory, (pod, object): (&Value, &Value)) -> Result<Event, String> {
    let unread = |error: io::Error| format!("read the pod: {error}");
    let mut pod: Pod = serde_json::from_value(pod.clone()).map_err(|error| unread(error.into()))?;
    let before = world.pod();
    pod.uid.clone_from(&before.uid);
    let before_shown = fs::read(world.dir.object()).map_err(unread)?;
    let old: Value = serde_json::from_slice(&before_shown).map_err(|error| unread(error.into()))?;
    let errors = change::check(&old, object, (status::qos(before.qos), status::qos(pod.qos)));
    if !errors.is_empty() {
        let said = errors.iter().map(|error| match &error.hint {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        });
        return Err(said.collect::<Vec<_>>().join("; "));
    }
    let json = |value: serde_json::Result<Vec<u8>>| value.map_err(|error| error.to_string());
    let (text, shown) = (json(serde_json::to_vec(&pod))?, json(serde_json::to_vec(object))?);
    // What is shown comes first: whoever dies in between leaves a pod that the same request changes once more.
    write_atomic(&world.dir.object(), &shown).map_err(|error| report::chain(&error))?;
    write_atomic(&world.dir.pod(), &text).map_err(|error| {
        // If that cannot be written either, the next change does it.
        let _ = write_atomic(&world.dir.object(), &before_shown);
        report::chain(&error)
    })?;
    world.set_pod(Arc::new(memory.complete(pod.clone())));
    Ok(Event::Changed(Box::new(pod)))
}
