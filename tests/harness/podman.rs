//! Debian's podman with storage and a configuration of its own, and podbox as an image in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Cmd, Layer};

/// Ends its containers and removes its images when it is dropped.
#[derive(Debug)]
pub struct Podman {
    dir: PathBuf,
}

impl Podman {
    /// The image whose only file is `/podbox`.
    pub const IMAGE: &str = "localhost/podbox:test";

    /// One that keeps everything in this directory, with more sections of `containers.conf`.
    ///
    /// # Panics
    /// If the disk or podman says no.
    #[must_use]
    pub fn new(dir: PathBuf, sections: &str) -> Podman {
        fs::create_dir_all(&dir).unwrap();
        // Debian's podman asks for limits that a host without CAP_SYS_RESOURCE cannot give.
        let conf = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n[engine]\nruntime = \"runc\"\nevents_logger = \"file\"\n";
        fs::write(dir.join("containers.conf"), format!("{conf}{sections}")).unwrap();
        let place = |name: &str| dir.join(name).display().to_string();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            place("root"),
            place("run")
        );
        fs::write(dir.join("storage.conf"), storage).unwrap();
        let tar = dir.join("podbox.tar");
        let binary = fs::read(crate::binary()).unwrap();
        fs::write(&tar, Layer::new().program("podbox", &binary).into_bytes()).unwrap();
        let podman = Podman { dir };
        podman.cmd(&["import", tar.to_str().unwrap(), Podman::IMAGE]).run().ok();
        podman
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command line of it.
    #[must_use]
    pub fn cmd(&self, args: &[&str]) -> Cmd {
        let dir = |name: &str| self.dir.join(name).display().to_string();
        Cmd::new("podman")
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.dir.join("storage.conf"))
            .args(["--root", &dir("root"), "--runroot", &dir("run"), "--tmpdir", &dir("tmp")])
            .args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"])
            .args(args)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.cmd(&["rm", "-f", "-t", "0", "-a"]).run();
        self.cmd(&["rmi", "-f", "-a"]).run();
        let _ = nix::mount::umount2(&self.dir.join("root/overlay"), nix::mount::MntFlags::MNT_DETACH);
        for below in ["root", "run", "tmp"] {
            let _ = fs::remove_dir_all(self.dir.join(below));
        }
    }
}
