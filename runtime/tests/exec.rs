//! Exec into containers, and terminals, on the real kernel.

mod common;

use common::{Container, World, exe};
use nix::fcntl::OFlag;
use runtime::cgroup::Cgroups;
use runtime::launch::{ExecError, Inbox, Launched, StageKind, exec, launch, send_plan};
use runtime::plan::{ExecPlan, ExecRun, Exit, FromStage, Stay, UserSpec};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn plan(container: &Container, script: &str, process: Value) -> ExecPlan {
    let mut whole = json!({ "args": ["sh", "-c", script], "cwd": "/tmp", "user": { "uid": 0, "gid": 0 },
        "env": ["PATH=/bin"], "capabilities": { "bounding": ["CAP_KILL"] } });
    common::merge(&mut whole, process);
    ExecPlan {
        root_id: None,
        target: container.init,
        process: serde_json::from_value(whole).unwrap(),
        user: None,
        cgroup: None,
        seccomp: None,
        stay: Stay::Once,
    }
}

fn running(world: &World, spec: Value) -> Container {
    let mut container = Container::create(&world.plan("c", "hostname inside; sleep 1000", spec)).unwrap();
    container.go().unwrap();
    container
}

/// Runs to the end with pipes.
fn run(plan: &ExecPlan) -> Result<(Exit, String), ExecError> {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let null = File::open("/dev/null").unwrap();
    let mut process = exec(exe(), plan, Some([null.as_fd(), writer.as_fd(), writer.as_fd()])).unwrap();
    drop(writer);
    process.started()?;
    let exit = process.exited()?;
    let mut out = String::new();
    reader.read_to_string(&mut out).unwrap();
    Ok((exit, out))
}

#[test]
fn a_command_runs_in_all_of_the_containers_namespaces() {
    let world = World::new();
    let container = running(&world, json!({}));
    let script = "pwd; cat /proc/1/comm; for n in mnt pid cgroup net uts ipc; do
        test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) || echo other $n; done; exit 5";
    // Only a process with all of init's capabilities may look at its namespaces.
    let all = json!({ "capabilities": container_capabilities(&world) });
    let (exit, out) = run(&plan(&container, script, all)).unwrap();
    assert_eq!((exit, out.as_str()), (Exit::Code(5), "/tmp\nsleep\n"));
}

fn container_capabilities(world: &World) -> Value {
    let spec = serde_json::to_value(world.plan("x", "", json!({})).spec).unwrap();
    spec["process"]["capabilities"].clone()
}

#[test]
fn user_capabilities_seccomp_and_environment_are_the_plans() {
    let world = World::new();
    let container = running(&world, json!({}));
    let script = "id -u; id -G; echo $HOME $X; grep -E 'CapBnd|NoNewPrivs|Seccomp:|SigIgn' /proc/self/status | tr -d '\\t'
        mkdir x 2>&1; ls /proc/self/fd | wc -l; kill -9 $$";
    let env = ["PATH=/bin", "X=y"];
    let mut plan = plan(&container, script, json!({ "noNewPrivileges": true, "env": env }));
    plan.user = Some(UserSpec { image: "web".into(), ..UserSpec::default() });
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }] });
    plan.seccomp = Some(serde_json::from_value(profile).unwrap());
    let (exit, out) = run(&plan).unwrap();
    assert_eq!(exit, Exit::Signal(9));
    assert!(out.starts_with("101\n102 51\n/srv/web y\n"), "{out}");
    assert!(out.contains("CapBnd:0000000000000020\nNoNewPrivs:1\nSeccomp:2\n"), "{out}");
    assert!(out.contains("SigIgn:0000000000000000") && out.contains("Operation not permitted"), "{out}");
    assert!(out.ends_with("\n4\n"), "{out}");
}

