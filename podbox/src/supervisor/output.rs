//! An attempt's output: from its FIFOs into its log file.
//!
//! The FIFOs are opened for reading and writing on both sides, so neither a dead supervisor (no SIGPIPE for the
//! container) nor a container that closes its streams (no end of file here) matters. When the attempt has ended,
//! what is still in the FIFOs is read and the readers end. A terminal's last output may still be with its relay then, which
//! holds a lock on the FIFO until it has written everything.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::logs::writer::{LogWriter, Written};
use crate::logs::{Stream, rotate};

use super::attach::Audience;

const CHUNK: usize = 16 * 1024;
/// How many chunks are read in a row while somebody listens.
const TURN: usize = 4;
/// How long a relay may be waited for, and the first and longest pause between two looks. It may stay for long: another
/// process of the pod may have the terminal open.
const RELAY_PATIENCE: Duration = Duration::from_secs(2);
const RELAY_PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The readers of one attempt.
#[derive(Debug)]
pub(super) struct Output {
    ended: watch::Sender<bool>,
    readers: Vec<JoinHandle<()>>,
    audience: Arc<Audience>,
}

impl Output {
    /// Starts to copy the streams into the log, and to whoever listens.
    pub(super) fn start(
        streams: &[(Stream, &Path)],
        log: LogWriter,
        audience: Audience,
    ) -> io::Result<Output> {
        let (ended, watch) = watch::channel(false);
        let sink = Arc::new(Sink { log: Mutex::new(log), audience: Arc::new(audience) });
        let mut readers = Vec::with_capacity(streams.len());
        for (stream, path) in streams {
            let fifo = OpenOptions::new().read_write(true).open_receiver(path)?;
            readers.push(tokio::spawn(copy(fifo, *stream, Arc::clone(&sink), watch.clone())));
        }
        Ok(Output { ended, readers, audience: Arc::clone(&sink.audience) })
    }

    /// Those who listen.
    pub(super) fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The attempt has ended with this code: reads what is left, closes the log and tells those who listen.
    pub(super) async fn finish(self, code: i32) {
        let _ = self.ended.send(true);
        for reader in self.readers {
            // A reader ends by itself; that it panicked would have ended the whole process.
            let _ = reader.await;
        }
        self.audience.over(code);
    }
}

/// Where output goes.
#[derive(Debug)]
struct Sink {
    log: Mutex<LogWriter>,
    audience: Arc<Audience>,
}

async fn copy(fifo: Receiver, stream: Stream, sink: Arc<Sink>, mut ended: watch::Receiver<bool>) {
    loop {
        let is_over = tokio::select! {
            biased;
            readable = turn(&fifo, &sink) => if readable.is_ok() { false } else { return },
            _ = ended.wait_for(|ended| *ended) => true,
        };
        if is_over {
            return drain_to_the_end(&fifo, stream, &sink).await;
        }
        let listened = !sink.audience.is_empty();
        drain(&fifo, stream, &sink, if listened { TURN } else { usize::MAX });
        if listened {
            // The sessions have their turn, or what comes fast would look as if they were slow.
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until there is something to read, and somewhere for it to go.
async fn turn(fifo: &Receiver, sink: &Sink) -> io::Result<()> {
    sink.audience.room().await;
    fifo.readable().await
}

/// Reads what is left, and what a relay still brings.
async fn drain_to_the_end(fifo: &Receiver, stream: Stream, sink: &Sink) {
    let (mut pause, longest) = RELAY_PAUSES;
    let mut waited = Duration::ZERO;
    // What it had written when it was seen to be gone is read after that.
    while waited < RELAY_PATIENCE && has_relay(fifo) {
        drain(fifo, stream, sink, usize::MAX);
        sleep(pause).await;
        waited += pause;
        pause = longest.min(pause * 2);
    }
    drain(fifo, stream, sink, usize::MAX);
}

/// Whether somebody holds the lock that a relay has.
fn has_relay(fifo: &Receiver) -> bool {
    let same = fifo.as_fd().try_clone_to_owned().map(File::from);
    same.is_ok_and(|fifo| matches!(fifo.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// Reads until nothing is left for now, or so many chunks. The buffer lives only that long: an idle container costs none.
fn drain(fifo: &Receiver, stream: Stream, sink: &Sink, chunks: usize) {
    let mut buffer = [0; CHUNK];
    for _ in 0..chunks {
        let Ok(length @ 1..) = fifo.try_read(&mut buffer) else { return };
        sink.audience.tell(stream, &buffer[..length]);
        let Ok(mut log) = sink.log.lock() else { return };
        // A full disk must not stop the container, which would block on a full FIFO: then output is lost.
        if let Ok(Written::Rotated) = log.write(stream, &buffer[..length], SystemTime::now()) {
            let path = log.path().to_path_buf();
            // Rare, slow, and nobody waits for it.
            std::thread::spawn(move || rotate::compress_older(&path));
        }
    }
}
