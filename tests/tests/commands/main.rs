//! The command line as people who know kubectl and docker use it.

use std::fs;
use std::time::Duration;

use e2e::{Background, PATIENCE, pod, wait_until};

mod changing;
mod looking;
mod output;
mod waiting;

const IDLE: &str = r"
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sleep, infinity]}
";

const TWO: &str = r"
  containers:
  - {name: a, image: podbox.local/toolbox, command: [http, --port, '8080']}
  - {name: b, image: podbox.local/toolbox, command: [http, --port, '8081']}
";

fn labelled(name: &str, labels: &str, spec: &str) -> String {
    pod(name, spec).replacen("metadata:\n", &format!("metadata:\n  labels: {{{labels}}}\n"), 1)
}

/// How often the process's threads have gone to sleep by themselves.
fn sleeps(pid: i32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let count = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.filter_map(count).sum()
}

/// Insists that a process that waits does nothing at all while nothing happens: whoever looks again from time to
/// time goes to sleep again each time, and the kernel counts that.
fn does_not_poll(what: &str, waiting: &Background) {
    let quiet_for = |time: Duration| {
        let before = sleeps(waiting.pid());
        std::thread::sleep(time);
        sleeps(waiting.pid()) - before
    };
    wait_until(&format!("{what} to have nothing to do"), PATIENCE, || {
        quiet_for(Duration::from_millis(500)) == 0
    });
    let woken = quiet_for(Duration::from_secs(3));
    assert_eq!(woken, 0, "{what} woke up {woken} times in 3 idle seconds; it said\n{}", waiting.said());
}
