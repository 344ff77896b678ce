//! podman: `kube play` of the same pod, under storage, configuration and network of its own.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::account::Account;
use crate::candidate::{Candidate, Helper, PodNumber, kill_and_await, manifest, marker};
use crate::failure::{Outcome, cannot};
use crate::proc;
use crate::run::{find, output, timed};
use crate::site::Site;

const OWNER: u32 = 2;
const IMAGE: &str = "localhost/podbox-bench:1";
const PAUSE: &str = "localhost/podbox-bench-pause:1";
const PAUSE_SLEEP: &str = "29999999";
const NETWORK: &str = "podbox-bench";
/// The container with a health check.
const CHECKED: &str = "podbox-bench-checked";

/// The peer that most people would use instead.
pub(crate) struct Podman {
    site: Site,
}

fn command(site: &Site) -> Command {
    let mut command = Command::new("podman");
    command.env("CONTAINERS_CONF", site.path("podman/containers.conf"));
    command.arg("--root").arg(site.path("podman/root")).arg("--runroot").arg(site.path("podman/run"));
    command
}

fn name(pod: PodNumber) -> String {
    format!("podbox-bench-{pod}")
}

impl Podman {
    /// `None` if it, or a runtime for it, is not installed.
    pub(crate) fn new(site: &Site) -> Outcome<Option<Podman>> {
        let runtime = ["crun", "runc"].into_iter().find(|runtime| find(runtime).is_some());
        let (Some(runtime), Some(_)) = (runtime, find("podman")) else { return Ok(None) };
        let networks = site.path("podman/networks");
        fs::create_dir_all(&networks).map_err(cannot("make podman's directories"))?;
        // Lower limits, because a host without CAP_SYS_RESOURCE cannot raise them to podman's defaults; a pause
        // image of our own, because not every package brings one.
        let config = format!(
            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\nlog_driver = \"k8s-file\"\n\
             [engine]\nruntime = \"{runtime}\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\n\
             infra_image = \"{PAUSE}\"\n[network]\nnetwork_config_dir = \"{}\"\n",
            networks.display()
        );
        fs::write(site.path("podman/containers.conf"), config).map_err(cannot("write containers.conf"))?;
        let archive = site.path("podman/rootfs.tar");
        let mut tar = Command::new("tar");
        output(tar.arg("-cf").arg(&archive).arg("-C").arg(site.path("rootfs")).arg("."))?;
        output(command(site).args(["import", "-q"]).arg(&archive).arg(IMAGE))?;
        let entrypoint = format!("ENTRYPOINT [\"/bin/sleep\",\"{PAUSE_SLEEP}\"]");
        output(command(site).args(["import", "-q", "--change", &entrypoint]).arg(&archive).arg(PAUSE))?;
        // One run may ask for podman more than once.
        if output(command(site).args(["network", "exists", NETWORK])).is_err() {
            output(command(site).args(["network", "create", "--subnet", "10.251.0.0/16", NETWORK]))?;
        }
        Ok(Some(Podman { site: site.clone() }))
    }

    /// Starts a container that has a health check, which nobody runs by himself.
    pub(crate) fn up_checked(&mut self) -> Outcome<()> {
        let mut run = command(&self.site);
        run.args([
            "run",
            "-d",
            "--name",
            CHECKED,
            "--network",
            "none",
            "--health-cmd",
            "[\"/bin/true\", \"once\"]",
        ]);
        output(run.args(["--health-interval", "disable", IMAGE, "/bin/sleep", PAUSE_SLEEP])).map(drop)
    }

    /// Runs its health check once.
    pub(crate) fn check(&mut self, account: &Account) -> Outcome<Duration> {
        let mut podman = command(&self.site);
        podman.args(["healthcheck", "run", CHECKED]);
        let words = std::iter::once(podman.get_program()).chain(podman.get_args());
        let mut check = account.command(words);
        check.envs(podman.get_envs().filter_map(|(name, value)| Some((name, value?))));
        timed(&mut check, &self.site.errors())
    }

    pub(crate) fn down_checked(&mut self) -> Outcome<()> {
        output(command(&self.site).args(["rm", "-f", "-t", "0", CHECKED])).map(drop)
    }
}

