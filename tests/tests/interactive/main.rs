//! What a person at a terminal does with a pod: attach, run, debug, forward ports.

mod attach;
mod cp;
mod debug;
mod exec;
mod port_forward;
mod run;

use e2e::{Background, Host, pod};

/// A pod with one container that runs this shell script; `streams` are its stdin, stdinOnce and tty.
fn scripted(name: &str, streams: &str, script: &str) -> String {
    pod(
        name,
        &format!(
            "  restartPolicy: Never\n  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    \
             image: podbox.local/toolbox\n    {streams}\n    command: [sh, -c]\n    args:\n    - |\n      {}",
            script.replace('\n', "\n      ")
        ),
    )
}

/// podbox on a terminal of its own, of 30 rows and 90 columns at first; `meanwhile` runs beside it on that terminal.
fn on_a_terminal(host: &Host, args: &str, meanwhile: &str) -> Background {
    let podbox = e2e::binary();
    let line = format!("stty rows 30 cols 90; {meanwhile} exec {} {args}", podbox.display());
    host.environment(e2e::Cmd::new("script")).args(["-qfec", &line, "/dev/null"]).input("").spawn()
}
