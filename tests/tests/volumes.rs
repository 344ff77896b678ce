//! Volumes that are more than a directory: files of objects, of the pod itself and of its account; claims; limits.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use e2e::{Host, PATIENCE, pod, wait_until};
use serde_json::{Value, json};

const SLEEPER: &str = "name: c, image: podbox.local/host, command: [sleep, infinity]";

/// Puts an object where podbox stores it.
fn store(host: &Host, resource: &str, name: &str, object: &Value) {
    let dir = directory(host, resource);
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join(format!("{name}.json"));
    fs::write(file.with_extension("new"), object.to_string()).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
}

fn drop_object(host: &Host, resource: &str, name: &str) {
    fs::remove_file(directory(host, resource).join(format!("{name}.json"))).unwrap();
}

fn directory(host: &Host, resource: &str) -> PathBuf {
    let namespace = if resource == "persistentvolumes" { "_" } else { "default" };
    host.root_dir().join("objects").join(resource).join(namespace)
}

fn config_map(host: &Host, data: &Value) {
    store(host, "configmaps", "settings", &json!({"kind": "ConfigMap", "data": data}));
}

fn claim(host: &Host, name: &str, more: &Value) {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    store(host, "persistentvolumeclaims", name, &json!({"spec": spec}));
}

/// A pod of one container that sleeps, with one volume at /v.
fn sleeper(name: &str, volume: &str) -> String {
    let mount = "volumeMounts: [{name: v, mountPath: /v}]";
    pod(name, &format!("  containers: [{{{SLEEPER}, {mount}}}]\n  volumes: [{{name: v, {volume}}}]"))
}

fn says(host: &Host, pod: &str, file: &str) -> String {
    host.exec(pod, &["cat", file])
}

#[test]
fn a_config_map_is_files_that_follow_it_but_not_through_a_sub_path() {
    let host = Host::new();
    config_map(&host, &json!({"a": "one", "b": "two"}));
    host.up(&pod(
        "web",
        &format!(
            r"
  containers:
  - {{{SLEEPER}, volumeMounts: [{{name: v, mountPath: /v}}, {{name: v, mountPath: /only, subPath: a}}]}}
  volumes: [{{name: v, configMap: {{name: settings, defaultMode: 0640}}}}]
"
        ),
    ));
    assert_eq!(host.exec("web", &["ls", "/v"]), "a\nb");
    assert_eq!(host.exec("web", &["readlink", "/v/a"]), "..data/a");
    assert_eq!(host.exec("web", &["stat", "-L", "-c", "%a %u %g", "/v/a"]), "640 0 0");
    host.podbox(["exec", "web", "--", "touch", "/v/c"]).code(1).complains("Read-only file system");
    let before = host.exec("web", &["readlink", "/v/..data"]);
    config_map(&host, &json!({"a": "new", "c": "three"}));
    wait_until("the new files", PATIENCE, || says(&host, "web", "/v/a") == "new");
    assert_eq!(host.exec("web", &["ls", "/v"]), "a\nc");
    assert_ne!(host.exec("web", &["readlink", "/v/..data"]), before);
    assert_eq!(says(&host, "web", "/only"), "one");
    // What is gone leaves the files as they were, and is told.
    drop_object(&host, "configmaps", "settings");
    host.wait_event("web", "FailedMount", "configmap \"settings\" not found");
    assert_eq!(says(&host, "web", "/v/a"), "new");
    host.finish();
}

#[test]
fn what_changes_while_no_supervisor_lives_is_written_by_the_next_one() {
    let host = Host::new();
    config_map(&host, &json!({"a": "one"}));
    host.up(&sleeper("web", "configMap: {name: settings}"));
    let both = [host.guardian("web"), host.supervisor("web")];
    both.into_iter().flatten().for_each(|process| host.kill(process));
    config_map(&host, &json!({"a": "two"}));
    wait_until("the new files", PATIENCE, || {
        host.podbox(["exec", "web", "--", "cat", "/v/a"]).text() == "two"
    });
    host.finish();
}

#[test]
fn a_pod_waits_for_its_config_map_and_up_says_so_at_once() {
    let host = Host::new();
    let manifest = sleeper("web", "configMap: {name: settings}");
    let why = "MountVolume.SetUp failed for volume \"v\" : configmap \"settings\" not found";
    host.try_up(&manifest, &[]).code(1).complains(why);
    host.expect_nothing_left();
    host.up_none(&manifest);
    host.wait_event("web", "FailedMount", why);
    let view = host.pod("web");
    assert_eq!(view.phase(), "Pending");
    assert_eq!(view.container("c")["state"]["waiting"]["reason"], "ContainerCreating");
    config_map(&host, &json!({"a": "one"}));
    host.wait_pod("web", "Ready", |pod| pod.is("Ready"));
    assert_eq!(says(&host, "web", "/v/a"), "one");
    host.finish();
}

