//! Crashes: after every step in turn.

use super::*;
use crate::config::PortMapping;
use crate::support::{Host, Netns, tcp, udp};

/// Does the first steps of attaching and then nothing more, as if killed. True if all were done.
fn crash_after(steps: usize, host: &Host, pod: &Netns, ports: &[PortMapping]) -> bool {
    host.netns.run(|| {
        let request = Request { id: "a", owner: "default/a", netns: pod.path(), ifname: "eth0", ports };
        let mut world = World::new(&host.config, &request).unwrap();
        world.stop_after = steps;
        match world.attach_steps() {
            Ok(()) => true,
            Err(NetError::Request { .. }) => false,
            Err(other) => panic!("step {steps}: {}", crate::support::chain(&other)),
        }
    })
}

#[test]
fn after_a_crash_at_any_step_detach_and_release_leave_nothing() {
    let ports = [tcp(8080, 80), udp(5353, 53)];
    for steps in 0.. {
        let host = Host::new();
        let pod = Netns::new();
        let complete = crash_after(steps, &host, &pod, &ports);
        host.detach("a");
        drop(pod);
        assert!(host.release_idle());
        host.wait_for_cables();
        assert_eq!(host.left_behind(), "", "after {steps} steps");
        if complete {
            assert!(steps > 12, "{steps}");
            return;
        }
    }
}

#[test]
fn after_a_crash_at_any_step_the_next_try_succeeds() {
    let ports = [tcp(8080, 80)];
    for steps in 0.. {
        let host = Host::new();
        let pod = Netns::new();
        let complete = crash_after(steps, &host, &pod, &ports);
        let attached = host.attach("a", &pod, &ports).unwrap_or_else(|e| panic!("after {steps}: {e}"));
        pod.serve_tcp("[::]:80");
        assert_eq!(
            host.netns.seen_by_tcp("127.0.0.1:8080"),
            Ok(attached.attachment.gateways[0]),
            "after {steps} steps"
        );
        if complete {
            return;
        }
    }
}
