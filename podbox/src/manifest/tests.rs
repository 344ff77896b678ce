use super::*;
use crate::pod::{PullPolicy, QosClass, RestartPolicy};

mod strictness;
mod warnings;
mod yaml;

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

#[test]
fn a_grpc_probe_asks_the_whole_server_unless_it_names_a_service() {
    let loaded = one(&pod_with("", "    readinessProbe: {grpc: {port: 5000}}"));
    let grpc = probes::Handler::Grpc { port: 5000, service: String::new() };
    assert_eq!(loaded.pod.containers[0].readiness.as_ref().map(|probe| &probe.handler), Some(&grpc));
}

/// A Pod with one container, into which `container` and `spec` are put.
fn pod_with(spec: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{spec}\n  containers:\n  - name: c\n    image: i:1\n{container}\n"
    )
}

#[test]
fn scalars_are_read_as_kubectl_reads_them() {
    let number = |text: &str| {
        let text = pod_with(&format!("  terminationGracePeriodSeconds: {text}"), "");
        one(&text).pod.termination_grace_seconds
    };
    for (text, want) in [("0644", 420), ("0o644", 420), ("0x10", 16), ("1_0", 10), ("30.0", 30), ("3e1", 30)]
    {
        assert_eq!(number(text), want, "{text}");
    }
    for text in ["yes", "on", "y", "true", "True", "YES"] {
        assert!(one(&pod_with("", &format!("    tty: {text}"))).pod.containers[0].tty, "{text}");
    }
    for text in ["no", "off", "n", "FALSE", "~", ""] {
        assert!(!one(&pod_with("", &format!("    tty: {text}"))).pod.containers[0].tty, "{text}");
    }
    for (text, want) in [
        (
            "    env: [{name: A, value: 1}]",
            "spec.containers[0].env[0].value: Invalid value: 1: cannot convert number to string",
        ),
        (
            "    env: [{name: A, value: 1.5}]",
            "spec.containers[0].env[0].value: Invalid value: 1.5: cannot convert number to string",
        ),
        (
            "    env: [{name: A, value: yes}]",
            "spec.containers[0].env[0].value: Invalid value: yes: cannot convert bool to string",
        ),
        (
            "    args: [sleep, 60]",
            "spec.containers[0].args[1]: Invalid value: 60: cannot convert number to string",
        ),
        (
            "    args: [a, null]",
            "spec.containers[0].args[1]: Invalid value: null: an element of a list must not be empty",
        ),
        (
            "    tty: \"true\"",
            "spec.containers[0].tty: Invalid value: \"true\": cannot convert string to bool",
        ),
        ("    tty: 1", "spec.containers[0].tty: Invalid value: 1: cannot convert number to bool"),
        ("    args: a", "spec.containers[0].args: Invalid value: \"a\": cannot convert string to list"),
        ("    args: {a: b}", "spec.containers[0].args: Invalid value: {…}: cannot convert object to list"),
        (
            "    resources: []",
            "spec.containers[0].resources: Invalid value: […]: cannot convert list to object",
        ),
        (
            "    ports: [{containerPort: \"80\"}]",
            "spec.containers[0].ports[0].containerPort: Invalid value: \"80\": cannot convert string to int32",
        ),
        (
            "    ports: [{containerPort: 80.5}]",
            "spec.containers[0].ports[0].containerPort: Invalid value: 80.5: must be a whole number (int32)",
        ),
        (
            "    ports: [{containerPort: 99999999999}]",
            "spec.containers[0].ports[0].containerPort: Invalid value: 99999999999: is out of the range of int32",
        ),
        (
            "    livenessProbe: {tcpSocket: {port: true}}",
            "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: true: cannot convert bool to a number or a name",
        ),
        (
            "    livenessProbe: {grpc: {port: web}}",
            "spec.containers[0].livenessProbe.grpc.port: Invalid value: \"web\": cannot convert string to int32",
        ),
        (
            "    resources: {limits: {cpu: [1]}}",
            "spec.containers[0].resources.limits[cpu]: Invalid value: […]: cannot convert list to quantity",
        ),
    ] {
        assert_eq!(errors(&pod_with("", text)), [want], "{text}");
    }
    let name = "apiVersion: v1\nkind: Pod\nmetadata: {name: 12}\nspec: {containers: [{name: c, image: i}]}";
    assert_eq!(errors(name), ["metadata.name: Invalid value: 12: cannot convert number to string"]);
}

