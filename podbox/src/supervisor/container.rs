//! One attempt of one container: set it up, let it go, tell what came of it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::stat::Mode;
use runtime::launch::StageKind;
use runtime::plan::{ContainerPlan, FromStage, Rootfs, Stdio};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

use crate::confinement;
use crate::environment::{self, EnvironmentError, Known, Variables};
use crate::image::Image;
use crate::logs::Stream;
use crate::logs::writer::{Limits, LogWriter};
use crate::node;
use crate::oci::{self, Surroundings};
use crate::pod::{Container, Pod};
use crate::report;
use crate::store::{AttemptDir, PodDir, StoreError, write_atomic};
use crate::subpath;
use crate::user_ids;
use crate::volumes;

use super::attach::Audience;
use super::devices;
use super::machine::{CONFIG_ERROR, Event, Failure, Index, SandboxFacts};
use super::missing;
use super::output::Output;
use super::sandbox::lines;
use super::stages::StageError;
use super::world::{Message, World};

/// Everything an attempt is made from.
pub(super) struct Order {
    pub(super) index: Index,
    pub(super) attempt: u32,
    pub(super) sandbox: SandboxFacts,
    /// Comes when the attempt may run; dropped when it may not.
    pub(super) go: oneshot::Receiver<()>,
}

/// Attempts that were prepared while the supervisor had to wait for their sandbox anyway.
#[derive(Default)]
pub(super) struct Prepared(Mutex<Vec<(Index, u32, Output)>>);

impl Prepared {
    /// Prepares an attempt. What fails is tried again, and reported, when its turn comes.
    pub(super) fn add(&self, world: &World, index: Index, attempt: u32) {
        self.attempts().extend(prepare(world, index, attempt).ok().map(|output| (index, attempt, output)));
    }

    /// The attempt's output, prepared now if it was not before.
    pub(super) fn take(&self, world: &World, index: Index, attempt: u32) -> Result<Output, Failure> {
        let waiting = {
            let mut attempts = self.attempts();
            let found = attempts.iter().position(|(of, number, _)| (*of, *number) == (index, attempt));
            found.map(|at| attempts.swap_remove(at).2)
        };
        waiting.map_or_else(|| prepare(world, index, attempt), Ok)
    }

    /// Lets go of those whose turn does not come.
    pub(super) fn clear(&self) {
        self.attempts().clear();
    }

    fn attempts(&self) -> MutexGuard<'_, Vec<(Index, u32, Output)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempt's directories and FIFOs, and the readers behind them.
fn prepare(world: &World, index: Index, attempt: u32) -> Result<Output, Failure> {
    let pod = world.pod();
    let container = &pod.containers[index];
    let dir = world.dir.attempt(&container.name, attempt);
    let made = make_files(container, &dir).and_then(|()| open_log(world, container, attempt));
    made.and_then(|log| {
        let (stdout, stderr) = (dir.stdout(), dir.stderr());
        let mut streams: Vec<(Stream, &Path)> = vec![(Stream::Stdout, &stdout)];
        if !container.tty {
            streams.push((Stream::Stderr, &stderr));
        }
        let audience = match (container.stdin, container.stdin_once && !container.tty) {
            (true, true) => Audience::for_one_session(&dir.stdin())?,
            _ => Audience::default(),
        };
        Output::start(&streams, log, audience)
    })
    .map_err(|error| Failure {
        reason: "CreateContainerError".to_owned(),
        message: format!("prepare {}: {}", dir.path().display(), report::chain(&error)),
    })
}

/// The readers of an attempt that another supervisor has started.
pub(super) fn reopen(world: &World, index: Index, attempt: u32) -> io::Result<Output> {
    let pod = world.pod();
    let container = &pod.containers[index];
    let dir = world.dir.attempt(&container.name, attempt);
    let log = open_log(world, container, attempt)?;
    let (stdout, stderr) = (dir.stdout(), dir.stderr());
    let mut streams: Vec<(Stream, &Path)> = vec![(Stream::Stdout, &stdout)];
    if !container.tty {
        streams.push((Stream::Stderr, &stderr));
    }
    let ends = container.stdin && container.stdin_once && !container.tty;
    let audience = if ends { Audience::after_the_session() } else { Audience::default() };
    Output::start(&streams, log, audience)
}

fn make_files(container: &Container, dir: &AttemptDir) -> io::Result<()> {
    // What a set-up that failed half-way has left would be mistaken for this attempt's.
    for path in [dir.layer(), dir.path()] {
        crate::store::remove(path).map_err(io::Error::other)?;
    }
    fs::create_dir_all(dir.layer())?;
    // The plan tells what Secrets have put into the environment.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir.path())?;
    let private = Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(&dir.stdout(), private)?;
    if container.tty {
        nix::unistd::mkfifo(&dir.console(), private)?;
    } else {
        nix::unistd::mkfifo(&dir.stderr(), private)?;
    }
    if container.stdin {
        nix::unistd::mkfifo(&dir.stdin(), private)?;
    }
    let message = dir.termination_message();
    fs::write(&message, "")?;
    // A container that is not root writes it too.
    fs::set_permissions(&message, fs::Permissions::from_mode(0o666))
}

fn open_log(world: &World, container: &Container, attempt: u32) -> io::Result<LogWriter> {
    let pod = world.pod();
    let dir = world.dir.logs(&pod.namespace, &pod.name, &pod.uid).join(&container.name);
    if let Some(dead) = attempt.checked_sub(2) {
        // One dead run's log is kept for `logs --previous`, as a kubelet keeps one dead container.
        let _ = fs::remove_file(dir.join(format!("{dead}.log")));
    }
    LogWriter::open(dir.join(format!("{attempt}.log")), Limits::default()).map_err(io::Error::other)
}

/// Why an attempt came to nothing.
struct Trouble {
    failure: Failure,
    /// What of it an object of the store may mend.
    missing: Option<Box<EnvironmentError>>,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble { failure, missing: None }
    }
}

