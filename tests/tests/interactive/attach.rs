//! `podbox attach`.

use std::fs;

use e2e::{Cmd, Host, PATIENCE, proc_children, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{on_a_terminal, scripted};

#[test]
fn a_session_shows_what_comes_at_once_and_ends_with_the_containers_code() {
    let host = Host::new();
    host.up_none(&scripted(
        "talks",
        "stdin: true",
        "while read word\ndo\n  printf 'you said %s> ' $word\n  echo oh >&2\n  test $word = end && exit 5\ndone",
    ));
    host.wait_pod("talks", "running", |pod| pod.phase() == "Running");
    let mut first = host.cmd(["attach", "-i", "talks"]).spawn();
    let watcher = host.cmd(["attach", "talks"]).spawn();
    // Both have to be there before something is said.
    wait_until("both to listen", PATIENCE, || {
        first.type_in("one\n");
        first.said().contains("you said one> ") && watcher.said().contains("you said one> ")
    });
    first.wait_to_say("oh");
    // Ctrl-C ends the session, and the container's input stays open over sessions.
    first.signal(Signal::SIGINT);
    assert_eq!(first.end(PATIENCE), 130);
    let mut second = host.cmd(["attach", "-i", "talks"]).spawn();
    second.type_in("end\n");
    second.wait_to_say("you said end> ");
    assert_eq!(second.end(PATIENCE), 5);
    let mut watcher = watcher;
    assert_eq!(watcher.end(PATIENCE), 5);
    host.podbox(["attach", "talks"]).code(1).complains("container c of pod default/talks is not running");
    host.down(&["talks"]).ok();
    host.finish();
}

#[test]
fn a_terminal_has_the_size_of_the_callers_and_is_left_by_the_detach_keys() {
    let host = Host::new();
    let script = "while read word\ndo\n  printf 'you said %s> ' $word\n  test $word = end && exit 5\ndone";
    host.up_none(
        &scripted("term", "{stdin: true, tty: true}", script)
            .replace("{stdin: true, tty: true}", "stdin: true\n    tty: true"),
    );
    host.wait_pod("term", "running", |pod| pod.phase() == "Running");
    let process = host.container_process("term", "c");
    let size =
        || Cmd::new("stty").args(["-F", &format!("/proc/{process}/fd/0"), "size"]).run().text().to_owned();
    let resize = "(sleep 1; stty -F /dev/tty rows 41 cols 77) &";
    let mut session = on_a_terminal(&host, "attach -it term", resize);
    session.wait_to_say("If you don't see a command prompt, try pressing enter.");
    wait_until("the size to be the caller's", PATIENCE, || size() == "30 90");
    session.type_in("two\n");
    session.wait_to_say("you said two> ");
    wait_until("the new size to be told", PATIENCE, || size() == "41 77");
    session.type_in("\x10\x11");
    session.wait_to_say("read escape sequence");
    assert_eq!(session.end(PATIENCE), 0);
    let mut session = on_a_terminal(&host, "attach -it term", "");
    session.wait_to_say("try pressing enter.");
    session.type_in("end\n");
    session.wait_to_say("you said end> ");
    assert_eq!(session.end(PATIENCE), 5);
    host.down(&["term"]).ok();
    host.finish();
}

#[test]
fn a_session_that_does_not_read_its_output_is_let_go_and_the_container_goes_on() {
    let host = Host::new();
    let manifest = scripted("flood", "stdin: true", "read go\nseq 3000000\nread go\nexit 3");
    host.up_none(&manifest);
    host.wait_pod("flood", "running", |pod| pod.phase() == "Running");
    let podbox = e2e::binary();
    let line = format!("{} attach flood | (sleep 4; wc -c)", podbox.display());
    let slow = host.environment(Cmd::new("sh")).args(["-c", &line]).spawn();
    let mut fast = host.cmd(["attach", "-i", "flood"]).spawn();
    fast.type_in("go\n");
    slow.wait_to_say("output came faster than this session has read it");
    fast.type_in("go\n");
    assert_eq!(fast.end(PATIENCE), 3);
    host.down(&["flood"]).ok();
    host.finish();
}

#[test]
fn a_supervisor_that_dies_costs_the_session_and_the_container_nothing() {
    let host = Host::new();
    host.up(&scripted(
        "lives",
        "stdin: true",
        "while read word\ndo\n  test $word = end && exit 5\n  echo $word\ndone",
    ));
    let mut session = host.cmd(["attach", "-i", "lives"]).spawn();
    session.type_in("one\n");
    session.wait_to_say("one");
    let process = host.container_process("lives", "c");
    let old = host.supervisor("lives");
    host.kill(old.expect("there is a supervisor"));
    session.wait_to_say("lost connection to pod default/lives");
    session.wait_to_say("attach again");
    assert_eq!(session.end(PATIENCE), 1);
    let _ = host.next_supervisor("lives", old);
    let mut session = host.cmd(["attach", "-i", "lives"]).spawn();
    session.type_in("two\nend\n");
    session.wait_to_say("two");
    assert_eq!(session.end(PATIENCE), 5);
    assert_eq!(host.pod("lives").restarts(), 0);
    assert!(process > 0, "it never ran");
    host.down(&["lives"]).ok();
    host.finish();
}

#[test]
fn the_input_of_one_session_ends_with_it() {
    let host = Host::new();
    let script = "while read word\ndo\n  echo \"got $word\"\ndone\nsleep 2\nexit 6";
    host.up(&scripted("once", "stdin: true\n    stdinOnce: true", script));
    // Whoever only looks does not count.
    let mut watcher = host.cmd(["attach", "once"]).spawn();
    let mut first = host.cmd(["attach", "-i", "once"]).spawn();
    first.type_in("one\n");
    first.wait_to_say("got one");
    let second = host.podbox(["attach", "-i", "once"]);
    second.code(1).complains("its input has ended with the first session that had it (stdinOnce)");
    assert_eq!(first.end(PATIENCE), 6);
    assert_eq!(watcher.end(PATIENCE), 6);
    host.down(&["once"]).ok();
    host.finish();
}

#[test]
fn the_last_words_said_on_a_terminal_are_waited_for() {
    let host = Host::new();
    host.up_none(&scripted(
        "ends",
        "tty: true",
        "until [ -e /tmp/go ]\ndo\n  echo not yet\n  sleep 0.05\ndone\necho last words",
    ));
    host.wait_pod("ends", "running", |pod| pod.phase() == "Running");
    let watcher = host.cmd(["attach", "ends"]).spawn();
    watcher.wait_to_say("not yet");
    let is_relay = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "podbox-console\n")
    };
    let guardian = host.guardian("ends").expect("it is there");
    let relay = proc_children(guardian).into_iter().find(is_relay).expect("who holds the terminal");
    let container = host.container_process("ends", "c");
    // Whoever brings the terminal's output has no time for it until the container has ended.
    kill(Pid::from_raw(relay), Signal::SIGSTOP).expect("it is still there");
    host.podbox(["exec", "ends", "--", "touch", "/tmp/go"]).ok();
    wait_until("its end", PATIENCE, || !fs::exists(format!("/proc/{container}")).unwrap_or(true));
    kill(Pid::from_raw(relay), Signal::SIGCONT).expect("it is still there");
    watcher.wait_to_say("last words");
    host.wait_pod("ends", "over", |pod| pod.phase() == "Succeeded");
    assert!(host.logs(&["ends"]).ends_with("\r\nlast words\r\n"));
    host.finish();
}