#[test]
fn null_is_as_good_as_nothing_for_lists_and_objects() {
    let loaded = one(&pod_with("  volumes:\n  hostAliases: ~", "    env:\n    ports: null\n    resources:"));
    assert!(loaded.pod.containers[0].env.is_empty());
    assert_eq!(loaded.object["spec"]["containers"][0]["env"], serde_json::Value::Null);
}

#[test]
fn quantities_may_be_numbers_and_are_stored_in_canonical_text() {
    let loaded =
        one(&pod_with("", "    resources: {limits: {cpu: 0.5, memory: 1024Mi}, requests: {cpu: 1e-4}}"));
    let resources = &loaded.object["spec"]["containers"][0]["resources"];
    assert_eq!(resources["limits"], serde_json::json!({"cpu": "500m", "memory": "1Gi"}));
    assert_eq!(resources["requests"], serde_json::json!({"cpu": "1m", "memory": "1Gi"}));
    let want = loaded.pod.containers[0].resources;
    assert_eq!((want.cpu_limit_milli, want.cpu_request_milli), (Some(500), Some(1)));
    assert_eq!((want.memory_limit_bytes, want.memory_request_bytes), (Some(1 << 30), Some(1 << 30)));
}

#[test]
fn what_a_value_that_cannot_be_read_is_compared_with_is_no_second_mistake() {
    let grace =
        pod_with("  terminationGracePeriodSeconds: 30s", "    lifecycle: {preStop: {sleep: {seconds: 5}}}");
    let want = "spec.terminationGracePeriodSeconds: Invalid value: \"30s\": cannot convert string to int64";
    assert_eq!(errors(&grace), [want]);
    let limit = pod_with("", "    resources: {limits: {cpu: [1]}, requests: {cpu: 100m}}");
    let want =
        "spec.containers[0].resources.limits[cpu]: Invalid value: […]: cannot convert list to quantity";
    assert_eq!(errors(&limit), [want]);
}

#[test]
fn a_field_that_is_unknown_or_not_honoured_is_an_error_with_its_name() {
    for (spec, container, want) in [
        (
            "",
            "    livenesProbe: {}",
            "spec.containers[0].livenesProbe: unknown field \"spec.containers[0].livenesProbe\"",
        ),
        ("  nosuch: 1", "", "spec.nosuch: unknown field \"spec.nosuch\""),
        (
            "  runtimeClassName: kata",
            "",
            "spec.runtimeClassName: Forbidden: pod rejected: RuntimeClass \"kata\" not found",
        ),
        (
            "  ephemeralContainers: [{name: e}]",
            "",
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            "  volumes: [{name: v, nfs: {server: s, path: /p}}]",
            "",
            "spec.volumes[0].nfs: Forbidden: podbox mounts no network file systems: mount it on the host and give its path as a hostPath",
        ),
        (
            "  volumes: [{name: v, csi: {driver: d}}]",
            "",
            "spec.volumes[0].csi: Forbidden: it needs a storage driver beside the kubelet, and podbox runs none",
        ),
        (
            "  volumes: [{name: v, projected: {sources: [{podCertificate: {signerName: s/s, keyType: RSA3072}}]}}]",
            "",
            "spec.volumes[0].projected.sources[0].podCertificate: Forbidden: there is no API server that signs certificates of pods: use a secret",
        ),
        (
            "",
            "    volumeDevices: [{name: v, devicePath: /dev/x}]",
            "spec.containers[0].volumeDevices: Forbidden: podbox hands out no block devices: volumes are directories; a privileged container has all devices",
        ),
        (
            "",
            "    resources: {limits: {gpus: 1}}",
            "spec.containers[0].resources.limits[gpus]: Invalid value: \"gpus\": must be a standard resource type or fully qualified",
        ),
    ] {
        assert_eq!(errors(&pod_with(spec, container)), [want], "{spec} {container}");
    }
}

