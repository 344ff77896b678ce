//! Noticing that somebody has taken away what the pod's own network has for it, and making it again: the table that leads to
//! Services, and the addresses at which its questions for names are answered.
//!
//! A container with NET_ADMIN that sets up rules of its own often begins with `nft flush ruleset`, which takes that table too.
//! The kernel tells of what is removed in the pod's network; a filter at the socket lets nothing else wake the supervisor, nor
//! its own changes. Without Services there is no table to lose, without such addresses nothing else, and then nobody listens.
//! Somebody who takes the same away again and again is answered ever more slowly.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use netplugin::{Balance, Balancer, Changes, LinkChanges};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::config::Settings;
use crate::pod::Pod;
use crate::report;
use crate::services::{self, Catalogue};
use crate::store::PodDir;

use super::naming;
use super::pace::Pace;
use super::readable::readable;
use super::sandbox::tell;
use super::world::World;

/// Begins after this, so that nothing of it stands in the way of a pod that starts. What has happened meanwhile is seen then.
const STARTED: Duration = Duration::from_secs(2);
/// Changes within this time are looked at together.
const TOGETHER: Duration = Duration::from_millis(100);

/// What the table in the pod's own network has to hold; nothing for a pod in the host's.
pub(super) fn wanted(settings: &Settings, pod: &Pod, catalogue: &Catalogue) -> Balance {
    if pod.host.network {
        return Balance::default();
    }
    let all = services::balance(catalogue, &settings.service_ranges());
    Balance { node_ports: Vec::new(), ..all }
}

/// What of it a running pod has lost, in words.
///
/// # Errors
/// If it cannot be found out.
pub fn lost(
    settings: &Settings,
    (pod, dir): (&Pod, &PodDir),
    catalogue: &Catalogue,
) -> Result<Vec<String>, String> {
    let netns = dir.namespaces().join("net");
    let wanted = wanted(settings, pod, catalogue);
    let mut lost = Vec::new();
    if !wanted.is_empty() {
        let whole = Balancer::inside(&netns).and_then(|mut balancer| balancer.is_whole(&wanted.ranges));
        if !whole.map_err(|error| report::chain(&error))? {
            lost.push(TABLE.to_owned());
        }
    }
    let told = naming::told_inside(settings, pod, dir);
    if !told.is_empty() {
        let gone = netplugin::lost_addresses(&netns, &told).map_err(|error| error.to_string())?;
        lost.extend(gone.iter().map(without));
    }
    Ok(lost)
}

const TABLE: &str = "no rules for Services inside the pod";

fn without(address: &IpAddr) -> String {
    format!("lo inside the pod without {address}")
}

/// Looks, and makes again what is missing. Returns what could not be made.
pub(super) fn now(world: &World) -> Vec<String> {
    if !world.known.is_told() {
        return Vec::new();
    }
    let wanted = wanted(&world.settings, &world.pod(), &world.known.catalogue());
    if wanted.is_empty() {
        return restore(world, None).1;
    }
    match Balancer::inside(&world.netns()) {
        Ok(mut balancer) => restore(world, Some((&mut balancer, &wanted))).1,
        Err(error) => vec![report::chain(&error)],
    }
}

/// Makes again what is missing, and tells the pod of it. Returns whether something was, and what could not be made.
fn restore(world: &World, table: Option<(&mut Balancer, &Balance)>) -> (bool, Vec<String>) {
    let (mut restored, mut errors) = (Vec::new(), Vec::new());
    match table.map_or(Ok(false), |(balancer, wanted)| balancer.restore(wanted)) {
        Ok(false) => {}
        Ok(true) => restored.push(TABLE.to_owned()),
        Err(error) => errors.push(report::chain(&error)),
    }
    let (netns, told) = (world.netns(), naming::told_inside(&world.settings, &world.pod(), &world.dir));
    if !told.is_empty() {
        let gone = netplugin::lost_addresses(&netns, &told).and_then(|gone| {
            if !gone.is_empty() {
                netplugin::restore_addresses(&netns, &gone)?;
            }
            Ok(gone)
        });
        match gone {
            Ok(gone) => restored.extend(gone.iter().map(without)),
            Err(error) => errors.push(format!("give lo its addresses: {error}")),
        }
    }
    if !restored.is_empty() {
        tell(world, "NetworkMended", format!("Mended the pod's network: {}", restored.join("; ")));
    }
    (!restored.is_empty() || !errors.is_empty(), errors)
}

