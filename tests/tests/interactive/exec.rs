//! `podbox exec` on a terminal.

use e2e::{Cmd, Host, PATIENCE, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{on_a_terminal, scripted};

#[test]
fn a_command_on_a_terminal_follows_its_size_and_dies_with_the_client() {
    let host = Host::new();
    host.up(&scripted("execs", "stdin: true", "read forever"));
    // No other test's command is the same.
    let script = format!("read size{}", host.number());
    let pids = |line: String| -> Vec<i32> {
        let found = Cmd::new("pgrep").args(["-f", "-x", &line]).run();
        found.text().lines().filter_map(|pid| pid.parse().ok()).collect()
    };
    let inside = || pids(format!("sh -c {script}"));
    let size = || {
        let [pid] = inside()[..] else { return String::new() };
        Cmd::new("stty").args(["-F", &format!("/proc/{pid}/fd/0"), "size"]).run().text().to_owned()
    };
    let args = format!("exec -it execs -- sh -c '{script}'");
    let resize = "(sleep 1; stty -F /dev/tty rows 41 cols 77) &";
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut session = on_a_terminal(&host, &args, resize);
        wait_until("the size to be the caller's", PATIENCE, || size() == "30 90");
        wait_until("the new size to be told", PATIENCE, || size() == "41 77");
        let client = pids(format!("{} exec -it execs -- sh -c {script}", e2e::binary().display()));
        let [client] = client[..] else { panic!("not one client but {client:?}") };
        kill(Pid::from_raw(client), signal).unwrap();
        wait_until("the command to die", PATIENCE, || inside().is_empty());
        assert_eq!(session.end(PATIENCE), 128 + signal as i32);
    }
    host.down(&["execs"]).ok();
    host.finish();
}

#[test]
fn a_command_on_a_terminal_is_told_which_kind_it_is() {
    let host = Host::new();
    host.up(&scripted("kinds", "stdin: true", "sleep 1000"));
    let script = "exec -it kinds -- sh -c 'echo kind=$TERM; read _'";
    let session = on_a_terminal(&host, script, "");
    session.wait_to_say("kind=xterm");
    drop(session);
    let piped = host.podbox(["exec", "kinds", "--", "sh", "-c", "echo kind=$TERM."]).ok();
    assert_eq!(piped.text().trim(), "kind=.");
    host.down(&["kinds"]).ok();
    host.finish();
}
