//! A guardian that is started before it is known what it will guard.
//!
//! Guardian, supervisor and the first stage are three programs that start one after the other. That takes as long as
//! reading a manifest and writing a pod down does, so both go on at once. They wait at a gate: a byte on the socket that
//! will be the pod's bell opens it, and the socket's end sends them home.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runtime::launch::SelfExe;
use runtime::process::Process;

use crate::report;
use crate::store::{PodDir, StoreError, make_apart, remove, try_lock};

use super::super::pods::{self, PATIENCE};
use super::super::{Failure, Session};

/// A pod's run directory with a guardian that waits there. It holds the guardian's lock, and so the place of a name
/// that is about to be taken for it. Dropped before the gate was opened, all of it goes away again.
pub(super) struct Ahead {
    /// The pod's uid.
    pub(super) uid: String,
    dir: PodDir,
    /// What the guardian runs. The kernel waits for all processors (RCU) before it lets go of it, half a millisecond: so it is
    /// closed when the gate is open, and others go on.
    program: SelfExe,
    waiting: Option<(Process, UnixStream)>,
}

impl Ahead {
    /// Starts a guardian for a pod of a new uid, where pods have run before; `None` if that does not work, for whatever
    /// reason: who needs it then does it again, and says so.
    pub(super) fn try_new(session: &Session) -> Option<Ahead> {
        let store = &session.settings.store;
        if !nix::unistd::geteuid().is_root() || !store.pods_dir().is_dir() {
            return None;
        }
        Ahead::start(session, new_uid().ok()?).ok()
    }

    /// Starts a guardian for the pod of that uid.
    ///
    /// # Errors
    /// If its directory cannot be made and locked, or the guardian cannot be started.
    pub(super) fn start(session: &Session, uid: String) -> Result<Ahead, Failure> {
        let dir = session.settings.store.pod(&uid);
        let program = pods::sealed()?;
        let place = take_place(&dir).map_err(|error| Failure::host(&error))?;
        let mut ahead = Ahead { uid, dir, program, waiting: None };
        let (bell, ring) = UnixStream::pair().map_err(|error| Failure::host(&error))?;
        let guardian =
            pods::start_guardian(&ahead.program, &ahead.dir, place.into(), OwnedFd::from(ring).into())?;
        ahead.waiting = Some((guardian, bell));
        Ok(ahead)
    }

    /// Opens the gate: all that the supervisor reads has been written. Gives the guardian and its bell.
    ///
    /// # Errors
    /// If nobody waits there any more.
    pub(super) fn go(mut self) -> Result<(Process, UnixStream), Failure> {
        let (guardian, mut bell) =
            self.waiting.take().ok_or_else(|| Failure::cannot("start a guardian twice"))?;
        bell.write_all(b"\n").map_err(|error| {
            Failure::cannot(format!("start the guardian: it is gone: {}", report::chain(&error)))
        })?;
        Ok((guardian, bell))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let Some((guardian, bell)) = self.waiting.take() else { return };
        drop(bell);
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        // It leaves by itself; its directory has to stay until then.
        let _ = poll(&mut [PollFd::new(guardian.as_fd(), PollFlags::POLLIN)], patience);
        let _ = remove(self.dir.run());
    }
}

/// Makes the run directory and takes the guardian's lock in it. Somebody who only looks whether it is held, or who
/// sweeps nameless directories away, may be in between for a moment.
fn take_place(dir: &PodDir) -> Result<File, StoreError> {
    let begun = Instant::now();
    loop {
        make_apart(dir.run())?;
        match try_lock(&dir.guardian_lock()) {
            Ok(Some(place)) => return Ok(place),
            Err(error) if error.source.kind() != ErrorKind::NotFound => return Err(error),
            Ok(None) | Err(_) if begun.elapsed() > PATIENCE => {
                let (path, source) = (dir.guardian_lock(), ErrorKind::WouldBlock.into());
                return Err(StoreError { action: "lock", path, source });
            }
            Ok(None) | Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
}

/// An identifier for a pod.
pub(super) fn new_uid() -> Result<String, Failure> {
    let uid = crate::uuid::random();
    uid.map_err(|error| Failure::cannot(format!("read /dev/urandom: {}", report::chain(&error))))
}
