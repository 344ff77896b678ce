//! One more process in a running container: what `podbox exec` and exec probes have in common.

use std::fs;
use std::io;

use runtime::plan::{ContainerPlan, ExecPlan, Identity, Stay};

use crate::store::AttemptDir;

/// Whether the process gets a pseudo terminal of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Yes.
    Wanted,
    /// No: the caller's own streams.
    None,
}

/// The plan to run `command` in an attempt as the container itself runs: its user, environment, working directory
/// and capabilities.
///
/// # Errors
/// If the attempt's own plan is gone, which means that the attempt is.
pub fn plan(
    dir: &AttemptDir,
    target: Identity,
    command: &[String],
    terminal: Terminal,
) -> io::Result<ExecPlan> {
    let plan: ContainerPlan = serde_json::from_slice(&fs::read(dir.plan())?)?;
    let linux = plan.spec.linux();
    let cgroup = linux.as_ref().and_then(|linux| linux.cgroups_path().clone());
    let seccomp = linux.as_ref().and_then(|linux| linux.seccomp().clone());
    let maps = linux.as_ref().and_then(|linux| linux.uid_mappings().as_ref());
    let root_id =
        maps.and_then(|maps| maps.iter().find(|map| map.container_id() == 0)).map(|map| map.host_id());
    let mut process = plan.spec.process().clone().ok_or(io::ErrorKind::InvalidData)?;
    process.set_args(Some(command.to_vec()));
    process.set_terminal(Some(terminal == Terminal::Wanted));
    if terminal == Terminal::Wanted {
        name_terminal(process.env_mut().get_or_insert_default());
    }
    Ok(ExecPlan { target, process, user: plan.user, cgroup, root_id, seccomp, stay: Stay::Once })
}

/// Says what the terminal understands, as for a container that has one itself: else `clear` and editors refuse.
fn name_terminal(env: &mut Vec<String>) {
    if !env.iter().any(|line| line.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
}
