mod confinement;
mod mounts;
mod probes;
mod references;
mod resources;

use crate::manifest::{Diagnostic, Options, Source, load};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn errors(text: &str) -> Vec<String> {
    match load(&[Source::new("pod.yaml", text)], &Options::default()) {
        Ok(_) => Vec::new(),
        Err(found) => found.0.iter().map(Diagnostic::text).collect(),
    }
}

/// What is wrong with a Pod of one container, into which `spec` and `container` are put.
fn wrong(spec: &str, container: &str) -> Vec<String> {
    let (name, image) = (
        if container.contains("name: ") && container.starts_with("name") { "" } else { "    name: c\n" },
        if container.contains("image: ") { "" } else { "    image: i:1\n" },
    );
    let container = if container.is_empty() { String::new() } else { format!("    {container}\n") };
    errors(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  {spec}\n  containers:\n  - tty: false\n{name}{image}{container}"
    ))
}

/// `(spec, container, errors)`; the errors of a container leave `spec.containers[0].` out.
fn table(rows: &[(&str, &str, &[&str])]) {
    for (spec, container, want) in rows {
        let got: Vec<String> = wrong(spec, container)
            .into_iter()
            .map(|text| match text.strip_prefix("spec.containers[0].") {
                Some(rest) => format!("_.{rest}"),
                None => text,
            })
            .collect();
        assert_eq!(got, *want, "spec {spec:?}, container {container:?}");
    }
}

#[test]
fn metadata_is_checked() {
    let meta = |meta: &str| {
        errors(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {meta}\nspec: {{containers: [{{name: c, image: i}}]}}"
        ))
    };
    assert_eq!(meta("{}"), ["metadata.name: Required value: name or generateName is required"]);
    assert_eq!(meta("{name: A_b}"), [format!("metadata.name: Invalid value: \"A_b\": {SUBDOMAIN}")]);
    let long = "a".repeat(254);
    assert_eq!(
        meta(&format!("{{name: {long}}}")),
        [format!("metadata.name: Invalid value: \"{long}\": must be no more than 253 characters")]
    );
    assert_eq!(
        meta("{name: p, namespace: A}"),
        [format!("metadata.namespace: Invalid value: \"A\": {LABEL}")]
    );
    assert_eq!(
        meta("{name: p, labels: {/a: b}}"),
        ["metadata.labels: Invalid value: \"/a\": prefix part must be non-empty"]
    );
    assert!(
        meta("{name: p, labels: {a: \"-\"}}")[0]
            .starts_with("metadata.labels[a]: Invalid value: \"-\": a valid label must be")
    );
    assert!(
        meta("{name: p, annotations: {a b: c}}")[0]
            .starts_with("metadata.annotations: Invalid value: \"a b\": name part must")
    );
    let large = "x".repeat(256 * 1024);
    assert_eq!(
        meta(&format!("{{name: p, annotations: {{a: {large}}}}}")),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
    assert!(meta("{name: a.b-c, labels: {example.com/App: My_v.1, e: \"\"}, annotations: {Example.com/X: any text}}").is_empty());
    assert_eq!(errors("apiVersion: v1\nkind: Pod\nmetadata: {name: p}"), ["spec.containers: Required value"]);
    assert_eq!(
        errors("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}"),
        ["spec.containers: Required value"]
    );
    assert_eq!(
        errors("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  -"),
        ["spec.containers[0]: Invalid value: null: an element of a list must not be empty"]
    );
}

#[test]
fn the_pod_as_a_whole_is_checked() {
    table(&[
        (
            "restartPolicy: X",
            "",
            &[
                "spec.restartPolicy: Unsupported value: \"X\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            ],
        ),
        ("hostname: a.b", "", &[&format!("spec.hostname: Invalid value: \"a.b\": {LABEL}")]),
        ("subdomain: A", "", &[&format!("spec.subdomain: Invalid value: \"A\": {LABEL}")]),
        (
            "hostAliases: [{ip: x, hostnames: [A]}]",
            "",
            &[
                "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                &format!("spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": {SUBDOMAIN}"),
            ],
        ),
        ("hostAliases: [{ip: \"::1\", hostnames: [a.b]}]", "", &[]),
    ]);
    assert_eq!(
        wrong("hostPID: true\n  shareProcessNamespace: true", ""),
        [
            "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"
        ]
    );
    assert_eq!(
        wrong("hostNetwork: true", "ports: [{containerPort: 80, hostPort: 81}]"),
        [
            "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"
        ]
    );
    assert!(wrong("hostNetwork: true", "ports: [{containerPort: 80}]").is_empty());
    assert!(wrong("terminationGracePeriodSeconds: -5", "").is_empty());
}

