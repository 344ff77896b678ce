//! How long it takes. Run with `cargo test -p netplugin --test measure -- --ignored --nocapture`.

mod support;

use std::collections::BTreeMap;
use std::time::Instant;

use support::{Host, Netns, tcp};

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
#[ignore = "a measurement, not a test"]
fn attach_and_detach_in_microseconds() {
    const PODS: u16 = 200;
    for ports in [0, 1] {
        let host = Host::new();
        let first = host.pod("keeps-the-bridge");
        println!("first: {} µs", first.attached.trace.iter().map(|t| t.micros).sum::<u64>());
        for timed in &first.attached.trace {
            println!("  {:>6}  {}", timed.micros, timed.name);
        }
        let mut steps: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let (mut whole, mut leaving, mut pods) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..PODS {
            let pod = Netns::new();
            let id = format!("pod-{number}");
            let owner = format!("default/{id}");
            let mapping = [tcp(8000 + number, 80)];
            let ports = &mapping[..ports];
            let request = netplugin::Request {
                id: &id,
                owner: &owner,
                netns: pod.path(),
                ifname: "eth0",
                ports,
                wishes: netplugin::Wishes::default(),
            };
            let (attached, micros) = host.netns.run(|| {
                let start = Instant::now();
                let attached = netplugin::attach(&host.config, &request).unwrap();
                (attached, start.elapsed().as_micros())
            });
            let micros = u64::try_from(micros).unwrap();
            whole.push(micros);
            let inside: u64 = attached.trace.iter().map(|timed| timed.micros).sum();
            steps.entry("(between the steps)".to_owned()).or_default().push(micros - inside);
            for timed in attached.trace {
                steps.entry(timed.name).or_default().push(timed.micros);
            }
            pods.push((id, pod));
        }
        for (id, _) in &pods {
            let micros = host.netns.run(|| {
                let start = Instant::now();
                assert!(netplugin::detach(&host.config, id).is_empty());
                start.elapsed().as_micros()
            });
            leaving.push(u64::try_from(micros).unwrap());
        }
        let (attach, detach) = (median(&mut whole), median(&mut leaving));
        println!("{ports} ports: attach {attach} µs, detach {detach} µs (median of {PODS})");
        for (name, mut values) in steps {
            println!("  {:>6}  {name}", median(&mut values));
        }
        host.detach("keeps-the-bridge");
        let start = Instant::now();
        assert!(host.release_idle());
        println!("release {} µs", start.elapsed().as_micros());
    }
}
