use super::table;

#[test]
fn probes_are_checked() {
    table(&[
        ("", "livenessProbe: {}", &["_.livenessProbe: Required value: must specify a handler type"]),
        ("", "livenessProbe: {exec: {}}", &["_.livenessProbe.exec.command: Required value"]),
        (
            "",
            "livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}",
            &["_.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            "",
            "livenessProbe: {tcpSocket: {}}",
            &["_.livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "",
            "livenessProbe: {tcpSocket: {port: web}}",
            &["_.livenessProbe.tcpSocket.port: Not found: \"web\""],
        ),
        (
            "",
            "livenessProbe: {tcpSocket: {port: \"8080\"}}",
            &[
                "_.livenessProbe.tcpSocket.port: Invalid value: \"8080\": must contain at least one letter (a-z)",
            ],
        ),
        (
            "",
            "livenessProbe: {httpGet: {port: 1, scheme: http}}",
            &[
                "_.livenessProbe.httpGet.scheme: Unsupported value: \"http\": supported values: \"HTTP\", \"HTTPS\"",
            ],
        ),
        (
            "",
            "livenessProbe: {httpGet: {port: 1, httpHeaders: [{name: a b, value: c}]}}",
            &[
                "_.livenessProbe.httpGet.httpHeaders[0].name: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        (
            "",
            "livenessProbe: {tcpSocket: {port: 1}, periodSeconds: -1}",
            &["_.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "",
            "livenessProbe: {tcpSocket: {port: 1}, initialDelaySeconds: -1}",
            &["_.livenessProbe.initialDelaySeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "",
            "livenessProbe: {tcpSocket: {port: 1}, successThreshold: 2}",
            &["_.livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            "",
            "startupProbe: {tcpSocket: {port: 1}, successThreshold: 2}",
            &["_.startupProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        ("", "readinessProbe: {tcpSocket: {port: 1}, successThreshold: 2}", &[]),
        (
            "",
            "readinessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 2}",
            &[
                "_.readinessProbe.terminationGracePeriodSeconds: Invalid value: 2: must not be set for readinessProbes",
            ],
        ),
        (
            "",
            "livenessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 0}",
            &["_.livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"],
        ),
    ]);
}

#[test]
fn grpc_probes_are_checked() {
    table(&[
        (
            "",
            "livenessProbe: {grpc: {port: 65536}}",
            &["_.livenessProbe.grpc.port: Invalid value: 65536: must be between 1 and 65535, inclusive"],
        ),
        (
            "",
            "livenessProbe: {tcpSocket: {port: 1}, grpc: {port: 0}}",
            &["_.livenessProbe.grpc: Forbidden: may not specify more than 1 handler type"],
        ),
        ("", "livenessProbe: {grpc: {port: 1, service: x}}", &[]),
    ]);
}
