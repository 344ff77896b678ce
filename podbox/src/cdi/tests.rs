//! Files that are read, devices that are shared out.

use std::fs;

use super::*;

const GPUS: &str = r#"
cdiVersion: "0.8.0"
kind: vendor.com/gpu
containerEdits: {env: [ALL=1]}
devices:
- {name: gpu0, containerEdits: {env: [GPU=0], deviceNodes: [{path: /dev/null, permissions: rw}]}}
- {name: gpu1, containerEdits: {env: [GPU=1], mounts: [{hostPath: /etc, containerPath: /host, options: [ro]}]}}
- {name: all, containerEdits: {env: [GPU=all]}}
"#;

fn pod(spec: &str) -> Pod {
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{spec}");
    let source = crate::manifest::Source::new("p", text);
    let loaded = crate::manifest::load(&[source], &crate::manifest::Options::default());
    let mut pod = loaded.unwrap_or_else(|why| panic!("{why}")).pods.remove(0).pod;
    pod.uid = "one".to_owned();
    pod
}

struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Host {
        let dir = tempfile::tempdir().unwrap();
        for path in ["etc", "run", "pods/one", "pods/two"] {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        Host { dir }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.path().join(file), text).unwrap();
    }

    fn catalogue(&self) -> Catalogue {
        Catalogue::read(&[self.dir.path().join("etc"), self.dir.path().join("run")])
    }

    fn leases(&self) -> Leases {
        Leases::new(self.dir.path().join("devices"), self.dir.path().join("pods"))
    }
}