#[test]
fn a_secret_lies_in_memory_and_leaves_no_mount() {
    let host = Host::new();
    store(&host, "secrets", "login", &json!({"data": {"user": "cm9vdA==", "password": "aHVudGVyMg=="}}));
    host.up(&sleeper(
        "web",
        "secret: {secretName: login, items: [{key: password, path: deep/pass, mode: 0400}]}",
    ));
    assert_eq!(host.exec("web", &["ls", "/v"]), "deep");
    assert_eq!(says(&host, "web", "/v/deep/pass"), "hunter2");
    assert_eq!(host.exec("web", &["stat", "-L", "-c", "%a", "/v/deep/pass"]), "400");
    assert_eq!(host.exec("web", &["stat", "-f", "-c", "%T", "/v"]), "tmpfs");
    host.down(&["web", "--grace-period", "0"]);
    host.finish();
}

#[test]
fn a_projected_volume_holds_objects_facts_and_a_token() {
    let host = Host::new();
    config_map(&host, &json!({"a": "one"}));
    host.up(&pod("web", &format!(r"
  containers: [{{{SLEEPER}, resources: {{limits: {{memory: 64Mi}}}}, volumeMounts: [{{name: v, mountPath: /v}}]}}]
  volumes:
  - name: v
    projected:
      sources:
      - configMap: {{name: settings}}
      - secret: {{name: none, optional: true}}
      - downwardAPI:
          items:
          - {{path: facts/name, fieldRef: {{fieldPath: metadata.name}}}}
          - {{path: facts/memory, resourceFieldRef: {{containerName: c, resource: limits.memory, divisor: 1Mi}}}}
      - serviceAccountToken: {{path: token, audience: vault, expirationSeconds: 600}}
")));
    assert_eq!(host.exec("web", &["ls", "/v"]), "a\nfacts\ntoken");
    assert_eq!(says(&host, "web", "/v/facts/name"), "web");
    assert_eq!(says(&host, "web", "/v/facts/memory"), "64");
    let token = says(&host, "web", "/v/token");
    assert_eq!(token.split('.').count(), 3, "{token}");
    config_map(&host, &json!({"a": "two"}));
    wait_until("the new files", PATIENCE, || says(&host, "web", "/v/a") == "two");
    assert_eq!(says(&host, "web", "/v/token"), token, "it is good still");
    let key = host.root_dir().join("service-account.key");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    host.finish();
}

#[test]
fn a_manifest_out_of_a_cluster_has_its_token_and_an_authority_that_vouches_for_nobody() {
    let host = Host::new();
    let place = "/var/run/secrets/kubernetes.io/serviceaccount";
    host.up(&pod("web", &format!(r"
  containers: [{{{SLEEPER}, volumeMounts: [{{mountPath: {place}, name: kube-api-access-x7k2p, readOnly: true}}]}}]
  serviceAccountName: default
  volumes:
  - name: kube-api-access-x7k2p
    projected:
      defaultMode: 420
      sources:
      - serviceAccountToken: {{expirationSeconds: 3607, path: token}}
      - configMap: {{items: [{{key: ca.crt, path: ca.crt}}], name: kube-root-ca.crt}}
      - downwardAPI: {{items: [{{fieldRef: {{apiVersion: v1, fieldPath: metadata.namespace}}, path: namespace}}]}}
")));
    assert_eq!(host.exec("web", &["ls", place]), "ca.crt\nnamespace\ntoken");
    assert_eq!(says(&host, "web", &format!("{place}/namespace")), "default");
    assert_eq!(says(&host, "web", &format!("{place}/ca.crt")), "");
    host.finish();
}

#[test]
fn a_token_belongs_to_the_one_user_of_all_containers() {
    let host = Host::new();
    let spec = r"
  securityContext: {runAsUser: 1234}
  containers: [{name: c, image: podbox.local/host, command: [sleep, infinity], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: token}}]}}]
";
    host.up(&pod("web", spec));
    assert_eq!(host.exec("web", &["stat", "-L", "-c", "%a %u", "/v/token"]), "600 1234");
    assert!(says(&host, "web", "/v/token").contains('.'));
    host.finish();
}

#[test]
fn a_claim_keeps_its_content_beyond_the_pod() {
    let host = Host::new();
    let manifest = sleeper("web", "persistentVolumeClaim: {claimName: disk}");
    let why = "0/1 nodes are available: persistentvolumeclaim \"disk\" not found.";
    host.try_up(&manifest, &[]).code(1).complains(why);
    host.up_none(&manifest);
    let view = host
        .wait_pod("web", "why it waits", |pod| pod.condition("PodScheduled")["reason"] == "Unschedulable");
    assert_eq!(view.condition("PodScheduled")["message"], why);
    claim(&host, "disk", &json!({}));
    host.wait_pod("web", "Ready", |pod| pod.is("Ready") && pod.is("PodScheduled"));
    host.podbox(["exec", "web", "--", "sh", "-c", "echo kept > /v/file"]).ok();
    assert_eq!(host.exec("web", &["stat", "-c", "%a", "/v"]), "777");
    host.down(&["web", "--grace-period", "0"]);
    assert_eq!(fs::read_to_string(host.root_dir().join("claims/default/disk/file")).unwrap(), "kept\n");
    host.up(&sleeper("next", "persistentVolumeClaim: {claimName: disk, readOnly: true}"));
    assert_eq!(says(&host, "next", "/v/file"), "kept");
    host.podbox(["exec", "next", "--", "touch", "/v/x"]).code(1).complains("Read-only file system");
    host.finish();
}

#[test]
fn a_claim_is_bound_to_a_volume_that_fits_and_stays_so() {
    let host = Host::new();
    let path = host.dir().join("pv");
    let spec = json!({
        "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": path, "type": "DirectoryOrCreate"},
    });
    store(&host, "persistentvolumes", "disk-1", &json!({"spec": spec}));
    claim(&host, "first", &json!({}));
    claim(&host, "second", &json!({"storageClassName": ""}));
    host.up(&sleeper("one", "persistentVolumeClaim: {claimName: first}"));
    host.podbox(["exec", "one", "--", "touch", "/v/here"]).ok();
    assert!(path.join("here").exists());
    let unbound = "pod has unbound immediate PersistentVolumeClaims";
    let second = sleeper("two", "persistentVolumeClaim: {claimName: second}");
    host.try_up(&second, &[]).code(1).complains(unbound);
    host.down(&["one", "--grace-period", "0"]);
    host.try_up(&second, &[]).code(1).complains(unbound);
    host.up(&sleeper("one", "persistentVolumeClaim: {claimName: first}"));
    assert_eq!(host.exec("one", &["ls", "/v"]), "here");
    host.finish();
}

#[test]
fn a_volume_is_free_again_after_an_up_that_failed() {
    let host = Host::new();
    let spec = json!({
        "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": host.dir().join("pv"), "type": "DirectoryOrCreate"},
    });
    store(&host, "persistentvolumes", "disk-1", &json!({"spec": spec}));
    let with_claim = |name: &str| {
        let claim = format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}}}\nspec: {{accessModes: \
             [ReadWriteOnce], volumeName: disk-1, resources: {{requests: {{storage: 1Gi}}}}}}\n---\n"
        );
        claim + &sleeper(name, &format!("persistentVolumeClaim: {{claimName: {name}}}"))
    };
    let bad = with_claim("one").replace("[sleep", "[no-such-program");
    host.try_up(&bad, &[]).code(127).complains("persistentvolumeclaim/one removed again");
    host.up(&with_claim("two"));
    host.finish();
}