#[test]
fn addresses_of_the_host_that_no_port_can_be_mapped_to_are_mistakes() {
    let ports = |ip: &str| format!("    ports: [{{containerPort: 1, hostPort: 1, hostIP: '{ip}'}}]");
    for (ip, why) in [
        ("::1", "127.0.0.1 can be mapped"),
        ("::ffff:10.0.0.1", "the IPv4 address"),
        ("224.0.0.1", "multicast"),
    ] {
        let found = errors(&pod_with("", &ports(ip)));
        let path = format!("spec.containers[0].ports[0].hostIP: Invalid value: \"{ip}\"");
        assert!(found.len() == 1 && found[0].contains(&path) && found[0].contains(why), "{found:?}");
    }
    one(&pod_with("", &ports("127.0.0.1")));
    one(&pod_with("  hostNetwork: true", &ports("::1")));
}

#[test]
fn every_field_that_is_honoured_loads_without_a_word() {
    let probe = "{httpGet: {host: h, path: /p, port: web, scheme: HTTPS, httpHeaders: [{name: A, value: b}]}, initialDelaySeconds: 1, periodSeconds: 2, timeoutSeconds: 3, failureThreshold: 4, successThreshold: 1";
    let text = format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: p, namespace: ns, labels: {{a: b}}, annotations: {{c: d}}}}
spec:
  automountServiceAccountToken: false
  dnsConfig: {{nameservers: [1.1.1.1], searches: [a], options: [{{name: o, value: v}}]}}
  dnsPolicy: None
  enableServiceLinks: false
  hostAliases: [{{ip: 1.1.1.1, hostnames: [h]}}]
  hostIPC: true
  hostNetwork: true
  hostPID: true
  hostname: h
  activeDeadlineSeconds: 9
  imagePullSecrets: [{{name: s}}]
  os: {{name: linux}}
  setHostnameAsFQDN: true
  readinessGates: [{{conditionType: a/b}}]
  restartPolicy: OnFailure
  securityContext:
    {{fsGroup: 1, fsGroupChangePolicy: OnRootMismatch,
     runAsGroup: 1, runAsNonRoot: true, runAsUser: 1, seccompProfile: {{type: Unconfined}}, appArmorProfile: {{type: Unconfined}},
     seLinuxOptions: {{user: u, role: r, type: t, level: s0}}, supplementalGroups: [1],
     supplementalGroupsPolicy: Merge, sysctls: [{{name: vm.x, value: '1'}}]}}
  serviceAccountName: s
  shareProcessNamespace: false
  subdomain: s
  terminationGracePeriodSeconds: 1
  volumes: [{{name: e, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}, {{name: h, hostPath: {{path: /h, type: Directory}}}},
    {{name: i, image: {{reference: r, pullPolicy: Always}}}}]
  initContainers:
  - {{name: i, image: i, command: [a], env: [{{name: A, value: b}}], resources: {{limits: {{cpu: 1}}}}}}
  - {{name: s, image: i, restartPolicy: Always, startupProbe: {{exec: {{command: [a]}}}}, lifecycle: {{preStop: {{tcpSocket: {{host: h, port: 1}}}}}}}}
  containers:
  - name: c
    image: i
    imagePullPolicy: Never
    lifecycle:
      postStart: {{httpGet: {{host: h, path: /p, port: web, scheme: HTTPS, httpHeaders: [{{name: A, value: b}}]}}}}
      preStop: {{sleep: {{seconds: 1}}}}
      stopSignal: SIGUSR1
    restartPolicy: Never
    restartPolicyRules: [{{action: Restart, exitCodes: {{operator: In, values: [1]}}}}]
    command: [c]
    args: [a]
    workingDir: /w
    envFrom: [{{prefix: p, configMapRef: {{name: m, optional: true}}}}, {{secretRef: {{name: s, optional: true}}}}]
    env: [{{name: A, value: b}}, {{name: D, valueFrom: {{configMapKeyRef: {{name: m, key: k, optional: true}}}}}},
      {{name: E, valueFrom: {{secretKeyRef: {{name: m, key: k, optional: true}}}}}},
      {{name: F, valueFrom: {{fileKeyRef: {{volumeName: e, path: p, key: k, optional: true}}}}}}, {{name: B, valueFrom: {{fieldRef: {{apiVersion: v1, fieldPath: status.podIP}}}}}},
      {{name: C, valueFrom: {{resourceFieldRef: {{containerName: c, resource: limits.cpu, divisor: 1m}}}}}}]
    ports: [{{containerPort: 1, hostIP: 1.1.1.1, hostPort: 1, name: web, protocol: TCP}}]
    resources: {{limits: {{cpu: 1, memory: 1Mi}}, requests: {{cpu: 1, memory: 1Mi}}}}
    livenessProbe: {probe}, terminationGracePeriodSeconds: 1}}
    readinessProbe: {{exec: {{command: [a]}}}}
    startupProbe: {{tcpSocket: {{host: h, port: 1}}}}
    securityContext:
      {{allowPrivilegeEscalation: true, capabilities: {{add: [CHOWN], drop: [ALL]}}, privileged: true,
       readOnlyRootFilesystem: true, runAsGroup: 1, runAsNonRoot: true, runAsUser: 1, procMount: Default, appArmorProfile: {{type: Localhost, localhostProfile: a}},
       seLinuxOptions: {{level: s0}}, seccompProfile: {{type: Localhost, localhostProfile: a}}}}
    stdin: true
    stdinOnce: true
    terminationMessagePath: /t
    terminationMessagePolicy: FallbackToLogsOnError
    tty: true
    volumeMounts: [{{mountPath: /e, name: e, readOnly: true, subPath: s, recursiveReadOnly: Enabled}},
      {{mountPath: /h, name: h, subPathExpr: s, mountPropagation: Bidirectional}}]
  - {{name: d, image: i, livenessProbe: {{grpc: {{port: 1, service: s}}}}}}
