//! The layers of one image: a few at a time, each unpacked while it comes.
//!
//! The event loop's one thread reads the network; each layer is hashed, decompressed and written on a
//! thread of its own, fed through a short queue, so that neither waits long for the other and memory stays
//! bounded.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::time::Duration;

use hyper::body::Bytes;
use oci_spec::image::Descriptor;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, spawn_blocking};

use super::client::rest_from;
use super::conf::Source;
use super::{Pull, RegistryError};
use crate::image::layer::{self, Failed, UnpackError, Unpacked};
use crate::image::store::Store;
use crate::image::work::Work;
use crate::image::{ImageError, Progress, digest};

/// Layers in flight. Registries throttle more, and decompression takes a core each.
const AT_ONCE: usize = 3;
/// Pieces in the queue between network and unpacking, each at most a few hundred kilobytes.
const QUEUE: usize = 16;
/// How often a broken transfer is taken up again.
const ATTEMPTS: u32 = 4;
/// Between two progress reports of one layer.
const REPORT_EVERY: u64 = 1 << 20;

type Reports = mpsc::UnboundedSender<Progress>;

/// Makes sure that all these layers are in the store.
pub(crate) async fn layers(
    pull: &Pull<'_>,
    source: &Source,
    layers: Vec<(Descriptor, String)>,
    reports: Reports,
) -> Result<(), ImageError> {
    let permits = Semaphore::new(AT_ONCE);
    let mut seen = BTreeSet::new();
    let mut running = Vec::new();
    for (descriptor, diff_id) in layers {
        let name = descriptor.digest().to_string();
        if digest::hex(&name).is_none() {
            let reason = "its digest is not sha256".to_owned();
            return Err(ImageError::Unusable { object: format!("layer {name}"), reason });
        }
        // An image may hold one layer several times.
        if !seen.insert(diff_id.clone()) {
            continue;
        }
        if pull.store.layer_directory(&diff_id).is_dir() {
            let _ = reports.send(Progress::LayerExists { digest: name });
            continue;
        }
        let (permits, reports) = (&permits, reports.clone());
        running.push(Box::pin(async move {
            let _permit = permits.acquire().await;
            let wanted = Wanted { blob: name, diff_id, size: descriptor.size() };
            one(pull, source, &wanted, &reports).await
        }));
    }
    all(running).await
}

/// Runs all, and stops at the first that fails.
async fn all<F>(mut running: Vec<std::pin::Pin<Box<F>>>) -> Result<(), ImageError>
where
    F: Future<Output = Result<(), ImageError>>,
{
    std::future::poll_fn(move |context| {
        let mut failed = None;
        running.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(result) => {
                failed = failed.take().or(result.err());
                false
            }
        });
        match (failed, running.is_empty()) {
            (Some(error), _) => std::task::Poll::Ready(Err(error)),
            (None, true) => std::task::Poll::Ready(Ok(())),
            (None, false) => std::task::Poll::Pending,
        }
    })
    .await
}

struct Wanted {
    blob: String,
    diff_id: String,
    size: u64,
}

/// Why no more bytes are sent to the unpacking thread.
enum Stopped {
    Transfer(RegistryError),
    /// It has given up already, and will say why.
    NobodyListens,
}

async fn one(pull: &Pull<'_>, source: &Source, wanted: &Wanted, reports: &Reports) -> Result<(), ImageError> {
    let path = pull.work.fresh_path();
    let _ = reports.send(Progress::LayerStarted { digest: wanted.blob.clone(), total: wanted.size });
    let (pieces, queue) = mpsc::channel(QUEUE);
    let directory = path.clone();
    let unpacking = spawn_blocking(move || layer::unpack(Queue::new(queue), &directory));
    let transferred = transfer(pull, source, wanted, (&pieces, reports)).await;
    if let Err(Stopped::Transfer(error)) = transferred {
        // The other end must not take what it has for the whole.
        let _ = pieces.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
        drop(pieces);
        let _ = unpacking.await;
        return Err(pull.failed(error));
    }
    drop(pieces);
    let unpacked = flatten(unpacking.await, &wanted.blob)?;
    check(&unpacked, wanted)?;
    pull.work.publish_layer(pull.store, &path, &unpacked)?;
    let _ = reports.send(Progress::LayerDone { digest: wanted.blob.clone() });
    Ok(())
}

fn flatten(joined: Result<Result<Unpacked, Failed>, JoinError>, blob: &str) -> Result<Unpacked, ImageError> {
    match joined {
        Ok(unpacked) => unpacked.map_err(|failed| failed.of(blob, Some(blob))),
        Err(error) => {
            let source = UnpackError::Read(io::Error::other(error));
            Err(ImageError::Unpack { layer: blob.to_owned(), source })
        }
    }
}