#[test]
fn dns_is_checked() {
    let ip = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    let searches = (0..33).map(|n| format!("s{n}")).collect::<Vec<_>>();
    let shown = searches.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(",");
    table(&[
        (
            "dnsPolicy: X",
            "",
            &[
                "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
            ],
        ),
        (
            "dnsPolicy: None",
            "",
            &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            "dnsConfig: {nameservers: [x]}",
            "",
            &[&format!("spec.dnsConfig.nameservers[0]: Invalid value: \"x\": {ip}")],
        ),
        (
            "dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}",
            "",
            &[
                "spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]: must not have more than 3 nameservers",
            ],
        ),
        (
            "dnsConfig: {options: [{value: a}]}",
            "",
            &["spec.dnsConfig.options[0]: Required value: must not be empty"],
        ),
        ("dnsConfig: {searches: [., a.b., _x.y]}", "", &[]),
        (
            "dnsConfig: {searches: [A]}",
            "",
            &[&format!("spec.dnsConfig.searches[0]: Invalid value: \"A\": {SUBDOMAIN}")],
        ),
        (
            &format!("dnsConfig: {{searches: [{}]}}", searches.join(",")),
            "",
            &[&format!(
                "spec.dnsConfig.searches: Invalid value: [{shown}]: must not have more than 32 search paths"
            )],
        ),
    ]);
    assert_eq!(
        wrong("dnsPolicy: None\n  dnsConfig: {}", ""),
        [
            "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"
        ]
    );
}