#[test]
fn a_claim_for_one_pod_is_for_one_pod() {
    let host = Host::new();
    claim(&host, "mine", &json!({"accessModes": ["ReadWriteOncePod"]}));
    let source = "persistentVolumeClaim: {claimName: mine}";
    host.up(&sleeper("one", source));
    host.try_up(&sleeper("two", source), &[])
        .code(1)
        .complains("node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod");
    host.up_none(&sleeper("two", source));
    host.wait_event("two", "FailedScheduling", "ReadWriteOncePod");
    host.down(&["one", "--grace-period", "0"]);
    host.wait_pod("two", "Ready", |pod| pod.is("Ready"));
    host.finish();
}

#[test]
fn secrets_and_claims_are_there_again_after_a_reboot() {
    let host = Host::new();
    store(&host, "secrets", "login", &json!({"data": {"password": "aHVudGVyMg=="}}));
    claim(&host, "disk", &json!({"accessModes": ["ReadWriteOncePod"]}));
    let mounts = "volumeMounts: [{name: s, mountPath: /s}, {name: d, mountPath: /d}]";
    host.up(&pod("web", &format!(r"
  containers: [{{{SLEEPER}, {mounts}}}]
  volumes: [{{name: s, secret: {{secretName: login}}}}, {{name: d, persistentVolumeClaim: {{claimName: disk}}}}]
")));
    host.podbox(["exec", "web", "--", "touch", "/d/kept"]).ok();
    host.pull_the_plug("web");
    host.podbox(["up", "--all", "-d"]).ok();
    assert_eq!(says(&host, "web", "/s/password"), "hunter2");
    assert_eq!(host.exec("web", &["ls", "/d"]), "kept");
    host.finish();
}

#[test]
fn every_volume_that_lacks_something_is_told() {
    let host = Host::new();
    let mounts = "volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /b}]";
    host.up_none(&pod(
        "web",
        &format!(
            r"
  containers: [{{{SLEEPER}, {mounts}}}]
  volumes: [{{name: a, configMap: {{name: settings}}}}, {{name: b, secret: {{secretName: login}}}}]
"
        ),
    ));
    host.wait_event("web", "FailedMount", "for volume \"a\" : configmap \"settings\" not found");
    host.wait_event("web", "FailedMount", "for volume \"b\" : secret \"login\" not found");
    host.finish();
}

#[test]
fn an_ephemeral_volume_lives_with_its_pod() {
    let host = Host::new();
    let spec = "{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}";
    host.up(&sleeper("web", &format!("ephemeral: {{volumeClaimTemplate: {{spec: {spec}}}}}")));
    host.podbox(["exec", "web", "--", "touch", "/v/file"]).ok();
    let dir = host.root_dir().join("claims/default/web-v");
    assert!(dir.join("file").exists());
    host.down(&["web", "--grace-period", "0"]);
    assert!(!dir.exists());
    host.finish();
}

#[test]
fn a_pod_that_fills_a_limited_empty_dir_is_evicted() {
    let host = Host::new();
    host.up(&pod(
        "web",
        r"
  containers:
  - name: c
    image: podbox.local/host
    command: [sh, -c, 'head -c 3000000 /dev/zero > /v/file; sleep infinity']
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, emptyDir: {sizeLimit: 2Mi}}]
",
    ));
    let view = host.wait_pod_for("web", "Failed", Duration::from_secs(30), |pod| pod.phase() == "Failed");
    assert_eq!(view.text("status.reason"), "Evicted");
    assert_eq!(view.text("status.message"), "Usage of EmptyDir volume \"v\" exceeds the limit \"2Mi\". ");
    host.wait_event("web", "Evicted", "Usage of EmptyDir volume");
    host.finish();
}

#[test]
fn a_volume_in_memory_is_no_larger_than_its_pods_memory() {
    let host = Host::new();
    host.up(&pod("web", &format!(r"
  containers: [{{{SLEEPER}, resources: {{limits: {{memory: 20Mi}}}}, volumeMounts: [{{name: v, mountPath: /v}}]}}]
  volumes: [{{name: v, emptyDir: {{medium: Memory, sizeLimit: 1Gi}}}}]
")));
    let mounts = says(&host, "web", "/proc/self/mounts");
    let size = mounts.lines().find(|line| line.contains(" /v tmpfs ")).unwrap_or("none");
    assert!(size.contains("size=20480k"), "{size}");
    host.finish();
}

#[test]
fn what_podbox_writes_and_what_a_claim_holds_belong_to_the_pods_group_and_a_hosts_directory_does_not() {
    let host = Host::new();
    config_map(&host, &json!({"a": "one"}));
    claim(&host, "disk", &json!({}));
    let ours = host.dir().join("ours");
    fs::create_dir_all(&ours).unwrap();
    let text = format!(
        r"
  securityContext: {{fsGroup: 2345, runAsUser: 1000, runAsGroup: 1000}}
  containers:
  - {{{SLEEPER}, volumeMounts: [{{name: v, mountPath: /v}}, {{name: d, mountPath: /d}}, {{name: h, mountPath: /h}}]}}
  volumes:
  - {{name: v, configMap: {{name: settings, defaultMode: 0600}}}}
  - {{name: d, persistentVolumeClaim: {{claimName: disk}}}}
  - {{name: h, hostPath: {{path: {}}}}}
",
        ours.display()
    );
    host.up(&pod("web", &text));
    let shown = |file: &str| host.exec("web", &["stat", "-L", "-c", "%a %u %g", file]);
    // As a kubelet does: what is read only is readable for the group.
    assert_eq!(shown("/v/a"), "640 0 2345");
    assert_eq!(says(&host, "web", "/v/a"), "one");
    config_map(&host, &json!({"a": "new"}));
    wait_until("the new file", PATIENCE, || says(&host, "web", "/v/a") == "new");
    assert_eq!(shown("/v/a"), "640 0 2345");
    assert_eq!(host.exec("web", &["touch", "/d/file"]), "");
    assert_eq!(host.exec("web", &["stat", "-c", "%u %g", "/d/file"]), "1000 2345");
    assert_eq!(fs::metadata(&ours).unwrap().gid(), 0);
    host.finish();
}
