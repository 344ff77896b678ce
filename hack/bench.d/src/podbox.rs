//! podbox itself, with a root, a network and a configuration of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::account::Account;
use crate::candidate::{Candidate, Helper, PodNumber, kill_and_await, manifest, marker};
use crate::failure::{Failure, Outcome, cannot};
use crate::proc;
use crate::run::{output, timed};
use crate::site::Site;

/// The bridge of the pods that are measured.
pub(crate) const BRIDGE: &str = "pbbench0";
const OWNER: u32 = 1;

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

    /// The name of a pod.
    pub(crate) fn pod_name(pod: PodNumber) -> String {
        name(pod)
    }

    /// Brings a pod of this manifest up, on the account of whom it costs; its uid.
    pub(crate) fn up_in(&self, account: &Account, pod: PodNumber, manifest: &str) -> Outcome<String> {
        let file = self.write(pod, manifest)?;
        let podbox = command(&self.site);
        let words = std::iter::once(podbox.get_program()).chain(podbox.get_args());
        let more = [OsStr::new("up"), OsStr::new("-d"), file.as_os_str()];
        timed(&mut account.command(words.chain(more)), &self.site.errors())?;
        self.uid(pod)
    }

    fn write(&self, pod: PodNumber, manifest: &str) -> Outcome<PathBuf> {
        let file = self.site.path("podbox").join(format!("{}.yaml", name(pod)));
        fs::write(&file, manifest).map_err(cannot("write a manifest"))?;
        Ok(file)
    }

    fn uid(&self, pod: PodNumber) -> Outcome<String> {
        let text = output(command(&self.site).args(["get", "pod", &name(pod), "-o", "json"]))?;
        let object: Value =
            serde_json::from_str(&text).map_err(std::io::Error::from).map_err(cannot("read the pod"))?;
        Ok(object["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
    }

    /// Takes it down.
    pub(crate) fn down_quietly(&self, pod: PodNumber) -> Outcome<()> {
        output(command(&self.site).args(["down", &name(pod), "--grace-period", "0"])).map(drop)
    }

    /// Where the pod of this uid keeps what dies with the boot.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        run_dir(&self.site).join("pods").join(uid)
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
        let sleeps = [marker(OWNER, pod, 0), marker(OWNER, pod, 1)];
        let text = manifest(&name(pod), "podbox.local/toolbox", [&sleeps[0], &sleeps[1]]);
        let file = self.write(pod, &text)?;
        timed(command(&self.site).args(["up", "-d"]).arg(file), &self.site.errors())
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

    /// From the last `Pulled` to the last `Started` of each container: its image is there, and then it runs.
    fn starts(&self, pod: PodNumber) -> Outcome<Vec<Duration>> {
        let journal = self.pod_dir(&self.uid(pod)?).join("events.jsonl");
        let text = fs::read_to_string(journal).map_err(cannot("read the events"))?;
        let mut begun: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut took = BTreeMap::new();
        for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let word = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            let Ok(at) = word("at").parse::<Timestamp>() else { continue };
            match (word("reason").as_str(), begun.get(&word("container"))) {
                ("Pulled", _) => drop(begun.insert(word("container"), at)),
                ("Started", Some(begin)) => {
                    took.insert(word("container"), at.duration_since(*begin).unsigned_abs());
                }
                _ => {}
            }
        }
        Ok(took.into_values().collect())
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
