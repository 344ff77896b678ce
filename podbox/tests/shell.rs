//! The toolbox's shell as a process: what it runs beside itself, signals, and its life as process 1.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

fn sh() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podbox"));
    command.arg0("sh");
    command
}

fn run(script: &str) -> Output {
    sh().args(["-c", script]).output().unwrap()
}

#[track_caller]
fn prints(script: &str, text: &str) {
    let output = run(script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((String::from_utf8_lossy(&output.stdout).as_ref(), said.as_ref()), (text, ""), "{script}");
}

/// A script whose output is read line by line while it runs.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Waits until the shell waits for a child: a signal that comes before `wait` does not interrupt it.
    fn settle(&self) {
        let pid = self.child.id();
        let mut quiet = 0;
        while quiet < 5 {
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            quiet = if !children.is_empty() && stat.contains(") S ") { quiet + 1 } else { 0 };
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }
}

#[test]
fn compound_commands_and_functions_run_in_pipelines() {
    prints("for x in a b 'c d'; do echo \"[$x]\"; done | cat", "[a]\n[b]\n[c d]\n");
    prints("x='it'\\''s'; f() { echo \"$x $1 $2\"; }; f \"$@\" | cat", "it's  \n");
    prints("printf '%s\\n' one two | while read l; do echo \"got $l\"; done", "got one\ngot two\n");
    prints("false | true; echo $?; set -o pipefail; false | true; echo $?", "0\n1\n");
    prints("echo a | { read x; echo $x $$; } | { read x y; [ $y = $$ ] && echo same; }", "same\n");
}

#[test]
fn a_loop_that_nobody_reads_ends() {
    prints("while true; do echo y; done | head -n 1", "y\n");
}

#[test]
fn background_jobs_are_waited_for_and_killed() {
    prints("sleep 0.05 & wait $!; echo $?; (exit 3) & wait $!; echo $?", "0\n3\n");
    prints("while true; do sleep 0.01; done & p=$!; kill $p; wait $p; echo $?", "143\n");
    prints("x=1; { x=2; echo $x; } & wait; echo $x", "2\n1\n");
}

#[test]
fn a_trap_runs_after_the_foreground_command_and_interrupts_wait() {
    for (script, code) in [
        ("trap 'echo bye; exit 7' TERM; echo ready; while true; do sleep 0.2; done", 7),
        ("trap 'echo bye' TERM; echo ready; sleep 60 & wait; kill $!; exit 4", 4),
        ("trap 'echo bye' EXIT; trap 'exit 5' TERM; echo ready; sleep 60 & wait", 5),
    ] {
        let mut command = sh();
        command.args(["-c", script]);
        let mut running = Running::start(command);
        assert_eq!(running.line(), "ready");
        running.settle();
        running.signal("TERM");
        assert_eq!(running.line(), "bye", "{script}");
        assert_eq!(running.child.wait().unwrap().code(), Some(code), "{script}");
    }
}

#[test]
fn a_trap_is_not_inherited_but_an_ignored_signal_is() {
    prints("trap 'echo no' TERM; sh -c 'kill $$; echo no'; echo $?", "143\n");
    prints("trap '' TERM; sh -c 'kill $$; echo still here'", "still here\n");
    prints("trap 'echo no' TERM; trap - TERM; sh -c 'kill -TERM $$; echo no'; echo $?", "143\n");
}

#[test]
fn as_process_1_it_ends_on_a_trapped_signal_and_takes_orphans() {
    let mut command = Command::new("unshare");
    let script = "trap 'echo bye; exit 6' TERM; echo ready; while true; do sleep 0.05; done";
    command.args([
        "--fork",
        "--pid",
        "--kill-child",
        env!("CARGO_BIN_EXE_podbox"),
        "toolbox",
        "sh",
        "-c",
        script,
    ]);
    let mut running = Running::start(command);
    assert_eq!(running.line(), "ready");
    let children = format!("/proc/{0}/task/{0}/children", running.child.id());
    let pid = std::fs::read_to_string(children).unwrap();
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    assert_eq!(running.line(), "bye");
    assert_eq!(running.child.wait().unwrap().code(), Some(6));
}

#[test]
fn commands_on_standard_input_run_as_they_come() {
    let mut running = Running::start(sh());
    let mut input = running.child.stdin.take().unwrap();
    for (line, answer) in [("echo one\n", "one"), ("for x in two\n", ""), ("do echo $x; done\n", "two")] {
        input.write_all(line.as_bytes()).unwrap();
        if !answer.is_empty() {
            assert_eq!(running.line(), answer);
        }
    }
    // What follows a command on the input is the command's to read.
    input.write_all(b"read x; echo got $x\nthree\nexit 3\n").unwrap();
    assert_eq!(running.line(), "got three");
    assert_eq!(running.child.wait().unwrap().code(), Some(3));
}

#[test]
fn applets_are_found_where_no_file_is() {
    prints("PATH=/none; addr lo >/dev/null && seq 2", "1\n2\n");
}

#[test]
fn the_scripts_of_kubernetes_documentation_run() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    prints(
        &format!("touch {at}/healthy; sleep 0.01; rm -f {at}/healthy; cat {at}/healthy 2>/dev/null; echo $?"),
        "1\n",
    );
    prints("i=0; while [ $i -lt 2 ]; do echo \"$i: $(date >/dev/null)\"; i=$((i+1)); done", "0: \n1: \n");
    prints(
        "echo Hello from the postStart handler > /dev/null && until true; do echo waiting; sleep 2; done",
        "",
    );
}
