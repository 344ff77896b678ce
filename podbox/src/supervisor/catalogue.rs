//! A pod's part in Services: it tells how it is, and knows where they lead.
//!
//! One task. It wakes when the pod's own state changes, when a Service does, and when a pod behind one does; while there is
//! no Service it writes nothing and no other pod wakes it. Its answer is always the same: the pod's own file, then the
//! table in the pod's network namespace, then the host's table, each only if it should be other than it is.
//!
//! The host's table belongs to everybody, so whoever comes first with a change makes it, under a lock, and writes down
//! what it holds; the others find that nothing is left to do.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netplugin::{Balance, Balancer};
use nix::sys::inotify::{AddWatchFlags, Inotify, WatchDescriptor};
use runtime::plan::Identity;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::Settings;
use crate::report;
use crate::services::{self, Backend, Catalogue};
use crate::store::{ObjectKind, lock, write_atomic};

use super::followers;
use super::inside;
use super::standing::{OwnFile, Standing, withdraw};
use super::world::World;

/// Tables are not made more often than that, because of others' news: when many pods change at once, what comes meanwhile is
/// taken in together.
const PAUSE: Duration = Duration::from_millis(20);
/// The same of a pod that is ending: others need the processors more.
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// A change in a directory: which watch, and which name in it.
pub(super) type News = (WatchDescriptor, Option<OsString>);

/// Watches directories, and where it is told what happens there.
pub(super) type Watcher = (Arc<Inotify>, UnboundedReceiver<News>);

/// What others ask for while the task works.
#[derive(Default)]
pub(super) struct Known {
    catalogue: watch::Sender<Arc<Catalogue>>,
    /// The task has read it.
    has_looked: AtomicBool,
    /// What the pod tells others.
    file: OwnFile,
    /// The pod as it is now; `None` before it has addresses and after it is over.
    own: watch::Sender<Option<Standing>>,
    /// The pod has left, and has nothing more to tell.
    left: AtomicBool,
    /// The pod is ending, and its file says so.
    ended: watch::Sender<bool>,
}

impl Known {
    /// What is known of Services at this moment.
    pub(super) fn catalogue(&self) -> Arc<Catalogue> {
        Arc::clone(&self.catalogue.borrow())
    }

    /// What is known of Services, from now on.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<Catalogue>> {
        self.catalogue.subscribe()
    }

    /// Waits until the pod has addresses; false if there never will be any.
    pub(super) async fn has_addresses(&self) -> bool {
        self.own.subscribe().wait_for(Option::is_some).await.is_ok()
    }

    /// Whether what is known is worth anything: there is a pod that has addresses and has not left.
    pub(super) fn is_told(&self) -> bool {
        self.has_looked.load(Ordering::Relaxed)
            && !self.left.load(Ordering::Relaxed)
            && self.own.borrow().is_some()
    }

    /// Waits until others have been told that the pod is ending.
    pub(super) async fn told_of_its_end(&self) {
        // The sender lives as long as this does.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    fn set(&self, catalogue: &Arc<Catalogue>) {
        self.has_looked.store(true, Ordering::Relaxed);
        self.catalogue.send_if_modified(|known| {
            let changed = !Arc::ptr_eq(known, catalogue);
            *known = Arc::clone(catalogue);
            changed
        });
    }
}

/// The pod is like this now. Whether it is ready is told at once, and the rest by the task.
pub(super) fn tell(world: &World, own: Option<Standing>) {
    let known = &world.known;
    let own = own.filter(|_| !known.left.load(Ordering::Relaxed));
    if own.as_ref().is_some_and(|own| own.ready) != known.file.says_ready() {
        let told = selected(world, &services_at_hand(world), own.clone());
        // The task tries it again, and says what is in the way.
        let _ = known.file.write(world, told);
    }
    known.own.send_if_modified(|before| {
        let changed = *before != own;
        *before = own;
        changed
    });
}

/// The Services that there are: the task may not have read them yet.
fn services_at_hand(world: &World) -> Arc<Catalogue> {
    if world.known.has_looked.load(Ordering::Relaxed) {
        return world.known.catalogue();
    }
    // Nor made what the file lies in.
    let _ = make_dir(&world.settings.store.endpoints_dir());
    Arc::new(Catalogue::services(&world.settings.store))
}

