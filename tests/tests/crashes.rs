//! What is killed, and what happens: each row of the table of podbox's crash promises is a test of that name.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{
    Background, Host, PATIENCE, PodView, pod, proc_children, proc_cmdline, wait_for, wait_good, wait_until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

#[test]
fn supervisor_killed_containers_addresses_output_untouched_probes_go_on() {
    let host = Host::new();
    let before = start(&host, "spared");
    let pids = processes(&host, "spared");
    let mut open = Open::to(&before);
    under_traffic(&before, || {
        let mut old = None;
        for _ in 0..4 {
            let now = host.next_supervisor("spared", old);
            host.kill(now);
            old = Some(now);
        }
        let _ = host.next_supervisor("spared", old);
        host.wait_pod("spared", "Ready", |pod| pod.is("Ready"));
    });
    open.works();
    unchanged(&before, &host.pod("spared"));
    assert_eq!(processes(&host, "spared"), pids, "the processes are the same");
    no_line_is_lost(&host, "spared");
    probes_go_on(&host, "spared");
    host.down(&["spared"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn supervisor_killed_restart_counts_and_back_off_survive() {
    let host = Host::builder().backoff("2s", "4s").build();
    host.up(&pod(
        "crash",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [exitcode, '1']}
",
    ));
    let before = host.wait_pod("crash", "back-off after two restarts", |pod| {
        pod.restarts() == 2
            && pod.text("status.containerStatuses.0.state.waiting.reason") == "CrashLoopBackOff"
    });
    let old = host.supervisor("crash");
    host.kill(old.unwrap());
    let _ = host.next_supervisor("crash", old);
    let message = before.at("status.containerStatuses.0.state.waiting.message").clone();
    let view = host
        .wait_pod("crash", "the same back-off, or its end", |pod| pod.restarts() == 2 || pod.restarts() == 3);
    if view.restarts() == 2
        && view.text("status.containerStatuses.0.state.waiting.reason") == "CrashLoopBackOff"
    {
        assert_eq!(view.at("status.containerStatuses.0.state.waiting.message"), &message);
    }
    host.wait_pod("crash", "the third restart", |pod| pod.restarts() == 3);
    host.finish();
}

#[test]
fn supervisor_killed_while_containers_end_every_death_counts_once() {
    let host = Host::new();
    host.up(&pod(
        "dying",
        r"
  restartPolicy: OnFailure
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: b, image: podbox.local/toolbox, command: [exitcode, --after, 1s, '0', fine]}
",
    ));
    for round in 1..=3 {
        let (supervisor, victim) =
            (host.next_supervisor("dying", None), host.container_process("dying", "a"));
        host.kill(supervisor);
        host.kill(victim);
        let view = host.wait_pod("dying", "a restart", |pod| {
            pod.container("a")["restartCount"].as_u64() == Some(round)
                && !pod.container("a")["state"]["running"].is_null()
        });
        let last = &view.container("a")["lastState"]["terminated"];
        assert_eq!((&last["exitCode"], &last["reason"]), (&137.into(), &"Error".into()), "{last:#}");
    }
    let view =
        host.wait_pod("dying", "the end of b", |pod| !pod.container("b")["state"]["terminated"].is_null());
    let ended = &view.container("b")["state"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&0.into(), &"Completed".into()), "{ended:#}");
    assert_eq!(host.logs(&["dying", "-c", "b"]), "fine\n");
    host.finish();
}

