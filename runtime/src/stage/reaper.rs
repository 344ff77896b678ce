//! The first process of a shared PID namespace.
//!
//! When process 1 of a PID namespace ends, the kernel kills all others in it, and orphans become its
//! children. A container must not be that process, or its restart would take the others down. So a tiny
//! process holds the place: it reaps what is orphaned and otherwise sleeps.

use crate::cgroup::{BornIn, Cgroup};
use crate::sys::task;
use nix::sys::signal::{SigSet, Signal};
use std::path::Path;

/// Never returns: reaps until SIGTERM or SIGKILL.
///
/// The signals are blocked and waited for: to process 1 a signal without a handler is not delivered, unless
/// it comes from an outer namespace and is SIGKILL; a blocked one is kept and can be waited for.
pub(super) fn run(cgroup: Option<&Cgroup>) -> ! {
    task::set_name("podbox-reaper");
    if let Some(group) = cgroup {
        // A reaper without a cgroup of its own still reaps.
        let _ = group.join(BornIn::Elsewhere, &mut Vec::new());
    }
    task::reset_signals();
    task::ignore_children();
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGTERM);
    wanted.add(Signal::SIGINT);
    let _ = wanted.thread_set_mask();
    let _ = nix::unistd::setsid();
    let _ = nix::unistd::chdir(Path::new("/"));
    task::close_from(0);
    task::trim_heap();
    loop {
        if let Ok(Signal::SIGTERM | Signal::SIGINT) = task::wait_signal(&wanted) {
            task::leave(0);
        }
    }
}
