//! Those who listen to a container's output while it comes: `podbox attach`.
//!
//! A listener gets every byte at once, also of a line that has no end yet. What it has not taken is kept for it up to
//! a limit. One that falls further behind is let go: the container does not wait for whoever happens to look. It does
//! wait, as with any pipe, for a session that has listened from its first word, which is what the container was started
//! for (`podbox run -i`). The supervisor waits for nobody.
//!
//! Source of what `stdinOnce` means: containerd `internal/cri/io` (Attach: the first session's end closes the input).

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::unix::pipe::{OpenOptions, Sender as PipeEnd};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::logs::Stream;

/// What a listener may be behind, bytes: more than a busy host makes of one that reads all the time.
const PATIENCE: usize = 8 << 20;
/// What a session that is waited for may be behind before it is, bytes.
const AWAITED: usize = 1 << 20;
/// What is kept for the session that a `stdinOnce` or an ephemeral container is made for, bytes.
const EARLY: usize = 64 << 10;

/// The first byte of a frame; four bytes of length (big endian) and the content follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Bytes of standard output, or of the terminal.
    Stdout = 1,
    /// Bytes of standard error.
    Stderr = 2,
    /// The container has ended; its exit code in decimal digits, or nothing if it never ran.
    Over = 3,
    /// The session ends before the container does; a sentence that says why.
    Refused = 4,
}

impl FrameKind {
    /// The kind of a frame's first byte.
    #[must_use]
    pub fn of(byte: u8) -> Option<FrameKind> {
        [FrameKind::Stdout, FrameKind::Stderr, FrameKind::Over, FrameKind::Refused]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

#[derive(Debug)]
struct Frame {
    kind: FrameKind,
    content: Vec<u8>,
}

/// From when on a listener is told what a container says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Since {
    /// From now on.
    Now,
    /// From its first word: the listener waits for the container's first run, and the container for the listener.
    Start,
}

/// A wish to listen, on its way to the loop.
#[derive(Debug)]
pub(super) struct Ask {
    /// The container's name.
    pub(super) container: String,
    /// Whether the session brings input.
    pub(super) stdin: bool,
    /// From when on.
    pub(super) since: Since,
    /// Whoever asked.
    pub(super) answer: oneshot::Sender<Result<Session, String>>,
}

/// One listener's end.
#[derive(Debug)]
pub(super) struct Session {
    frames: UnboundedReceiver<Frame>,
    progress: Arc<Progress>,
    /// Held by the session whose end is the end of a `stdinOnce` container's input.
    input: Option<PipeEnd>,
}

/// How far a listener is behind, and a word when that changes.
#[derive(Debug, Default)]
struct Progress {
    behind: AtomicUsize,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Listener {
    frames: UnboundedSender<Frame>,
    progress: Arc<Progress>,
    /// The container waits for it.
    awaited: bool,
}

impl Listener {
    /// False if it is not to be told any more.
    fn tell(&self, kind: FrameKind, content: &[u8]) -> bool {
        let behind = self.progress.behind.fetch_add(content.len(), Ordering::Relaxed);
        if behind > PATIENCE && !self.awaited {
            let text = b"output came faster than this session has read it".to_vec();
            let _ = self.frames.send(Frame { kind: FrameKind::Refused, content: text });
            return false;
        }
        self.frames.send(Frame { kind, content: content.to_vec() }).is_ok()
    }

