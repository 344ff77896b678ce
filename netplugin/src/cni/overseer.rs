//! Who looks after plugins while they run: knows which one does, and can tell it to come to its end.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared by whoever runs a chain and whoever may lose patience with it.
#[derive(Debug)]
pub struct Overseer {
    /// What runs now, in words, and since when.
    current: Mutex<Option<(String, Instant)>>,
    /// Hangs up once there is hurry, so that it can be waited for.
    hurried: PipeReader,
    /// Held as long as there is none.
    calm: Mutex<Option<PipeWriter>>,
}

impl Overseer {
    /// One that is in no hurry.
    ///
    /// # Errors
    /// If there can be no pipe.
    pub fn new() -> io::Result<Overseer> {
        let (hurried, calm) = io::pipe()?;
        Ok(Overseer { current: Mutex::default(), hurried, calm: Mutex::new(Some(calm)) })
    }

    /// From now on nothing is begun any more: what begins is killed, and what takes back has
    /// [`UNDOING`](super::call::UNDOING) for it.
    pub fn hurry(&self) {
        drop(lock(&self.calm).take());
    }

    /// What has run for longer than `patience`: `CNI ADD of NETWORK by the plugin NAME`.
    #[must_use]
    pub fn under_way(&self, patience: Duration) -> Option<String> {
        let current = lock(&self.current);
        current.as_ref().filter(|(_, since)| since.elapsed() >= patience).map(|(what, _)| what.clone())
    }

    pub(crate) fn is_hurried(&self) -> bool {
        lock(&self.calm).is_none()
    }

    /// Becomes readable, by its end, once there is hurry.
    pub(crate) fn hurry_fd(&self) -> BorrowedFd<'_> {
        self.hurried.as_fd()
    }

    pub(crate) fn begins(&self, what: String) {
        *lock(&self.current) = Some((what, Instant::now()));
    }

    pub(crate) fn ends(&self) {
        *lock(&self.current) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
