//! The termination message of a container that has ended: its file, or else the end of its log.
//!
//! Source: kubelet `kuberuntime_container.go` (getTerminationMessage, readLastStringFromContainerLogs).

use std::fs::File;
use std::io::Read;

use crate::logs::tail;
use crate::pod::{Container, MessagePolicy};
use crate::store::AttemptDir;

use super::machine::Exit;
use super::world::World;

/// What is read of the file, bytes.
const FILE_LIMIT: u64 = 4096;
/// What is read of the log: so many lines, and of these so many bytes.
const LOG_LINES: usize = 80;
const LOG_BYTES: usize = 2048;

/// The message; `None` if there is none.
pub(super) fn read(world: &World, container: &Container, attempt: u32, exit: Exit) -> Option<String> {
    let written = of_file(&world.dir.attempt(&container.name, attempt));
    let falls_back = container.termination_message_policy == MessagePolicy::FallbackToLogsOnError;
    if written.is_some() || !falls_back || exit.code() == 0 {
        return written;
    }
    let pod = world.pod();
    let logs = world.dir.logs(&pod.namespace, &pod.name, &pod.uid);
    let log = logs.join(&container.name).join(format!("{attempt}.log"));
    let end = tail::last(&log, LOG_LINES, LOG_BYTES).ok()?;
    (!end.is_empty()).then(|| String::from_utf8_lossy(&end).into_owned())
}

fn of_file(dir: &AttemptDir) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(dir.termination_message()).ok()?.take(FILE_LIMIT).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}
