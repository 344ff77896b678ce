//! The guardian is killed, with the supervisor or without.

use std::fs;

use e2e::{Host, PATIENCE, pod, wait_for, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Open, no_line_is_lost, probes_go_on, processes, start, unchanged, under_traffic};

#[test]
fn guardian_killed_a_new_one_takes_over_or_the_pod_stops_cleanly() {
    let host = Host::new();
    let before = start(&host, "unguarded");
    let pids = processes(&host, "unguarded");
    let mut open = Open::to(&before);
    under_traffic(&before, || {
        let old = host.guardian("unguarded").unwrap();
        host.kill(old);
        wait_for("a new guardian", PATIENCE, || {
            host.guardian("unguarded").filter(|pid| *pid != old).ok_or("none")
        });
    });
    open.works();
    host.wait_pod("unguarded", "Ready", |pod| pod.is("Ready"));
    unchanged(&before, &host.pod("unguarded"));
    assert_eq!(processes(&host, "unguarded"), pids, "the processes are the same");
    no_line_is_lost(&host, "unguarded");
    probes_go_on(&host, "unguarded");
    // A container that was there before the new guardian is nobody's child of its own; its end is noticed all the same.
    host.kill(host.container_process("unguarded", "echo"));
    host.wait_pod("unguarded", "a restart of echo", |pod| pod.container("echo")["restartCount"] == 1);
    host.down(&["unguarded"]);
    host.expect_nothing_left();
    host.finish();
}

/// From Linux 6.15 on, the kernel tells how a process ended whose pidfd was held (PIDFD_INFO_EXIT).
fn the_kernel_remembers() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn guardian_killed_an_exit_code_that_nobody_records_is_asked_of_the_kernel() {
    let host = Host::new();
    let spec = "  restartPolicy: Never\n  containers:\n  - {name: c, image: podbox.local/toolbox, command: [sh, -c, 'sleep 3; exit 3']}";
    host.up(&pod("ends", spec));
    let old = host.guardian("ends").unwrap();
    host.kill(old);
    host.wait_pod("ends", "its end", |pod| pod.phase() == "Failed");
    let view = host.pod("ends");
    let end = &view.container("c")["state"]["terminated"];
    if the_kernel_remembers() {
        assert_eq!((&end["exitCode"], &end["reason"]), (&3.into(), &"Error".into()), "{end:#}");
    } else {
        assert_eq!(end["reason"], "ContainerStatusUnknown", "{end:#}");
    }
    host.down(&["ends"]);
    host.finish();
}

#[test]
fn guardian_and_supervisor_killed_the_next_command_says_so_and_takes_the_pod_up_again() {
    let host = Host::new();
    let before = start(&host, "taken-up");
    let pids = processes(&host, "taken-up");
    let mut open = Open::to(&before);
    under_traffic(&before, || {
        kill_both(&host, "taken-up");
        open.works();
        host.podbox(["exec", "taken-up", "-c", "echo", "--", "true"]).ok().complains("were gone");
        wait_until("a guardian", PATIENCE, || host.guardian("taken-up").is_some());
        let _ = host.next_supervisor("taken-up", None);
    });
    open.works();
    host.wait_pod("taken-up", "Ready", |pod| pod.is("Ready"));
    unchanged(&before, &host.pod("taken-up"));
    assert_eq!(processes(&host, "taken-up"), pids, "the processes are the same");
    no_line_is_lost(&host, "taken-up");
    probes_go_on(&host, "taken-up");
    host.down(&["taken-up"]);
    host.expect_nothing_left();
    host.finish();
}

/// Stops both first, so that neither can start the other again.
fn kill_both(host: &Host, name: &str) {
    let (guardian, supervisor) = (host.guardian(name).unwrap(), host.next_supervisor(name, None));
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        for pid in [guardian, supervisor] {
            kill(Pid::from_raw(pid), signal).unwrap();
        }
    }
    wait_until("both to be gone", PATIENCE, || {
        host.guardian(name).is_none() && host.supervisor(name).is_none()
    });
}

