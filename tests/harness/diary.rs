//! A file in which containers write down what they do.

use std::fs;
use std::path::PathBuf;

use crate::host::Host;
use crate::pod;
use crate::wait::{PATIENCE, wait_for};

/// What the containers of a test tell, in the order in which they tell it: lines of one file that all can write.
#[derive(Debug)]
pub struct Diary(PathBuf);

impl Diary {
    /// An empty one.
    ///
    /// # Panics
    /// If the disk says no.
    #[must_use]
    pub fn new(host: &Host) -> Diary {
        let dir = host.dir().join("out");
        fs::create_dir_all(&dir).expect("make the diary");
        Diary(dir)
    }

    /// A manifest in whose spec `OUT` at a container stands for the mounted diary, `/out/log`.
    #[must_use]
    pub fn manifest(&self, name: &str, spec: &str) -> String {
        let volumes = format!("  volumes: [{{name: out, hostPath: {{path: {}}}}}]\n", self.0.display());
        pod(name, &(spec.replace("OUT", "volumeMounts: [{name: out, mountPath: /out}]") + &volumes))
    }

    /// Makes an empty file, which the containers see as `/out/NAME`.
    ///
    /// # Panics
    /// If the disk says no.
    pub fn touch(&self, name: &str) {
        fs::write(self.0.join(name), "").expect("make a file of the test");
    }

    /// Removes a file.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(name)).expect("remove a file of the test");
    }

    fn text(&self) -> String {
        fs::read_to_string(self.0.join("log")).unwrap_or_default()
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// How often a line stands there.
    #[must_use]
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|known| *known == line).count()
    }

    /// Waits for a line.
    #[track_caller]
    pub fn wait(&self, line: &str) {
        wait_for(&format!("{line:?} in the diary"), PATIENCE, || match self.count(line) {
            0 => Err(self.text()),
            _ => Ok(()),
        });
    }

    /// Asserts that these lines stand there in this order, whatever stands between them.
    ///
    /// # Panics
    /// If they do not.
    #[track_caller]
    pub fn tells(&self, order: &[&str]) {
        let lines = self.lines();
        let mut rest = lines.iter();
        for line in order {
            assert!(rest.any(|known| known == line), "{line:?} is missing or too early: {lines:?}");
        }
    }
}
