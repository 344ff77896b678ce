//! An attempt's output: from its FIFOs into its log file.
//!
//! The FIFOs are opened for reading and writing on both sides, so neither a dead supervisor (no SIGPIPE for the
//! container) nor a container that closes its streams (no end of file here) matters. When the attempt has ended,
//! what is still in the FIFOs is read and the readers end.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::logs::writer::{LogWriter, Written};
use crate::logs::{Stream, rotate};

const CHUNK: usize = 16 * 1024;

/// The readers of one attempt.
#[derive(Debug)]
pub(super) struct Output {
    ended: watch::Sender<bool>,
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    /// Starts to copy the streams into the log.
    pub(super) fn start(streams: &[(Stream, &Path)], log: LogWriter) -> io::Result<Output> {
        let (ended, watch) = watch::channel(false);
        let log = Arc::new(Mutex::new(log));
        let mut readers = Vec::with_capacity(streams.len());
        for (stream, path) in streams {
            let fifo = OpenOptions::new().read_write(true).open_receiver(path)?;
            readers.push(tokio::spawn(copy(fifo, *stream, Arc::clone(&log), watch.clone())));
        }
        Ok(Output { ended, readers })
    }

    /// The attempt has ended: reads what is left and closes the log.
    pub(super) async fn finish(self) {
        let _ = self.ended.send(true);
        for reader in self.readers {
            // A reader ends by itself; that it panicked would have ended the whole process.
            let _ = reader.await;
        }
    }
}

async fn copy(fifo: Receiver, stream: Stream, log: Arc<Mutex<LogWriter>>, mut ended: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            biased;
            readable = fifo.readable() => if readable.is_err() { return },
            _ = ended.wait_for(|ended| *ended) => {
                drain(&fifo, stream, &log);
                return;
            }
        }
        drain(&fifo, stream, &log);
    }
}

/// Reads until nothing is left for now. The buffer lives only that long: an idle container costs none.
fn drain(fifo: &Receiver, stream: Stream, log: &Mutex<LogWriter>) {
    let mut buffer = [0; CHUNK];
    while let Ok(length @ 1..) = fifo.try_read(&mut buffer) {
        let Ok(mut log) = log.lock() else { return };
        // A full disk must not stop the container, which would block on a full FIFO: then output is lost.
        if let Ok(Written::Rotated) = log.write(stream, &buffer[..length], SystemTime::now()) {
            let path = log.path().to_path_buf();
            // Rare, slow, and nobody waits for it.
            std::thread::spawn(move || rotate::compress_older(&path));
        }
    }
}