#[test]
fn supervisor_killed_while_it_takes_the_pod_down_the_pod_goes_down() {
    let host = Host::new();
    host.up(&pod("slow", r"
  terminationGracePeriodSeconds: 4
  containers:
  - {name: c, image: podbox.local/host, command: [sh, -c, 'trap '''' TERM; echo ready; while :; do sleep 0.1; done']}
"));
    wait_until("the trap", PATIENCE, || host.logs(&["slow"]).contains("ready"));
    let down = host.cmd(["down", "slow"]).spawn();
    host.wait_pod("slow", "deletionTimestamp", |pod| !pod.text("metadata.deletionTimestamp").is_empty());
    host.kill(host.supervisor("slow").unwrap());
    wait_until("the pod's end", PATIENCE, || !host.podbox(["get", "pod", "slow"]).good());
    drop(down);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn guardian_killed_a_new_one_takes_over_or_the_pod_stops_cleanly() {
    let host = Host::new();
    let before = start(&host, "unguarded");
    let pids = processes(&host, "unguarded");
    let mut open = Open::to(&before);
    under_traffic(&before, || {
        let old = host.guardian("unguarded").unwrap();
        host.kill(old);
        wait_for("a new guardian", PATIENCE, || {
            host.guardian("unguarded").filter(|pid| *pid != old).ok_or("none")
        });
    });
    open.works();
    host.wait_pod("unguarded", "Ready", |pod| pod.is("Ready"));
    unchanged(&before, &host.pod("unguarded"));
    assert_eq!(processes(&host, "unguarded"), pids, "the processes are the same");
    no_line_is_lost(&host, "unguarded");
    probes_go_on(&host, "unguarded");
    // A container that was there before the new guardian is nobody's child of its own; its end is noticed all the same.
    host.kill(host.container_process("unguarded", "echo"));
    host.wait_pod("unguarded", "a restart of echo", |pod| pod.container("echo")["restartCount"] == 1);
    host.down(&["unguarded"]);
    host.expect_nothing_left();
    host.finish();
}

/// From Linux 6.15 on, the kernel tells how a process ended whose pidfd was held (PIDFD_INFO_EXIT).
fn the_kernel_remembers() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn guardian_killed_an_exit_code_that_nobody_records_is_asked_of_the_kernel() {
    let host = Host::new();
    let spec = "  restartPolicy: Never\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sh, -c, 'sleep 3; exit 3']}";
    host.up(&pod("ends", spec));
    let old = host.guardian("ends").unwrap();
    host.kill(old);
    host.wait_pod("ends", "its end", |pod| pod.phase() == "Failed");
    let view = host.pod("ends");
    let end = &view.container("c")["state"]["terminated"];
    if the_kernel_remembers() {
        assert_eq!((&end["exitCode"], &end["reason"]), (&3.into(), &"Error".into()), "{end:#}");
    } else {
        assert_eq!(end["reason"], "ContainerStatusUnknown", "{end:#}");
    }
    host.down(&["ends"]);
    host.finish();
}

#[test]
fn guardian_and_supervisor_killed_the_next_command_says_so_and_takes_the_pod_up_again() {
    let host = Host::new();
    let before = start(&host, "taken-up");
    let pids = processes(&host, "taken-up");
    let mut open = Open::to(&before);
    under_traffic(&before, || {
        kill_both(&host, "taken-up");
        open.works();
        host.podbox(["exec", "taken-up", "-c", "echo", "--", "true"]).ok().complains("were gone");
        wait_until("a guardian", PATIENCE, || host.guardian("taken-up").is_some());
        let _ = host.next_supervisor("taken-up", None);
    });
    open.works();
    host.wait_pod("taken-up", "Ready", |pod| pod.is("Ready"));
    unchanged(&before, &host.pod("taken-up"));
    assert_eq!(processes(&host, "taken-up"), pids, "the processes are the same");
    no_line_is_lost(&host, "taken-up");
    probes_go_on(&host, "taken-up");
    host.down(&["taken-up"]);
    host.expect_nothing_left();
    host.finish();
}

/// Stops both first, so that neither can start the other again.
fn kill_both(host: &Host, name: &str) {
    let (guardian, supervisor) = (host.guardian(name).unwrap(), host.next_supervisor(name, None));
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in [guardian, supervisor] {
            kill(Pid::from_raw(pid), signal).unwrap();
        }
    }
    wait_until("both to be gone", PATIENCE, || {
        host.guardian(name).is_none() && host.supervisor(name).is_none()
    });
}

#[test]
fn guardian_and_supervisor_killed_down_cleans_up() {
    let host = Host::new();
    start(&host, "cleaned");
    kill_both(&host, "cleaned");
    host.down(&["cleaned", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn guardian_and_supervisor_killed_a_container_that_ends_meanwhile_is_noticed() {
    let host = Host::new();
    start(&host, "noticed");
    kill_both(&host, "noticed");
    host.kill(host.container_process("noticed", "echo"));
    host.podbox(["wait", "noticed", "--for", "condition=PodScheduled"]).ok().complains("were gone");
    let view =
        host.wait_pod("noticed", "a restart of echo", |pod| pod.container("echo")["restartCount"] == 1);
    let last = &view.container("echo")["lastState"]["terminated"];
    assert_eq!(last["reason"], "ContainerStatusUnknown", "nobody saw how it ended: {last:#}");
    host.finish();
}

#[test]
fn a_stage_killed_the_machine_backs_off_and_tries_again() {
    let host = Host::new();
    host.up(&pod(
        "again",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [exitcode, '1']}
  - {name: steady, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    let supervisor = host.next_supervisor("again", None);
    let mut killed = 0;
    let started = Instant::now();
    // A stage lives for a few milliseconds at each restart: look without a pause.
    while killed < 3 && started.elapsed() < PATIENCE {
        for stage in proc_children(supervisor) {
            killed += u32::from(kill(Pid::from_raw(stage), Signal::SIGKILL).is_ok());
        }
    }
    assert!(killed >= 3, "only {killed} stages were met");
    let restarts = host.pod("again").container("c")["restartCount"].as_u64().unwrap_or(0);
    let view = host.wait_pod("again", "two more restarts", |pod| {
        pod.container("c")["restartCount"].as_u64() >= Some(restarts + 2)
    });
    assert_eq!(view.container("steady")["restartCount"], 0);
    assert_eq!(host.supervisor("again"), Some(supervisor), "the supervisor does not care");
    host.down(&["again", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_container_killed_is_restarted_by_its_policy() {
    let host = Host::new();
    start(&host, "mended");
    host.kill(host.container_process("mended", "web"));
    let view = host
        .wait_pod("mended", "a restart", |pod| pod.container("web")["restartCount"] == 1 && pod.is("Ready"));
    let last = &view.container("web")["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["signal"], &last["reason"]),
        (&137.into(), &9.into(), &"Error".into())
    );
    assert_eq!(view.container("echo")["restartCount"], 0);
    host.finish();
}

#[test]
fn up_d_killed_after_its_pod_is_up_nothing_happens() {
    let host = Host::new();
    let mut up: Background = host.cmd(["up", "-d", "--wait", "complete", "-"]).input(busy("kept")).spawn();
    up.close_input();
    let before = host.wait_pod("kept", "Ready", |pod| pod.is("Ready"));
    up.signal(Signal::SIGKILL);
    assert_eq!(up.end(PATIENCE), 128 + 9);
    let _ = Open::to(&before);
    unchanged(&before, &host.pod("kept"));
    no_line_is_lost(&host, "kept");
    host.finish();
}

#[test]
fn up_d_killed_at_any_moment_down_leaves_nothing() {
    let host = Host::new();
    let manifest = host.dir().join("busy.yaml");
    fs::write(&manifest, busy("cut-short")).unwrap();
    // The image is there, so that the moments fall into what matters.
    host.podbox(["up", "-d", manifest.to_str().unwrap()]).ok();
    host.down(&["cut-short", "--grace-period", "0"]);
    for step in 0..24_u64 {
        let mut up = host.cmd(["up", "-d", manifest.to_str().unwrap()]).spawn();
        // Every half millisecond of its life, and later every millisecond.
        thread::sleep(Duration::from_micros(step * 500 + step.saturating_sub(12) * 500));
        let _ = kill(Pid::from_raw(up.pid()), Signal::SIGKILL);
        up.end(PATIENCE);
        if step % 3 == 0 {
            // The same manifest once more must bring it up, whatever was left.
            host.podbox(["up", "-d", manifest.to_str().unwrap()]).ok();
        }
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn everything_of_a_pod_killed_at_random_moments_of_its_start_down_leaves_nothing() {
    let host = Host::new();
    let manifest = host.dir().join("busy.yaml");
    fs::write(&manifest, busy("cut-down")).unwrap();
    host.podbox(["up", "-d", manifest.to_str().unwrap()]).ok();
    host.down(&["cut-down", "--grace-period", "0"]);
    for step in 0..16_u64 {
        let mut up = host.cmd(["up", "-d", manifest.to_str().unwrap()]).spawn();
        thread::sleep(Duration::from_micros(1000 + step * 700));
        let _ = kill(Pid::from_raw(up.pid()), Signal::SIGKILL);
        for word in ["guardian", "supervise"] {
            for pid in host.helpers(word) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        up.end(PATIENCE);
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn a_hundred_random_deaths_of_up_or_of_all_its_helpers_leave_nothing_that_the_next_command_does_not_mend() {
    let host = Host::new();
    let manifest = host.dir().join("busy.yaml");
    fs::write(&manifest, busy("random")).unwrap();
    let manifest = manifest.to_str().unwrap();
    host.podbox(["up", "-d", manifest]).ok();
    host.down(&["random", "--grace-period", "0"]);
    let mut random = std::process::id();
    for round in 0..100 {
        // Marsaglia's xorshift: any moment of the first 20 ms, and one time in three everybody dies.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let mut up = host.cmd(["up", "-d", manifest]).spawn();
        thread::sleep(Duration::from_micros((random % 20_000).into()));
        let _ = kill(Pid::from_raw(up.pid()), Signal::SIGKILL);
        if random.is_multiple_of(3) {
            for pid in ["guardian", "supervise"].map(|word| host.helpers(word)).concat() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        up.end(PATIENCE);
        if round % 2 == 0 {
            host.podbox(["up", "-d", manifest]).ok();
            host.wait_pod("random", "Running", |pod| pod.phase() == "Running");
        }
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn supervisor_killed_while_it_makes_the_sandbox_the_next_one_makes_it_anew_under_the_same_name() {
    let host = Host::new();
    let manifest = host.dir().join("half.yaml");
    fs::write(&manifest, busy("half-made")).unwrap();
    let manifest = manifest.to_str().unwrap();
    host.podbox(["up", "-d", manifest]).ok();
    host.down(&["half-made", "--grace-period", "0"]);
    let names = || {
        let all = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains("half-made")).collect::<Vec<_>>()
    };
    for step in 0..20_u64 {
        let mut up = host.cmd(["up", "-d", "--wait", "ready", manifest]).spawn();
        // The name is taken before the namespace is there; from then on at moments 100 us apart.
        wait_until("a name for the namespace", PATIENCE, || !names().is_empty());
        thread::sleep(Duration::from_micros(step * 100));
        for pid in host.helpers("supervise") {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        assert_eq!(up.end(PATIENCE), 0);
        assert_eq!(names(), ["default_half-made"]);
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
        assert_eq!(names(), [""; 0]);
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn the_machine_restarts_up_all_starts_what_should_run() {
    let host = Host::new();
    host.up(&busy("rebooted"));
    let before = host.pod("rebooted");
    host.podbox(["exec", "rebooted", "-c", "web", "--", "touch", "/written"]).ok();
    let written =
        host.root_dir().join("pods").join(before.text("metadata.uid")).join("layers/web.0/upper/written");
    assert!(written.exists(), "what a container writes lies on the disk");
    host.pull_the_plug("rebooted");
    host.podbox(["up", "--all", "-d"]).ok();
    let after = host.wait_pod("rebooted", "Ready", |pod| pod.is("Ready"));
    assert_eq!(before.text("metadata.uid"), after.text("metadata.uid"));
    assert!(!written.exists(), "a container begins with its image");
    host.finish();
}

#[test]
fn an_exec_stage_that_is_killed_between_two_probes_is_replaced_and_nobody_notices() {
    let host = Host::new();
    host.up(&pod(
        "stages",
        r"
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    livenessProbe: {exec: {command: ['true']}, periodSeconds: 1, failureThreshold: 1}
",
    ));
    let stages = || -> Vec<i32> {
        let children = host.supervisor("stages").map(proc_children).unwrap_or_default();
        children.into_iter().filter(|pid| proc_cmdline(*pid).starts_with("podbox stage exec")).collect()
    };
    wait_until("a stage to stay", PATIENCE, || stages().len() == 1);
    let old = stages()[0];
    host.kill(old);
    wait_until("another in its place", PATIENCE, || matches!(stages()[..], [new] if new != old));
    let view = host.pod("stages");
    assert_eq!((view.restarts(), host.event_count("stages", "Unhealthy", "")), (0, 0));
    // It ends with the supervisor that it serves, and the next one has its own.
    let (old, supervisor) = (stages()[0], host.supervisor("stages"));
    host.kill(supervisor.expect("a supervisor"));
    let _ = host.next_supervisor("stages", supervisor);
    wait_until("a stage of the new supervisor", PATIENCE, || matches!(stages()[..], [new] if new != old));
    assert_eq!(host.pod("stages").restarts(), 0);
    host.finish();
}