"
    );
    let loaded = load(&[Source::new("p", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"));
    let warned: Vec<_> = loaded.warnings.0.iter().map(|one| one.field_path.as_str()).collect();
    assert_eq!(warned, ["spec.securityContext.sysctls[0].name", "spec.serviceAccountName"]);
    let again = one(&loaded.pods[0].object.to_string());
    assert_eq!((&again.pod, &again.object), (&loaded.pods[0].pod, &loaded.pods[0].object));
}

#[test]
fn empty_unsupported_lists_and_values_that_change_nothing_are_accepted() {
    one(&pod_with(
        "  initContainers: []\n  imagePullSecrets:\n  hostUsers: true\n  setHostnameAsFQDN: no\n  os: {name: linux}\n  schedulerName: default-scheduler",
        "    envFrom: []\n    securityContext: {procMount: Default, seccompProfile: {type: Unconfined}}",
    ));
}

#[test]
fn what_is_no_pod_is_refused_by_name() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: s}\n";
    assert_eq!(errors(job), ["kind: Job is not supported: podbox runs Pods"]);
    assert_eq!(errors("kind: Pod"), ["apiVersion: Required value: every object needs it"]);
    assert_eq!(errors("apiVersion: v1"), ["kind: Required value: every object needs it"]);
    assert_eq!(
        errors("apiVersion: v2\nkind: Pod"),
        ["apiVersion: no kind \"Pod\" is registered for version \"v2\""]
    );
    assert_eq!(
        errors("- a"),
        ["this is no Kubernetes object: it must be a mapping with apiVersion and kind"]
    );
    assert_eq!(
        errors("hello"),
        ["this is no Kubernetes object: it must be a mapping with apiVersion and kind"]
    );
    for nothing in ["", "\n# only a comment\n", "---\n---\n", "null"] {
        assert_eq!(errors(nothing), ["there is no object in this file"], "{nothing:?}");
    }
}

