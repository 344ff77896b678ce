use super::{SUBDOMAIN, table};

const KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

#[test]
fn references_of_variables_are_checked() {
    let key = |from: &str| format!("env: [{{name: A, valueFrom: {{{from}}}}}]");
    let at = "_.env[0].valueFrom";
    table(&[
        ("", &key("configMapKeyRef: {name: m, key: k.v_1-2, optional: true}"), &[]),
        ("", &key("secretKeyRef: {name: m, key: .dot}"), &[]),
        (
            "",
            &key("configMapKeyRef: {name: M, key: a/b}"),
            &[
                &format!("{at}.configMapKeyRef.name: Invalid value: \"M\": {SUBDOMAIN}"),
                &format!("{at}.configMapKeyRef.key: Invalid value: \"a/b\": {KEY}"),
            ],
        ),
        ("", &key("secretKeyRef: {name: m}"), &[&format!("{at}.secretKeyRef.key: Required value")]),
        (
            "",
            &key("secretKeyRef: {name: m, key: ..k}"),
            &[&format!("{at}.secretKeyRef.key: Invalid value: \"..k\": must not start with '..'")],
        ),
        (
            "volumes: [{name: v, hostPath: {path: /x}}]",
            &key("fileKeyRef: {volumeName: v, key: a=b, path: ../f}"),
            &[
                &format!(
                    "{at}.fileKeyRef.volumeName: Invalid value: \"v\": referenced volume must be of type emptyDir"
                ),
                &format!("{at}.fileKeyRef.key: Invalid value: \"a=b\": {ENV}"),
                &format!("{at}.fileKeyRef.path: Invalid value: \"../f\": must not contain '..'"),
            ],
        ),
        (
            "",
            &key("fileKeyRef: {volumeName: x, path: ..f, key: k}"),
            &[
                &format!("{at}.fileKeyRef.volumeName: Not found: \"x\""),
                &format!("{at}.fileKeyRef.path: Invalid value: \"..f\": must not start with '..'"),
            ],
        ),
    ]);
}

#[test]
fn sources_of_many_variables_are_checked() {
    table(&[
        (
            "",
            "envFrom: [{prefix: a.b-, configMapRef: {name: m, optional: true}}, {secretRef: {name: s}}]",
            &[],
        ),
        (
            "",
            "envFrom: [{prefix: a}]",
            &["_.envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"],
        ),
        (
            "",
            "envFrom: [{prefix: a=, configMapRef: {}, secretRef: {name: S}}]",
            &[
                "_.envFrom: Invalid value: \"\": may not have more than one field specified at a time",
                &format!("_.envFrom[0].prefix: Invalid value: \"a=\": {ENV}"),
                "_.envFrom[0].configMapRef.name: Required value",
                &format!("_.envFrom[0].secretRef.name: Invalid value: \"S\": {SUBDOMAIN}"),
            ],
        ),
    ]);
}

#[test]
fn what_names_the_pod_and_its_node_is_checked() {
    let long = "a".repeat(65);
    table(&[
        ("hostnameOverride: www.example.com", "", &[]),
        (
            &format!("hostnameOverride: {long}\n  hostNetwork: true\n  setHostnameAsFQDN: true"),
            "",
            &[
                "spec.hostnameOverride: Too long: may not be more than 64 bytes",
                "spec.hostnameOverride: Forbidden: may not be specified when `hostNetwork` is true",
                "spec.hostnameOverride: Forbidden: may not be specified when `setHostnameAsFQDN` is true",
            ],
        ),
        ("os: {name: linux}", "", &[]),
        ("os: {}", "", &["spec.os.name: Required value: cannot be empty"]),
        ("os: {name: windows}", "", &["spec.os.name: Forbidden: a Linux node runs no pods for windows"]),
        (
            "os: {name: plan9}",
            "",
            &["spec.os.name: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""],
        ),
        (
            "runtimeClassName: kata",
            "",
            &["spec.runtimeClassName: Forbidden: pod rejected: RuntimeClass \"kata\" not found"],
        ),
        ("runtimeClassName: A", "", &[&format!("spec.runtimeClassName: Invalid value: \"A\": {SUBDOMAIN}")]),
    ]);
}