/// How the pod is, if somebody sends it traffic.
fn selected(world: &World, catalogue: &Catalogue, own: Option<Standing>) -> Option<Standing> {
    let pod = world.pod();
    own.filter(|_| catalogue.selects(&pod.namespace, &pod.labels))
}

/// Begins the task. `inotify` is everybody's in this process; of what happens in directories that are watched here, `news`
/// tells.
pub(super) fn begin(
    world: &Arc<World>,
    (inotify, mut news): Watcher,
    (before, guardian): (Before, Identity),
) {
    let world = Arc::clone(world);
    world.known.file.name(guardian);
    tokio::spawn(async move {
        let mut own = world.known.own.subscribe();
        // Before the pod has addresses it neither gets nor sends anything.
        if own.wait_for(Option::is_some).await.is_err() {
            return;
        }
        let mut task = Task::new(&world, inotify, before);
        task.look_again();
        task.write_own(own.borrow_and_update().clone());
        task.settle();
        loop {
            tokio::select! {
                changed = own.changed() => if changed.is_err() || task.has_left() { return },
                () = task.inside.wait() => {
                    if task.has_left() {
                        return;
                    }
                    task.look_inside();
                    continue;
                }
                first = news.recv() => {
                    let Some(first) = first else { return };
                    if !task.take_in(first) {
                        continue;
                    }
                    task.take_in_all(&mut news);
                }
            }
            task.write_own(own.borrow_and_update().clone());
            // What comes together is answered together.
            tokio::time::sleep_until(task.next).await;
            if task.has_left() {
                // Whoever takes down what nobody is left to need must not be met by one who makes it again.
                return;
            }
            task.take_in_all(&mut news);
            // There may be a Service now that selects the pod.
            task.write_own(own.borrow_and_update().clone());
            task.settle();
        }
    });
}

/// What there may be in the pod's namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It is new.
    Nothing,
    /// What a supervisor that is gone has made.
    Something,
}

/// What a watched directory is.
enum Watched {
    /// Of the namespaces that have Services, or what is behind them.
    Namespaces,
    /// Of the Services of one.
    Services(String),
    /// Of what else is behind Services.
    Outside,
    /// Of the pods behind Services.
    Endpoints,
}

struct Task {
    world: Arc<World>,
    inotify: Arc<Inotify>,
    before: Before,
    watched: HashMap<WatchDescriptor, Watched>,
    catalogue: Arc<Catalogue>,
    /// The way to the table in the pod's network namespace.
    balancer: Option<Balancer>,
    /// Hears of it if somebody takes that table away.
    inside: inside::Watch,
    /// Why the pod's own file could not be written, if so.
    unwritten: Option<String>,
    /// What could not be done, as it was said last.
    told: Option<String>,
    /// When the tables may be made the next time.
    next: Instant,
    /// Who is ending, as it was told last that the tables know it.
    known: Option<Vec<String>>,
}

impl Task {
    fn new(world: &Arc<World>, inotify: Arc<Inotify>, before: Before) -> Task {
        Task {
            world: Arc::clone(world),
            inotify,
            before,
            watched: HashMap::new(),
            catalogue: Arc::default(),
            balancer: None,
            inside: inside::Watch::new(&world.pod()),
            unwritten: None,
            told: None,
            next: Instant::now(),
            known: None,
        }
    }

    /// Watches what there is to watch, and reads all of it.
    fn look_again(&mut self) {
        self.watch_kind(ObjectKind::Service, Watched::Services);
        self.watch_at(&self.world.settings.store.endpoints_dir(), Watched::Endpoints);
        self.catalogue = Arc::new(Catalogue::read(&self.world.settings.store));
        // While there is no Service, nobody is behind one.
        if !self.catalogue.services.is_empty() {
            for kind in [ObjectKind::EndpointSlice, ObjectKind::Endpoints] {
                self.watch_kind(kind, |_| Watched::Outside);
            }
            // What came before it was watched for.
            Arc::make_mut(&mut self.catalogue).read_outside(&self.world.settings.store);
        }
    }