#[test]
fn several_documents_a_list_and_json_are_all_read() {
    let http_go = include_str!("../../../tests/manifests/http-go.yaml");
    let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"json"},"spec":{"containers":[{"name":"c","image":"i:1","command":["a\tb\u00e9\/"]}]}}"#;
    let list =
        format!("apiVersion: v1\nkind: List\nitems:\n- {json}\n- {}\n", json.replace("\"json\"", "\"two\""));
    let many = format!("---\n{http_go}---\n\n---\n{list}...\n");
    let loaded = load(&[Source::new("a", many)], &Options::default()).unwrap();
    let names: Vec<_> = loaded.pods.iter().map(|one| (one.pod.name.as_str(), one.line)).collect();
    assert_eq!(names, [("http-go", 2), ("json", 18), ("two", 19)]);
    assert_eq!(loaded.pods[1].pod.containers[0].command.as_deref(), Some(&["a\tbé/".to_owned()][..]));
    assert_eq!(one(json).pod.manifest_hash, loaded.pods[1].pod.manifest_hash);
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(json).unwrap()).unwrap();
    assert_eq!(one(&pretty.replace("  ", "\t")).pod.manifest_hash, one(json).pod.manifest_hash);
}

#[test]
fn two_pods_of_one_name_are_refused_across_files() {
    let text = pod_with("", "");
    let two = [Source::new("a.yaml", text.clone()), Source::new("b.yaml", text.clone())];
    let found = load(&two, &Options::default()).unwrap_err();
    assert_eq!(found.0[0].text(), "metadata.name: Duplicate value: \"p\"");
    assert_eq!((found.0[0].file.as_str(), found.0[0].line), ("b.yaml", 3));
    assert_eq!(found.0[0].hint.as_deref(), Some("a.yaml:3 has a Pod of this name in namespace default"));
    let other = Source::new("b.yaml", text.replace("name: p}", "name: p, namespace: other}"));
    assert!(load(&[two[0].clone(), other], &Options::default()).is_ok());
}

#[test]
fn the_hash_is_that_of_the_meaning_not_of_the_text() {
    let hash = |text: &str| one(text).pod.manifest_hash;
    let plain = hash(&pod_with("", ""));
    assert_eq!(plain, hash(&pod_with("  restartPolicy: Always # the default", "    tty: no\n    env: []")));
    assert_ne!(plain, hash(&pod_with("  restartPolicy: Never", "")));
}

#[test]
fn what_podbox_prints_loads_again_as_the_same_pod() {
    for file in [
        include_str!("../../../tests/manifests/http-go.yaml"),
        include_str!("../../../tests/manifests/startup.yaml"),
        &pod_with(
            "  hostNetwork: true\n  volumes: [{name: v}, {name: h, hostPath: {path: /x}}]",
            "    ports: [{containerPort: 80}]",
        ),
    ] {
        let loaded = one(file);
        let again = one(&loaded.object.to_string());
        assert_eq!(again.pod, loaded.pod);
        assert_eq!(again.object, loaded.object);
    }
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let loaded = one(&pod_with(
        "",
        "    readinessProbe: &p\n      tcpSocket: {port: 80}\n      periodSeconds: 7\n    livenessProbe:\n      <<: *p\n      periodSeconds: 8\n    startupProbe: *p",
    ));
    let container = &loaded.pod.containers[0];
    assert_eq!(container.startup, container.readiness);
    assert_eq!(container.liveness.as_ref().map(|probe| probe.period.as_secs()), Some(8));
    assert_eq!(
        container.liveness.as_ref().map(|p| &p.handler),
        container.readiness.as_ref().map(|p| &p.handler)
    );
}

#[test]
fn all_mistakes_of_a_file_come_together_in_the_order_of_its_lines() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: A_b\nspec:\n  restartPolicy: Sometimes\n  containers:\n  - name: c\n    imag: nginx\n    ports:\n    - containerPort: \"80\"\n    - containerPort: 70000\n  - name: c\n    image: x\n    image: z\n";
    let found = load(&[Source::new("pod.yaml", text)], &Options::default()).unwrap_err();
    let got: Vec<_> = found.0.iter().map(|one| (one.line, one.column, one.field_path.as_str())).collect();
    assert_eq!(
        got,
        [
            (4, 9, "metadata.name"),
            (6, 18, "spec.restartPolicy"),
            (8, 5, "spec.containers[0].image"),
            (9, 5, "spec.containers[0].imag"),
            (11, 22, "spec.containers[0].ports[0].containerPort"),
            (12, 22, "spec.containers[0].ports[1].containerPort"),
            (13, 11, "spec.containers[1].name"),
            (15, 5, ""),
        ]
    );
}

