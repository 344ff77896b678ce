//! From a readiness probe's failure to the last connection that the pod gets, and back.
//!
//! The probe itself writes down when it has failed, so nothing here depends on what podbox says of itself: the command of
//! an exec probe touches a file, and ends.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::end::{End, Processor};
use super::say;
use super::traffic::{self, PORT, Server};
use crate::failure::{Failure, Outcome, cannot};
use crate::podbox::{FIRST, Podbox};
use crate::results::Series;
use crate::site::Site;

const CLIENT: u32 = 420;
const SERVERS: [u32; 3] = [421, 422, 423];
const SERVICE: &str = "ready";
/// How long a pod is watched after its verdict: whatever comes later than that counts as that much.
const WATCHED: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(10);

/// How soon clients follow a pod's state.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Readiness {
    /// From the failure of a probe to the last new connection that reached the pod; 0 if there was none after it.
    pub(crate) gone_ms: Series,
    /// From the success of a probe to the first connection that reached it.
    pub(crate) back_ms: Series,
    /// From the start of `podbox down` to the last new connection that reached a pod that goes on serving.
    pub(crate) ending_ms: Series,
    pub(crate) connections: usize,
    /// Connections that nobody answered.
    pub(crate) failed: usize,
}

/// A connection: when it was begun, and who has answered it.
#[derive(Clone, Copy, Debug)]
struct Visit {
    at: SystemTime,
    who: Option<u8>,
}

/// A Service over three pods, and a client that connects to it all the time.
struct Stage<'a> {
    site: &'a Site,
    podbox: &'a Podbox,
    visits: Mutex<Vec<Visit>>,
}

/// On a host that has no other Service.
pub(crate) fn measure(site: &Site, rounds: u32) -> Outcome<Readiness> {
    measure_in(site, &Podbox::of(site, &FIRST)?, rounds)
}

/// Wherever that podbox already is.
pub(crate) fn measure_in(site: &Site, podbox: &Podbox, rounds: u32) -> Outcome<Readiness> {
    say(format_args!("from a probe's verdict to the last connection, {rounds} rounds"));
    let stage = Stage { site, podbox, visits: Mutex::default() };
    podbox.up_idle(CLIENT, "")?;
    for pod in SERVERS {
        stage.open(pod)?;
        podbox.up_text(&Podbox::pod_name(pod), &stage.manifest(pod))?;
    }
    podbox.up_text("service-ready", &podbox.service(SERVICE, "gate", &["TCP"]))?;
    let mut servers = Vec::new();
    for pod in SERVERS {
        servers.push(Server::start(&podbox.end(pod)?, (pod % 100) as u8)?);
    }
    let client = podbox.end(CLIENT)?;
    let to = SocketAddr::new(podbox.service_ips(SERVICE)?[0], PORT);
    let over = AtomicBool::new(false);
    let measured = thread::scope(|scope| {
        scope.spawn(|| stage.visit_all_the_time(&client, to, &over));
        let measured = stage.all_rounds(rounds);
        over.store(true, Ordering::Relaxed);
        measured
    });
    drop(servers);
    drop(client);
    let mut readiness = measured?;
    readiness.connections = stage.visits().len();
    readiness.failed = stage.visits().iter().filter(|visit| visit.who.is_none()).count();
    podbox.remove_service(SERVICE)?;
    [&[CLIENT], &SERVERS[..2]].concat().iter().try_for_each(|pod| podbox.down_quietly(*pod))?;
    Ok(readiness)
}

