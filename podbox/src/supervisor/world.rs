//! What every part of the supervisor shares. Nobody changes it, save for what the pod is to be.

use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use netplugin::cni::Overseer;
use runtime::launch::SelfExe;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::config::Settings;
use crate::image::Store as ImageStore;
use crate::node;
use crate::pod::Pod;
use crate::store::PodDir;
use crate::volumes::{Place, Tokens};

use super::container::Prepared;
use super::control::Ask;
use super::exits::{self, Death};
use super::machine::{Event, Index};
use super::naming::Listening;
use super::stages::Warm;
use super::trace::TraceLine;
use super::{attach, catalogue};

/// What reaches the supervisor's loop.
#[derive(Debug)]
pub(super) enum Message {
    /// For the machine.
    Event(Event),
    /// A container's process ended, as the guardian or the kernel tells.
    Death(Death),
    /// An attempt's program runs, or could not be run; its death may be told from now on.
    Outcome(Index, Result<(), String>),
    /// Somebody asks something.
    Ask(Ask),
    /// Somebody wants to listen to a container.
    Attach(attach::Ask),
    /// The guardian is gone.
    Orphaned,
    /// Steps that were taken.
    Trace(Vec<TraceLine>),
    /// The sandbox was taken down, and what could not be.
    TornDown(Vec<String>),
}

/// See the module.
pub(super) struct World {
    /// What the pod is to be now; [`World::set_pod`] changes it.
    pod: Mutex<Arc<Pod>>,
    pub(super) dir: PodDir,
    pub(super) settings: Settings,
    pub(super) exe: SelfExe,
    pub(super) images: ImageStore,
    pub(super) node_name: String,
    pub(super) host_ips: Vec<IpAddr>,
    pub(super) memory_bytes: u64,
    pub(super) warm: Warm,
    /// Attempts whose files were made before their turn.
    pub(super) ready: Prepared,
    /// What is known of Services.
    pub(super) known: catalogue::Known,
    /// Deaths that are not written down yet.
    pub(super) told: exits::Told,
    /// What tokens of service accounts the pod has.
    pub(super) tokens: Tokens,
    /// Who answers the pod's questions for names.
    pub(super) naming: Listening,
    /// Who looks after CNI plugins that put the pod on its network and take it off.
    pub(super) overseer: Overseer,
    /// Something of the pod's network may be another one.
    pub(super) mending: Notify,
    /// Held as long as this supervisor lives, and any stage that makes something for it.
    pub(super) lock: File,
    /// Every session with a container holds a copy.
    pub(super) sessions: Arc<()>,
    mailbox: UnboundedSender<Message>,
}

impl World {
    /// The lock is that of the directory, and held.
    pub(super) fn new(
        pod: Pod,
        (dir, lock): (PodDir, File),
        settings: Settings,
        (exe, warm): (SelfExe, Warm),
        mailbox: UnboundedSender<Message>,
    ) -> std::io::Result<Arc<World>> {
        let images = ImageStore::open(&settings.store.images()).map_err(std::io::Error::other)?;
        Ok(Arc::new(World {
            exe,
            images,
            node_name: node::name(),
            host_ips: netplugin::host_addresses(&settings.network),
            memory_bytes: node::memory_bytes(),
            warm,
            ready: Prepared::default(),
            known: catalogue::Known::default(),
            told: exits::Told::default(),
            tokens: Tokens::default(),
            naming: Listening::default(),
            overseer: Overseer::new()?,
            mending: Notify::new(),
            pod: Mutex::new(Arc::new(pod)),
            dir,
            settings,
            lock,
            sessions: Arc::default(),
            mailbox,
        }))
    }

    /// What the volumes of the pod are made of.
    pub(super) fn volumes<'a>(&'a self, pod: &'a Pod) -> Place<'a> {
        Place { pod, dir: &self.dir, store: &self.settings.store, tokens: &self.tokens }
    }

    /// What the pod is to be. Whoever needs it twice for one thing takes it once: it may change in between.
    pub(super) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.pod.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on the pod is to be this. Its containers stay the same ones, in the same order.
    pub(super) fn set_pod(&self, pod: Arc<Pod>) {
        *self.pod.lock().unwrap_or_else(PoisonError::into_inner) = pod;
    }

    /// Puts a message into the loop's mailbox. Once the loop has ended nobody reads, and nobody needs to.
    pub(super) fn send(&self, message: Message) {
        let _ = self.mailbox.send(message);
    }

    pub(super) fn event(&self, event: Event) {
        self.send(Message::Event(event));
    }

    /// The pod's network namespace.
    pub(super) fn netns(&self) -> PathBuf {
        self.dir.namespaces().join("net")
    }

    /// `default/web`: the pod in texts.
    pub(super) fn pod_name(&self) -> String {
        let pod = self.pod();
        format!("{}/{}", pod.namespace, pod.name)
    }
}
