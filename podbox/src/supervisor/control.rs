//! The control socket: one JSON object a line, in and out.
//!
//! A request that takes time is answered when it is done; the connection's end means that the supervisor is gone.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::world::{Message, World};

/// What can be asked of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// End the pod and leave nothing of it; answered when it is gone.
    Stop {
        /// Seconds; the pod's own if none.
        grace_seconds: Option<u64>,
    },
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What could not be done; empty if all went well.
    pub errors: Vec<String>,
}

/// A request on its way to the loop.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Request {
    /// The grace period as a duration.
    #[must_use]
    pub fn grace(self) -> Option<Duration> {
        match self {
            Request::Stop { grace_seconds } => grace_seconds.map(Duration::from_secs),
        }
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
    let mut lines = BufReader::with_capacity(512, read).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => {
                let (answer, answered) = oneshot::channel();
                world.send(Message::Ask(Ask { request, answer }));
                match answered.await {
                    Ok(answer) => answer,
                    Err(_) => return Ok(()),
                }
            }
            Err(error) => Answer { errors: vec![format!("understand the request: {error}")] },
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        write.write_all(&text).await?;
    }
    Ok(())
}