#[test]
fn containers_are_checked() {
    table(&[
        ("", "name: \"\"", &["_.name: Required value"]),
        ("", "name: A", &[&format!("_.name: Invalid value: \"A\": {LABEL}")]),
        ("", "image: \"\"", &["_.image: Required value"]),
        (
            "",
            "image: \" x\"",
            &["_.image: Invalid value: \" x\": must not have leading or trailing whitespace"],
        ),
        (
            "",
            "imagePullPolicy: X",
            &[
                "_.imagePullPolicy: Unsupported value: \"X\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        ("", "ports: [{}]", &["_.ports[0].containerPort: Required value"]),
        (
            "",
            "ports: [{containerPort: 65536}]",
            &["_.ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive"],
        ),
        (
            "",
            "ports: [{containerPort: 1, hostPort: -1}]",
            &["_.ports[0].hostPort: Invalid value: -1: must be between 1 and 65535, inclusive"],
        ),
        (
            "",
            "ports: [{containerPort: 1, protocol: X}]",
            &["_.ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
        ),
        (
            "",
            "ports: [{containerPort: 1, hostIP: x}]",
            &[
                "_.ports[0].hostIP: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            "",
            "ports: [{containerPort: 1, name: a-very-long-name}]",
            &["_.ports[0].name: Invalid value: \"a-very-long-name\": must be no more than 15 characters"],
        ),
        (
            "",
            "ports: [{containerPort: 1, name: \"12\"}]",
            &["_.ports[0].name: Invalid value: \"12\": must contain at least one letter (a-z)"],
        ),
        (
            "",
            "ports: [{containerPort: 1, name: a_b}]",
            &[
                "_.ports[0].name: Invalid value: \"a_b\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            ],
        ),
        (
            "",
            "ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]",
            &["_.ports[1].name: Duplicate value: \"a\""],
        ),
        (
            "",
            "ports: [{containerPort: 1, hostPort: 8080}, {containerPort: 2, hostPort: 8080}]",
            &["_.ports[1].hostPort: Duplicate value: \"TCP//8080\""],
        ),
        (
            "",
            "ports: [{containerPort: 1, hostPort: 53}, {containerPort: 1, hostPort: 53, protocol: UDP}]",
            &[],
        ),
    ]);
    let two = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: a, image: i, ports: [{containerPort: 1, hostPort: 80}]}\n  - {name: a, image: i, ports: [{containerPort: 1, hostPort: 80}]}\n";
    assert_eq!(
        errors(two),
        [
            "spec.containers[1].name: Duplicate value: \"a\"",
            "spec.containers[1].ports[0].hostPort: Duplicate value: \"TCP//80\""
        ]
    );
}

#[test]
fn resources_are_checked() {
    let regex = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    table(&[
        (
            "",
            "resources: {limits: {cpu: 100m}, requests: {cpu: 200m}}",
            &[
                "_.resources.requests: Invalid value: \"200m\": must be less than or equal to cpu limit of 100m",
            ],
        ),
        (
            "",
            "resources: {limits: {memory: -1}}",
            &["_.resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0"],
        ),
        (
            "",
            "resources: {limits: {memory: 64mb}}",
            &[&format!("_.resources.limits[memory]: Invalid value: \"64mb\": {regex}")],
        ),
        (
            "",
            "resources: {requests: {memory: lots}}",
            &[&format!("_.resources.requests[memory]: Invalid value: \"lots\": {regex}")],
        ),
        ("", "resources: {limits: {cpu: 1}, requests: {cpu: 1000m}}", &[]),
    ]);
    let found = load(
        &[Source::new(
            "p",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, resources: {limits: {memory: 64mb}}}]}",
        )],
        &Options::default(),
    );
    assert_eq!(found.unwrap_err().0[0].hint.as_deref(), Some("did you mean 64M?"));
}

#[test]
fn environment_variables_are_checked() {
    let fields = "supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"";
    let sources = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
    table(&[
        ("", "env: [{value: x}]", &["_.env[0].name: Required value"]),
        (
            "",
            "env: [{name: A=B}]",
            &[
                "_.env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {}}]",
            &[&format!("_.env[0].valueFrom: Invalid value: \"\": {sources}")],
        ),
        (
            "",
            "env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
            &["_.env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}, resourceFieldRef: {resource: limits.cpu}}}]",
            &[
                "_.env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
            ],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {fieldRef: {}}}]",
            &["_.env[0].valueFrom.fieldRef.fieldPath: Required value"],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.nosuch}}}]",
            &[
                "_.env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.nosuch\": error converting fieldPath: field label not supported: metadata.nosuch",
            ],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.phase}}}]",
            &[&format!(
                "_.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": {fields}"
            )],
        ),
        ("", "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a/b']\"}}}]", &[]),
        (
            "",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: \"\"}}}]",
            &["_.env[0].valueFrom.resourceFieldRef.resource: Required value"],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: x}}}]",
            &[
                "_.env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"x\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
            ],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 5}}}]",
            &[
                "_.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"5\": only divisor's values 1m and 1 are supported with the cpu resource",
            ],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 5}}}]",
            &[
                "_.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"5\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
            ],
        ),
        (
            "",
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, containerName: x, divisor: 1Mi}}}]",
            &["_.env[0].valueFrom.resourceFieldRef.containerName: Not found: \"x\""],
        ),
    ]);
}