    fn is_waited_for(&self) -> bool {
        let behind = self.progress.behind.load(Ordering::Relaxed);
        self.awaited && behind > AWAITED && !self.frames.is_closed()
    }
}

/// The listeners of one attempt, and its input as long as nobody has come for it.
#[derive(Debug, Default)]
pub(super) struct Audience {
    seats: Mutex<Seats>,
    /// Somebody has taken something, or left.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Seats {
    listeners: Vec<Listener>,
    input: Input,
    /// What was said before the first session, where that is kept.
    early: Option<Vec<(FrameKind, Vec<u8>)>>,
}

#[derive(Debug, Default)]
enum Input {
    /// It has none, or one that stays open whoever comes and goes.
    #[default]
    Lasting,
    /// It ends with the first session; until then this end keeps it open.
    Held(PipeEnd),
    /// Its session has come, or this supervisor does not know.
    Taken,
}

impl Audience {
    /// Of an attempt that begins and whose input, this FIFO, ends with the first session.
    pub(super) fn for_one_session(stdin: &Path) -> io::Result<Audience> {
        // Opened for reading too, which is the only way of doing so before the container has.
        let held = OpenOptions::new().read_write(true).open_sender(stdin)?;
        let seats = Seats { input: Input::Held(held), early: Some(Vec::new()), ..Seats::default() };
        Ok(Audience { seats: Mutex::new(seats), ..Audience::default() })
    }

    /// Of an attempt that another supervisor began: its input has ended with that one.
    pub(super) fn after_the_session() -> Audience {
        let seats = Seats { input: Input::Taken, ..Seats::default() };
        Audience { seats: Mutex::new(seats), ..Audience::default() }
    }

    /// Of an attempt that was begun for somebody to look at it, who may come a little later.
    pub(super) fn for_a_session_to_come() -> Audience {
        let seats = Seats { early: Some(Vec::new()), ..Seats::default() };
        Audience { seats: Mutex::new(seats), ..Audience::default() }
    }

    /// Passes output on.
    pub(super) fn tell(&self, stream: Stream, bytes: &[u8]) {
        let kind = match stream {
            Stream::Stdout => FrameKind::Stdout,
            Stream::Stderr => FrameKind::Stderr,
        };
        let mut seats = self.seats();
        seats.listeners.retain(|listener| listener.tell(kind, bytes));
        if let Some(early) = &mut seats.early {
            let kept: usize = early.iter().map(|(_, bytes)| bytes.len()).sum();
            early.push((kind, bytes[..bytes.len().min(EARLY.saturating_sub(kept))].to_vec()));
        }
    }

    /// Waits as long as a session has too much before it for which the container waits.
    pub(super) async fn room(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if !self.seats().listeners.iter().any(Listener::is_waited_for) {
                return;
            }
            changed.await;
        }
    }

    /// Whether anybody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.seats().listeners.is_empty()
    }

    /// Everything was told: the attempt has ended.
    pub(super) fn over(&self, code: i32) {
        let mut seats = self.seats();
        for listener in seats.listeners.drain(..) {
            let content = code.to_string().into_bytes();
            let _ = listener.frames.send(Frame { kind: FrameKind::Over, content });
        }
    }

