//! How long a container takes from the start of its stage to the program's exec, step by step. Ignored
//! because it measures and asserts nothing: `cargo test -p runtime --release --test speed -- --ignored --nocapture`.

mod common;

use common::{Container, World};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

#[test]
#[ignore = "a measurement"]
fn from_stage_to_exec() {
    let world = World::new();
    let (mut totals, mut gates, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut steps: BTreeMap<usize, (String, Vec<u64>)> = BTreeMap::new();
    for n in 0..60 {
        let path = format!("/podbox-test-speed-{}/c-{n}", std::process::id());
        let spec = json!({ "linux": { "cgroupsPath": path,
            "resources": { "memory": { "limit": 64 << 20 }, "cpu": { "shares": 100 } } } });
        let plan = world.plan(&format!("c{n}"), "exit 0", spec);
        let start = Instant::now();
        let mut container = Container::create(&plan).unwrap();
        gates.push(start.elapsed().as_micros() as u64);
        container.go().unwrap();
        totals.push(start.elapsed().as_micros() as u64);
        let inside: u64 = container.ready.trace.iter().map(|step| step.micros).sum();
        for (index, step) in container.ready.trace.iter().enumerate() {
            steps.entry(index).or_insert_with(|| (step.name.clone(), Vec::new())).1.push(step.micros);
        }
        steps.entry(999).or_insert_with(|| ("all steps".into(), Vec::new())).1.push(inside);
        container.wait();
        let start = Instant::now();
        runtime::cgroup::Cgroups::detect().at(path.as_ref()).remove_with_parents().unwrap();
        ends.push(start.elapsed().as_micros() as u64);
    }
    let median = |values: &mut Vec<u64>| {
        values.sort_unstable();
        values[values.len() / 2]
    };
    for (name, values) in steps.values_mut() {
        println!("{:>7} us  {name}", median(values));
    }
    println!("{:>7} us  stage start to ready (and stage reaped)", median(&mut gates));
    println!("{:>7} us  stage start to exec", median(&mut totals));
    println!("{:>7} us  remove the cgroup", median(&mut ends));
}
