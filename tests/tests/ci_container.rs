//! podbox in a CI job's shoes: inside a privileged container that holds nothing but the binary.

use std::fs;
use std::path::PathBuf;

use e2e::{Archive, Cmd, Host, Layer, Output, wait_for, wait_good};
use serde_json::{Value, json};

/// A podman with storage of its own and a running container.
struct Podman {
    dir: PathBuf,
    container: String,
}

impl Podman {
    fn cmd(&self, args: &[&str]) -> Cmd {
        let dir = |name: &str| self.dir.join(name).display().to_string();
        Cmd::new("podman")
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.dir.join("storage.conf"))
            .args(["--root", &dir("root"), "--runroot", &dir("run"), "--tmpdir", &dir("tmp")])
            .args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"])
            .args(args)
    }

    /// One whose container runs with these privileges, as `podman run` writes them.
    fn start(dir: PathBuf, privileges: &[&str]) -> Podman {
        fs::create_dir_all(&dir).unwrap();
        // Debian's podman asks for limits that a host without CAP_SYS_RESOURCE cannot give.
        let conf = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n[engine]\nruntime = \"runc\"\nevents_logger = \"file\"\n";
        fs::write(dir.join("containers.conf"), conf).unwrap();
        let place = |name: &str| dir.join(name).display().to_string();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            place("root"),
            place("run")
        );
        fs::write(dir.join("storage.conf"), storage).unwrap();
        let mut podman = Podman { dir, container: String::new() };
        let tar = podman.dir.join("podbox.tar");
        let binary = fs::read(e2e::binary()).unwrap();
        fs::write(&tar, Layer::new().program("podbox", &binary).into_bytes()).unwrap();
        podman.cmd(&["import", tar.to_str().unwrap(), "localhost/podbox:ci"]).run().ok();
        let shared = format!("{}:/images:ro", podman.dir.join("images").display());
        let program = ["localhost/podbox:ci", "/podbox", "toolbox", "sleep", "infinity"];
        let run =
            podman.cmd(&["run", "-d", "--network", "none", "-v", &shared]).args(privileges).args(program);
        podman.container = run.run().ok().text().to_owned();
        podman
    }

    /// Runs podbox in the container.
    fn podbox(&self, args: &[&str]) -> Output {
        self.cmd(&["exec", &self.container, "/podbox"]).args(args).run()
    }

    fn podbox_with_input(&self, args: &[&str], input: &str) -> Output {
        self.cmd(&["exec", "-i", &self.container, "/podbox"]).args(args).input(input).run()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.cmd(&["rm", "-f", "-t", "0", "-a"]).run();
        self.cmd(&["rmi", "-f", "-a"]).run();
        let _ = nix::mount::umount2(&self.dir.join("root/overlay"), nix::mount::MntFlags::MNT_DETACH);
        for below in ["root", "run", "tmp"] {
            let _ = fs::remove_dir_all(self.dir.join(below));
        }
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
    let podman = Podman::start(host.dir().join("podman"), &["--privileged"]);
    podman.podbox(&["system", "check"]).ok();
    podman.podbox(&["image", "load", "/images/talker.tar"]).ok().says("local/talker:1");
    podman.podbox_with_input(&["up", "-d", "--wait", "ready", "-"], MANIFEST).ok().says("pod default/job up");
    let view: Value = podman.podbox(&["get", "pod", "job", "-o", "json"]).ok().json();
    assert_eq!(view["status"]["phase"], "Running");
    let ip = view["status"]["podIP"].as_str().unwrap_or_default().to_owned();
    let answer = wait_good("an answer", || podman.podbox(&["toolbox", "get", &format!("{ip}:8080/")]));
    assert_eq!(answer.text(), "You've hit job");
    wait_for("lines in the log", e2e::PATIENCE, || {
        let log = podman.podbox(&["logs", "job", "-c", "loaded"]).ok().stdout;
        if log.lines().count() > 3 { Ok(()) } else { Err(log) }
    });
    assert_eq!(podman.podbox(&["exec", "job", "-c", "web", "--", "hostname"]).ok().text(), "job");
    podman.podbox(&["exec", "job", "-c", "web", "--", "touch", "/written"]).ok();
    podman.podbox(&["events", "job"]).ok().says("Started container web").says("tmpfs");
    podman.podbox(&["down", "job"]).ok();
    podman.podbox(&["get", "pod", "job"]).code(2);
    // Nothing is left inside either.
    let mounts = wait_for("the bridge to go", e2e::PATIENCE, || {
        let links = podman.podbox(&["toolbox", "addr"]).ok().stdout;
        if links.contains("podbox0") {
            Err(links)
        } else {
            Ok(podman.podbox(&["toolbox", "cat", "/proc/self/mountinfo"]).ok().stdout)
        }
    });
    assert!(!mounts.contains("/run/podbox/pods"), "{mounts}");
    assert_eq!(podman.podbox(&["toolbox", "ls", "/run/podbox/pods"]).text(), "");
    drop(podman);
    host.finish();
}

/// A podman whose container has less than all privileges.
fn less_privileged(host: &Host, privileges: &[&str]) -> Podman {
    let dir = host.dir().join("podman");
    fs::create_dir_all(dir.join("images")).unwrap();
    Podman::start(dir, privileges)
}

fn with_nothing_to_load() -> String {
    MANIFEST.lines().filter(|line| !line.contains("local/talker")).collect::<Vec<_>>().join("\n")
}

#[test]
fn with_two_capabilities_alone_podbox_runs_pods_and_says_what_they_lack() {
    let host = Host::new();
    let podman = less_privileged(&host, &["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"]);
    podman.podbox(&["system", "check"]).ok().says("limited  cgroups: ");
    podman.podbox_with_input(&["up", "-d", "--wait", "ready", "-"], &with_nothing_to_load()).ok();
    assert_eq!(podman.podbox(&["exec", "job", "--", "hostname"]).ok().text(), "job");
    let events = podman.podbox(&["events", "job"]).ok();
    events.says("cannot make cgroup").says("pods cannot reach beyond this host").says("on a tmpfs");
    podman.podbox(&["down", "job"]).ok();
    drop(podman);
    host.finish();
}

#[test]
fn with_no_privileges_at_all_the_error_says_what_to_do() {
    let host = Host::new();
    let podman = less_privileged(&host, &[]);
    let failed = podman.podbox_with_input(&["up", "-d", "-"], &with_nothing_to_load()).code(3);
    failed.complains("Operation not permitted").complains("hint: ").complains("--privileged");
    podman.podbox(&["system", "check"]).code(3).says("missing  CAP_SYS_ADMIN").says("missing  CAP_NET_ADMIN");
    podman.podbox(&["get", "pod", "job"]).code(2);
    assert_eq!(podman.podbox(&["toolbox", "ls", "/run/podbox/pods"]).text(), "");
    drop(podman);
    host.finish();
}
