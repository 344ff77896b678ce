//! Noticing that somebody has taken away some of the pod's network, and making it again: the bridge, its addresses, the pod's
//! cables, the ways to other hosts, and the leases of its addresses.
//!
//! The kernel tells of changes of links and addresses; a filter lets only those wake the supervisor that are about the
//! interfaces of this very pod and its networks. A watch on the files of its leases tells if somebody removes one. Then it looks whether something is missing, which is a few questions, and
//! makes it. Of what pods share, whoever comes first makes it, under the network's lock. Somebody who takes it away again
//! and again is answered ever more slowly: it may be meant.

use std::sync::Arc;
use std::time::Duration;

use netplugin::{Heeded, LinkChanges};
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, Inotify};
use tokio::time::Instant;

use crate::report;

use super::pace::Pace;
use super::readable::readable;
use super::sandbox::tell;
use super::world::World;
use super::{catalogue, inside, interfaces};

/// Begins after this, so that nothing of it stands in the way of a pod that starts, nor of dozens that start one after the
/// other. What has happened meanwhile is seen then.
const STARTED: Duration = Duration::from_secs(2);
/// Changes within this time are looked at together: whoever switches the bridge off and on does two things.
const TOGETHER: Duration = Duration::from_millis(100);

/// What one wants to know of the files of leases: that one of their names has gone. Nobody else asks for that.
pub(super) const LEASES: AddWatchFlags = AddWatchFlags::IN_ATTRIB.union(AddWatchFlags::IN_DELETE_SELF);

/// Begins to listen, once the pod has addresses. `inotify` is everybody's in this process.
pub(super) fn begin(world: &Arc<World>, inotify: &Arc<Inotify>) {
    let (world, inotify) = (Arc::clone(world), Arc::clone(inotify));
    tokio::spawn(async move {
        if !world.known.has_addresses().await || !is_ours(&world) {
            return;
        }
        tokio::time::sleep(STARTED).await;
        if let Err(error) = listen(&world, &inotify).await {
            report::log(format_args!("supervisor: watch the pod's network: {error}"));
        }
    });
}

/// Whether podbox has made the pod's network.
fn is_ours(world: &World) -> bool {
    !world.pod().host.network && world.settings.chain.is_none()
}

async fn listen(world: &Arc<World>, inotify: &Inotify) -> std::io::Result<()> {
    let changes = LinkChanges::begin()?;
    let fd = readable(&changes)?;
    let mut mender = Mender { world, changes: &changes, inotify, pace: Pace::default(), told: Vec::new() };
    loop {
        let again = mender.look();
        // Nothing may come for a long time now.
        runtime::guard::slim_heap();
        tokio::select! {
            news = fd.readable() => news?.clear_ready(),
            () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => {}
            () = world.mending.notified() => {}
        }
        tokio::time::sleep(TOGETHER).await;
        changes.take();
    }
}

struct Mender<'a> {
    world: &'a World,
    changes: &'a LinkChanges,
    inotify: &'a Inotify,
    pace: Pace,
    /// What could not be made, as it was said last.
    told: Vec<String>,
}

impl Mender<'_> {
    /// Looks, and makes what is missing if it is time. Returns when to look again, if that is not when something changes.
    fn look(&mut self) -> Option<Duration> {
        if !self.is_lost() {
            self.told.clear();
            return None;
        }
        let wait = self.pace.left(Instant::now());
        if !wait.is_zero() {
            return Some(wait);
        }
        let errors = now(self.world);
        self.pace.tried(Instant::now());
        for error in errors.iter().filter(|error| !self.told.contains(error)) {
            tell(
                self.world,
                "NetworkDegraded",
                format!("Something of the pod's network is missing: {error}"),
            );
        }
        self.told = errors;
        // New links have new numbers.
        let is_lost = self.is_lost();
        is_lost.then(|| self.pace.left(Instant::now()))
    }

    /// Heeds what there is, and only then looks: so nothing is missed in between.
    fn is_lost(&self) -> bool {
        let mut heeded = Heeded::default();
        let all =
            interfaces::each(&self.world.settings, &self.world.pod(), &self.world.netns(), netplugin::heeded);
        all.unwrap_or_default().into_iter().flatten().for_each(|one| heeded.extend(one));
        self.world.settings.service_ranges().into_iter().for_each(|range| heeded.lead_to(range));
        if let Err(error) = self.changes.heed(&heeded) {
            report::log(format_args!("supervisor: watch the pod's network: {error}"));
        }
        self.watch_leases();
        if let Err(error) = catalogue::lead_again(&self.world.settings) {
            report::log(format_args!("supervisor: {error}"));
        }
        let lost = interfaces::lost(&self.world.settings, &self.world.pod(), &self.world.netns());
        lost.is_ok_and(|lost| !lost.is_empty())
    }

    /// A lease that was taken again is another file. One that is not there is found missing.
    fn watch_leases(&self) {
        let files = interfaces::each(
            &self.world.settings,
            &self.world.pod(),
            &self.world.netns(),
            netplugin::lease_file,
        );
        for file in files.unwrap_or_default() {
            match self.inotify.add_watch(&file, LEASES) {
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(error) => report::log(format_args!("supervisor: watch {}: {error}", file.display())),
            }
        }
    }
}

/// Makes what is missing, and tells the pod of it. Returns what could not be made.
pub(super) fn now(world: &World) -> Vec<String> {
    let mut errors = inside::now(world);
    if !is_ours(world) {
        return errors;
    }
    let all = match interfaces::each(&world.settings, &world.pod(), &world.netns(), netplugin::mend) {
        Ok(all) => all,
        Err(error) => return vec![error],
    };
    let restored: Vec<String> =
        all.iter().flat_map(|mending| &mending.restored).map(ToString::to_string).collect();
    if !restored.is_empty() {
        tell(world, "NetworkMended", format!("Mended the pod's network: {}", restored.join("; ")));
        world.mending.notify_one();
    }
    // The bridge may be another one.
    let led = catalogue::lead_again(&world.settings).err();
    let failed = all.iter().flat_map(|mending| &mending.failed).map(|error| report::chain(error));
    errors.extend(failed.chain(led));
    errors
}