    /// Watches for objects of a kind, whose directories are this, by namespace.
    fn watch_kind(&mut self, kind: ObjectKind, what: impl Fn(String) -> Watched) {
        let store = &self.world.settings.store;
        let (all, namespaces) = (store.objects_of_kind(kind), store.object_dirs(kind));
        self.watch_at(&all, Watched::Namespaces);
        for dir in namespaces {
            let namespace = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.watch_at(&dir, what(namespace));
        }
    }

    fn watch_at(&mut self, dir: &Path, what: Watched) {
        match self.watch(dir) {
            Ok(watch) => drop(self.watched.insert(watch, what)),
            Err(error) => report::log(format_args!("supervisor: watch {}: {error}", dir.display())),
        }
    }

    /// From before there is anything in it; a directory that is watched already stays so.
    fn watch(&self, dir: &Path) -> io::Result<WatchDescriptor> {
        make_dir(dir)?;
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        Ok(self.inotify.add_watch(dir, flags)?)
    }

    /// False if it is no news: most changes are of files that are about to get their names.
    fn take_in(&mut self, (watch, name): News) -> bool {
        let name = name.as_ref().and_then(|name| name.to_str()).unwrap_or_default();
        let store = &self.world.settings.store;
        let is_file = name.ends_with(".json") && !name.starts_with('.');
        if !matches!(self.watched.get(&watch), Some(Watched::Endpoints)) {
            // Services change seldom, and one by one.
            self.next = Instant::now();
        }
        match self.watched.get(&watch) {
            Some(Watched::Namespaces) => self.look_again(),
            Some(_) if !is_file => return false,
            // While there was no Service, nobody looked at the pods.
            Some(Watched::Services(_)) if self.catalogue.services.is_empty() => self.look_again(),
            Some(Watched::Outside) if !self.catalogue.services.is_empty() => {
                Arc::make_mut(&mut self.catalogue).read_outside(store);
            }
            Some(Watched::Services(namespace)) => {
                let name = name.trim_end_matches(".json");
                Arc::make_mut(&mut self.catalogue).read_service(store, namespace, name);
            }
            Some(Watched::Endpoints) if !self.catalogue.services.is_empty() => {
                Arc::make_mut(&mut self.catalogue).read_backend(store, name);
                let pod = self.world.pod();
                let own = store.endpoint(&pod.namespace, &pod.name);
                if own.file_name() == Some(name.as_ref()) && !self.catalogue.backends.contains_key(&pod.uid) {
                    // Somebody took the pod for abandoned, in the moment in which it was taken up.
                    self.world.known.file.is_gone();
                }
            }
            // There was so much news that the kernel had no room for all of it.
            None if name.is_empty() => self.look_again(),
            Some(Watched::Outside | Watched::Endpoints) | None => return false,
        }
        true
    }

    /// Everything that has come by now.
    fn take_in_all(&mut self, news: &mut UnboundedReceiver<News>) {
        while let Ok(next) = news.try_recv() {
            self.take_in(next);
        }
    }

    /// Tells others how the pod is.
    fn write_own(&mut self, own: Option<Standing>) {
        let is_ending = own.as_ref().is_some_and(|own| own.terminating);
        let own = selected(&self.world, &self.catalogue, own);
        match self.world.known.file.write(&self.world, own) {
            Ok(backend) => {
                self.unwritten = None;
                self.know_oneself(backend);
            }
            Err(why) => self.unwritten = Some(why),
        }
        self.world.known.set(&self.catalogue);
        if is_ending != self.world.known.ended.send_replace(is_ending) && is_ending {
            followers::forget(&self.world);
        }
    }

    /// The task need not hear of its own pod.
    fn know_oneself(&mut self, backend: Option<Backend>) {
        let uid = &self.world.pod().uid;
        if self.catalogue.backends.get(uid) == backend.as_ref() {
            return;
        }
        let backends = &mut Arc::make_mut(&mut self.catalogue).backends;
        match backend {
            Some(backend) => backends.insert(uid.clone(), backend),
            None => backends.remove(uid),
        };
    }