#[test]
fn a_mistake_is_shown_in_its_line_with_a_mark_and_what_would_be_right() {
    let text = pod_with("", "    livenesProbe: {}\n    env:\n    - {name: ü, value: 1}");
    let found = load(&[Source::new("pod.yaml", text)], &Options::default()).unwrap_err();
    assert_eq!(
        found.render(Color::Never),
        "error: spec.containers[0].livenesProbe: unknown field \"spec.containers[0].livenesProbe\"
 --> pod.yaml:9:5
  |
9 |     livenesProbe: {}
  |     ^^^^^^^^^^^^
  |
  = help: did you mean `livenessProbe`?

error: spec.containers[0].env[0].name: Invalid value: \"ü\": a valid environment variable name must consist only of printable ASCII characters other than '='
  --> pod.yaml:11:14
   |
11 |     - {name: ü, value: 1}
   |              ^

error: spec.containers[0].env[0].value: Invalid value: 1: cannot convert number to string
  --> pod.yaml:11:24
   |
11 |     - {name: ü, value: 1}
   |                        ^
   |
   = help: unquoted, this is a number; write it in quotes: \"1\""
    );
    assert!(found.render(Color::Ansi).contains("\u{1b}["));
}

#[test]
fn a_key_that_is_there_twice_is_shown_at_both_places() {
    let found = load(&[Source::new("p", pod_with("", "    tty: true\n    name: d"))], &Options::default());
    assert_eq!(
        found.unwrap_err().render(Color::Never),
        "error: the key \"name\" is there twice
  --> p:10:5
   |
 7 |   - name: c
   |     ---- first here
...
10 |     name: d
   |     ^^^^
   |
   = help: keep one of them"
    );
}

#[test]
fn a_mistake_in_a_very_long_line_is_shown_with_little_around_it() {
    let filler = "é".repeat(300);
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p","annotations":{{"a":"{filler}"}}}},"spec":{{"containers":[{{"name":"c","imag":"x","image":"i","args":["{filler}"]}}]}}}}"#
    );
    let found = load(&[Source::new("pod.json", text)], &Options::default()).unwrap_err();
    let shown = found.render(Color::Never);
    assert!(shown.contains("--> pod.json:1:414"), "{shown}");
    assert_eq!(found.0[0].column, 414);
    assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    let at = lines[5].chars().position(|c| c == '^').unwrap();
    let marked: String = lines[4].chars().skip(at).take(6).collect();
    assert_eq!(marked, "\"imag\"", "{shown}");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let text = pod_with("  \"a\\e[31m\": 1", "");
    let found = load(&[Source::new("p", text)], &Options::default()).unwrap_err();
    assert!(!found.render(Color::Never).contains('\u{1b}'));
}

#[test]
fn a_file_full_of_mistakes_is_refused_quickly() {
    let key = "k".repeat(100_000);
    let unknown: String = (0..50_000).map(|n| format!("u{n}: 1, ")).collect();
    let warned = "    - {}\n".repeat(1000);
    let start = std::time::Instant::now();
    for text in [
        pod_with(&format!("  {key}: {{{unknown}}}"), ""),
        pod_with(&format!("  securityContext: {{{unknown}}}"), ""),
        pod_with("", &format!("    env:\n{warned}")),
        pod_with("", &format!("    x: {{{}}}", "a: 1, ".repeat(50_000))),
    ] {
        let found = load(&[Source::new("p", text)], &Options::default()).unwrap_err();
        assert!(!found.0.is_empty() && found.0.len() <= 401, "{}", found.0.len());
        assert!(found.render(Color::Never).len() < 20_000_000);
    }
    assert!(start.elapsed().as_secs() < 30);
}

/// Not a bound, a figure to look at: `cargo test --release -- --ignored --nocapture how_long`.
#[test]
#[ignore = "prints a measurement"]
fn how_long_a_small_manifest_takes() {
    let text = include_str!("../../../tests/manifests/startup.yaml");
    let start = std::time::Instant::now();
    one(text);
    println!("first: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        one(text);
    }
    println!("then, each: {:?}", start.elapsed() / 1000);
}
