//! podbox itself, with a root, a network and a configuration of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::account::Account;
use crate::candidate::{Candidate, Helper, PodNumber, kill_and_await, manifest, marker};
use crate::failure::{Failure, Outcome, cannot};
use crate::net::{End, PORT};
use crate::proc;
use crate::run::{output, timed};
use crate::site::Site;

const OWNER: u32 = 1;

/// Where a podbox is: the benchmark has two, for what cannot be compared within one.
#[derive(Debug)]
pub(crate) struct Instance {
    dir: &'static str,
    /// The bridge of its pods.
    pub(crate) bridge: &'static str,
    /// The second byte of its pods' IPv4 addresses, and of its Services'.
    ipv4: [u8; 2],
    /// The fourth part of its pods' IPv6 addresses; that of its Services' is the next.
    ipv6: u16,
}

/// The one in which almost everything is measured.
pub(crate) const FIRST: Instance =
    Instance { dir: "podbox", bridge: "pbbench0", ipv4: [253, 247], ipv6: 0x6800 };
/// The one beside it.
pub(crate) const SECOND: Instance =
    Instance { dir: "podbox2", bridge: "pbbench3", ipv4: [249, 248], ipv6: 0x6810 };

impl Instance {
    fn config(&self) -> String {
        let Instance { dir, bridge, ipv4: [pods, services], ipv6 } = self;
        format!(
            "[network]\nname = \"{dir}\"\nbridge = \"{bridge}\"\nipv4 = \"10.{pods}.0.0/16\"\nipv6 = \"fd70:6265:6e63:{ipv6:x}::/64\"\n\
             services-ipv4 = \"10.{services}.0.0/16\"\nservices-ipv6 = \"fd70:6265:6e63:{:x}::/112\"\n",
            ipv6 + 1
        )
    }
}

/// The program under test.
pub(crate) struct Podbox {
    site: Site,
    instance: &'static Instance,
}

fn name(pod: PodNumber) -> String {
    format!("bench-{pod}")
}

impl Podbox {
    pub(crate) fn new(site: &Site) -> Outcome<Podbox> {
        Podbox::of(site, &FIRST)
    }

    pub(crate) fn of(site: &Site, instance: &'static Instance) -> Outcome<Podbox> {
        let podbox = Podbox { site: site.clone(), instance };
        fs::create_dir_all(podbox.dir()).map_err(cannot("make podbox's directory"))?;
        fs::write(podbox.dir().join("podbox.toml"), instance.config())
            .map_err(cannot("write podbox.toml"))?;
        Ok(podbox)
    }

    fn dir(&self) -> PathBuf {
        self.site.path(self.instance.dir)
    }