    /// Makes the tables as they should be.
    fn settle(&mut self) {
        self.world.known.set(&self.catalogue);
        let mut errors: Vec<String> = self.unwritten.iter().cloned().collect();
        let wanted = services::balance(&self.catalogue, &self.world.settings.service_ranges());
        errors.extend(self.balance_inside(&wanted).err());
        errors.extend(balance_host(&self.world.settings, &self.catalogue, &wanted).err());
        let is_ending = *self.world.known.ended.borrow();
        if !is_ending && !self.catalogue.services.is_empty() {
            let ending = self.catalogue.backends.values().filter(|backend| backend.terminating);
            let known = Some(ending.map(|backend| backend.uid.clone()).collect());
            if known != self.known {
                self.known = known;
                followers::know(&self.world, self.known.iter().flatten());
            }
        }
        self.next = Instant::now() + if is_ending { LAST_PAUSE } else { PAUSE };
        let told = (!errors.is_empty()).then(|| errors.join("; "));
        if let Some(text) = told.as_ref().filter(|text| self.told.as_ref() != Some(text)) {
            report::log(format_args!("supervisor: Services: {text}"));
        }
        self.told = told;
    }

    /// The table of the pod's own namespace. A pod in the host's uses the host's.
    fn balance_inside(&mut self, wanted: &Balance) -> Result<(), String> {
        if self.world.pod().host.network {
            return Ok(());
        }
        let wanted = Balance { node_ports: Vec::new(), ..wanted.clone() };
        if self.balancer.is_none() && wanted.is_empty() && self.before == Before::Nothing {
            return Ok(());
        }
        let balancer = match &mut self.balancer {
            Some(balancer) => balancer,
            none => {
                let netns = self.world.dir.namespaces().join("net");
                none.insert(Balancer::inside(&netns).map_err(|error| report::chain(&error))?)
            }
        };
        self.inside.has_table();
        balancer.apply(&wanted).map_err(|error| report::chain(&error))
    }

    fn has_left(&self) -> bool {
        self.world.known.left.load(Ordering::Relaxed)
    }

