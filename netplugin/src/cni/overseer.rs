//! Who looks after plugins while they run: knows which one does, and can tell it to come to its end.

use std::collections::BTreeMap;
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
    /// Plugins, by their places in the chain, that were killed in a hurry while they took back, and what they had had.
    given_up: Mutex<BTreeMap<usize, Duration>>,
}

impl Overseer {
    /// One that is in no hurry.
    ///
    /// # Errors
    /// If there can be no pipe.
    pub fn new() -> io::Result<Overseer> {
        let (hurried, calm) = io::pipe()?;
        Ok(Overseer {
            current: Mutex::default(),
            hurried,
            calm: Mutex::new(Some(calm)),
            given_up: Mutex::default(),
        })
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

    /// In a hurry nobody is asked twice to take back. `Some` is how long the plugin at that place has had.
    pub(crate) fn has_given_up(&self, index: usize) -> Option<Duration> {
        lock(&self.given_up).get(&index).copied()
    }

    pub(crate) fn gives_up(&self, index: usize, after: Duration) {
        lock(&self.given_up).insert(index, after);
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
