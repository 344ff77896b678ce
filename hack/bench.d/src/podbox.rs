//! podbox itself, with a root, a network and a configuration of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::candidate::{Candidate, Helper, PodNumber, kill_and_await, manifest, marker};
use crate::failure::{Failure, Outcome, cannot};
use crate::proc;
use crate::run::{output, timed};
use crate::site::Site;

/// The bridge of the pods that are measured.
pub(crate) const BRIDGE: &str = "pbbench0";
const OWNER: u32 = 1;
const PROBE: &str = "    livenessProbe:\n      exec:\n        command: [/bin/true]\n      periodSeconds: 1\n";

/// The program under test.
pub(crate) struct Podbox {
    site: Site,
}

fn command(site: &Site) -> Command {
    let mut command = Command::new(&site.podbox);
    command.arg("--root").arg(site.path("podbox/root")).arg("--run").arg(run_dir(site));
    command.arg("--config").arg(site.path("podbox/podbox.toml"));
    command
}

fn run_dir(site: &Site) -> PathBuf {
    site.path("podbox/run")
}

fn name(pod: PodNumber) -> String {
    format!("bench-{pod}")
}

impl Podbox {
    pub(crate) fn new(site: &Site) -> Outcome<Podbox> {
        let config = format!(
            "[network]\nname = \"bench\"\nbridge = \"{BRIDGE}\"\nipv4 = \"10.253.0.0/16\"\nipv6 = \"fd70:6265:6e63:6800::/64\"\n"
        );
        fs::create_dir_all(site.path("podbox")).map_err(cannot("make podbox's directory"))?;
        fs::write(site.path("podbox/podbox.toml"), config).map_err(cannot("write podbox.toml"))?;
        Ok(Podbox { site: site.clone() })
    }

    /// Brings a pod up whose containers have an exec probe every second.
    pub(crate) fn up_probed(&mut self, pod: PodNumber) -> Outcome<Duration> {
        self.up_with(pod, PROBE)
    }

    fn up_with(&mut self, pod: PodNumber, extra: &str) -> Outcome<Duration> {
        let sleeps = [marker(OWNER, pod, 0), marker(OWNER, pod, 1)];
        let text = manifest(&name(pod), "podbox.local/toolbox", [&sleeps[0], &sleeps[1]], extra);
        let file = self.site.path("podbox").join(format!("{}.yaml", name(pod)));
        fs::write(&file, text).map_err(cannot("write a manifest"))?;
        timed(command(&self.site).args(["up", "-d"]).arg(file), &self.site.errors())
    }

    /// Waits until the bridge, which stays for a moment after its last pod, is gone.
    pub(crate) fn await_no_bridge(&self) -> Outcome<()> {
        let started = Instant::now();
        while Path::new("/sys/class/net").join(BRIDGE).exists() {
            if started.elapsed() > Duration::from_secs(10) {
                return Err(Failure(format!("the bridge {BRIDGE} outlives its last pod")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The trace of a pod, as `podbox trace -o json` prints it.
    pub(crate) fn trace(&self, pod: PodNumber) -> Outcome<String> {
        output(command(&self.site).args(["trace", "-o", "json", &name(pod)]))
    }
}

impl Candidate for Podbox {
    fn name(&self) -> &'static str {
        "podbox"
    }

    fn version(&self) -> String {
        output(command(&self.site).arg("version")).unwrap_or_default()
    }

    fn has_pods(&self) -> bool {
        true
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(150)
    }

    fn up(&mut self, pod: PodNumber) -> Outcome<Duration> {
        self.up_with(pod, "")
    }

    fn down(&mut self, pod: PodNumber) -> Outcome<Duration> {
        timed(command(&self.site).args(["down", &name(pod), "--grace-period", "0"]), &self.site.errors())
    }

    fn exec(&mut self, pod: PodNumber) -> Outcome<Duration> {
        let mut exec = command(&self.site);
        exec.args(["exec", &name(pod), "-c", "a", "--", "/bin/true"]);
        timed(&mut exec, &self.site.errors())
    }

    fn restart(&mut self, pod: PodNumber) -> Outcome<Vec<Duration>> {
        // A container's first restart waits for nothing; the second would meet the back-off.
        (0..2).map(|container| kill_and_await(&marker(OWNER, pod, container))).collect()
    }

    fn helpers(&self) -> Vec<Helper> {
        let run = run_dir(&self.site);
        let role = |words: &[String]| match words {
            [_, role, dir] if Path::new(dir).starts_with(&run) => match role.as_str() {
                "guardian" => Some("guardian"),
                "supervise" => Some("supervisor"),
                _ => None,
            },
            _ => None,
        };
        let all = proc::processes().into_iter();
        all.filter_map(|(pid, words)| Some(Helper { role: role(&words)?, pid })).collect()
    }
}

/// Takes down whatever a run has left.
pub(crate) fn clean(site: &Site) -> Outcome<()> {
    if !run_dir(site).exists() || !site.podbox.exists() {
        return Ok(());
    }
    output(command(site).args(["down", "--all", "--grace-period", "0"]))?;
    Podbox { site: site.clone() }.await_no_bridge()
}
