//! Bare OCI runtimes: *one* container from a ready bundle, no network, no overlay. Not the same job as a pod,
//! but what every other pod runtime has to pay for each container.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::candidate::{Candidate, Helper, PodNumber, marker};
use crate::failure::{Outcome, cannot};
use crate::run::{find, output, timed};
use crate::site::Site;

const RUNTIMES: [&str; 2] = ["runc", "crun"];
const OWNER: u32 = 3;

/// runc or crun.
pub(crate) struct Oci {
    site: Site,
    program: &'static str,
    version: String,
}

fn state(site: &Site, program: &str) -> PathBuf {
    site.path("oci").join(program)
}

fn command(site: &Site, program: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("--root").arg(state(site, program));
    command
}

fn name(pod: PodNumber) -> String {
    format!("podbox-bench-{pod}")
}

/// Those that are installed.
pub(crate) fn installed(site: &Site) -> Outcome<Vec<Oci>> {
    let mut all = Vec::new();
    for program in RUNTIMES.into_iter().filter(|program| find(program).is_some()) {
        fs::create_dir_all(state(site, program)).map_err(cannot("make a runtime's directory"))?;
        let version = output(Command::new(program).arg("--version"))?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        all.push(Oci { site: site.clone(), program, version });
    }
    Ok(all)
}

impl Oci {
    fn bundle(&self, pod: PodNumber) -> Outcome<PathBuf> {
        let bundle = state(&self.site, &format!("{}-{pod}.bundle", self.program));
        fs::create_dir_all(&bundle).map_err(cannot("make a bundle"))?;
        let mount = |target: &str, kind: &str| json!({"destination": target, "type": kind, "source": kind});
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "cwd": "/", "args": ["/bin/sleep", marker(OWNER, pod, 0)], "env": ["PATH=/bin"],
                "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true,
            },
            "root": {"path": self.site.path("rootfs")},
            "mounts": [mount("/proc", "proc"), mount("/dev", "tmpfs")],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
            },
        });
        fs::write(bundle.join("config.json"), config.to_string()).map_err(cannot("write a bundle"))?;
        Ok(bundle)
    }
}

impl Candidate for Oci {
    fn name(&self) -> &'static str {
        self.program
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn has_pods(&self) -> bool {
        false
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn up(&mut self, pod: PodNumber) -> Outcome<Duration> {
        let bundle = self.bundle(pod)?;
        let mut run = command(&self.site, self.program);
        timed(run.args(["run", "-d", "-b"]).arg(bundle).arg(name(pod)), &self.site.errors())
    }

    fn down(&mut self, pod: PodNumber) -> Outcome<Duration> {
        let mut delete = command(&self.site, self.program);
        timed(delete.args(["delete", "-f", &name(pod)]), &self.site.errors())
    }

    fn exec(&mut self, pod: PodNumber) -> Outcome<Duration> {
        let mut exec = command(&self.site, self.program);
        timed(exec.args(["exec", &name(pod), "/bin/true"]), &self.site.errors())
    }

    fn restart(&mut self, _pod: PodNumber) -> Outcome<Vec<Duration>> {
        Ok(Vec::new())
    }

    fn helpers(&self) -> Vec<Helper> {
        Vec::new()
    }
}

/// Deletes the containers that a run has left.
pub(crate) fn clean(site: &Site) -> Outcome<()> {
    for program in RUNTIMES {
        let entries = fs::read_dir(state(site, program)).into_iter().flatten().flatten();
        for entry in entries {
            let container = entry.file_name().to_string_lossy().into_owned();
            output(command(site, program).args(["delete", "-f", &container]))?;
        }
    }
    Ok(())
}
