use super::*;
use crate::pod::{PullPolicy, QosClass, RestartPolicy};

fn one(text: &str) -> LoadedPod {
    let mut loaded =
        load(&[Source::new("pod.yaml", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(loaded.pods.len(), 1);
    loaded.pods.remove(0)
}

fn errors(text: &str) -> Vec<String> {
    match load(&[Source::new("pod.yaml", text)], &Options::default()) {
        Ok(_) => Vec::new(),
        Err(found) => found.0.iter().map(Diagnostic::text).collect(),
    }
}

macro_rules! user {
    ($file:literal) => {
        one(include_str!(concat!("../../../tests/manifests/", $file)))
    };
}

#[test]
fn the_manifest_with_an_image_without_a_registry_loads() {
    let loaded = user!("http-go.yaml");
    let pod = &loaded.pod;
    assert_eq!((pod.name.as_str(), pod.namespace.as_str(), pod.uid.as_str()), ("http-go", "default", ""));
    assert_eq!(pod.containers[0].image, "dldudwnsdl/http-go");
    assert_eq!(pod.containers[0].pull_policy, PullPolicy::Always);
    assert_eq!(pod.containers[0].ports[0].container_port, 8080);
    assert_eq!(pod.restart_policy, RestartPolicy::Always);
    assert_eq!((pod.qos, pod.termination_grace_seconds), (QosClass::BestEffort, 30));
    assert_eq!(pod.manifest_hash.len(), 64);
    let want = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "http-go", "namespace": "default"},
        "spec": {
            "containers": [{
                "name": "http-go",
                "image": "dldudwnsdl/http-go",
                "imagePullPolicy": "Always",
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": true,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "serviceAccount": "default",
            "serviceAccountName": "default",
            "terminationGracePeriodSeconds": 30,
        },
    });
    assert_eq!(loaded.object, want);
}

#[test]
fn the_manifest_with_a_failing_liveness_probe_loads() {
    let loaded = user!("liveness-http.yaml");
    let container = &loaded.pod.containers[0];
    assert_eq!(container.args.as_deref(), Some(&["/server".to_owned()][..]));
    let liveness = container.liveness.as_ref().unwrap();
    assert_eq!((liveness.initial_delay.as_secs(), liveness.period.as_secs()), (3, 3));
    assert_eq!((liveness.failure_threshold, liveness.timeout.as_secs()), (3, 1));
    let probes::Handler::HttpGet { https: false, host: None, port: 8080, path, headers } = &liveness.handler
    else {
        panic!("{:?}", liveness.handler);
    };
    assert_eq!(path, "/healthz");
    assert_eq!(headers, &[("Custom-Header".to_owned(), "Awesome".to_owned())]);
}

#[test]
fn the_manifest_with_tcp_probes_loads() {
    let loaded = user!("goproxy.yaml");
    let container = &loaded.pod.containers[0];
    assert_eq!(container.pull_policy, PullPolicy::IfNotPresent);
    let port = probes::Handler::TcpSocket { host: None, port: 8080 };
    assert_eq!(container.readiness.as_ref().map(|probe| &probe.handler), Some(&port));
    assert_eq!(container.liveness.as_ref().map(|probe| probe.initial_delay.as_secs()), Some(15));
}

#[test]
fn the_manifest_with_a_startup_probe_on_a_named_port_loads() {
    let loaded = user!("startup.yaml");
    let container = &loaded.pod.containers[0];
    assert_eq!(container.ports[0].host_port, Some(8080));
    let startup = container.startup.as_ref().unwrap();
    assert_eq!(startup.failure_threshold, 30);
    assert!(matches!(startup.handler, probes::Handler::HttpGet { port: 8080, .. }));
}
