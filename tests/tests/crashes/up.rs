//! `up` is killed, with all that it has started or without; and the machine is.

use std::thread;
use std::time::Duration;

use e2e::{Background, Host, PATIENCE};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Open, been_up, busy, kill_all, no_line_is_lost, unchanged};

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
    let manifest = been_up(&host, "cut-short");
    for step in 0..24_u64 {
        let mut up = host.cmd(["up", "-d", manifest.as_str()]).spawn();
        // Every half millisecond of its life, and later every millisecond.
        thread::sleep(Duration::from_micros(step * 500 + step.saturating_sub(12) * 500));
        let _ = kill(Pid::from_raw(up.pid()), Signal::SIGKILL);
        up.end(PATIENCE);
        if step % 3 == 0 {
            // The same manifest once more must bring it up, whatever was left.
            host.podbox(["up", "-d", manifest.as_str()]).ok();
        }
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn everything_of_a_pod_killed_at_random_moments_of_its_start_down_leaves_nothing() {
    let host = Host::new();
    let manifest = been_up(&host, "cut-down");
    for step in 0..16_u64 {
        let mut up = host.cmd(["up", "-d", manifest.as_str()]).spawn();
        thread::sleep(Duration::from_micros(1000 + step * 700));
        let _ = kill(Pid::from_raw(up.pid()), Signal::SIGKILL);
        kill_all(&host, &["guardian", "supervise"]);
        up.end(PATIENCE);
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
        host.expect_nothing_left();
    }
    host.finish();
}

#[test]
fn a_hundred_random_deaths_of_up_or_of_all_its_helpers_leave_nothing_that_the_next_command_does_not_mend() {
    let host = Host::new();
    let manifest = been_up(&host, "random");
    let mut random = std::process::id();
    for round in 0..100 {
        // Marsaglia's xorshift: any moment of the first 20 ms, and one time in three everybody dies.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let mut up = host.cmd(["up", "-d", manifest.as_str()]).spawn();
        thread::sleep(Duration::from_micros((random % 20_000).into()));
        let _ = kill(Pid::from_raw(up.pid()), Signal::SIGKILL);
        if random.is_multiple_of(3) {
            kill_all(&host, &["guardian", "supervise"]);
        }
        up.end(PATIENCE);
        if round % 2 == 0 {
            host.podbox(["up", "-d", manifest.as_str()]).ok();
            host.wait_pod("random", "Running", |pod| pod.phase() == "Running");
        }
        host.podbox(["down", "--all", "--grace-period", "0"]).ok();
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
