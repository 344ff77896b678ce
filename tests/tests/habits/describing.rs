//! `describe` of all kinds: the texts are those of kubectl 1.32 for the same objects.

use e2e::{Host, pod};
use serde_json::json;

use super::{IDLE, config_map, secret, service, store};

#[test]
fn data_is_shown_and_secrets_are_not() {
    let host = Host::new();
    store(&host, "configmaps", &config_map("default", "conf", &json!({"app": "web"})));
    store(&host, "secrets", &secret("key"));
    let described = host.podbox(["describe", "cm", "conf"]).ok().stdout;
    let expected = "Name:         conf\nNamespace:    default\nLabels:       app=web\nAnnotations:  <none>\n\n\
                    Data\n====\na:\n----\n1\n\nb:\n----\n2\n\n\n\nBinaryData\n====\nc: 3 bytes\n\nEvents:  <none>\n";
    assert_eq!(described, expected);
    let described = host.podbox(["describe", "secret/key"]).ok().stdout;
    let expected = "Name:         key\nNamespace:    default\nLabels:       <none>\nAnnotations:  <none>\n\n\
                    Type:  Opaque\n\nData\n====\npassword:  5 bytes\n";
    assert_eq!(described, expected);
    host.finish();
}

#[test]
fn a_service_names_the_pods_that_are_behind_it() {
    let host = Host::new();
    store(&host, "services", &service("front", &json!({"app": "web"})));
    let endpoints = || {
        let text = host.podbox(["describe", "svc", "front"]).ok().stdout;
        let line =
            text.lines().find(|line| line.starts_with("Endpoints:")).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(endpoints(), "<none>");
    let spec = "
  containers:
  - {name: main, image: podbox.local/toolbox, command: [sleep, infinity], ports: [{name: web, containerPort: 8080}]}
";
    host.up(&pod("web", spec).replacen("metadata:\n", "metadata:\n  labels: {app: web}\n", 1));
    host.up(&pod("other", IDLE));
    let view = host.wait_pod("web", "Ready", |pod| pod.is("Ready"));
    assert_eq!(endpoints(), format!("{}:8080", view.ip()));
    host.finish();
}

#[test]
fn who_is_behind_a_service_is_described_with_how_they_are() {
    let host = Host::new();
    store(&host, "services", &service("front", &json!({"app": "web"})));
    for kind in ["endpoints", "endpointslice"] {
        let described = host.podbox(["describe", kind, "front"]).ok().stdout;
        let nobody = if kind == "endpoints" { "Subsets:\nEvents:" } else { "Endpoints: <none>\nEvents:" };
        assert!(described.contains(nobody), "{described}");
    }
    host.up(&pod("web", IDLE).replacen("metadata:\n", "metadata:\n  labels: {app: web}\n", 1));
    let view = host.wait_pod("web", "Ready", |pod| pod.is("Ready"));
    let slice = host.podbox(["get", "endpointslices", "-o", "json"]).ok().json();
    let slice = &slice["items"][0];
    let described = host.podbox(["describe", "endpointslice", "front"]).ok().stdout;
    let line = |start: &str| {
        let line = described.lines().find(|line| line.trim_start().starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in {described}"))
            .split_whitespace()
            .last()
            .unwrap()
            .to_owned()
    };
    assert_eq!(line("Name:"), slice["metadata"]["name"].as_str().unwrap());
    assert_eq!(line("AddressType:"), "IPv4");
    assert_eq!(line("- Addresses:"), view.ip());
    assert_eq!((line("Ready:"), line("Hostname:")), ("true".to_owned(), "<unset>".to_owned()));
    assert_eq!(line("TargetRef:"), "Pod/web");
    assert_eq!(line("NodeName:"), slice["endpoints"][0]["nodeName"].as_str().unwrap());
    assert!(
        described.contains("Name     Port  Protocol") || described.contains("Ports: <unset>"),
        "{described}"
    );
    let described = host.podbox(["describe", "ep", "front"]).ok().stdout;
    assert!(described.contains("Subsets:\n  Addresses:"), "{described}");
    assert!(
        described.contains(&view.ip()) && described.contains("NotReadyAddresses:  <none>"),
        "{described}"
    );
    host.finish();
}

#[test]
fn a_name_may_be_the_beginning_of_several() {
    let host = Host::new();
    for name in ["web-1", "web-2", "web", "db"] {
        host.up(&pod(name, IDLE));
    }
    let names = |args: &[&str]| {
        let text = host.podbox(["describe"].iter().chain(args)).ok().stdout;
        let names = text.lines().filter_map(|line| line.strip_prefix("Name:"));
        names.map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["pod", "web-"]), ["web-1", "web-2"]);
    assert_eq!(names(&["pod", "web"]), ["web"], "a whole name is that one");
    assert_eq!(names(&["pods"]), ["db", "web", "web-1", "web-2"]);
    assert_eq!(names(&["pod/db", "web-2"]), ["db", "web-2"]);
    host.podbox(["describe", "pod", "nope"]).code(2).complains("pod default/nope not found");
    host.podbox(["describe", "pods", "-l", "a=b"]).ok().complains("No resources found in default namespace.");
    host.finish();
}