    /// Makes again what somebody has taken away in the pod's own network.
    fn look_inside(&mut self) {
        let wanted = inside::wanted(&self.world.settings, &self.world.pod(), &self.catalogue);
        let table = self.balancer.as_mut().map(|balancer| (balancer, &wanted));
        self.inside.look(&self.world, table);
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The pod is over: nobody is led to it any more. Whoever else there is hears of it; the host's table may have nobody else.
pub(super) fn leave(world: &World) {
    world.known.left.store(true, Ordering::Relaxed);
    tell(world, None);
    // The task lets the pod's namespace go, also if the pod was over before.
    world.known.own.send_modify(|_| ());
    followers::forget(world);
    let dir = world.settings.store.endpoints_dir();
    if !dir.exists() {
        return;
    }
    withdraw(world);
    let catalogue = Catalogue::read(&world.settings.store);
    let wanted = services::balance(&catalogue, &world.settings.service_ranges());
    if let Err(error) = balance_host(&world.settings, &catalogue, &wanted) {
        report::log(format_args!("supervisor: Services: {error}"));
    }
}

/// What is written down of the host's table.
#[derive(Serialize, Deserialize)]
struct Held {
    /// Comes first, so that nobody has to read more to know whether anything is left to do.
    digest: String,
    balance: Balance,
}

/// Another podbox may come to another number: then it writes its own down.
fn digest(balance: &Balance) -> String {
    let mut hasher = DefaultHasher::new();
    balance.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Makes the host's table again if somebody has removed it, with what is written down of it. As with all that everybody has:
/// who looks first does it.
///
/// # Errors
/// What could not be made, and why.
pub(super) fn restore_host(settings: &Settings) -> Result<(), String> {
    let failed = |error: &dyn std::error::Error| report::chain(error);
    let dir = settings.store.host_services();
    if !dir.exists() {
        return Ok(());
    }
    let table = settings.network.table();
    let balancer = || Balancer::here(&table, None).map_err(|error| failed(&error));
    if balancer()?.is_whole(&settings.service_ranges()).map_err(|error| failed(&error))? {
        return Ok(());
    }
    let _lock = lock(&dir.join("lock")).map_err(|error| failed(&error))?;
    let Some(held) = held(&dir).filter(|held| !held.is_empty()) else { return Ok(()) };
    check_owner(settings)?;
    let mut balancer = balancer()?;
    // Somebody else may have been quicker, and it may have been made for other ranges than this pod knows of.
    if balancer.is_whole(&held.ranges).map_err(|error| failed(&error))? {
        return Ok(());
    }
    balancer.apply(&held).map_err(|error| failed(&error))?;
    balancer.forget_untranslated(&held);
    Ok(())
}

/// The table has the bridge's name, so it is whose the bridge is. A chain's bridges are nobody's here.
///
/// # Errors
/// Whose it is, if it is another podbox's.
fn check_owner(settings: &Settings) -> Result<(), String> {
    match settings.chain {
        Some(_) => Ok(()),
        None => netplugin::check_owner(&settings.network).map_err(|error| report::chain(&error)),
    }
}

/// Leads Services' addresses to the bridge again, if there is a table for them on the host: whoever takes the bridge away, or
/// switches it off and on, takes these routes too.
///
/// # Errors
/// What could not be made, and why.
pub(super) fn lead_again(settings: &Settings) -> Result<(), String> {
    if !settings.store.host_services().join("host.json").exists() {
        return Ok(());
    }
    let led = netplugin::lead_to_bridge(&settings.network, &settings.service_ranges());
    led.map_err(|error| report::chain(&error))
}

/// What the host's table holds as far as anybody has written down.
fn held(dir: &Path) -> Option<Balance> {
    let held: Held = serde_json::from_slice(&fs::read(dir.join("host.json")).ok()?).ok()?;
    Some(held.balance)
}

/// Makes the host's table hold what is wanted, if it is not written down that it does.
fn balance_host(settings: &Settings, catalogue: &Catalogue, wanted: &Balance) -> Result<(), String> {
    let dir = settings.store.host_services();
    let path = dir.join("host.json");
    // Without the lock first: mostly somebody else was quicker.
    if is_done(&path, wanted) {
        return Ok(());
    }
    let failed = |error: &dyn std::error::Error| report::chain(error);
    let _lock = lock(&dir.join("lock")).map_err(|error| failed(&error))?;
    // Somebody else may have heard more by now, which is not to be undone.
    let catalogue = catalogue.with_backends_now(&settings.store);
    let wanted = &services::balance(&catalogue, &settings.service_ranges());
    if is_done(&path, wanted) {
        return Ok(());
    }
    check_owner(settings)?;
    let mut balancer =
        Balancer::here(&settings.network.table(), held(&dir)).map_err(|error| failed(&error))?;
    // What is half done is done again by the next one.
    let _ = fs::remove_file(&path);
    balancer.apply(wanted).map_err(|error| failed(&error))?;
    if !wanted.is_empty() {
        netplugin::lead_to_bridge(&settings.network, &wanted.ranges).map_err(|error| failed(&error))?;
    }
    let held = Held { digest: digest(wanted), balance: wanted.clone() };
    let text = serde_json::to_vec(&held).map_err(|error| error.to_string())?;
    write_atomic(&path, &text).map_err(|error| failed(&error))
}

/// Whether it is written down that the host's table holds what is wanted.
fn is_done(path: &Path, wanted: &Balance) -> bool {
    let start = format!("{{\"digest\":\"{}\"", digest(wanted));
    match File::open(path) {
        Ok(mut file) => {
            let mut found = vec![0; start.len()];
            file.read_exact(&mut found).is_ok() && found == start.as_bytes()
        }
        Err(_) => wanted.is_empty(),
    }
}

/// Removes the host's table if no pod is left: with the bridge, and as late.
///
/// # Errors
/// What could not be removed, and why.
pub(super) fn release_idle(settings: &Settings) -> Result<(), String> {
    let store = &settings.store;
    if !store.uids().is_empty() {
        return Ok(());
    }
    let dir = store.host_services();
    if dir.exists() {
        // Other supervisors that are about to leave hear that the table goes: it is written down first that it holds
        // nothing, and whoever waits for the lock to bring it back finds that.
        let _lock = lock(&dir.join("lock")).map_err(|error| report::chain(&error))?;
        let _ = fs::remove_file(dir.join("host.json"));
        // Another podbox that has taken the bridge has taken the table with it.
        if check_owner(settings).is_ok() {
            netplugin::remove_here(&settings.network.table()).map_err(|error| report::chain(&error))?;
        }
    }
    [store.host_services(), store.endpoints_dir()]
        .into_iter()
        .try_for_each(|dir| crate::store::remove(&dir).map_err(|error| report::chain(&error)))
}
