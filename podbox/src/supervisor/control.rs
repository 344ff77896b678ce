//! The control socket: one JSON object a line, in and out.
//!
//! A request that takes time is answered when it is done; the connection's end means that the supervisor is gone.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PodStatus;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::attach::{self, Since};
use super::machine::{Added, ConditionSet, Event, Memory, OWN_CONDITIONS, Truth};
use super::mending;
use super::world::{Message, World};
use crate::pod::{Pod, Role};
use crate::status;

/// What can be asked of a supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// End the pod and leave nothing of it; answered when it is gone.
    Stop {
        /// Seconds; the pod's own if none.
        grace_seconds: Option<u64>,
    },
    /// End containers politely and start them again at once, whatever their policy; answered when that is under
    /// way.
    Restart {
        /// The container; every main container if none.
        container: Option<String>,
        /// Seconds; the pod's own if none.
        grace_seconds: Option<u64>,
    },
    /// Give the pod an ephemeral container; answered when it has it, and long before it runs.
    Add {
        /// The [`Added`](super::machine::Added), as JSON.
        added: Box<Value>,
    },
    /// Pass a container's output on from now on. The answer is followed by frames (see [`super::attach`]) until the
    /// container has ended; that the other side writes nothing more is the end of its input.
    Attach {
        /// The container.
        container: String,
        /// Whether the other side brings input.
        stdin: bool,
        /// From when on.
        since: Since,
    },
    /// Let the running pod become another one, as far as the API server would; answered when that is under way.
    Update {
        /// The [`Pod`]; its uid does not count.
        pod: Box<Value>,
        /// The v1 object that it stands for.
        object: Box<Value>,
    },
    /// Look whether something of the pod's network is missing, and make it; answered when that is done, with what could not
    /// be made.
    Mend,
    /// Tell the status, for those who find the files marked as old.
    Status,
    /// Set a condition of the pod; answered when it is set.
    SetCondition {
        /// `type`.
        kind: String,
        /// Whether it holds.
        status: Truth,
        /// A word.
        reason: Option<String>,
        /// A sentence.
        message: Option<String>,
    },
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What could not be done; empty if all went well.
    pub errors: Vec<String>,
    /// v1.PodStatus, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Box<PodStatus>>,
}

impl Answer {
    /// That something could not be done.
    #[must_use]
    pub fn error(error: String) -> Answer {
        Answer { errors: vec![error], status: None }
    }
}

/// A request on its way to the loop.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Request {
    /// The event that the request is, or why it cannot be followed.
    pub(super) fn event(&self, pod: &Pod, memory: &Memory) -> Result<Event, String> {
        let ends = memory.finished.is_some() || memory.over.is_some() || memory.stop.is_some();
        let unless_ending = |event| match ends {
            false => Ok(event),
            true => Err("the pod is over, or about to be".to_owned()),
        };
        let duration = |seconds: &Option<u64>| seconds.map(Duration::from_secs);
        match self {
            Request::Attach { .. } => Err("a session is no event".to_owned()),
            Request::Mend => Err("mending is no event".to_owned()),
            // Somebody else has looked at what is to change.
            Request::Update { .. } => unless_ending(Event::Tick),
            // What is known is told after the state was looked at once more.
            Request::Status => Ok(Event::Tick),
            Request::Stop { grace_seconds } => Ok(Event::Stop(duration(grace_seconds))),
            Request::Add { added } => unless_ending(added_event(added, pod, memory)?),
            Request::Restart { container: None, grace_seconds } => {
                unless_ending(Event::Restart(None, duration(grace_seconds)))
            }
            Request::Restart { container: Some(name), grace_seconds } => {
                let index = pod.containers.iter().position(|container| container.name == *name);
                let index = index.ok_or_else(|| format!("there is no container {name}"))?;
                match pod.containers[index].role {
                    Role::Init => return Err(format!("container {name} is an init container: it runs once")),
                    Role::Ephemeral => {
                        return Err(format!("container {name} is an ephemeral container: it runs once"));
                    }
                    Role::Sidecar | Role::Main => {}
                }
                unless_ending(Event::Restart(Some(index), duration(grace_seconds)))
            }
            Request::SetCondition { kind, .. } if OWN_CONDITIONS.contains(&kind.as_str()) => {
                Err(format!("condition {kind} follows from the pod's state and cannot be set"))
            }
            Request::SetCondition { kind, status, reason, message } => {
                unless_ending(Event::SetCondition(ConditionSet {
                    kind: kind.clone(),
                    status: *status,
                    reason: reason.clone(),
                    message: message.clone(),
                }))
            }
        }
    }
}

/// The event that gives the pod a container, unless the pod has one of that name or not the one that it is to be beside.
fn added_event(added: &Value, pod: &Pod, memory: &Memory) -> Result<Event, String> {
    let added = Added::deserialize(added).map_err(|error| format!("understand the container: {error}"))?;
    let name = &added.container.name;
    if pod.containers.iter().any(|one| one.name == *name) {
        let index = memory.added.len();
        return Err(format!("spec.ephemeralContainers[{index}].name: Duplicate value: {name:?}"));
    }
    let runs = |target: &String| {
        let record = memory.containers.iter().find(|record| record.name == *target);
        record.is_some_and(|record| status::running_process(record).is_some())
    };
    match added.container.target.as_ref().filter(|target| !runs(target)) {
        Some(target) => Err(format!("target container {target} is not running")),
        None => Ok(Event::Add(Box::new(added))),
    }
}

/// Listens from now on.
pub(super) fn listen(world: &Arc<World>) -> io::Result<()> {
    let path = world.dir.control();
    // The lock says that no other supervisor lives, so a socket that is there is a dead one's.
    let _ = fs::remove_file(&path);
    let listener = bind(&path)?;
    let world = Arc::clone(world);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(Arc::clone(&world), stream));
        }
    });
    Ok(())
}

/// Binds by way of /proc/self/fd, because a socket's path may have only 107 bytes and a run directory may be deep.
fn bind(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::fd::AsRawFd;
    let parent = fs::File::open(path.parent().unwrap_or(path))?;
    let name = path.file_name().unwrap_or_default();
    UnixListener::bind(std::path::Path::new(&format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name))
}

async fn serve(world: Arc<World>, stream: UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(512, read);
    let mut line = String::new();
    while read.read_line(&mut line).await? > 0 {
        let answer = match serde_json::from_str(&line) {
            Ok(Request::Attach { container, stdin, since }) => {
                let (answer, answered) = oneshot::channel();
                world.send(Message::Attach(attach::Ask { container, stdin, since, answer }));
                match answered.await {
                    Ok(Ok(session)) => {
                        write.write_all(&line_of(&Answer::default())?).await?;
                        let _counted = Arc::clone(&world.sessions);
                        return session.serve(read, write).await;
                    }
                    Ok(Err(error)) => Answer::error(error),
                    Err(_) => return Ok(()),
                }
            }
            Ok(Request::Mend) => Answer { errors: mending::now(&world), status: None },
            Ok(request) => {
                let (answer, answered) = oneshot::channel();
                world.send(Message::Ask(Ask { request, answer }));
                match answered.await {
                    Ok(answer) => answer,
                    Err(_) => return Ok(()),
                }
            }
            Err(error) => Answer::error(format!("understand the request: {error}")),
        };
        write.write_all(&line_of(&answer)?).await?;
        line.clear();
    }
    Ok(())
}

fn line_of(answer: &Answer) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    Ok(text)
}
