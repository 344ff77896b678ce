//! The foreground `up`: the pods' output, until Ctrl-C or until the pods have ended by themselves.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::logs::reader::{self, Pick, Query, ReadError, Source, aligned_labels};
use crate::pod::{Pod, Role};
use crate::supervisor::machine::{Finished, Memory, State};

use super::Failure;
use super::containers::Containers;
use super::pods::Found;
use super::watch::{Watch, Woken};

/// How following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Somebody pressed Ctrl-C, or reads no further.
    Interrupted,
    /// All pods are over; the code is the first failing container's.
    ByThemselves(u8),
}

/// Prints what the pods print until one of the two happens.
pub(super) fn until_ended(watch: &mut Watch, pods: &[&Found]) -> Result<Ended, Failure> {
    watch.mind_the_reader();
    let sources = sources(pods);
    let pipe = || io::pipe().map_err(|error| Failure::host(&error));
    let ((stop, stopper), (printed, printing)) = (pipe()?, pipe()?);
    let (ended, result) = std::thread::scope(|scope| {
        let printer = scope.spawn(|| {
            let result = reader::follow(&sources, &Query::default(), &mut io::stdout(), stop.as_fd());
            // The other thread is told that nothing will be printed any more.
            drop(printing);
            result
        });
        let ended = wait(watch, pods, printed.as_fd());
        // Hanging up makes the reader print what is left and end.
        drop(stopper);
        (ended, printer.join())
    });
    match result {
        Ok(Ok(())) => ended,
        Ok(Err(ReadError::Print(error))) if error.kind() == io::ErrorKind::BrokenPipe => ended,
        Ok(Err(error)) => Err(Failure::host(&error)),
        Err(_) => Err(Failure::cannot("the log reader panicked")),
    }
}

fn sources(pods: &[&Found]) -> Vec<Source> {
    let containers: Vec<(&Found, String)> = pods
        .iter()
        .flat_map(|pod| {
            let names: Vec<String> = Containers::of(&pod.object()).all().map(str::to_owned).collect();
            names.into_iter().map(move |name| (*pod, name))
        })
        .collect();
    let names: Vec<String> = containers
        .iter()
        .map(|(pod, name)| match pods {
            [_] => name.clone(),
            _ => format!("{}/{name}", pod.pod.name),
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let labels = aligned_labels(&names);
    containers
        .iter()
        .zip(labels)
        .map(|((pod, name), label)| {
            let logs = pod.dir.logs(&pod.pod.namespace, &pod.pod.name, &pod.pod.uid);
            Source { dir: logs.join(name), pick: Pick::Onwards(0), label }
        })
        .collect()
}

fn wait(watch: &Watch, pods: &[&Found], printed: BorrowedFd<'_>) -> Result<Ended, Failure> {
    loop {
        let memories: Vec<Option<Memory>> = pods.iter().map(|pod| pod.memory()).collect();
        // A pod whose directory is gone was taken down by somebody else.
        let over = |(pod, memory): (&&Found, &Option<Memory>)| match memory {
            Some(memory) => memory.finished.is_some(),
            None => !pod.dir.run().exists(),
        };
        if pods.iter().zip(&memories).all(over) {
            let known = pods.iter().zip(&memories).filter_map(|(pod, memory)| Some((pod, memory.as_ref()?)));
            let code = known.into_iter().find_map(|(pod, memory)| failing(&pod.pod, memory)).unwrap_or(0);
            return Ok(Ended::ByThemselves(code));
        }
        match watch.wait(Some(printed), None)? {
            Woken::Interrupted | Woken::Unheard | Woken::Ready => return Ok(Ended::Interrupted),
            Woken::Changed | Woken::TimedOut => {}
        }
    }
}

/// The exit code of the first container that failed. How a sidecar ends does not count; a pod that failed
/// otherwise (its deadline) has 1.
fn failing(pod: &Pod, memory: &Memory) -> Option<u8> {
    let count = pod.containers.iter().zip(&memory.containers).filter(|(one, _)| one.role != Role::Sidecar);
    let code = count.map(|(_, record)| &record.state).find_map(|state| match state {
        State::Exited(end) if end.exit.code() != 0 => Some(u8::try_from(end.exit.code()).unwrap_or(1)),
        _ => None,
    });
    code.or((memory.finished == Some(Finished::Failed)).then_some(1))
}