/// Runs one attempt from its plan to the moment that its program runs, and tells the loop each step. If an object is
/// missing, it stays until that has changed, or until the next try begins and closes this one's gate.
pub(super) async fn run(world: Arc<World>, mut order: Order) {
    let index = order.index;
    let Err(trouble) = try_run(&world, &mut order).await else { return };
    world.event(Event::CreateFailed(index, trouble.failure));
    if let Some(missing) = trouble.missing {
        tokio::select! {
            () = missing::until_mended(&world, (index, &order.sandbox), &missing) => {
                world.event(Event::Mended(index));
            }
            _ = &mut order.go => {}
        }
    }
}

async fn try_run(world: &World, order: &mut Order) -> Result<(), Trouble> {
    let Order { index, attempt, ref sandbox, ref mut go } = *order;
    let plan = plan_for(world, index, attempt, sandbox)?;
    let create_error = |message: String| Failure { reason: "CreateContainerError".to_owned(), message };
    // Written for those who run something beside it later: `podbox exec`, and exec probes.
    let text = serde_json::to_vec(&plan).map_err(|error| create_error(error.to_string()))?;
    write_atomic(&world.dir.attempt(&plan.name, attempt).plan(), &text)
        .map_err(|error| create_error(report::chain(&error)))?;
    let mut stage = world
        .warm
        .take(&world.exe, StageKind::Container)
        .map_err(|error| create_error(format!("start the container stage: {error}")))?;
    let given = stage.give_with(&plan, &world.lock).await;
    given.map_err(|error| create_error(format!("give the container stage its plan: {error}")))?;
    let ready = stage.ready().await;
    let ready = match ready {
        Ok(ready) => ready,
        Err(error) => {
            stage.reap().await;
            return Err(failure_of(error).into());
        }
    };
    let actor = format!("container/{}", plan.name);
    let steps = ready.trace.iter().map(|t| (&t.name, &t.command, t.micros));
    world.send(Message::Trace(lines(&actor, steps)));
    for note in ready.notes {
        let note = super::machine::Note {
            warning: true,
            reason: "ContainerDegraded".to_owned(),
            message: note,
            container: Some(index),
        };
        world.event(Event::Told(note));
    }
    let Some(process) = ready.process else {
        return Err(create_error("the stage named no process".to_owned()).into());
    };
    world.event(Event::Created(index, process));
    if go.await.is_err() {
        // The pod is ending: a closed gate makes the process leave.
        stage.reap().await;
        return Ok(());
    }
    let said = stage.socket.write_all(runtime::plan::GO.as_bytes()).await;
    let outcome = match said {
        Ok(()) => stage.answer().await,
        Err(error) => Err(error),
    };
    let outcome = match outcome {
        Ok(None) => Ok(()),
        Ok(Some(FromStage::Failed(failure))) => Err(failure.text),
        Ok(Some(_)) => Err("the gate answered out of turn".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    world.send(Message::Outcome(index, outcome));
    stage.reap().await;
    Ok(())
}

fn failure_of(error: StageError) -> Failure {
    let message = report::chain(&error);
    // A user, group or name that the image does not have is a mistake in the Pod, not in the runtime.
    let reason = match &error {
        StageError::Failed(failure) if failure.errno.is_none() && failure.text.contains("unable to find") => {
            CONFIG_ERROR
        }
        StageError::Failed(_) | StageError::Talk(_) | StageError::Silent => "CreateContainerError",
    };
    Failure { reason: reason.to_owned(), message }
}

fn plan_for(
    world: &World,
    index: Index,
    attempt: u32,
    sandbox: &SandboxFacts,
) -> Result<ContainerPlan, Trouble> {
    let pod = world.pod();
    let container = &pod.containers[index];
    let config_error = |message: String| Failure { reason: CONFIG_ERROR.to_owned(), message };
    let image = world
        .images
        .lookup(&container.image)
        .map_err(|error| config_error(report::chain(&error)))?
        .ok_or_else(|| config_error(format!("image \"{}\" has been removed", container.image)))?;
    let mut around = surroundings(world, container, sandbox);
    confine(world, &pod, container, &mut around)?;
    around.cdi = devices::edits(world, &pod, container)?;
    around.environment = environment_of(world, &pod, container, &around).map_err(|error| match error {
        Unmade::Refers(error) => Trouble {
            failure: config_error(error.to_string()),
            missing: error.is_of_an_object().then(|| Box::new(error)),
        },
        Unmade::Unread(error) => config_error(report::chain(&error)).into(),
    })?;
    around.volumes = subpath::sources(&pod, container, &world.dir, &around.environment)
        .map_err(|error| config_error(error.to_string()))?;
    let dir = world.dir.attempt(&container.name, attempt);
    Ok(plan(&pod, container, &image, (attempt, &dir), &around)
        .map_err(|error| config_error(error.to_string()))?)
}

/// What keeps the container's program in: its filter, its profiles, its ids.
fn confine(
    world: &World,
    pod: &Pod,
    container: &Container,
    around: &mut Surroundings,
) -> Result<(), Failure> {
    let refused = |message: String| Failure {
        reason: "CreateContainerError".to_owned(),
        message: format!("failed to create containerd container: {message}"),
    };
    let profiles = &world.settings.pods.seccomp_profiles;
    around.seccomp = confinement::seccomp_profile(&container.security, profiles).map_err(refused)?;
    around.app_armor = confinement::app_armor_profile(&container.security).map_err(refused)?;
    around.selinux_label = confinement::selinux_label(&container.security);
    if pod.security.user_namespace {
        around.users = user_ids::held(&world.dir, &pod.uid);
    }
    Ok(())
}

/// Why there is no environment.
pub(super) enum Unmade {
    /// It refers to what is not there.
    Refers(EnvironmentError),
    /// An object is there and cannot be read.
    Unread(StoreError),
}

/// The environment that the manifest gives to a container, as things are now.
pub(super) fn environment_of(
    world: &World,
    pod: &Pod,
    container: &Container,
    around: &Surroundings,
) -> Result<Variables, Unmade> {
    let root_of = |name: &str| {
        let volume = pod.volumes.iter().find(|volume| volume.name == name)?;
        Some(volumes::root_of(volume, &world.dir))
    };
    let known = Known::read(&world.settings.store, pod, container, root_of).map_err(Unmade::Unread)?;
    environment::own(pod, container, around, &known).map_err(Unmade::Refers)
}

/// All of a container's surroundings but its confinement, its environment, and its volumes, which depend on that.
pub(super) fn surroundings(world: &World, container: &Container, sandbox: &SandboxFacts) -> Surroundings {
    Surroundings {
        node_name: world.node_name.clone(),
        host_ips: world.host_ips.clone(),
        pod_ips: sandbox.ips.clone(),
        node_cpu_milli: node::cpu_milli(),
        node_memory_bytes: world.memory_bytes,
        node_storage_bytes: node::storage_bytes(world.dir.data()),
        host_devices: if container.security.privileged { node::devices() } else { Vec::new() },
        ..surroundings_of(&world.dir)
    }
}

/// The part of the surroundings that only depends on where the pod lies.
#[must_use]
pub fn surroundings_of(dir: &PodDir) -> Surroundings {
    Surroundings { namespaces: dir.namespaces(), shm: dir.shm(), etc: dir.etc(), ..Surroundings::default() }
}

/// The plan of one attempt. Pure.
///
/// # Errors
/// See [`oci::ConfigError`].
pub fn plan(
    pod: &Pod,
    container: &Container,
    image: &Image,
    attempt: (u32, &AttemptDir),
    around: &Surroundings,
) -> Result<ContainerPlan, oci::ConfigError> {
    let dir = attempt.1;
    let made = oci::container(pod, container, image, attempt, around)?;
    Ok(ContainerPlan {
        name: container.name.clone(),
        spec: made.spec,
        rootfs: Rootfs::Overlay { lower: image.layers.clone(), scratch: dir.layer().to_path_buf() },
        stdio: Stdio {
            stdin: container.stdin.then(|| dir.stdin()),
            stdin_ends: container.stdin_once,
            stdout: dir.stdout(),
            stderr: dir.stderr(),
            console: container.tty.then(|| dir.console()),
        },
        user: Some(made.user),
    })
}