impl Candidate for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn version(&self) -> String {
        let format = "{{.Version.Version}}, {{.Host.OCIRuntime.Name}}, {{.Host.NetworkBackend}}";
        let info = output(command(&self.site).args(["info", "--format", format]));
        format!("podman {}", info.unwrap_or_default())
    }

    fn has_pods(&self) -> bool {
        true
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(400)
    }

    fn up(&mut self, pod: PodNumber) -> Outcome<Duration> {
        let sleeps = [marker(OWNER, pod, 0), marker(OWNER, pod, 1)];
        let text = manifest(&name(pod), IMAGE, [&sleeps[0], &sleeps[1]]);
        let file = self.site.path("podman").join(format!("{}.yaml", name(pod)));
        fs::write(&file, text).map_err(cannot("write a manifest"))?;
        let mut play = command(&self.site);
        timed(play.args(["kube", "play", "--network", NETWORK]).arg(file), &self.site.errors())
    }

    fn down(&mut self, pod: PodNumber) -> Outcome<Duration> {
        let id = output(command(&self.site).args(["pod", "inspect", "-f", "{{.ID}}", &name(pod)]))?;
        let mut stop = command(&self.site);
        let stopped = timed(stop.args(["pod", "stop", "-t", "0", &name(pod)]), &self.site.errors())?;
        // Done at once, the removal waits three seconds for the cgroup that conmon's own cleaning still runs in.
        std::thread::sleep(self.settle());
        let mut remove = command(&self.site);
        let removed = timed(remove.args(["pod", "rm", "-f", "-t", "0", &name(pod)]), &self.site.errors())?;
        remove_cgroups(&id);
        Ok(stopped + removed)
    }

    fn exec(&mut self, pod: PodNumber) -> Outcome<Duration> {
        let container = format!("{}-a", name(pod));
        timed(command(&self.site).args(["exec", &container, "/bin/true"]), &self.site.errors())
    }

    fn restart(&mut self, pod: PodNumber) -> Outcome<Vec<Duration>> {
        (0..2).map(|container| kill_and_await(&marker(OWNER, pod, container))).collect()
    }

    fn helpers(&self) -> Vec<Helper> {
        let dir = self.site.path("podman");
        let dir = dir.to_string_lossy();
        let role = |words: &[String]| {
            if words[0].ends_with("conmon") && words.iter().any(|word| word.starts_with(&*dir)) {
                Some("conmon")
            } else if words.last().is_some_and(|word| word == PAUSE_SLEEP) {
                Some("pause")
            } else {
                None
            }
        };
        let all = proc::processes().into_iter();
        all.filter_map(|(pid, words)| Some(Helper { role: role(&words)?, pid })).collect()
    }
}

/// Removes pods and network; the files go with the run's directory, podman's address book by hand.
pub(crate) fn clean(site: &Site) -> Outcome<()> {
    if !site.path("podman/root").exists() || find("podman").is_none() {
        return Ok(());
    }
    let pods = output(command(site).args(["pod", "ps", "-q", "--no-trunc"]))?;
    output(command(site).args(["pod", "rm", "-f", "-t", "0", "--all"]))?;
    pods.lines().for_each(remove_cgroups);
    output(command(site).args(["rm", "-f", "-t", "0", "--all"]))?;
    // It is not there if the run was stopped early.
    let _ = output(command(site).args(["network", "rm", "-f", NETWORK]));
    let leases = std::path::Path::new("/var/lib/cni/networks").join(NETWORK);
    if leases.exists() {
        fs::remove_dir_all(&leases).map_err(cannot(format_args!("remove {}", leases.display())))?;
    }
    Ok(())
}

/// podman 4 leaves a pod's directories in the hierarchies that have no controller.
fn remove_cgroups(pod: &str) {
    for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let dir = hierarchy.path().join("libpod_parent").join(pod);
        if !pod.is_empty() && dir.is_dir() {
            for below in fs::read_dir(&dir).into_iter().flatten().flatten() {
                // Files of a cgroup cannot be removed, and need not.
                let _ = fs::remove_dir(below.path());
            }
            let _ = fs::remove_dir(&dir);
        }
    }
}
