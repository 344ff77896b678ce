//! The harness of podbox's end-to-end tests: the real binary on the real kernel, as root.
//!
//! Each test makes a [`Host`]: a podbox of its own with its own directories, bridge, addresses and nftables
//! table, so that tests run side by side and beside a podbox that is in use. What a test starts is ended
//! when its `Host` goes out of scope, and then nothing may be left: no process, namespace, link, rule, mount,
//! cgroup, lease or file. A test that fails prints what podbox itself has to say.
//!
//! Nothing sleeps for luck: [`wait_for`] asks again and again until a deadline. Every command has a limit, after
//! which it is ended together with its children.

mod archive;
mod command;
mod diary;
mod host;
mod leftovers;
mod outside;
mod pair;
mod podman;
mod registry;
mod slot;
mod view;
mod wait;

pub use archive::{Archive, Layer};
pub use command::{Background, Cmd, Output, bracketed, ip};
pub use diary::Diary;
pub use host::{Builder, Host, proc_children, proc_cmdline};
pub use outside::Outside;
pub use pair::client_and_server;
pub use podman::Podman;
pub use registry::Registry;
pub use view::PodView;
pub use wait::{PATIENCE, wait_for, wait_good, wait_until};

use std::path::{Path, PathBuf};

/// The podbox binary under test: `PODBOX_BIN`, or the release build beside this test's own build.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PODBOX_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "PODBOX_BIN={} is no file", path.display());
        return path;
    }
    let own = std::env::current_exe().expect("this test's own path");
    let beside = own.ancestors().map(|dir| dir.join("release/podbox")).find(|path| path.is_file());
    beside.expect("no release build of podbox: run `cargo build --release` first, or set PODBOX_BIN")
}

/// A file of this directory, such as `manifests/http-go.yaml`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Fails with a clear word where the tests cannot run.
///
/// # Panics
/// If this is not root.
pub fn require_root() {
    assert!(nix::unistd::geteuid().is_root(), "the end-to-end tests make namespaces and must run as root");
}

/// A Pod manifest: its name and its spec, written as YAML with two blanks before each line.
#[must_use]
pub fn pod(name: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n{}\n", spec.trim_matches('\n'))
}