    fn run_dir(&self) -> PathBuf {
        self.dir().join("run")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.site.podbox);
        command.arg("--root").arg(self.dir().join("root")).arg("--run").arg(self.run_dir());
        command.arg("--config").arg(self.dir().join("podbox.toml"));
        command
    }

    /// The name of a pod.
    pub(crate) fn pod_name(pod: PodNumber) -> String {
        name(pod)
    }

    /// Brings a pod of this manifest up, on the account of whom it costs; its uid.
    pub(crate) fn up_in(&self, account: &Account, pod: PodNumber, manifest: &str) -> Outcome<String> {
        let file = self.write(pod, manifest)?;
        let podbox = self.command();
        let words = std::iter::once(podbox.get_program()).chain(podbox.get_args());
        let more = [OsStr::new("up"), OsStr::new("-d"), file.as_os_str()];
        timed(&mut account.command(words.chain(more)), &self.site.errors())?;
        self.uid(pod)
    }

    fn write(&self, pod: PodNumber, manifest: &str) -> Outcome<PathBuf> {
        self.write_as(&name(pod), manifest)
    }

    fn write_as(&self, name: &str, manifest: &str) -> Outcome<PathBuf> {
        let file = self.dir().join(format!("{name}.yaml"));
        fs::write(&file, manifest).map_err(cannot("write a manifest"))?;
        Ok(file)
    }

    /// Brings up what a manifest says.
    pub(crate) fn up_text(&self, name: &str, manifest: &str) -> Outcome<()> {
        let file = self.write_as(name, manifest)?;
        timed(self.command().args(["up", "-d"]).arg(file), &self.site.errors()).map(drop)
    }

    /// Brings a pod up that does nothing, with a label `app` unless that is empty.
    pub(crate) fn up_idle(&self, pod: PodNumber, app: &str) -> Outcome<()> {
        let labels = if app.is_empty() { String::new() } else { format!(", labels: {{app: {app}}}") };
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}{labels}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
             containers: [{{name: c, image: podbox.local/toolbox, imagePullPolicy: Never, command: [sleep, infinity]}}]\n",
            name(pod)
        );
        self.up_text(&name(pod), &manifest)
    }

    /// A Service of both families before the pods with that label `app`, for each of these protocols.
    pub(crate) fn service(&self, name: &str, app: &str, protocols: &[&str]) -> String {
        let port = |protocol: &&str| {
            format!("{{name: {}, protocol: {protocol}, port: {PORT}}}", protocol.to_lowercase())
        };
        let ports: Vec<String> = protocols.iter().map(port).collect();
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: {app}}}\n  \
             ipFamilyPolicy: RequireDualStack\n  ports: [{}]\n",
            ports.join(", ")
        )
    }

    pub(crate) fn remove_service(&self, name: &str) -> Outcome<()> {
        output(self.command().args(["down", &format!("svc/{name}")])).map(drop)
    }

    /// IPv4, then IPv6.
    pub(crate) fn service_ips(&self, name: &str) -> Outcome<Vec<IpAddr>> {
        addresses(self.object("service", name)?["spec"]["clusterIPs"].as_array().into_iter().flatten())
    }

    /// The pod's network namespace, and its addresses there.
    pub(crate) fn end(&self, pod: PodNumber) -> Outcome<End> {
        let object = self.object("pod", &name(pod))?;
        let ips = object["status"]["podIPs"].as_array().into_iter().flatten().map(|ip| &ip["ip"]);
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        End::open(&self.pod_dir(uid).join("ns/net"), addresses(ips)?)
    }

    /// Its supervisor's process.
    pub(crate) fn supervisor(&self, pod: PodNumber) -> Outcome<Option<proc::Pid>> {
        let dir = self.pod_dir(&self.uid(pod)?);
        let is_it =
            |words: &[String]| matches!(words, [_, role, of] if role == "supervise" && Path::new(of) == dir);
        Ok(proc::processes().into_iter().find(|(_, words)| is_it(words)).map(|(pid, _)| pid))
    }

    /// Takes a pod down as its manifest wants it.
    pub(crate) fn down_with_grace(&self, pod: PodNumber) -> Outcome<()> {
        output(self.command().args(["down", &name(pod)])).map(drop)
    }

    fn object(&self, kind: &str, name: &str) -> Outcome<Value> {
        let text = output(self.command().args(["get", kind, name, "-o", "json"]))?;
        serde_json::from_str(&text)
            .map_err(std::io::Error::from)
            .map_err(cannot(format_args!("read {kind} {name}")))
    }

    fn uid(&self, pod: PodNumber) -> Outcome<String> {
        let object = self.object("pod", &name(pod))?;
        Ok(object["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
    }

    /// Takes it down.
    pub(crate) fn down_quietly(&self, pod: PodNumber) -> Outcome<()> {
        output(self.command().args(["down", &name(pod), "--grace-period", "0"])).map(drop)
    }

    /// Where the pod of this uid keeps what dies with the boot.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.run_dir().join("pods").join(uid)
    }

    /// Waits until the bridge, which stays for a moment after its last pod, is gone.
    pub(crate) fn await_no_bridge(&self) -> Outcome<()> {
        let started = Instant::now();
        while Path::new("/sys/class/net").join(self.instance.bridge).exists() {
            if started.elapsed() > Duration::from_secs(10) {
                return Err(Failure(format!("the bridge {} outlives its last pod", self.instance.bridge)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits for a moment until the host's table of Services, which goes right after the bridge, is gone: whoever removes it
    /// must still find the directory.
    fn await_no_table(&self) {
        let started = Instant::now();
        while self.run_dir().join("services").exists() && started.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The trace of a pod, as `podbox trace -o json` prints it.
    pub(crate) fn trace(&self, pod: PodNumber) -> Outcome<String> {
        output(self.command().args(["trace", "-o", "json", &name(pod)]))
    }
}

impl Candidate for Podbox {
    fn name(&self) -> &'static str {
        "podbox"
    }

    fn version(&self) -> String {
        output(self.command().arg("version")).unwrap_or_default()
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
        timed(self.command().args(["up", "-d"]).arg(file), &self.site.errors())
    }

    fn down(&mut self, pod: PodNumber) -> Outcome<Duration> {
        timed(self.command().args(["down", &name(pod), "--grace-period", "0"]), &self.site.errors())
    }

    fn exec(&mut self, pod: PodNumber) -> Outcome<Duration> {
        let mut exec = self.command();
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
        let run = self.run_dir();
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

fn addresses<'a>(all: impl Iterator<Item = &'a Value>) -> Outcome<Vec<IpAddr>> {
    let mut ips: Vec<IpAddr> = all.filter_map(|ip| ip.as_str()?.parse().ok()).collect();
    ips.sort_by_key(IpAddr::is_ipv6);
    let both = ips.len() == 2;
    if both { Ok(ips) } else { Err(Failure("there is something without two addresses".to_owned())) }
}

/// Takes down whatever a run has left.
pub(crate) fn clean(site: &Site) -> Outcome<()> {
    for instance in [&FIRST, &SECOND] {
        let podbox = Podbox { site: site.clone(), instance };
        if podbox.run_dir().exists() && site.podbox.exists() {
            output(podbox.command().args(["down", "--all", "--grace-period", "0"]))?;
            podbox.await_no_bridge()?;
            podbox.await_no_table();
        }
    }
    Ok(())
}
