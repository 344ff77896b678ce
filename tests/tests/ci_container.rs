//! podbox in a CI job's shoes: inside a privileged container that holds nothing but the binary.

use std::fs;
use std::path::PathBuf;

use e2e::{Archive, Host, Layer, Output, Podman, wait_for, wait_good};
use serde_json::{Value, json};

/// A container that podman runs, with nothing but podbox in it.
struct Job {
    podman: Podman,
    container: String,
}

impl Job {
    /// One that runs with these privileges, as `podman run` writes them.
    fn start(dir: PathBuf, privileges: &[&str]) -> Job {
        let podman = Podman::new(dir, "");
        let shared = format!("{}:/images:ro", podman.dir().join("images").display());
        let program = [Podman::IMAGE, "/podbox", "toolbox", "sleep", "infinity"];
        let run =
            podman.cmd(&["run", "-d", "--network", "none", "-v", &shared]).args(privileges).args(program);
        let container = run.run().ok().text().to_owned();
        Job { podman, container }
    }

    /// Runs podbox in the container.
    fn podbox(&self, args: &[&str]) -> Output {
        self.podman.cmd(&["exec", &self.container, "/podbox"]).args(args).run()
    }

    fn podbox_with_input(&self, args: &[&str], input: &str) -> Output {
        self.podman.cmd(&["exec", "-i", &self.container, "/podbox"]).args(args).input(input).run()
    }
}

const MANIFEST: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: job}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: web
    image: podbox.local/toolbox
    command: [http]
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
  - {name: loaded, image: 'local/talker:1', imagePullPolicy: Never}
";

#[test]
fn in_a_privileged_container_that_holds_nothing_else_podbox_does_its_main_job() {
    let host = Host::new();
    let images = host.dir().join("podman/images");
    fs::create_dir_all(&images).unwrap();
    Archive::new([Layer::toolbox(&["flood"])])
        .set("Cmd", json!(["flood", "--rate", "10", "--width", "12"]))
        .write(&images.join("talker.tar"), "local/talker:1");
    let job = Job::start(host.dir().join("podman"), &["--privileged"]);
    job.podbox(&["system", "check"]).ok();
    job.podbox(&["image", "load", "/images/talker.tar"]).ok().says("local/talker:1");
    job.podbox_with_input(&["up", "-d", "--wait", "ready", "-"], MANIFEST).ok().says("pod default/job up");
    let view: Value = job.podbox(&["get", "pod", "job", "-o", "json"]).ok().json();
    assert_eq!(view["status"]["phase"], "Running");
    let ip = view["status"]["podIP"].as_str().unwrap_or_default().to_owned();
    let answer = wait_good("an answer", || job.podbox(&["toolbox", "get", &format!("{ip}:8080/")]));
    assert_eq!(answer.text(), "You've hit job");
    wait_for("lines in the log", e2e::PATIENCE, || {
        let log = job.podbox(&["logs", "job", "-c", "loaded"]).ok().stdout;
        if log.lines().count() > 3 { Ok(()) } else { Err(log) }
    });
    assert_eq!(job.podbox(&["exec", "job", "-c", "web", "--", "hostname"]).ok().text(), "job");
    job.podbox(&["exec", "job", "-c", "web", "--", "touch", "/written"]).ok();
    job.podbox(&["events", "job"]).ok().says("Started container web").says("tmpfs");
    job.podbox(&["down", "job"]).ok();
    job.podbox(&["get", "pod", "job"]).code(2);
    // Nothing is left inside either.
    let mounts = wait_for("the bridge to go", e2e::PATIENCE, || {
        let links = job.podbox(&["toolbox", "addr"]).ok().stdout;
        if links.contains("podbox0") {
            Err(links)
        } else {
            Ok(job.podbox(&["toolbox", "cat", "/proc/self/mountinfo"]).ok().stdout)
        }
    });
    assert!(!mounts.contains("/run/podbox/pods"), "{mounts}");
    assert_eq!(job.podbox(&["toolbox", "ls", "/run/podbox/pods"]).text(), "");
    drop(job);
    host.finish();
}

/// A podman whose container has less than all privileges.
fn less_privileged(host: &Host, privileges: &[&str]) -> Job {
    let dir = host.dir().join("podman");
    fs::create_dir_all(dir.join("images")).unwrap();
    Job::start(dir, privileges)
}

fn with_nothing_to_load() -> String {
    MANIFEST.lines().filter(|line| !line.contains("local/talker")).collect::<Vec<_>>().join("\n")
}

#[test]
fn with_two_capabilities_alone_podbox_runs_pods_and_says_what_they_lack() {
    let host = Host::new();
    let job = less_privileged(&host, &["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"]);
    job.podbox(&["system", "check"]).ok().says("limited  cgroups: ");
    job.podbox_with_input(&["up", "-d", "--wait", "ready", "-"], &with_nothing_to_load()).ok();
    assert_eq!(job.podbox(&["exec", "job", "--", "hostname"]).ok().text(), "job");
    let events = job.podbox(&["events", "job"]).ok();
    events.says("cannot make cgroup").says("pods cannot reach beyond this host").says("on a tmpfs");
    job.podbox(&["down", "job"]).ok();
    drop(job);
    host.finish();
}

#[test]
fn with_no_privileges_at_all_the_error_says_what_to_do() {
    let host = Host::new();
    let job = less_privileged(&host, &[]);
    let failed = job.podbox_with_input(&["up", "-d", "-"], &with_nothing_to_load()).code(3);
    failed.complains("Operation not permitted").complains("hint: ").complains("--privileged");
    job.podbox(&["system", "check"]).code(3).says("missing  CAP_SYS_ADMIN").says("missing  CAP_NET_ADMIN");
    job.podbox(&["get", "pod", "job"]).code(2);
    assert_eq!(job.podbox(&["toolbox", "ls", "/run/podbox/pods"]).text(), "");
    drop(job);
    host.finish();
}
