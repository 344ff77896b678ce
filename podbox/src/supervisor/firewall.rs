//! Noticing that somebody has removed the host's rules for pods, and bringing them back.
//!
//! Whoever loads his own firewall anew often begins with `nft flush ruleset`, which takes everybody's rules. Every supervisor
//! listens to the changes of nftables in the host's network; a filter lets only those wake it that may have taken something
//! away, or put something in a packet's way. Then it looks whether something is missing, which is a few questions to the
//! kernel, and whoever finds so first brings it back under the network's lock. Of the rules in pods' own networks
//! [`super::inside`] hears.

use std::sync::Arc;
use std::time::Duration;

use netplugin::Changes;

use crate::report;

use super::catalogue;
use super::readable::readable;
use super::sandbox::tell;
use super::world::World;

/// Begins after this, so that nothing of it stands in the way of a pod that starts. What has happened meanwhile is seen then.
const STARTED: Duration = Duration::from_millis(500);
/// Changes within this time are looked at together: a program that sets up its rules one by one must not keep every pod's
/// supervisor busy.
const TOGETHER: Duration = Duration::from_millis(100);

/// Begins to listen, once the pod has addresses.
pub(super) fn begin(world: &Arc<World>) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        if !world.known.has_addresses().await {
            return;
        }
        tokio::time::sleep(STARTED).await;
        let changes = match Changes::begin() {
            Ok(changes) => changes,
            // Without nf_tables there is nothing that could be lost.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EPROTONOSUPPORT as i32) => return,
            Err(error) => return report::log(format_args!("supervisor: watch the host's rules: {error}")),
        };
        let fd = match readable(&changes) {
            Ok(fd) => fd,
            Err(error) => return report::log(format_args!("supervisor: watch the host's rules: {error}")),
        };
        let mut told = restore(&world, &[]);
        loop {
            let Ok(mut news) = fd.readable().await else { return };
            news.clear_ready();
            if changes.take() {
                told = restore(&world, &told);
                // What comes in the next moments stays in the socket, and is looked at together.
                tokio::time::sleep(TOGETHER).await;
            }
        }
    });
}

/// Brings back what is missing on the host. Returns what could not be, which is told unless it was told already.
fn restore(world: &World, told: &[String]) -> Vec<String> {
    let settings = &world.settings;
    let mut errors = Vec::new();
    for network in settings.networks() {
        match netplugin::restore(network) {
            Ok(false) => {}
            Ok(true) => {
                let message = format!("Restored the host's rules for pods on {}", network.bridge);
                tell(world, "NetworkMended", message);
            }
            Err(error) => errors.push(report::chain(&error)),
        }
    }
    errors.extend(catalogue::restore_host(settings).err());
    for error in errors.iter().filter(|error| !told.contains(error)) {
        report::log(format_args!("supervisor: restore the host's rules: {error}"));
    }
    // Nothing may come for a long time now.
    runtime::guard::slim_heap();
    errors
}
