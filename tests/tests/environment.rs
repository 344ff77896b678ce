//! Environments that come from elsewhere: objects, files, Services.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::{Host, PATIENCE, pod, wait_until};
use serde_json::{Value, json};

/// Puts an object where podbox keeps it.
fn keep(host: &Host, resource: &str, name: &str, object: &Value) {
    let dir = host.root_dir().join("objects").join(resource).join("default");
    fs::create_dir_all(&dir).unwrap();
    let half = dir.join(format!(".{name}.half"));
    fs::write(&half, object.to_string()).unwrap();
    fs::rename(half, dir.join(format!("{name}.json"))).unwrap();
}

fn lines(host: &Host, pod: &str) -> Vec<String> {
    host.exec(pod, &["env"]).lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|have| have == line), "{line} is not in {lines:#?}");
}

#[test]
fn config_maps_secrets_and_services_are_variables_and_a_restart_reads_them_anew() {
    let host = Host::new();
    keep(&host, "configmaps", "map", &json!({"data": {"A": "1", "B": "2"}}));
    keep(&host, "secrets", "pass", &json!({"data": {"B": "c2VjcmV0"}}));
    let service = json!({
        "metadata": {"name": "my-db"},
        "spec": {"clusterIP": "10.9.8.7", "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]},
    });
    keep(&host, "services", "my-db", &service);
    let manifest = pod(
        "env",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    envFrom:
    - {configMapRef: {name: map}}
    - {prefix: S_, secretRef: {name: pass}}
    - {configMapRef: {name: none, optional: true}}
    env:
    - {name: B, value: $(A)-$(S_B)-$(MY_DB_SERVICE_HOST)}
    - {name: KEY, valueFrom: {secretKeyRef: {name: pass, key: B}}}
    - {name: UNSET, valueFrom: {configMapKeyRef: {name: map, key: C, optional: true}}}
",
    );
    host.up(&manifest);
    let env = lines(&host, "env");
    for line in ["A=1", "B=1-secret-10.9.8.7", "S_B=secret", "KEY=secret", "MY_DB_SERVICE_PORT_SQL=5432"] {
        has(&env, line);
    }
    assert!(!env.iter().any(|line| line.starts_with("UNSET")));
    let plans = host.pod_dir("env").join("containers");
    let mode = fs::metadata(&plans).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "plans tell secrets");
    keep(&host, "configmaps", "map", &json!({"data": {"A": "new", "C": "now"}}));
    has(&lines(&host, "env"), "A=1");
    host.kill(host.container_process("env", "c"));
    host.wait_pod("env", "a restart", |pod| {
        pod.container("c")["restartCount"] == 1 && !pod.container("c")["state"]["running"].is_null()
    });
    let env = lines(&host, "env");
    for line in ["A=new", "UNSET=now"] {
        has(&env, line);
    }
    host.finish();
}

#[test]
fn a_container_waits_for_the_object_that_it_lacks_and_starts_when_it_is_there() {
    // No timer could do it in time.
    let host = Host::builder().backoff("300s", "300s").build();
    let manifest = pod(
        "late",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    env:
    - {name: A, valueFrom: {configMapKeyRef: {name: map, key: a}}}
    - {name: B, valueFrom: {secretKeyRef: {name: pass, key: b}}}
",
    );
    host.up_none(&manifest);
    let waits = |message: &str| {
        host.wait_pod("late", message, |pod| {
            let waiting = &pod.container("c")["state"]["waiting"];
            waiting["reason"] == "CreateContainerConfigError" && waiting["message"] == message
        });
        host.wait_event("late", "Failed", &format!("Error: {message}"));
    };
    waits("configmap \"map\" not found");
    assert_eq!(host.pod("late").phase(), "Pending");
    keep(&host, "configmaps", "map", &json!({"data": {"other": "1"}}));
    waits("couldn't find key a in ConfigMap default/map");
    keep(&host, "configmaps", "map", &json!({"data": {"a": "1"}}));
    waits("secret \"pass\" not found");
    keep(&host, "secrets", "pass", &json!({"data": {"b": "Mg=="}}));
    host.wait_pod("late", "running", |pod| !pod.container("c")["state"]["running"].is_null());
    let env = lines(&host, "late");
    has(&env, "A=1");
    has(&env, "B=2");
    assert_eq!(host.pod("late").container("c")["restartCount"], 0);
    host.finish();
}

