//! Pods as commands see them: found by name, read from their files.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::PodStatus;
use netplugin::cni::Overseer;
use runtime::launch::SelfExe;
use serde_json::{Value, json};

use crate::chain::owed;
use crate::context::kept_environment;
use crate::pod::Pod;
use crate::pod::interfaces;
use crate::report;
use crate::status::qos;
use crate::store::{PodDir, Store, StoreError, is_locked, remove, try_lock};
use crate::supervisor::control::{Answer, Request};
use crate::supervisor::machine::Memory;
use crate::supervisor::sandbox::take_down_pod;
use crate::{events, volumes};

use super::kinds::Kind;
use super::watch::Watch;
use super::{Failure, Session, names};

/// How long a supervisor may take to be there after its guardian was started.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A pod and its files.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) pod: Pod,
    pub(super) dir: PodDir,
}

/// Who looks after a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// A guardian.
    Guarded,
    /// Nobody has to: all is over.
    Finished,
    /// Nobody does, though somebody should.
    Abandoned,
}

/// Who has removed what was left of a pod that was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Its supervisor, which lets the network go if nobody needs it any more.
    BySupervisor,
    /// This command: its supervisor may be gone, killed before it could let the network go.
    Here,
}

/// The pod of that name.
pub(super) fn find(session: &Session, namespace: &str, name: &str) -> Result<Found, Failure> {
    let store = &session.settings.store;
    let uid = store.find(namespace, name);
    let found = uid.and_then(|uid| read(store, &uid));
    found.ok_or_else(|| {
        let failure = Failure::wrong(format!("pod {namespace}/{name} not found"));
        match hint(store, namespace, name) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// What somebody may have meant by the name of a pod that is not there.
fn hint(store: &Store, namespace: &str, name: &str) -> Option<String> {
    let names = store.names();
    if names::OTHER_KINDS.contains(&namespace) || Kind::parse(namespace).is_some() {
        return Some(format!(
            "only pods are meant here: {namespace}/{name} is pod {name} of namespace {namespace}"
        ));
    }
    if let Some((elsewhere, ..)) = names.iter().find(|(_, known, _)| known == name) {
        return Some(format!("there is a pod {name} in namespace {elsewhere}: -n {elsewhere}"));
    }
    let here: Vec<&str> =
        names.iter().filter(|(of, ..)| of == namespace).map(|(_, known, _)| &**known).collect();
    (!here.is_empty()).then(|| format!("the pods of namespace {namespace} are {}", here.join(", ")))
}

/// Watches for a pod of that name to come or go, and for whatever happens to the one that is there.
pub(super) fn watch_one(session: &Session, watch: &Watch, namespace: &str, name: &str) {
    let store = &session.settings.store;
    watch.add_nearest(&store.names_dir());
    match store.find(namespace, name) {
        Some(uid) => watch.add_nearest(store.pod(&uid).run()),
        None => watch.add_nearest(&store.pods_dir()),
    }
}

/// Watches for pods that come and go, and for whatever happens to those that are there. To be called again after
/// each change, before anything is read.
pub(super) fn watch_all(session: &Session, watch: &Watch) {
    let store = &session.settings.store;
    watch.add_nearest(&store.names_dir());
    for (_, _, uid) in store.names() {
        watch.add_nearest(store.pod(&uid).run());
    }
}

/// Every pod that has a name, sorted; `None` is every namespace.
pub(super) fn all(session: &Session, namespace: Option<&str>) -> Vec<Found> {
    let store = &session.settings.store;
    let names = store.names().into_iter();
    names
        .filter(|(of, _, _)| namespace.is_none_or(|namespace| of == namespace))
        .filter_map(|(_, _, uid)| read(store, &uid))
        .collect()
}

/// The pod of that uid, if its files are there.
pub(super) fn read(store: &Store, uid: &str) -> Option<Found> {
    let dir = store.pod(uid);
    let pod = serde_json::from_slice(&fs::read(dir.pod()).ok()?).ok()?;
    Some(Found { pod, dir })
}

impl Found {
    /// `default/web`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.pod.namespace, self.pod.name)
    }

    pub(super) fn memory(&self) -> Option<Memory> {
        serde_json::from_slice(&fs::read(self.dir.machine()).ok()?).ok()
    }

    /// How much longer a condition must stay as it is, until it has been so for `least`; `None` if it has.
    pub(super) fn unsettled(&self, condition: &str, least: Duration) -> Option<Duration> {
        // The status has whole seconds only.
        let memory = self.memory()?;
        let condition = memory.conditions.iter().find(|known| known.kind.eq_ignore_ascii_case(condition))?;
        let held = jiff::Timestamp::now().duration_since(condition.since);
        let left = least.saturating_sub(Duration::try_from(held).unwrap_or_default());
        (!left.is_zero()).then_some(left)
    }

    /// Whether somebody looks after it.
    pub(super) fn care(&self) -> Care {
        let over = self.memory().is_some_and(|memory| memory.finished.is_some());
        // A supervisor that has taken its finished pod down closes its socket; it lingers for the network's sake only.
        if over && !self.dir.control().exists() {
            return Care::Finished;
        }
        if is_locked(&self.dir.guardian_lock()) {
            Care::Guarded
        } else if over {
            Care::Finished
        } else {
            Care::Abandoned
        }
    }

    /// Whether it is ready.
    pub(super) fn is_ready(&self) -> bool {
        let conditions = self.status().0.and_then(|status| status.conditions).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }

    /// Its v1.PodStatus, if there is one yet, and why its supervisor cannot write it down, if it cannot. Then it is asked
    /// for it; if it does not answer, what was written last is all that there is.
    pub(super) fn status(&self) -> (Option<PodStatus>, Option<String>) {
        if self.dir.stale().exists() {
            match self.ask(Request::Status) {
                Ok(Answer { errors, status: Some(status) }) => {
                    return (Some(*status), errors.into_iter().next());
                }
                Ok(_) => {}
                Err(error) => anstream::eprintln!(
                    "warning: the status of pod {} is old: its disk is full, and its supervisor does not answer: {}",
                    self.name(),
                    report::chain(&error)
                ),
            }
        }
        let text = fs::read(self.dir.status()).ok();
        (text.and_then(|text| serde_json::from_slice(&text).ok()), None)
    }

    /// The v1 Pod with its status.
    pub(super) fn object(&self) -> Value {
        let read = |path: &Path| fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut object: Value = read(&self.dir.object()).unwrap_or_else(|| json!({}));
        let status = self.status().0.and_then(|status| serde_json::to_value(status).ok());
        // Until its supervisor has begun, it is as an API server has it before a kubelet has seen it.
        let status = status.unwrap_or_else(|| json!({"phase": "Pending", "qosClass": qos(self.pod.qos)}));
        object["apiVersion"] = json!("v1");
        object["kind"] = json!("Pod");
        object["metadata"]["uid"] = json!(self.pod.uid);
        if let Ok(networks) = fs::read_to_string(self.dir.network_status()) {
            object["metadata"]["annotations"][interfaces::STATUS] = json!(networks);
        }
        let memory = self.memory();
        let written =
            || jiff::Timestamp::try_from(fs::metadata(self.dir.object()).ok()?.modified().ok()?).ok();
        if let Some(created) = memory.as_ref().map(|memory| memory.accepted).or_else(written) {
            object["metadata"]["creationTimestamp"] = json!(events::whole_seconds(created));
        }
        if let Some(stop) = memory.as_ref().and_then(|memory| memory.stop.as_ref()) {
            let seconds = stop.grace.as_secs();
            // Some mean "never": the calendar has an end.
            let grace = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            let at = stop.at.wall.saturating_add(grace).unwrap_or(jiff::Timestamp::MAX);
            object["metadata"]["deletionTimestamp"] = json!(events::whole_seconds(at));
            object["metadata"]["deletionGracePeriodSeconds"] = json!(seconds);
        }
        if let Some(memory) = memory.filter(|memory| !memory.added.is_empty()) {
            let added: Vec<Value> = memory.added.into_iter().map(|added| added.object).collect();
            object["spec"]["ephemeralContainers"] = Value::Array(added);
        }
        object["spec"]["nodeName"] = json!(crate::node::name());
        object["status"] = status;
        object
    }

    /// Looks after a pod that nobody looks after, and says so.
    pub(super) fn readopt_if_abandoned(&self) -> Result<(), Failure> {
        if self.care() != Care::Abandoned || !self.dir.machine().exists() {
            return Ok(());
        }
        anstream::eprintln!(
            "warning: guardian and supervisor of pod {} were gone; taking it up again",
            self.name()
        );
        start_guardian(&sealed()?, &self.dir, Stdio::null(), Stdio::null())?;
        let started = Instant::now();
        while self.care() == Care::Abandoned && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Asks the supervisor to end the pod and waits until it is gone. A supervisor that dies over it has a successor,
    /// which is asked again.
    pub(super) fn stop(&self, session: &Session, grace_seconds: Option<u64>) -> Result<Stopped, Failure> {
        let here = |removed: Result<(), Failure>| removed.map(|()| Stopped::Here);
        let started = Instant::now();
        loop {
            match self.care() {
                Care::Finished => return here(self.remove_within(session, grace_seconds)),
                // It never came to run anything, and now cannot: its guardian's place is taken.
                Care::Abandoned if !self.dir.machine().exists() => {
                    if let Ok(Some(_place)) = try_lock(&self.dir.guardian_lock()) {
                        return here(self.remove(session));
                    }
                }
                Care::Abandoned => self.readopt_if_abandoned()?,
                Care::Guarded => {}
            }
            match self.ask(Request::Stop { grace_seconds }) {
                Ok(answer) if answer.errors.is_empty() => return Ok(Stopped::BySupervisor),
                Ok(answer) => return Err(Failure::cannot(answer.errors.join("\nerror: "))),
                // It may have finished by itself in this very moment.
                Err(_) if self.finishes() => {
                    return here(if self.dir.pod().exists() { self.remove(session) } else { Ok(()) });
                }
                Err(error) if started.elapsed() > PATIENCE => return Err(Failure::host(&error)),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Whether nothing is left of it here: another pod may have its name.
    pub(super) fn is_gone(&self) -> bool {
        !self.dir.run().exists() && !self.dir.data().exists()
    }

    /// Whether the pod is over, or will be when its guardian has left, which is about to happen.
    fn finishes(&self) -> bool {
        let started = Instant::now();
        while started.elapsed() < PATIENCE && self.dir.run().exists() {
            if self.care() == Care::Finished {
                return true;
            }
            if self.memory().is_none_or(|memory| memory.finished.is_none()) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        !self.dir.run().exists()
    }

    /// Removes what is left of a pod that nothing runs of any more.
    pub(super) fn remove(&self, session: &Session) -> Result<(), Failure> {
        self.remove_within(session, None)
    }

    /// As [`Self::remove`]; without any grace, plugins of a chain have little time too.
    fn remove_within(&self, session: &Session, grace_seconds: Option<u64>) -> Result<(), Failure> {
        let store = &session.settings.store;
        let mut errors = Vec::new();
        // What CNI plugins have leased outlives the boot.
        if self.dir.run().exists() || self.dir.chain().exists() {
            let memory = self.memory();
            if memory.as_ref().is_none_or(|memory| memory.finished.is_none()) {
                self.wait_for_stages();
            }
            let reaper = memory.as_ref().and_then(|memory| memory.sandbox.facts()?.reaper);
            let overseer = Overseer::new().map_err(|error| Failure::host(&error))?;
            if grace_seconds == Some(0) {
                overseer.hurry();
            }
            errors.extend(take_down_pod(&self.pod, &self.dir, (&session.settings, &overseer), reaper));
        }
        volumes::release(&self.pod, &self.dir, store);
        errors.extend(owed::keep(&self.dir, store, &self.pod.uid));
        let logs = self.dir.logs(&self.pod.namespace, &self.pod.name, &self.pod.uid);
        // The Pod goes before its state: a supervisor that begins in this very moment, after one that was killed, sees by it
        // that the state that it does not find is not that of a new pod.
        for path in [logs.as_path(), self.dir.data(), self.dir.run()] {
            errors.extend(remove(path).err().map(|error| report::chain(&error)));
        }
        let _ = remove(&store.endpoint(&self.pod.namespace, &self.pod.name));
        let _ = remove(&store.followers_dir().join(&self.pod.uid));
        store.release(&self.pod.namespace, &self.pod.name, &self.pod.uid);
        if errors.is_empty() { Ok(()) } else { Err(Failure::cannot(errors.join("\nerror: "))) }
    }

    /// Waits until what a dead supervisor had under way has come to its end, so that nothing is made after it was
    /// removed. A stage that hangs is not waited for longer than a supervisor would be.
    fn wait_for_stages(&self) {
        let started = Instant::now();
        while is_locked(&self.dir.supervisor_lock()) && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks the supervisor for something that it does at once or not at all; `what` is that, before "pod".
    pub(super) fn request(&self, request: Request, what: &str) -> Result<(), Failure> {
        let refused = |why: String| Failure::pod(format!("{what} pod {}: {why}", self.name()));
        if self.care() == Care::Finished {
            return Err(refused("the pod is over".to_owned()));
        }
        let answer = self.ask(request).map_err(|error| refused(report::chain(&error)))?;
        if answer.errors.is_empty() { Ok(()) } else { Err(refused(answer.errors.join("; "))) }
    }

    /// Lets the running pod become another one; an error is why it may not.
    pub(super) fn update(&self, pod: &Pod, object: &Value) -> Result<(), String> {
        let pod = serde_json::to_value(pod).map_err(|error| error.to_string())?;
        let request = Request::Update { pod: Box::new(pod), object: Box::new(object.clone()) };
        let answer = self.ask(request).map_err(|error| report::chain(&error))?;
        if answer.errors.is_empty() { Ok(()) } else { Err(answer.errors.join("; ")) }
    }

    /// Has the pod's network made whole, if something of it is missing, and says what could not be made. A supervisor that is
    /// about to begin does so by itself, and one of an older podbox knows nothing of it.
    pub(super) fn mend(&self) {
        let Ok(answer) = self.ask(Request::Mend) else { return };
        for error in answer.errors.iter().filter(|error| !error.starts_with("understand the request")) {
            anstream::eprintln!("warning: the network of pod {} is not whole: {error}", self.name());
        }
    }

    fn ask(&self, request: Request) -> std::io::Result<Answer> {
        Found::hear(&mut BufReader::new(self.send(&request)?))
    }

    /// Sends a request; the answer comes over the connection that is returned.
    pub(super) fn send(&self, request: &Request) -> std::io::Result<UnixStream> {
        let stream = self.connect()?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        (&stream).write_all(&text)?;
        Ok(stream)
    }

    /// The answer to a request.
    pub(super) fn hear(read: &mut impl BufRead) -> std::io::Result<Answer> {
        let mut line = String::new();
        read.read_line(&mut line)?;
        if line.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(Into::into)
    }

    /// Connects to the supervisor, which may be about to be there.
    fn connect(&self) -> std::io::Result<UnixStream> {
        let started = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            // By way of a descriptor, because a socket's path may have only 107 bytes.
            let connected = fs::File::open(self.dir.run()).and_then(|dir| {
                UnixStream::connect(format!("/proc/self/fd/{}/control.sock", dir.as_raw_fd()))
            });
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) if started.elapsed() > PATIENCE || self.care() != Care::Guarded => {
                    return Err(error);
                }
                Err(_) => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// The program that guardians run: they fork stages, which containers may see, so nobody can open it for writing through them.
pub(super) fn sealed() -> Result<SelfExe, Failure> {
    SelfExe::open().map_err(|error| Failure::cannot(format!("seal this program: {}", report::chain(&error))))
}

/// Starts a guardian for the pod of that directory, from this program; it detaches itself. `place` is its lock, held already, or nothing:
/// then it has to take it. `bell` is written to whenever the pod's status has changed.
pub(super) fn start_guardian(
    exe: &SelfExe,
    dir: &PodDir,
    place: Stdio,
    bell: Stdio,
) -> Result<runtime::process::Process, Failure> {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.supervisor_log());
    let log = log.map_err(|source| {
        let error = StoreError { action: "open", path: dir.supervisor_log(), source };
        Failure::host(&error)
    })?;
    let cannot =
        |source: std::io::Error| Failure::cannot(format!("start the guardian: {}", report::chain(&source)));
    let child = exe
        .command()
        .arg("guardian")
        .arg(dir.run())
        // Room for its supervisor's command line, which is a letter longer.
        .arg("")
        .envs(kept_environment())
        .stdin(place)
        .stdout(bell)
        .stderr(log)
        .spawn()
        .and_then(|child| runtime::process::Process::of_pid(child.id().cast_signed()));
    child.map_err(cannot)
}
