//! The directories of one pod, and of one attempt of one container.

use std::path::{Path, PathBuf};

use super::{Layers, Store};
use crate::cdi::Leases;

/// Names every file of one pod. Cheap: it only joins paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodDir {
    run: PathBuf,
    data: PathBuf,
    logs: PathBuf,
    layers: PathBuf,
}

impl PodDir {
    pub(super) fn new(store: &Store, uid: &str) -> PodDir {
        let run = store.run.join("pods").join(uid);
        let data = store.data.join("pods").join(uid);
        let layers = match store.layers {
            Layers::Disk => data.join("layers"),
            Layers::Memory => run.join("layers"),
        };
        PodDir { run, data, logs: store.logs.clone(), layers }
    }

    /// The directory under the run directory; the guardian is told nothing else.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The directory that survives a reboot.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The validated Pod. Writer: `up`, and its supervisor where it changes.
    #[must_use]
    pub fn pod(&self) -> PathBuf {
        self.data.join("pod.json")
    }

    /// The v1 Pod as the API server would have stored it, without status. Writer: as of the Pod.
    #[must_use]
    pub fn object(&self) -> PathBuf {
        self.data.join("object.json")
    }

    /// What CNI plugins have made for the pod. It survives a reboot, because what they have leased may. Writer: supervisor;
    /// whoever takes the pod down removes it.
    #[must_use]
    pub fn chain(&self) -> PathBuf {
        self.data.join("cni.json")
    }

    /// Is there once the pod has ended by itself: it does not start again with the machine. Writer: supervisor.
    #[must_use]
    pub fn finished(&self) -> PathBuf {
        self.data.join("finished")
    }

    /// Settings of the podbox that started the pod. Writer: `up`.
    #[must_use]
    pub fn context(run: &Path) -> PathBuf {
        run.join("context.json")
    }

    /// Held while a guardian lives, and before that by the `up` that starts it.
    #[must_use]
    pub fn guardian_lock(&self) -> PathBuf {
        self.run.join("guardian.lock")
    }

    /// Held while a supervisor lives, or a stage that makes a sandbox or a container for it.
    #[must_use]
    pub fn supervisor_lock(&self) -> PathBuf {
        self.run.join("supervisor.lock")
    }

    /// What guardian and supervisor have to say that is not the pod's business.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.run.join("supervisor.log")
    }

    /// The supervisor's socket.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.run.join("control.sock")
    }

    /// The machine's state. Writer: supervisor.
    #[must_use]
    pub fn machine(&self) -> PathBuf {
        PodDir::machine_in(&self.run)
    }

    /// The same, for the guardian.
    #[must_use]
    pub fn machine_in(run: &Path) -> PathBuf {
        run.join("machine.json")
    }

    /// v1.PodStatus. Writer: supervisor.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.run.join("status.json")
    }

    /// Is there while what the files say is old, because the disk takes nothing newer: who wants to know asks the
    /// supervisor. Writer: supervisor, who touches it at every change.
    #[must_use]
    pub fn stale(&self) -> PathBuf {
        self.run.join("stale")
    }

    /// Events, a line each. Writer: supervisor.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.run.join("events.jsonl")
    }

    /// Steps taken, a line each. Writer: supervisor.
    #[must_use]
    pub fn trace(&self) -> PathBuf {
        self.run.join("trace.jsonl")
    }

    /// Deaths, a file each. Writer: guardian; the supervisor deletes.
    #[must_use]
    pub fn exits(&self) -> PathBuf {
        self.run.join("exits")
    }

    /// Which devices of the host are whose, of all pods of this podbox.
    #[must_use]
    pub fn device_leases(&self) -> Leases {
        let pods = self.run.parent().unwrap_or(&self.run);
        Leases::new(pods.with_file_name("devices"), pods.to_path_buf())
    }

    /// Pinned namespaces.
    #[must_use]
    pub fn namespaces(&self) -> PathBuf {
        self.run.join("ns")
    }

    /// What the pod's interfaces have got, if its annotations ask for further ones. Writer: the supervisor.
    #[must_use]
    pub fn network_status(&self) -> PathBuf {
        self.run.join("network-status")
    }

    /// Who holds which ids of the host for a user namespace, for all pods. Writer: each pod's supervisor, its own link.
    #[must_use]
    pub fn id_leases(&self) -> PathBuf {
        let run = self.run.ancestors().nth(2).unwrap_or(&self.run);
        run.join("user-ids")
    }

    /// The pod's /dev/shm.
    #[must_use]
    pub fn shm(&self) -> PathBuf {
        self.run.join("shm")
    }

    /// hosts, hostname and resolv.conf as the containers see them.
    #[must_use]
    pub fn etc(&self) -> PathBuf {
        self.run.join("etc")
    }

    /// All attempts of all containers.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.run.join("containers")
    }

    /// One attempt of one container.
    #[must_use]
    pub fn attempt(&self, container: &str, number: u32) -> AttemptDir {
        AttemptDir {
            files: self.containers().join(container).join(number.to_string()),
            // A container's name has no dots.
            layer: self.layers.join(format!("{container}.{number}")),
        }
    }

    /// The writable layers of all attempts of all containers. They end with the sandbox.
    #[must_use]
    pub fn layers(&self) -> &Path {
        &self.layers
    }

    /// One volume's directory.
    #[must_use]
    pub fn volume(&self, name: &str) -> PathBuf {
        self.data.join("volumes").join(name)
    }

    /// The pod's log directory, named as a kubelet names it.
    #[must_use]
    pub fn logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs.join(format!("{namespace}_{name}_{uid}"))
    }
}

/// Names every file of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptDir {
    files: PathBuf,
    layer: PathBuf,
}

impl AttemptDir {
    /// The directory of its files.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.files
    }

    /// Where the overlay's upper and work directories are made.
    #[must_use]
    pub fn layer(&self) -> &Path {
        &self.layer
    }

    /// The process's standard input, where the container asks for one.
    #[must_use]
    pub fn stdin(&self) -> PathBuf {
        self.files.join("stdin")
    }

    /// The process's standard output.
    #[must_use]
    pub fn stdout(&self) -> PathBuf {
        self.files.join("stdout")
    }

    /// The process's standard error.
    #[must_use]
    pub fn stderr(&self) -> PathBuf {
        self.files.join("stderr")
    }

    /// Takes size changes of the terminal.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.files.join("console")
    }

    /// The plan that the attempt was made from. Writer: supervisor.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.files.join("plan.json")
    }

    /// Is there while the signal that asks the container to end has to wait. Writer: supervisor.
    #[must_use]
    pub fn owed_signal(&self) -> PathBuf {
        self.files.join("owed-signal")
    }

    /// The file behind terminationMessagePath.
    #[must_use]
    pub fn termination_message(&self) -> PathBuf {
        self.files.join("termination-log")
    }
}