#[test]
fn up_says_which_object_is_missing() {
    let host = Host::new();
    let manifest = pod(
        "none",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity], envFrom: [{secretRef: {name: gone}}]}
",
    );
    host.try_up(&manifest, &[]).code(1).complains("CreateContainerConfigError: secret \"gone\" not found");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn an_init_container_writes_a_file_of_variables_for_others() {
    let host = Host::new();
    let manifest = pod(
        "file",
        r##"
  initContainers:
  - name: setup
    image: podbox.local/toolbox
    command: [sh, -c, "echo \"# made\nADDRESS='a b'\" > /data/config.env"]
    volumeMounts: [{name: config, mountPath: /data}]
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    env:
    - {name: ADDRESS, valueFrom: {fileKeyRef: {volumeName: config, path: config.env, key: ADDRESS}}}
    - {name: OTHER, valueFrom: {fileKeyRef: {volumeName: config, path: config.env, key: OTHER, optional: true}}}
  volumes: [{name: config, emptyDir: {}}]
"##,
    );
    host.up(&manifest);
    let env = lines(&host, "file");
    has(&env, "ADDRESS=a b");
    assert!(!env.iter().any(|line| line.starts_with("OTHER")));
    let missing = manifest.replace("name: file\n", "name: bad\n").replace("key: ADDRESS}", "key: MISSING}");
    host.up_none(&missing);
    host.wait_event(
        "bad",
        "Failed",
        "Error: environment variable key \"MISSING\" not found in file \"config.env\"",
    );
    host.finish();
}

#[test]
fn arguments_expand_what_the_manifest_says_and_nothing_of_the_image() {
    let host = Host::new();
    host.up(&pod(
        "args",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sh, -c, 'echo $0 $1; sleep infinity', $(OWN), $(PATH)]
    env: [{name: OWN, value: mine}]
",
    ));
    wait_until("the line", PATIENCE, || host.logs(&["args"]).trim() == "mine $(PATH)");
    host.finish();
}

#[test]
fn a_waiting_container_leaves_with_its_pod() {
    let host = Host::builder().backoff("300s", "300s").build();
    host.up_none(&pod(
        "waits",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, envFrom: [{configMapRef: {name: never}}]}
",
    ));
    host.wait_event("waits", "Failed", "Error: configmap \"never\" not found");
    std::thread::sleep(Duration::from_millis(100));
    host.down(&["waits"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_pull_that_fails_names_the_secrets_that_were_not_there() {
    let host = Host::new();
    host.up_none(&pod(
        "pull",
        r"
  imagePullSecrets: [{name: gone}, {name: there}]
  containers:
  - {name: c, image: 'localhost:1/none:1'}
",
    ));
    host.wait_event(
        "pull",
        "FailedToRetrieveImagePullSecret",
        "Unable to retrieve some image pull secrets (gone, there);",
    );
    host.finish();
}

#[test]
fn a_supervisor_that_takes_over_looks_again_for_what_was_missing() {
    let host = Host::builder().backoff("300s", "300s").build();
    host.up_none(&pod(
        "heir",
        r"
  containers:
  - {name: c, image: podbox.local/toolbox, command: [sleep, infinity], envFrom: [{configMapRef: {name: map}}]}
",
    ));
    host.wait_event("heir", "Failed", "Error: configmap \"map\" not found");
    let old = host.supervisor("heir");
    host.kill(old.unwrap());
    assert_ne!(Some(host.next_supervisor("heir", old)), old);
    keep(&host, "configmaps", "map", &json!({"data": {"A": "1"}}));
    host.wait_pod("heir", "running", |pod| !pod.container("c")["state"]["running"].is_null());
    host.finish();
}
