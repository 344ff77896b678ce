//! What is killed, and what happens: each row of the table of podbox's crash promises is a test of that name.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use e2e::{Host, PATIENCE, PodView, pod, wait_for, wait_good, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod guardian;
mod parts;
mod supervisor;
mod up;

const LINES: usize = 3000;

/// A pod under traffic, whose name no other test here has: a name for `ip netns` may come with an inode that was seen
/// at another test's. It has a web server with a probe, an echo server, and one that writes numbered lines.
fn busy(name: &str) -> String {
    let talk = format!(
        "{} toolbox flood --lines {LINES} --rate 400 --width 40; sleep infinity",
        e2e::binary().display()
    );
    let spec = r"
  terminationGracePeriodSeconds: 2
  containers:
  - name: web
    image: podbox.local/toolbox
    command: [http, --port, '8080']
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 2}
  - {name: echo, image: podbox.local/toolbox, command: [tcp-echo, --port, '9000']}
  - {name: talk, image: podbox.local/host, command: [sh, -c, 'TALK']}
";
    pod(name, &spec.replace("TALK", &talk))
}

/// Writes the manifest of a busy pod, which has been up once: its image is there, so that the moments at which others are
/// killed fall into what matters. Gives the file's name.
fn been_up(host: &Host, name: &str) -> String {
    let manifest = host.dir().join("busy.yaml").display().to_string();
    fs::write(&manifest, busy(name)).unwrap();
    host.podbox(["up", "-d", manifest.as_str()]).ok();
    host.down(&[name, "--grace-period", "0"]);
    manifest
}

/// Kills the helpers of these names, all that are there or about to be gone.
fn kill_all(host: &Host, words: &[&str]) {
    for pid in words.iter().flat_map(|word| host.helpers(word)).collect::<Vec<_>>() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// What must be the same after a crash.
fn unchanged(before: &PodView, after: &PodView) {
    for path in ["metadata.uid", "status.podIP", "status.podIPs", "status.startTime"] {
        assert_eq!(before.at(path), after.at(path), "{path}");
    }
    for name in ["web", "echo", "talk"] {
        let (before, after) = (before.container(name), after.container(name));
        for field in ["containerID", "restartCount", "imageID", "state"] {
            assert_eq!(before[field], after[field], "{field} of {name}");
        }
    }
}

fn processes(host: &Host, name: &str) -> Vec<i32> {
    ["web", "echo", "talk"].map(|container| host.container_process(name, container)).to_vec()
}

/// Requests without a pause, each of which must be answered.
struct Traffic<'a> {
    stop: &'a AtomicBool,
    answered: &'a AtomicU32,
}

impl Traffic<'_> {
    fn run(&self, url: &str) -> Result<(), String> {
        use std::io::{Read, Write};
        while !self.stop.load(Ordering::Relaxed) {
            let ask = || -> std::io::Result<String> {
                let mut stream = std::net::TcpStream::connect(url)?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
                let mut text = String::new();
                stream.read_to_string(&mut text)?;
                Ok(text)
            };
            match ask() {
                Ok(text) if text.starts_with("HTTP/1.1 200") => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                other => {
                    return Err(format!(
                        "after {} answers: {other:?}",
                        self.answered.load(Ordering::Relaxed)
                    ));
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Runs `act` while requests are made, and insists that all are answered.
fn under_traffic(view: &PodView, act: impl FnOnce()) {
    let (stop, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    let traffic = Traffic { stop: &stop, answered: &answered };
    let url = format!("{}:8080", view.ip());
    let stopper = Stopper(&stop);
    thread::scope(|scope| {
        let requests = scope.spawn(|| traffic.run(&url));
        wait_until("traffic", PATIENCE, || answered.load(Ordering::Relaxed) > 5 || requests.is_finished());
        act();
        let before = answered.load(Ordering::Relaxed);
        wait_until("more traffic", PATIENCE, || {
            answered.load(Ordering::Relaxed) > before + 5 || requests.is_finished()
        });
        drop(stopper);
        requests.join().expect("the traffic's thread").expect("every request to be answered");
    });
}

/// Stops the traffic also when the test fails, or its thread would be waited for in vain.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection that was there before the crash and must outlive it.
struct Open(std::net::TcpStream);

impl Open {
    fn to(view: &PodView) -> Open {
        let stream = wait_for("a connection", PATIENCE, || {
            std::net::TcpStream::connect(format!("{}:9000", view.ip()))
        });
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut open = Open(stream);
        open.works();
        open
    }

    fn works(&mut self) {
        use std::io::{Read, Write};
        self.0.write_all(b"still there?").expect("the connection takes data");
        let mut buffer = [0; 12];
        self.0.read_exact(&mut buffer).expect("the connection gives data");
        assert_eq!(&buffer, b"still there?");
    }
}

/// Every line that the container wrote is in its log, once and in order.
fn no_line_is_lost(host: &Host, name: &str) {
    let log = wait_for("the last line", PATIENCE * 2, || {
        let log = host.logs(&[name, "-c", "talk"]);
        if log.lines().last().is_some_and(|line| line.starts_with(&format!("{} ", LINES - 1))) {
            Ok(log)
        } else {
            Err(log.lines().count())
        }
    });
    let numbers: Vec<usize> = log
        .lines()
        .map(|line| line.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(usize::MAX))
        .collect();
    let wrong = numbers.iter().enumerate().find(|(at, number)| at != *number);
    assert_eq!(wrong, None, "line number and content differ; {} lines", numbers.len());
    assert_eq!(numbers.len(), LINES);
}

/// A pod that is up and ready, with its traffic's address.
fn start(host: &Host, name: &str) -> PodView {
    host.try_up(&busy(name), &["--wait", "ready"]).ok();
    let _ = Open::to(&host.pod(name));
    host.pod(name)
}

/// The probes are asked by whoever supervises now: readiness follows, and liveness restarts.
fn probes_go_on(host: &Host, name: &str) {
    let view = host.pod(name);
    let order = |path: &str| {
        let url = format!("{}:8080/{path}", view.ip());
        wait_good("an order", || host.podbox(["toolbox", "get", &url]));
    };
    order("fail/readyz");
    host.wait_pod(name, "not ready", |pod| !pod.is("Ready"));
    order("pass/readyz");
    host.wait_pod(name, "ready again", |pod| pod.is("Ready"));
    let restarts = view.container("web")["restartCount"].as_u64().unwrap_or(0);
    order("fail/healthz");
    host.wait_pod(name, "a restart by liveness", |pod| {
        pod.container("web")["restartCount"].as_u64() == Some(restarts + 1) && pod.is("Ready")
    });
}
