//! A pod that has to go: the one that has the name until now, or one that this command has started in vain. It is asked to
//! end, and waited for.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::super::pods::Found;
use super::super::watch::{Watch, Woken};
use super::super::{Failure, Session, down};

/// A wait that is over sooner is not worth a word.
const SILENCE: Duration = Duration::from_secs(1);

/// Ends the pod that has the name, and says what is waited for once that lasts. A pod that ends already is not hurried. What is
/// left of a pod that is gone keeps nobody from its name: that is a warning.
///
/// # Errors
/// If it does not end, or if somebody presses Ctrl-C meanwhile; then it goes on ending.
pub(super) fn end(session: &Session, watch: &Watch, found: &Found) -> Result<(), Failure> {
    let ending = found.memory().and_then(|memory| memory.stop);
    let grace = ending.map(|stop| stop.grace.as_secs());
    match end_within(session, watch, found, grace) {
        Err(failure) if found.is_gone() => {
            anstream::eprintln!("warning: pod {} was there before: {}", found.name(), failure.message());
            Ok(())
        }
        ended => ended,
    }
}

/// Ends a pod that has so many seconds for it, or its own grace period; else as [`end`].
///
/// # Errors
/// If it does not end, or something is left of it, or if somebody presses Ctrl-C meanwhile; then it goes on ending.
pub(super) fn end_within(
    session: &Session,
    watch: &Watch,
    found: &Found,
    grace: Option<u64>,
) -> Result<(), Failure> {
    let (over, end) = io::pipe().map_err(|error| Failure::host(&error))?;
    let stop = {
        let (session, found) = (session.clone(), found.clone());
        std::thread::spawn(move || {
            let result = found.stop(&session, grace);
            // The other thread hears the pipe hang up.
            drop(end);
            result
        })
    };
    let mut silent_until = (!session.quiet).then(|| Instant::now() + SILENCE);
    loop {
        match watch.wait(Some(over.as_fd()), silent_until)? {
            Woken::Ready => break,
            Woken::TimedOut => {
                silent_until = None;
                let what = down::waited_for(found).unwrap_or_else(|| "waiting for its end".to_owned());
                anstream::eprintln!("pod {}: {what}", found.name());
            }
            Woken::Interrupted => {
                if !session.quiet {
                    anstream::eprintln!("left; pod {} goes on ending in the background", found.name());
                }
                return Err(Failure::interrupted());
            }
            Woken::Changed | Woken::Unheard => {}
        }
    }
    stop.join().unwrap_or_else(|_| Err(Failure::cannot("the thread that ends a pod panicked"))).map(|_| ())
}
