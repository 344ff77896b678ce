//! Whole lives of pods, again and again, some cut short: nothing of them stays. `PODBOX_CYCLES` says how often.

use std::thread;
use std::time::Duration;

use e2e::{Host, PATIENCE, pod};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A pod with a host port, which a Service with a port of the host leads to, and one in the host's network.
fn manifest(host: &Host) -> String {
    let [web, native, node] = [1, 2, 33].map(|index| host.port(index));
    let served = format!(
        "  containers:\n  - {{name: c, image: podbox.local/toolbox, command: [udp-echo, --port, '9000'], ports: [{{containerPort: 9000, hostPort: {web}, protocol: UDP}}]}}\n"
    );
    let own = format!(
        "  hostNetwork: true\n  containers:\n  - {{name: c, image: podbox.local/toolbox, command: [tcp-echo, --port, '{native}'], ports: [{{containerPort: {native}}}]}}\n"
    );
    let served = pod("web", &served).replace("name: web", "name: web\n  labels: {app: web}");
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  type: NodePort\n  ipFamilyPolicy: PreferDualStack\n  selector: {{app: web}}\n  ports: [{{port: 53, targetPort: 9000, nodePort: {node}, protocol: UDP}}]\n"
    );
    [service, served, pod("native", &own)].join("\n---\n")
}

#[test]
fn nothing_is_left_of_pods_and_services_that_come_and_go_or_are_cut_short() {
    let cycles = std::env::var("PODBOX_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let host = Host::builder().own_net().build();
    let file = host.dir().join("all.yaml");
    std::fs::write(&file, manifest(&host)).unwrap();
    let up = ["up", "-d", file.to_str().unwrap()];
    let mut random = std::process::id() | 1;
    println!("seed {random}");
    for cycle in 0..cycles {
        // Marsaglia's xorshift: any moment of the first 100 ms.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let moment = Duration::from_micros((random % 100_000).into());
        match cycle % 4 {
            0 => drop(host.podbox(up).ok()),
            1 => {
                let mut up = host.cmd(up).spawn();
                thread::sleep(moment);
                let _ = kill(Pid::from_raw(up.pid()), Signal::SIGKILL);
                if random.is_multiple_of(3) {
                    kill_helpers(&host);
                }
                up.end(PATIENCE);
            }
            2 => {
                host.podbox(up).ok();
                kill_helpers(&host);
            }
            _ => {
                host.podbox(up).ok();
                // Killed while it takes the pods down; the next one goes on with that.
                let mut down = host.cmd(["down", "--all", "--grace-period", "0"]).spawn();
                thread::sleep(moment / 4);
                let _ = kill(Pid::from_raw(down.pid()), Signal::SIGKILL);
                kill_helpers(&host);
                down.end(PATIENCE);
            }
        }
        let down = host.podbox(["down", "--all", "--grace-period", "0"]);
        assert!(down.good(), "cycle {cycle}: {down}");
        // Services stay until they are removed, as objects do.
        host.podbox(["down", "svc/web"]);
        host.expect_nothing_left();
    }
    host.finish();
}

/// All supervisors and guardians at once.
fn kill_helpers(host: &Host) {
    for word in ["guardian", "supervise"] {
        for pid in host.helpers(word) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