#[test]
fn guardian_and_supervisor_killed_down_cleans_up() {
    let host = Host::new();
    start(&host, "cleaned");
    kill_both(&host, "cleaned");
    host.down(&["cleaned", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn guardian_and_supervisor_killed_a_container_that_ends_meanwhile_is_noticed() {
    let host = Host::new();
    start(&host, "noticed");
    kill_both(&host, "noticed");
    host.kill(host.container_process("noticed", "echo"));
    host.podbox(["wait", "noticed", "--for", "condition=PodScheduled"]).ok().complains("were gone");
    let view =
        host.wait_pod("noticed", "a restart of echo", |pod| pod.container("echo")["restartCount"] == 1);
    let last = &view.container("echo")["lastState"]["terminated"];
    assert_eq!(last["reason"], "ContainerStatusUnknown", "nobody saw how it ended: {last:#}");
    host.finish();
}

/// Who is behind the Service, as the files tell.
fn endpoints(host: &Host) -> Vec<String> {
    let listed = host.podbox(["get", "endpoints", "web", "-o", "json"]).ok().json();
    let addresses = listed["subsets"][0]["addresses"].as_array().cloned().unwrap_or_default();
    let name =
        |address: &serde_json::Value| address["targetRef"]["name"].as_str().unwrap_or_default().to_owned();
    addresses.iter().map(name).collect()
}

#[test]
fn guardian_and_supervisor_killed_services_lead_elsewhere_until_the_pod_is_taken_up_again() {
    let host = Host::new();
    host.up("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  ports: [{port: 80, targetPort: 8080}]\n");
    let spec = "  containers:\n  - name: c\n    image: podbox.local/toolbox\n    command: [http, --port, '8080']\n    readinessProbe: {httpGet: {path: /, port: 8080}}\n";
    for name in ["left-one", "left-two"] {
        let named = format!("name: {name}");
        host.up_ready(&pod(name, spec).replacen(&named, &format!("{named}\n  labels: {{app: web}}"), 1));
    }
    host.up_ready(&pod("left-client", spec));
    wait_for("both endpoints", PATIENCE, || match endpoints(&host) {
        both if both.len() == 2 => Ok(()),
        others => Err(others),
    });
    let ip =
        host.podbox(["get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}"]).ok().text().trim().to_owned();
    let script = format!("for i in $(seq 20); do get http://{ip}/ || echo refused; done");
    let answers = || {
        let said = host.exec("left-client", &["sh", "-c", &script]);
        let mut names: Vec<String> =
            said.lines().map(|line| line.trim_start_matches("You've hit ").to_owned()).collect();
        names.sort();
        names.dedup();
        names
    };
    // A supervisor alone has a successor, and the pod stays where it is.
    let old = host.next_supervisor("left-one", None);
    host.kill(old);
    let _ = host.next_supervisor("left-one", Some(old));
    for _ in 0..10 {
        assert_eq!(endpoints(&host).len(), 2, "after a supervisor was killed");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    host.wait_event("left-one", "SupervisorRestarted", "another one has taken its place");

    let address = host.pod("left-one").ip();
    kill_both(&host, "left-one");
    wait_for("the Service to lead to the other one", PATIENCE, || match answers() {
        names if names == ["left-two"] => Ok(()),
        names => Err(names),
    });
    assert_eq!(endpoints(&host), ["left-two"]);
    host.podbox(["toolbox", "get", &format!("http://{address}:8080/")]).ok();
    kill_both(&host, "left-two");
    wait_for("the Service to lead nowhere", PATIENCE, || match answers() {
        names if names == ["refused"] => Ok(()),
        names => Err(names),
    });
    for name in ["left-one", "left-two"] {
        host.podbox(["exec", name, "--", "true"]).ok().complains("were gone");
    }
    wait_for("both to be led to again", PATIENCE, || match answers() {
        names if names == ["left-one", "left-two"] => Ok(()),
        names => Err(names),
    });
    host.finish();
}