impl Stage<'_> {
    fn gate(&self, pod: u32) -> PathBuf {
        self.site.path(&format!("gate-{pod}"))
    }

    fn manifest(&self, pod: u32) -> String {
        let script = "if test -e /gate/open; then touch /gate/passed; else touch /gate/failed; exit 1; fi";
        let probe = format!(
            "{{exec: {{command: [sh, -c, '{script}']}}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 5}}"
        );
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}, labels: {{app: gate}}}}\nspec:\n  \
             terminationGracePeriodSeconds: 2\n  volumes: [{{name: gate, hostPath: {{path: {}}}}}]\n  containers:\n  \
             - name: c\n    image: podbox.local/toolbox\n    imagePullPolicy: Never\n    command: [sleep, infinity]\n    \
             lifecycle: {{preStop: {{sleep: {{seconds: 1}}}}}}\n    volumeMounts: [{{name: gate, mountPath: /gate}}]\n    \
             readinessProbe: {probe}\n",
            Podbox::pod_name(pod),
            self.gate(pod).display()
        )
    }

    fn open(&self, pod: u32) -> Outcome<()> {
        fs::create_dir_all(self.gate(pod)).map_err(cannot("make a gate"))?;
        fs::write(self.gate(pod).join("open"), "").map_err(cannot("open a gate"))
    }

    fn shut(&self, pod: u32) -> Outcome<()> {
        fs::remove_file(self.gate(pod).join("open")).map_err(cannot("shut a gate"))
    }

    /// When the probe has said so for the first time since then.
    fn verdict(&self, pod: u32, what: &str, since: SystemTime) -> Outcome<SystemTime> {
        let file = self.gate(pod).join(what);
        let said =
            || fs::metadata(&file).and_then(|metadata| metadata.modified()).ok().filter(|at| *at > since);
        within(what, said)
    }

    fn visits(&self) -> MutexGuard<'_, Vec<Visit>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit_all_the_time(&self, client: &End, to: SocketAddr, over: &AtomicBool) -> Outcome<()> {
        client.enter(Processor::First)?;
        while !over.load(Ordering::Relaxed) {
            let at = SystemTime::now();
            let who = traffic::visit(to).ok();
            self.visits().push(Visit { at, who });
        }
        Ok(())
    }

    /// Those to a pod that were begun after that, the latest first.
    fn since(visits: &[Visit], pod: u32, since: SystemTime) -> impl Iterator<Item = SystemTime> {
        let who = Some((pod % 100) as u8);
        let later = visits.iter().rev().take_while(move |visit| visit.at > since);
        later.filter(move |visit| visit.who == who).map(|visit| visit.at)
    }

    fn first_after(&self, pod: u32, since: SystemTime) -> Option<SystemTime> {
        Stage::since(&self.visits(), pod, since).last()
    }

    /// How long after that the last connection to a pod was begun, at the end of the time for which it is watched.
    fn last_after(&self, pod: u32, since: SystemTime) -> Duration {
        thread::sleep((since + WATCHED).duration_since(SystemTime::now()).unwrap_or_default());
        let last = Stage::since(&self.visits(), pod, since).next();
        last.and_then(|last| last.duration_since(since).ok()).unwrap_or_default()
    }

    fn all_rounds(&self, rounds: u32) -> Outcome<Readiness> {
        let mut readiness = Readiness::default();
        let begun = SystemTime::now();
        for pod in SERVERS {
            within("a connection to each pod", || self.first_after(pod, begun))?;
        }
        // Before that there was nobody to connect to.
        self.visits().clear();
        for (_, pod) in (0..rounds).zip(SERVERS.into_iter().cycle()) {
            let before = SystemTime::now();
            self.shut(pod)?;
            let failed = self.verdict(pod, "failed", before)?;
            readiness.gone_ms.push(self.last_after(pod, failed));
            let before = SystemTime::now();
            self.open(pod)?;
            let passed = self.verdict(pod, "passed", before)?;
            let first = within("a connection to the pod", || self.first_after(pod, passed))?;
            readiness.back_ms.push(first.duration_since(passed).unwrap_or_default());
        }
        let last = SERVERS[SERVERS.len() - 1];
        let before = SystemTime::now();
        thread::scope(|scope| {
            let down = scope.spawn(|| self.podbox.down_with_grace(last));
            readiness.ending_ms.push(self.last_after(last, before));
            down.join().unwrap_or_else(|_| Err(Failure("podbox down has panicked".to_owned())))
        })?;
        Ok(readiness)
    }
}

/// Looks every few milliseconds.
fn within<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Outcome<T> {
    let began = Instant::now();
    loop {
        match look() {
            Some(found) => return Ok(found),
            None if began.elapsed() > PATIENCE => return Err(Failure(format!("waited in vain: {what}"))),
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}