fn check(unpacked: &Unpacked, wanted: &Wanted) -> Result<(), ImageError> {
    let object = format!("layer {}", wanted.blob);
    let (expected, found) = if unpacked.blob == wanted.blob {
        (&wanted.diff_id, &unpacked.diff_id)
    } else {
        (&wanted.blob, &unpacked.blob)
    };
    if expected == found {
        return Ok(());
    }
    Err(ImageError::Mismatch { object, expected: expected.clone(), found: found.clone() })
}

/// Sends the whole blob into the queue, however often the connection breaks on the way.
async fn transfer(
    pull: &Pull<'_>,
    source: &Source,
    wanted: &Wanted,
    (pieces, reports): (&mpsc::Sender<io::Result<Bytes>>, &Reports),
) -> Result<(), Stopped> {
    let mut transfer = Transfer { wanted, pieces, reports, done: 0, reported: 0 };
    for attempt in 1.. {
        let before = transfer.done;
        match transfer.attempt(pull, source).await {
            Err(Stopped::Transfer(error)) if attempt < ATTEMPTS && (before > 0 || is_passing(&error)) => {
                tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            }
            other => return other,
        }
    }
    Ok(())
}

/// The same request may succeed a moment later.
fn is_passing(error: &RegistryError) -> bool {
    match error {
        RegistryError::Exchange { .. } => true,
        RegistryError::Connect { source, .. } => source.kind() == io::ErrorKind::TimedOut,
        RegistryError::Status { status, .. } => *status == 429 || *status >= 500,
        _ => false,
    }
}

struct Transfer<'a> {
    wanted: &'a Wanted,
    pieces: &'a mpsc::Sender<io::Result<Bytes>>,
    reports: &'a Reports,
    /// Bytes that are in the queue or through it.
    done: u64,
    reported: u64,
}

impl Transfer<'_> {
    async fn attempt(&mut self, pull: &Pull<'_>, source: &Source) -> Result<(), Stopped> {
        let range = (self.done > 0).then(|| rest_from(self.done));
        let path = format!("blobs/{}", self.wanted.blob);
        let answer = pull.client.get(source, &path, range.as_slice()).await;
        let mut answer = answer.map_err(Stopped::Transfer)?;
        // A server that ignores the range sends everything again.
        let mut skip = if answer.is_partial() { 0 } else { self.done };
        let start = format!("bytes {}-", self.done);
        if answer.is_partial()
            && !answer.header("content-range").is_some_and(|range| range.starts_with(&start))
        {
            return Err(self.wrong(source, "it sends another range than the one asked for"));
        }
        while let Some(mut piece) = answer.chunk().await.map_err(Stopped::Transfer)? {
            let again = skip.min(piece.len() as u64);
            skip -= again;
            let piece = piece.split_off(again as usize);
            if piece.is_empty() {
                continue;
            }
            self.done += piece.len() as u64;
            if self.done > self.wanted.size {
                return Err(self.wrong(source, "a layer is longer than its manifest says"));
            }
            self.pieces.send(Ok(piece)).await.map_err(|_| Stopped::NobodyListens)?;
            self.report();
        }
        if self.done < self.wanted.size {
            return Err(self.wrong(source, "a layer is shorter than its manifest says"));
        }
        pull.client.finish(answer);
        Ok(())
    }

    fn report(&mut self) {
        if self.done - self.reported >= REPORT_EVERY || self.done == self.wanted.size {
            self.reported = self.done;
            let _ = self.reports.send(Progress::LayerBytes {
                digest: self.wanted.blob.clone(),
                done: self.done,
                total: self.wanted.size,
            });
        }
    }

    fn wrong(&self, source: &Source, reason: &str) -> Stopped {
        let host = source.registry.clone();
        Stopped::Transfer(RegistryError::Protocol { host, reason: reason.to_owned() })
    }
}

/// The unpacking thread's end of the queue.
struct Queue {
    queue: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Queue {
    fn new(queue: mpsc::Receiver<io::Result<Bytes>>) -> Queue {
        Queue { queue, piece: Bytes::new() }
    }
}

impl Read for Queue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.queue.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// A container's root needs a lower directory even where the image has no layer.
pub(crate) fn empty_layer(store: &Store, work: &Work) -> Result<String, ImageError> {
    let path = work.fresh_path();
    let unpacked =
        layer::unpack([0_u8; 1024].as_slice(), &path).map_err(|failed| failed.of("of nothing", None))?;
    work.publish_layer(store, &path, &unpacked)?;
    Ok(unpacked.diff_id)
}
