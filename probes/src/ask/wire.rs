//! A connection that remembers how its peer began.
//!
//! When an answer cannot be understood, the message quotes what came instead; the parsers above do not keep it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is remembered, bytes.
const MEMORY: usize = 256;

pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Boxed, so that the HTTP code above exists once and not once for each kind of stream.
pub(super) struct Wire {
    inner: Box<dyn Duplex>,
    seen: Vec<u8>,
    settings: Option<Arc<AtomicBool>>,
}

/// A frame's header is its length, 24 bits, and then its type (RFC 9113, 4.1 and 6.5).
const SETTINGS: u8 = 4;

impl Wire {
    pub(super) fn new(inner: impl Duplex + 'static) -> Self {
        Self { inner: Box::new(inner), seen: Vec::new(), settings: None }
    }

    /// Sets `flag` as soon as the peer has begun as an HTTP/2 server must: with a SETTINGS frame.
    pub(super) fn tell_settings(mut self, flag: Arc<AtomicBool>) -> Self {
        self.settings = Some(flag);
        self
    }

    /// The first bytes that came.
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// The first line that came, or as much of it as is remembered.
    pub(super) fn first_line(&self) -> &[u8] {
        let line = self.seen.split(|byte| *byte == b'\n').next().unwrap_or_default();
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buf);
        let new = buf.filled().get(before..).unwrap_or_default();
        let room = MEMORY.saturating_sub(self.seen.len());
        self.seen.extend_from_slice(&new[..new.len().min(room)]);
        if self.seen.get(3) == Some(&SETTINGS)
            && let Some(flag) = self.settings.take()
        {
            flag.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