#[test]
fn devices_of_yaml_and_json_are_offered_and_all_is_none_of_them() {
    let host = Host::new();
    host.write("etc/gpu.yaml", GPUS);
    host.write("etc/nic.json", r#"{"cdiVersion": "0.5.0", "kind": "a.b/nic", "devices": [{"name": "n"}]}"#);
    host.write("etc/notes.txt", "no device");
    let catalogue = host.catalogue();
    assert_eq!(catalogue.names("vendor.com/gpu").collect::<Vec<_>>(), ["gpu0", "gpu1"]);
    assert_eq!(catalogue.names("a.b/nic").collect::<Vec<_>>(), ["n"]);
    assert_eq!(catalogue.edits("vendor.com/gpu", "all").unwrap().env, ["ALL=1", "GPU=all"]);
    assert!(catalogue.offers().starts_with("CDI offers a.b/nic: 1, vendor.com/gpu: 2 (in "));
}

#[test]
fn a_file_of_a_later_directory_wins_and_two_of_one_directory_are_a_conflict() {
    let host = Host::new();
    let file = |value: u8| {
        format!(
            "cdiVersion: '0.8.0'\nkind: a.b/c\ndevices: [{{name: d, containerEdits: {{env: [N={value}]}}}}]"
        )
    };
    host.write("etc/a.yaml", &file(1));
    host.write("run/a.yaml", &file(2));
    assert_eq!(host.catalogue().edits("a.b/c", "d").unwrap().env, ["N=2"]);
    host.write("run/b.yaml", &file(3));
    let catalogue = host.catalogue();
    assert!(catalogue.edits("a.b/c", "d").unwrap_err().contains("defined twice"));
    assert_eq!(catalogue.names("a.b/c").count(), 0);
}

#[test]
fn what_has_no_effect_makes_a_device_unusable_by_name_and_what_is_no_file_of_cdi_is_told() {
    let host = Host::new();
    host.write(
        "etc/h.yaml",
        "cdiVersion: '0.8.0'\nkind: a.b/h\ndevices: [{name: d, containerEdits: {hooks: [{hookName: prestart, path: /x}]}}]",
    );
    let why = host.catalogue().edits("a.b/h", "d").unwrap_err();
    assert_eq!(
        why,
        "CDI device a.b/h=d cannot be used: it needs hooks: podbox runs no programs of the host for a container"
    );
    host.write("etc/h.yaml", "cdiVersion: '0.8.0'\nkind: nonsense\ndevices: []");
    assert!(host.catalogue().offers().contains("h.yaml: kind \"nonsense\" is not VENDOR/CLASS"));
    host.write("etc/h.yaml", "cdiVersion: '9.0.0'\nkind: a.b/c\ndevices: []");
    assert!(host.catalogue().offers().contains("version \"9.0.0\" of CDI is not known"));
}

#[test]
fn a_pod_that_asks_for_more_than_is_free_is_refused_in_a_schedulers_words() {
    let host = Host::new();
    host.write("etc/gpu.yaml", GPUS);
    let asks = |count: u8| {
        pod(&format!(
            "  containers: [{{name: c, image: i, resources: {{limits: {{vendor.com/gpu: {count}}}}}}}]"
        ))
    };
    let (catalogue, leases) = (host.catalogue(), host.leases());
    catalogue.check(&[&asks(2)], &leases).unwrap();
    assert!(catalogue.check(&[&asks(1), &asks(2)], &leases).is_err(), "together they ask for too many");
    let refused = catalogue.check(&[&asks(3)], &leases).unwrap_err().1;
    let words =
        "0/1 nodes are available: 1 Insufficient vendor.com/gpu: 3 asked for, 2 of 2 free; CDI offers ";
    assert!(refused.starts_with(words), "{refused}");
    let other = pod("  containers: [{name: c, image: i, resources: {limits: {x.y/z: 1}}}]");
    let refused = catalogue.check(&[&other], &leases).unwrap_err().1;
    assert!(refused.contains("1 Insufficient x.y/z: 1 asked for, 0 of 0 free"), "{refused}");
}

#[test]
fn a_device_is_leased_to_one_pod_until_it_is_given_back_or_its_pod_is_gone() {
    let host = Host::new();
    let (leases, all) = (host.leases(), ["a", "b"]);
    leases.take("one", "v.c/d", &all, 1).unwrap();
    leases.take("one", "v.c/d", &all, 1).unwrap();
    assert_eq!(leases.held("one", "v.c/d"), ["a"], "what it has is enough");
    assert!(matches!(leases.take("two", "v.c/d", &all, 2), Err(NotFree::Only(1))));
    assert_eq!(leases.held("two", "v.c/d"), [""; 0]);
    leases.take("two", "v.c/d", &all, 1).unwrap();
    leases.release("one").unwrap();
    assert_eq!(leases.free("v.c/d", &all), ["a"]);
    fs::remove_dir(host.dir.path().join("pods/two")).unwrap();
    leases.take("one", "v.c/d", &all, 2).unwrap();
    assert_eq!(leases.held("one", "v.c/d"), ["a", "b"]);
    leases.release("one").unwrap();
    assert!(!host.dir.path().join("devices").exists(), "nothing is left");
}

#[test]
fn every_container_has_devices_of_its_own_and_init_containers_those_of_later_ones() {
    let host = Host::new();
    host.write("etc/gpu.yaml", GPUS);
    let asks = "resources: {limits: {vendor.com/gpu: 1}}";
    let pod = pod(&format!(
        "  initContainers: [{{name: i, image: i, {asks}}}]\n  containers: [{{name: a, image: i, {asks}}}, {{name: bare, image: i}}, {{name: b, image: i, {asks}}}]"
    ));
    assert_eq!(asked(&pod), [("vendor.com/gpu".to_owned(), 2)].into());
    let (catalogue, leases) = (host.catalogue(), host.leases());
    let first = &pod.containers[0];
    assert!(catalogue.edits_of(&pod, first, &leases).is_err(), "nothing is leased yet");
    leases.take("one", "vendor.com/gpu", &["gpu0", "gpu1"], 2).unwrap();
    let env = |index: usize| {
        let edits = catalogue.edits_of(&pod, &pod.containers[index], &leases).unwrap();
        edits.into_iter().flat_map(|edits| edits.env).collect::<Vec<_>>()
    };
    assert_eq!([env(0), env(1), env(3)], [["ALL=1", "GPU=0"], ["ALL=1", "GPU=0"], ["ALL=1", "GPU=1"]]);
    assert!(env(2).is_empty());
    let null = &catalogue.edits_of(&pod, first, &leases).unwrap()[0].device_nodes[0];
    assert_eq!((null.kind.as_deref(), null.major, null.minor), (Some("c"), Some(1), Some(3)));
}

#[test]
fn an_annotation_names_a_device_for_all_containers() {
    let host = Host::new();
    host.write("etc/gpu.yaml", GPUS);
    let mut pod = pod("  containers: [{name: c, image: i}]");
    assert!(!is_used(&pod));
    pod.annotations.insert("cdi.k8s.io/x".to_owned(), "vendor.com/gpu=all".to_owned());
    let (catalogue, leases) = (host.catalogue(), host.leases());
    assert!(is_used(&pod));
    catalogue.check(&[&pod], &leases).unwrap();
    assert_eq!(catalogue.edits_of(&pod, &pod.containers[0], &leases).unwrap()[0].env, ["ALL=1", "GPU=all"]);
    for (value, said) in [
        ("vendor.com/gpu=gpu9", "unresolvable CDI devices vendor.com/gpu=gpu9"),
        (
            "gpu9",
            "metadata.annotations[cdi.k8s.io/x]: \"gpu9\" is not VENDOR/CLASS=NAME, which names a CDI device",
        ),
    ] {
        pod.annotations.insert("cdi.k8s.io/x".to_owned(), value.to_owned());
        assert_eq!(catalogue.check(&[&pod], &leases).unwrap_err().1, said);
    }
}
