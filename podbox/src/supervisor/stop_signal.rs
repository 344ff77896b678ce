//! With which signal a container is told to end.

use std::str::FromStr;

use nix::sys::signal::Signal;

use super::machine::Record;
use crate::pod::Container;

/// What the manifest asks for, or the image (`SIGQUIT`, `QUIT` or a number), or SIGTERM.
pub(super) fn stop_signal(container: &Container, record: &Record) -> i32 {
    let of_image = record.image.as_ref().and_then(|image| image.stop_signal.as_deref());
    let asked = container.lifecycle.stop_signal.as_deref().or(of_image);
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Signal::SIGTERM as i32 };
    let named = |name: &str| {
        Signal::from_str(name).ok().map(|signal| signal as i32).or_else(|| real_time_signal(name))
    };
    asked
        .parse::<i32>()
        .ok()
        .filter(|number| (1..=64).contains(number))
        .or_else(|| named(asked))
        .or_else(|| named(&format!("SIG{asked}")))
        .unwrap_or(Signal::SIGTERM as i32)
}

/// `SIGRTMIN+3` and `SIGRTMAX-2`, counted from the kernel's own ends as Kubernetes does.
fn real_time_signal(name: &str) -> Option<i32> {
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    let from_min = name.strip_prefix("SIGRTMIN").and_then(offset).map(|more| libc::SIGRTMIN() + more);
    let from_max = || name.strip_prefix("SIGRTMAX").and_then(offset).map(|less| libc::SIGRTMAX() + less);
    from_min.or_else(from_max)
}
