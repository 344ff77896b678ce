//! Waiting for something to become true.

use std::fmt::Debug;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::command::Output;

/// How long to wait for what should come soon. Long, because a busy machine is slow and a test that passes
/// never waits that long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a command again until it ends well, and gives what it said.
///
/// # Panics
/// After [`PATIENCE`].
#[track_caller]
pub fn wait_good(what: &str, mut run: impl FnMut() -> Output) -> Output {
    wait_for(what, PATIENCE, || {
        let output = run();
        if output.good() { Ok(output) } else { Err(output.to_string()) }
    })
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// Asks until the answer is `Ok`, and gives it.
///
/// # Panics
/// After `limit`, with `what` was waited for and the last answer.
pub fn wait_for<T, E: Debug>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if started.elapsed() > limit => {
                panic!("waited {} s for {what}; the last answer was:\n{last:#?}", limit.as_secs_f32())
            }
            Err(_) => sleep(pause),
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Asks until the answer is yes.
///
/// # Panics
/// After `limit`.
pub fn wait_until(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) {
    wait_for(what, limit, || if ask() { Ok(()) } else { Err("no") });
}