    /// A new listener.
    ///
    /// # Errors
    /// If it brings input and the container takes none any more.
    pub(super) fn join(&self, stdin: bool, since: Since) -> Result<Session, String> {
        let mut seats = self.seats();
        let input = match &mut seats.input {
            input @ Input::Held(_) if stdin => match std::mem::replace(input, Input::Taken) {
                Input::Held(held) => Some(held),
                Input::Lasting | Input::Taken => None,
            },
            Input::Taken if stdin => {
                return Err("its input has ended with the first session that had it (stdinOnce)".to_owned());
            }
            _ => None,
        };
        let (sender, frames) = unbounded_channel();
        let progress = Arc::new(Progress { changed: Arc::clone(&self.changed), ..Progress::default() });
        let listener =
            Listener { frames: sender, progress: Arc::clone(&progress), awaited: since == Since::Start };
        for (kind, bytes) in seats.early.take().filter(|_| since == Since::Start).into_iter().flatten() {
            let _ = listener.tell(kind, &bytes);
        }
        seats.listeners.push(listener);
        Ok(Session { frames, progress, input })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Writes what comes to the listener, until the container has ended or the listener is gone. That it will write
    /// nothing more is the end of its input.
    pub(super) async fn serve(
        mut self,
        read: BufReader<OwnedReadHalf>,
        mut write: OwnedWriteHalf,
    ) -> io::Result<()> {
        let input = self.input.take();
        let ends = tokio::spawn(async move {
            let mut read = read;
            let mut nothing = [0; 64];
            while matches!(read.read(&mut nothing).await, Ok(1..)) {}
            drop(input);
        });
        let told = async {
            while let Some(frame) = self.frames.recv().await {
                let length = u32::try_from(frame.content.len()).unwrap_or(u32::MAX);
                write.write_u8(frame.kind as u8).await?;
                write.write_u32(length).await?;
                write.write_all(&frame.content).await?;
                self.progress.behind.fetch_sub(frame.content.len(), Ordering::Relaxed);
                self.progress.changed.notify_waiters();
                if matches!(frame.kind, FrameKind::Over | FrameKind::Refused) {
                    break;
                }
            }
            Ok(())
        };
        let told: io::Result<()> = told.await;
        self.frames.close();
        self.progress.changed.notify_waiters();
        // The session is over, whether or not its other end knows.
        ends.abort();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(session: &mut Session) -> Vec<(FrameKind, Vec<u8>)> {
        let mut all = Vec::new();
        while let Ok(frame) = session.frames.try_recv() {
            all.push((frame.kind, frame.content));
        }
        all
    }

    #[test]
    fn a_listener_gets_what_comes_from_now_on_and_the_exit_code_last() {
        let audience = Audience::default();
        audience.tell(Stream::Stdout, b"before");
        let mut session = audience.join(true, Since::Now).unwrap();
        audience.tell(Stream::Stdout, b"prompt> ");
        audience.tell(Stream::Stderr, b"oh");
        audience.over(7);
        assert_eq!(
            kinds(&mut session),
            [
                (FrameKind::Stdout, b"prompt> ".to_vec()),
                (FrameKind::Stderr, b"oh".to_vec()),
                (FrameKind::Over, b"7".to_vec())
            ]
        );
    }

    #[test]
    fn a_listener_that_does_not_keep_up_is_let_go_and_told_why() {
        let audience = Audience::default();
        let mut slow = audience.join(false, Since::Now).unwrap();
        let chunk = vec![b'x'; 64 << 10];
        for _ in 0..200 {
            audience.tell(Stream::Stdout, &chunk);
        }
        let got = kinds(&mut slow);
        assert!(got.len() < 140, "{}", got.len());
        assert_eq!(got.last().map(|(kind, _)| *kind), Some(FrameKind::Refused));
        assert!(audience.seats().listeners.is_empty());
    }

    #[test]
    fn what_is_said_before_the_session_that_is_to_come_is_kept_for_it() {
        let audience = Audience::for_a_session_to_come();
        audience.tell(Stream::Stdout, b"$ ");
        let mut session = audience.join(true, Since::Start).unwrap();
        assert_eq!(kinds(&mut session), [(FrameKind::Stdout, b"$ ".to_vec())]);
    }

    #[tokio::test]
    async fn the_container_waits_for_the_session_that_it_was_started_for() {
        let audience = Audience::default();
        let mut session = audience.join(false, Since::Start).unwrap();
        audience.tell(Stream::Stdout, &vec![b'x'; PATIENCE + 1]);
        let wait =
            |audience| tokio::time::timeout(std::time::Duration::from_millis(20), Audience::room(audience));
        assert!(wait(&audience).await.is_err());
        audience.tell(Stream::Stdout, b"the end");
        assert_eq!(kinds(&mut session).len(), 2);
        drop(session);
        assert!(wait(&audience).await.is_ok());
    }

    #[tokio::test]
    async fn the_input_of_one_session_goes_to_the_first_that_wants_it_with_all_that_was_said_before() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("stdin");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let audience = Audience::for_one_session(&fifo).unwrap();
        audience.tell(Stream::Stdout, b"$ ");
        let mut first = audience.join(true, Since::Start).unwrap();
        assert!(first.input.is_some());
        assert_eq!(kinds(&mut first), [(FrameKind::Stdout, b"$ ".to_vec())]);
        assert!(audience.join(true, Since::Start).unwrap_err().contains("stdinOnce"));
        let mut watcher = audience.join(false, Since::Start).unwrap();
        assert!(kinds(&mut watcher).is_empty());
    }
}