#[test]
fn a_command_that_cannot_be_run_has_the_exit_code_of_a_shell() {
    let world = World::new();
    let container = running(&world, json!({}));
    for (command, code) in [("nosuch", 127), ("/etc", 126)] {
        let plan = plan(&container, "", json!({ "args": [command] }));
        match run(&plan).unwrap_err() {
            ExecError::Failed(failure) => {
                assert_eq!((failure.exit_code, failure.step.as_str()), (Some(code), "exec"))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_container_that_has_ended_cannot_be_entered_even_if_its_pid_is_reused() {
    let world = World::new();
    let container = running(&world, json!({}));
    let mut plan = plan(&container, "true", json!({}));
    plan.target.start -= 1;
    let text = run(&plan).unwrap_err().to_string();
    assert_eq!(text, "enter the container: it does not run any more");
}

#[test]
fn a_terminal_is_the_containers_own_and_can_be_resized() {
    let world = World::new();
    let container = running(&world, json!({}));
    let size = json!({ "terminal": true, "consoleSize": { "height": 31, "width": 77 } });
    let plan =
        plan(&container, "tty; stty size; read line; echo got $line; test -t 1 && echo is a tty", size);
    let mut process = exec(exe(), &plan, None).unwrap();
    let (_, master) = process.started().unwrap();
    let mut master = File::from(master.expect("a master"));
    master.write_all(b"typed\n").unwrap();
    assert_eq!(process.exited().unwrap(), Exit::Code(0));
    let mut bytes = [0; 4096];
    let mut out = String::new();
    while let Ok(length @ 1..) = master.read(&mut bytes) {
        out.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    // The echo of what was typed may come anywhere in between.
    assert!(out.contains("/dev/pts/0\r\n") && out.contains("31 77\r\n"), "{out}");
    assert!(out.contains("got typed\r\nis a tty\r\n"), "{out}");
}

/// Waits until the cgroup holds `count` processes.
fn wait_for_count(path: &Path, count: usize) {
    let (group, start) = (Cgroups::detect().at(path), Instant::now());
    while group.pids().len() != count {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", group.pids());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn hanging_up_kills_everything_that_the_command_has_started() {
    let world = World::new();
    let path = PathBuf::from(format!("/podbox-test-exec-{}/c", std::process::id()));
    let mut container = running(&world, json!({ "linux": { "cgroupsPath": path } }));
    wait_for_count(&path, 1);
    let mut plan = plan(
        &container,
        "(setsid sleep 1000 &); setsid sh -c 'sleep 1000 & sleep 1000' & sleep 1000",
        json!({}),
    );
    plan.cgroup = Some(path.clone());
    let mut process = exec(exe(), &plan, None).unwrap();
    process.started().unwrap();
    wait_for_count(&path, 5);
    process.stage.socket.shutdown(std::net::Shutdown::Both).unwrap();
    process.stage.reap().unwrap();
    wait_for_count(&path, 1);
    container.kill();
    Cgroups::detect().at(&path).remove_with_parents().unwrap();
}

/// Tells a staying stage to run a script, and hears what came of it, with what it had written by then.
fn order(stage: &mut (Launched, Inbox), script: &str) -> (FromStage, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    let null = File::open("/dev/null").unwrap();
    let run = ExecRun { args: ["sh", "-c", script].map(str::to_owned).to_vec() };
    send_plan(&stage.0.socket, &run, &[null.as_fd(), writer.as_fd(), writer.as_fd()]).unwrap();
    drop(writer);
    let answer = stage.1.answer(stage.0.socket.as_fd()).unwrap().expect("an answer");
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut text = [0; 4096];
    let length = (&reader).read(&mut text).unwrap_or(0);
    (answer, String::from_utf8_lossy(&text[..length]).into_owned())
}

#[test]
fn a_stage_that_stays_runs_one_program_after_another_until_its_caller_hangs_up() {
    let world = World::new();
    let path = PathBuf::from(format!("/podbox-test-stay-{}/c", std::process::id()));
    let mut container = running(&world, json!({ "linux": { "cgroupsPath": path } }));
    wait_for_count(&path, 1);
    let mut plan = plan(&container, "", json!({}));
    plan.cgroup = Some(path.clone());
    plan.stay = Stay::UntilHangUp;
    let launched = launch(exe(), StageKind::Exec).unwrap();
    send_plan(&launched.socket, &plan, &[]).unwrap();
    let mut stage = (launched, Inbox::default());
    let exited = |code| FromStage::Exited(Exit::Code(code));
    assert_eq!(order(&mut stage, "pwd; exit 3"), (exited(3), "/tmp\n".to_owned()));
    assert_eq!(order(&mut stage, "kill -9 $$").0, FromStage::Exited(Exit::Signal(9)));
    // What stays behind keeps its own cgroup and nobody waiting.
    assert_eq!(order(&mut stage, "sleep 1000 & exit 0"), (exited(0), String::new()));
    wait_for_count(&path, 2);
    for _ in 0..20 {
        assert_eq!(order(&mut stage, "ls /proc/self/fd | wc -l"), (exited(0), "4\n".to_owned()));
    }
    let run = ExecRun { args: vec!["nosuch".to_owned()] };
    send_plan(&stage.0.socket, &run, &[]).unwrap();
    let Some(FromStage::Failed(failure)) = stage.1.answer(stage.0.socket.as_fd()).unwrap() else {
        panic!("there is no such program")
    };
    assert_eq!((failure.exit_code, failure.step.as_str()), (Some(127), "exec"));
    assert_eq!(order(&mut stage, "exit 0").0, exited(0), "it goes on after that");
    // What it is at when the caller goes is ended; what it had left before is not its any more.
    let run = ExecRun { args: ["sh", "-c", "setsid sleep 1000 & sleep 1000"].map(str::to_owned).to_vec() };
    send_plan(&stage.0.socket, &run, &[]).unwrap();
    wait_for_count(&path, 4);
    stage.0.socket.shutdown(std::net::Shutdown::Both).unwrap();
    stage.0.reap().unwrap();
    wait_for_count(&path, 2);
    let group = Cgroups::detect().at(&path);
    group.kill().unwrap();
    container.wait();
    group.remove_with_parents().unwrap();
    assert!(!group.exists());
}

#[test]
fn what_a_command_leaves_in_the_background_stays() {
    let world = World::new();
    let path = PathBuf::from(format!("/podbox-test-left-{}/c", std::process::id()));
    let mut container = running(&world, json!({ "linux": { "cgroupsPath": path } }));
    wait_for_count(&path, 1);
    let mut plan = plan(&container, "setsid sleep 1000 & exit 0", json!({}));
    plan.cgroup = Some(path.clone());
    let mut process = exec(exe(), &plan, None).unwrap();
    process.started().unwrap();
    assert_eq!(process.exited().unwrap(), Exit::Code(0));
    wait_for_count(&path, 2);
    let group = Cgroups::detect().at(&path);
    group.kill().unwrap();
    container.wait();
    group.remove_with_parents().unwrap();
    assert!(!group.exists());
}

#[test]
fn a_containers_terminal_outlives_its_readers_and_takes_sizes() {
    let world = World::new();
    let mut plan = world.plan(
        "t",
        "tty; stty size; ls -l /dev/console | head -c 1; read a; stty size; echo got $a; sleep 1",
        json!({ "process": { "terminal": true, "consoleSize": { "height": 24, "width": 80 } } }),
    );
    plan.stdio.stdin = Some(world.fifo("t.in"));
    plan.stdio.console = Some(world.fifo("t.size"));
    let mut container = Container::create(&plan).unwrap();
    container.go().unwrap();
    let out = container.expect("24 80\r\nc");
    assert!(out.contains("/dev/pts/0\r\n"), "{out}");
    let relay = relay_pid();
    let write = |name: &str, text: &[u8]| {
        let fifo = nix::fcntl::open(&world.path(name), OFlag::O_RDWR, nix::sys::stat::Mode::empty()).unwrap();
        File::from(fifo).write_all(text).unwrap();
    };
    write("t.size", b"50 132\n");
    std::thread::sleep(Duration::from_millis(50));
    write("t.in", b"word\n");
    container.expect("50 132\r\ngot word");
    assert_eq!(container.wait(), Exit::Code(0));
    // The relay is our child now; it ends by itself.
    assert_eq!(common::reap(relay), Exit::Code(0));
}

/// The pid of the console relay that has become our child.
fn relay_pid() -> i32 {
    let ours = std::process::id().to_string();
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
    let is_relay = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(podbox-console)")
            && stat.split(") ").nth(1).is_some_and(|r| r.split(' ').nth(1) == Some(&ours))
    };
    pids.into_iter().find(is_relay).expect("a relay")
}