#[test]
fn security_contexts_are_checked() {
    let range = "must be between 0 and 2147483647, inclusive";
    let sysctl = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    table(&[
        (
            "securityContext: {runAsUser: -1}",
            "",
            &[&format!("spec.securityContext.runAsUser: Invalid value: -1: {range}")],
        ),
        (
            "securityContext: {supplementalGroups: [2147483648]}",
            "",
            &[&format!("spec.securityContext.supplementalGroups[0]: Invalid value: 2147483648: {range}")],
        ),
        (
            "securityContext: {supplementalGroupsPolicy: X}",
            "",
            &[
                "spec.securityContext.supplementalGroupsPolicy: Unsupported value: \"X\": supported values: \"Merge\", \"Strict\"",
            ],
        ),
        (
            "securityContext: {sysctls: [{name: foo-, value: a}]}",
            "",
            &[&format!("spec.securityContext.sysctls[0].name: Invalid value: \"foo-\": {sysctl}")],
        ),
        (
            "securityContext: {sysctls: [{name: a.b, value: a}, {name: a/b, value: a}]}",
            "",
            &["spec.securityContext.sysctls[1].name: Duplicate value: \"a/b\""],
        ),
        (
            "securityContext: {sysctls: [{value: a}]}",
            "",
            &["spec.securityContext.sysctls[0].name: Required value"],
        ),
        (
            "",
            "securityContext: {runAsGroup: -1}",
            &[&format!("_.securityContext.runAsGroup: Invalid value: -1: {range}")],
        ),
        (
            "",
            "securityContext: {privileged: true, allowPrivilegeEscalation: false}",
            &[
                "_.securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ],
        ),
        (
            "",
            "securityContext: {allowPrivilegeEscalation: false, capabilities: {add: [CAP_SYS_ADMIN]}}",
            &[
                "_.securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"CAP_SYS_ADMIN\"]}}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            ],
        ),
        ("", "securityContext: {allowPrivilegeEscalation: false, privileged: false}", &[]),
        ("", "securityContext: {allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}}", &[]),
        ("", "securityContext: {capabilities: {add: [net_admin, CAP_SYS_TIME], drop: [ALL]}}", &[]),
        (
            "",
            "securityContext: {capabilities: {add: [CHOWN, FOO], drop: [\"\"]}}",
            &[
                "_.securityContext.capabilities.add[1]: Invalid value: \"FOO\": is no capability of Linux",
                "_.securityContext.capabilities.drop[0]: Invalid value: \"\": is no capability of Linux",
            ],
        ),
    ]);
    assert_eq!(
        wrong(
            "hostNetwork: true\n  hostIPC: true\n  securityContext: {sysctls: [{name: net.ipv4.ip_forward, value: \"1\"}, {name: kernel.shmmax, value: \"1\"}]}",
            ""
        ),
        [
            "spec.securityContext.sysctls[0].name: Invalid value: \"net.ipv4.ip_forward\": may not be specified when 'hostNetwork' is true",
            "spec.securityContext.sysctls[1].name: Invalid value: \"kernel.shmmax\": may not be specified when 'hostIPC' is true",
        ]
    );
}

#[test]
fn volumes_and_their_mounts_are_checked() {
    let types = "supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"";
    table(&[
        ("volumes: [{emptyDir: {}}]", "", &["spec.volumes[0].name: Required value"]),
        ("volumes: [{name: A}]", "", &[&format!("spec.volumes[0].name: Invalid value: \"A\": {LABEL}")]),
        ("volumes: [{name: a}, {name: a}]", "", &["spec.volumes[1].name: Duplicate value: \"a\""]),
        (
            "volumes: [{name: a, emptyDir: {}, hostPath: {path: /x}}]",
            "",
            &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            "volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: -1}}]",
            "",
            &[
                "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
            ],
        ),
        ("volumes: [{name: a, hostPath: {}}]", "", &["spec.volumes[0].hostPath.path: Required value"]),
        (
            "volumes: [{name: a, hostPath: {path: /a/../b}}]",
            "",
            &["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
        ),
        (
            "volumes: [{name: a, hostPath: {path: /a, type: X}}]",
            "",
            &[&format!("spec.volumes[0].hostPath.type: Unsupported value: \"X\": {types}")],
        ),
        ("", "volumeMounts: [{mountPath: /a}]", &["_.volumeMounts[0].name: Required value"]),
        ("", "volumeMounts: [{name: x, mountPath: /a}]", &["_.volumeMounts[0].name: Not found: \"x\""]),
        (
            "volumes: [{name: a}]",
            "volumeMounts: [{name: a}]",
            &["_.volumeMounts[0].mountPath: Required value"],
        ),
        (
            "volumes: [{name: a}]",
            "volumeMounts: [{name: a, mountPath: /a}, {name: a, mountPath: /a}]",
            &["_.volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique"],
        ),
        (
            "volumes: [{name: a}]",
            "volumeMounts: [{name: a, mountPath: /}, {name: a, mountPath: /x/../.}, {name: a, mountPath: /./x}]",
            &[
                "_.volumeMounts[0].mountPath: Invalid value: \"/\": must not be the container's root",
                "_.volumeMounts[1].mountPath: Invalid value: \"/x/../.\": must not be the container's root",
            ],
        ),
        (
            "volumes: [{name: a}]",
            "volumeMounts: [{name: a, mountPath: /a, subPath: /b}]",
            &["_.volumeMounts[0].subPath: Invalid value: \"/b\": must be a relative path"],
        ),
        (
            "volumes: [{name: a}]",
            "volumeMounts: [{name: a, mountPath: /a, subPath: b/../c}]",
            &["_.volumeMounts[0].subPath: Invalid value: \"b/../c\": must not contain '..'"],
        ),
        (
            "volumes: [{name: a}]",
            "volumeMounts: [{name: a, mountPath: /a, subPath: b..c, readOnly: true}]",
            &[],
        ),
    ]);
}
