//! The floor: the system calls of a pod and nothing around them (`floor.c`), told what to do line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::candidate::{Candidate, Helper, PodNumber};
use crate::failure::{Failure, Outcome, cannot};
use crate::site::{FLOOR_BRIDGE, Site};

/// The running yardstick. Its bridge is there before anything is measured.
pub(crate) struct Floor {
    process: Child,
    lines: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Floor {
    pub(crate) fn start(site: &Site) -> Outcome<Floor> {
        let mut process = Command::new(site.path("floor"))
            // -a: the veth goes with its namespace, as podbox does it.
            .args(["-a", "-i", "-b", FLOOR_BRIDGE, "-g", "10.252.0.0", "-d"])
            .arg(site.path("floor.d"))
            .arg("-x")
            .arg(&site.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(cannot("start the floor"))?;
        let lines = process.stdin.take();
        let answers = process.stdout.take().ok_or_else(|| Failure("the floor has no output".to_owned()))?;
        Ok(Floor { process, lines, answers: BufReader::new(answers) })
    }

    fn ask(&mut self, line: &str) -> Outcome<Duration> {
        let said = self.lines.as_mut().map(|lines| lines.write_all(format!("{line}\n").as_bytes()));
        said.transpose().map_err(cannot("talk to the floor"))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(cannot("hear the floor"))?;
        let nanos = answer.trim().parse().map_err(|_| Failure(format!("the floor failed at {line}")))?;
        Ok(Duration::from_nanos(nanos))
    }

    /// fork, exec and wait of `true` where we are.
    pub(crate) fn plain(&mut self) -> Outcome<Duration> {
        self.ask("plain")
    }
}

impl Candidate for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn version(&self) -> String {
        "floor.c -a".to_owned()
    }

    fn has_pods(&self) -> bool {
        true
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn up(&mut self, pod: PodNumber) -> Outcome<Duration> {
        self.ask(&format!("up {pod}"))
    }

    fn down(&mut self, pod: PodNumber) -> Outcome<Duration> {
        self.ask(&format!("down {pod}"))
    }

    fn exec(&mut self, pod: PodNumber) -> Outcome<Duration> {
        self.ask(&format!("exec {pod}"))
    }

    fn restart(&mut self, pod: PodNumber) -> Outcome<Vec<Duration>> {
        Ok(vec![self.ask(&format!("restart {pod}"))?])
    }

    fn helpers(&self) -> Vec<Helper> {
        Vec::new()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // At the end of its input it takes its pods down and leaves.
        self.lines = None;
        let _ = self.process.wait();
    }
}
