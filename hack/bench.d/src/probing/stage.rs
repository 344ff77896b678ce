//! How long a probe's command takes in the runtime's exec stage, without the supervisor around it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use runtime::launch::{Inbox, Launched, SelfExe, StageKind, launch, send_plan};
use runtime::plan::{ContainerPlan, ExecPlan, ExecRun, FromStage, Stay};
use runtime::process::Process;

use crate::failure::{Failure, Outcome, cannot};
use crate::proc;
use crate::results::Series;
use crate::site::Site;

const ROUNDS: usize = 200;
const COMMAND: &str = "/bin/true";

#[derive(Default)]
pub(crate) struct Walls {
    /// By a stage that is there already.
    pub(crate) staying: Series,
    /// With a stage of its own, from its start to its end.
    pub(crate) alone: Series,
    /// With no container.
    pub(crate) in_place: Series,
}

/// Asks the pod's first probed container, whose files are in `dir`.
pub(crate) fn walls(site: &Site, dir: &Path) -> Outcome<Walls> {
    let path = CString::new(site.podbox.as_os_str().as_bytes()).map_err(|_| Failure("a path".to_owned()))?;
    let exe = SelfExe::of(&path).map_err(cannot("open podbox"))?;
    let mut plan = plan(dir).map_err(cannot("plan a probe"))?;
    let mut walls = Walls::default();
    plan.stay = Stay::UntilHangUp;
    let mut stage = begin(&exe, &plan).map_err(cannot("start a stage"))?;
    plan.stay = Stay::Once;
    // In turns, so that the host's noise meets all alike.
    for round in 0..ROUNDS {
        walls.in_place.push(super::in_place(site)?);
        let began = Instant::now();
        let run = ExecRun { args: vec![COMMAND.to_owned()] };
        ask(&mut stage, &run).map_err(cannot("ask a stage"))?;
        walls.staying.push(began.elapsed());
        if round.is_multiple_of(4) {
            let began = Instant::now();
            alone(&exe, &plan).map_err(cannot("ask a stage"))?;
            walls.alone.push(began.elapsed());
        }
    }
    let (launched, _) = stage;
    launched.socket.shutdown(std::net::Shutdown::Both).map_err(cannot("hang up"))?;
    launched.reap().map_err(cannot("reap a stage"))?;
    Ok(walls)
}

fn plan(dir: &Path) -> io::Result<ExecPlan> {
    let container: ContainerPlan = serde_json::from_slice(&fs::read(dir.join("containers/p0/0/plan.json"))?)?;
    let pid = proc::sleeper("3000000").ok_or(io::ErrorKind::NotFound)?;
    let linux = container.spec.linux().as_ref();
    let mut process = container.spec.process().clone().ok_or(io::ErrorKind::InvalidData)?;
    process.set_args(Some(vec![COMMAND.to_owned()]));
    Ok(ExecPlan {
        root_id: None,
        target: Process::of_pid(pid)?.identity(),
        process,
        user: container.user.clone(),
        cgroup: linux.and_then(|linux| linux.cgroups_path().clone()),
        seccomp: linux.and_then(|linux| linux.seccomp().clone()),
        stay: Stay::Once,
    })
}

fn begin(exe: &SelfExe, plan: &ExecPlan) -> io::Result<(Launched, Inbox)> {
    let stage = launch(exe, StageKind::Exec)?;
    send_plan(&stage.socket, plan, &[])?;
    Ok((stage, Inbox::default()))
}

fn ask((stage, inbox): &mut (Launched, Inbox), run: &ExecRun) -> io::Result<()> {
    let null = File::open("/dev/null")?;
    let (_output, theirs) = io::pipe()?;
    send_plan(&stage.socket, run, &[null.as_fd(), theirs.as_fd(), theirs.as_fd()])?;
    match inbox.answer(stage.socket.as_fd())? {
        Some(FromStage::Exited(_)) => Ok(()),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

fn alone(exe: &SelfExe, plan: &ExecPlan) -> io::Result<()> {
    let mut exec = runtime::launch::exec(exe, plan, None)?;
    exec.started().map_err(io::Error::other)?;
    exec.exited().map(drop).map_err(io::Error::other)
}
