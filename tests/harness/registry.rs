//! A real registry on loopback: Debian's docker-registry, filled with skopeo.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use crate::archive::Archive;
use crate::command::{Background, Cmd};
use crate::wait::{PATIENCE, wait_until};

/// A running registry; it ends when it goes out of scope.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    dir: PathBuf,
    server: Option<Background>,
}

impl Registry {
    /// Starts one that keeps its files below `dir`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(dir: &Path, port: u16) -> Registry {
        let dir = dir.join("registry");
        fs::create_dir_all(dir.join("data")).expect("make the registry's directory");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            dir.join("data").display()
        );
        fs::write(dir.join("config.yml"), config).expect("write the registry's configuration");
        let mut registry = Registry { port, dir, server: None };
        registry.resume();
        registry
    }

    /// Starts it again after [`Registry::pause`].
    pub fn resume(&mut self) {
        let config = self.dir.join("config.yml");
        self.server = Some(
            Cmd::new("docker-registry")
                .args(["serve"])
                .args([config])
                .env("OTEL_TRACES_EXPORTER", "none")
                .spawn(),
        );
        wait_until("the registry to answer", PATIENCE, || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Ends it; its files stay.
    pub fn pause(&mut self) {
        self.server = None;
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All that it has said: a line for each request.
    #[must_use]
    pub fn said(&self) -> String {
        self.server.as_ref().map(Background::said).unwrap_or_default()
    }

    /// Pushes an image as `NAME:TAG`.
    pub fn push(&self, archive: &Archive, name: &str) {
        let file = archive.write(&self.dir.join("push.tar"), "local/image:latest");
        Cmd::new("skopeo")
            .args(["--insecure-policy", "--tmpdir"])
            .args([&self.dir])
            .args(["copy", "--dest-tls-verify=false"])
            .args([format!("docker-archive:{}", file.display()), format!("docker://{}/{name}", self.host())])
            .run()
            .ok();
    }

    /// A registries.conf that leads every well-known registry here, by a mirror for each.
    #[must_use]
    pub fn mirrors(&self) -> String {
        let mut text = format!("[[registry]]\nlocation = \"{0}\"\ninsecure = true\n", self.host());
        for name in ["docker.io", "k8s.gcr.io", "registry.k8s.io"] {
            text.push_str(&format!(
                "[[registry]]\nprefix = \"{name}\"\nlocation = \"{name}\"\n[[registry.mirror]]\nlocation = \"{}/{name}\"\ninsecure = true\n",
                self.host()
            ));
        }
        text
    }
}