/// A listener, and the descriptor by which it wakes.
struct Listener<T>(T, AsyncFd<OwnedFd>);

impl<T: std::os::fd::AsFd> Listener<T> {
    fn new(changes: T) -> io::Result<Listener<T>> {
        let fd = readable(&changes)?;
        Ok(Listener(changes, fd))
    }
}

/// Waits for news of one that may not be there.
async fn heard<T>(listener: Option<&Listener<T>>, take: impl Fn(&T) -> bool) {
    let Some(Listener(changes, fd)) = listener else { return std::future::pending().await };
    loop {
        match fd.readable().await {
            Ok(mut news) => news.clear_ready(),
            Err(_) => return std::future::pending().await,
        }
        if take(changes) {
            return;
        }
    }
}

/// What hears of losses inside the pod's own network.
pub(super) struct Watch {
    rules: Option<Listener<Changes>>,
    addresses: Option<Listener<LinkChanges>>,
    /// When to look, if that is not when something is heard.
    due: Option<Instant>,
    begun: bool,
    pace: Pace,
    /// What could not be made, as it was said last.
    told: Vec<String>,
}

impl Watch {
    /// For a pod that has a network of its own.
    pub(super) fn new(pod: &Pod) -> Watch {
        let due = (!pod.host.network).then(|| Instant::now() + STARTED);
        Watch { rules: None, addresses: None, due, begun: false, pace: Pace::default(), told: Vec::new() }
    }

    /// There is a table now, so there is one to lose.
    pub(super) fn has_table(&mut self) {
        if self.begun && self.rules.is_none() && self.due.is_none() {
            self.due = Some(Instant::now() + TOGETHER);
        }
    }

    /// Waits until it is time to look.
    pub(super) async fn wait(&mut self) {
        if self.due.is_none() {
            tokio::select! {
                () = heard(self.rules.as_ref(), Changes::take) => {}
                () = heard(self.addresses.as_ref(), LinkChanges::take) => {}
            }
            self.due = Some(Instant::now() + TOGETHER);
        }
        tokio::time::sleep_until(self.due.unwrap_or_else(Instant::now)).await;
    }

    /// Begins to listen to what is not listened to yet, and only then looks: so nothing is missed in between.
    pub(super) fn look(&mut self, world: &World, table: Option<(&mut Balancer, &Balance)>) {
        self.due = None;
        self.begun = true;
        if let Err(error) = self.listen(world, table.as_ref().map(|(balancer, _)| &**balancer)) {
            report::log(format_args!("supervisor: watch the pod's own network: {error}"));
        }
        let _ = self.rules.as_ref().is_some_and(|listener| listener.0.take());
        let _ = self.addresses.as_ref().is_some_and(|listener| listener.0.take());
        let wait = self.pace.left(Instant::now());
        if !wait.is_zero() {
            self.due = Some(Instant::now() + wait);
            return;
        }
        let (was_lost, errors) = restore(world, table);
        if was_lost {
            self.pace.tried(Instant::now());
        }
        for error in errors.iter().filter(|error| !self.told.contains(error)) {
            tell(world, "NetworkDegraded", format!("Something of the pod's network is missing: {error}"));
        }
        if !errors.is_empty() {
            self.due = Some(Instant::now() + self.pace.left(Instant::now()));
        }
        self.told = errors;
        // Nothing may come for a long time now.
        runtime::guard::slim_heap();
    }

    fn listen(&mut self, world: &World, balancer: Option<&Balancer>) -> io::Result<()> {
        let netns = world.netns();
        if let (Some(balancer), None) = (balancer, &self.rules) {
            self.rules = Some(Listener::new(Changes::inside(&netns, balancer)?)?);
        }
        if self.addresses.is_none()
            && !naming::told_inside(&world.settings, &world.pod(), &world.dir).is_empty()
        {
            self.addresses = Some(Listener::new(LinkChanges::of_loopback(&netns)?)?);
        }
        Ok(())
    }
}
