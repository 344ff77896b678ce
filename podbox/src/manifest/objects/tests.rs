use serde_json::{Value, json};

use crate::manifest::{Loaded, Options, Severity, Source, load};

fn loaded(text: &str) -> Loaded {
    load(&[Source::new("x.yaml", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"))
}

fn object(text: &str) -> Value {
    loaded(text).objects.remove(0).object
}

fn errors(text: &str) -> Vec<String> {
    let Err(found) = load(&[Source::new("x.yaml", text)], &Options::default()) else { return Vec::new() };
    found.0.iter().filter(|one| one.severity == Severity::Error).map(super::super::Diagnostic::text).collect()
}

fn of(kind: &str, rest: &str) -> String {
    format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n{rest}\n")
}

#[test]
fn a_config_map_keeps_what_was_written_even_if_it_is_empty() {
    let map = object(&of("ConfigMap", "data: {a: '', b.c: x}\nbinaryData: {d: AAE=}\nimmutable: true"));
    assert_eq!(map["data"], json!({"a": "", "b.c": "x"}));
    assert_eq!(map["binaryData"], json!({"d": "AAE="}));
    assert_eq!(map["metadata"], json!({"name": "a", "namespace": "default"}));
    assert_eq!((&map["kind"], &map["immutable"]), (&json!("ConfigMap"), &json!(true)));
}

#[test]
fn a_config_maps_keys_values_and_size_are_checked() {
    assert_eq!(
        errors(&of("ConfigMap", "data: {a: 1}")),
        ["data[a]: Invalid value: 1: cannot convert number to string"]
    );
    let wrong = errors(&of("ConfigMap", "data: {a b: x, ..c: u, d: z}\nbinaryData: {d: AAE=, e: '%'}"));
    assert!(
        wrong[0].starts_with("data[a b]: Invalid value: \"a b\": a valid config key must consist"),
        "{wrong:?}"
    );
    for want in [
        "data[..c]: Invalid value: \"..c\": must not start with '..'",
        "data[d]: Invalid value: \"d\": duplicate of key present in binaryData",
        "binaryData[e]: Invalid value: illegal base64 data at input byte 0",
    ] {
        assert!(wrong.iter().any(|one| one == want), "{want}: {wrong:?}");
    }
    let large = of("ConfigMap", &format!("data: {{a: {}}}", "x".repeat(1 << 20)));
    assert_eq!(errors(&large), ["data: Too long: may not be more than 1048576 bytes"]);
    assert_eq!(
        errors(&of("ConfigMap", "dat: {}")),
        ["unknown field \"dat\""].map(|text| format!("dat: {text}"))
    );
}

#[test]
fn a_secrets_plain_text_is_folded_into_its_data_and_wins() {
    let secret = object(&of("Secret", "data:\n  a: b25l\n  b: |\n   dH\n   dv\nstringData: {a: two}"));
    assert_eq!(secret["data"], json!({"a": "dHdv", "b": "dHdv"}));
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret.get("stringData"), None);
}

#[test]
fn secrets_of_a_known_type_need_its_keys_and_never_show_a_value() {
    for (kind, data, want) in [
        ("kubernetes.io/tls", "{tls.crt: ''}", &["data[tls.key]: Required value"][..]),
        (
            "kubernetes.io/basic-auth",
            "{x: ''}",
            &["data[username]: Required value", "data[password]: Required value"],
        ),
        ("kubernetes.io/basic-auth", "{password: ''}", &[]),
        ("kubernetes.io/ssh-auth", "{ssh-privatekey: ''}", &["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/dockerconfigjson", "{}", &["data[.dockerconfigjson]: Required value"]),
        (
            "kubernetes.io/dockerconfigjson",
            "{.dockerconfigjson: c2VjcmV0}",
            &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": it is no JSON object"],
        ),
        (
            "kubernetes.io/service-account-token",
            "{}",
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("bootstrap.kubernetes.io/token", "{}", &[]),
    ] {
        assert_eq!(errors(&of("Secret", &format!("type: {kind}\ndata: {data}"))), want, "{kind}");
    }
}

#[test]
fn claims_and_volumes_are_checked_as_an_api_server_does() {
    assert_eq!(
        errors(&of("PersistentVolumeClaim", "spec: {}")),
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value"
        ]
    );
    let claim =
        "spec: {accessModes: [ReadWriteOncePod, X], volumeMode: Z, resources: {requests: {storage: 0}}}";
    assert_eq!(
        errors(&of("PersistentVolumeClaim", claim)),
        [
            "spec.accessModes: Unsupported value: \"X\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \
             \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            "spec.volumeMode: Unsupported value: \"Z\": supported values: \"Block\", \"Filesystem\"",
            "spec.resources.requests[storage]: Invalid value: \"0\": must be greater than zero",
        ]
    );
    let volume = "spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, SOURCE}";
    let with = |source: &str| of("PersistentVolume", &volume.replace("SOURCE", source));
    assert_eq!(errors(&with("storageClassName: x")), ["spec: Required value: must specify a volume type"]);
    assert_eq!(errors(&with("nfs: {server: a, path: /b}")), ["spec.nfs: Forbidden: not supported by podbox"]);
    assert_eq!(
        errors(&with("hostPath: {path: /a/../b}")),
        ["spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]
    );
    let volume = object(&with("hostPath: {path: /a}"));
    assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
    assert_eq!(volume["spec"]["volumeMode"], "Filesystem");
    assert_eq!(volume["metadata"].get("namespace"), None);
}

#[test]
fn a_service_is_checked_and_given_its_defaults() {
    let good = "spec: {selector: {app: a}, ports: [{port: 80, targetPort: http}]}";
    let two = format!("{}---\n{}", of("Service", good), of("Service", good).replace("name: a", "name: b"));
    let services = loaded(&two);
    assert!(services.warnings.0.is_empty());
    assert_eq!(services.objects[0].object["spec"]["type"], "ClusterIP");
    assert_eq!(services.objects[0].object["spec"]["ports"][0]["protocol"], "TCP");
    let bad = "spec: {type: X, ports: [{port: 0}, {port: 80, name: a, protocol: Z}, {port: 81, name: a}]}";
    assert_eq!(
        errors(&of("Service", bad)),
        [
            "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \
             \"LoadBalancer\", \"NodePort\"",
            "spec.ports[0].name: Required value",
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[1].protocol: Unsupported value: \"Z\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.ports[2].name: Duplicate value: \"a\"",
        ]
    );
    assert_eq!(errors(&of("Service", "spec: {type: ExternalName}")), ["spec.externalName: Required value"]);
}

/// What is wrong with a Service of this `spec`, which has a port.
fn of_service(spec: &str) -> Vec<String> {
    errors(&of("Service", &format!("spec: {{ports: [{{port: 80}}], {spec}}}")))
}

#[test]
fn nobody_may_be_led_away_from_addresses_that_everybody_has_for_himself() {
    for (ip, why) in [
        ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("'::1'", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("'::'", "may not be unspecified (::)"),
        ("169.254.169.254", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("'fe80::1'", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("224.0.0.251", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ("'ff02::fb'", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ("'::ffff:127.0.0.1'", "must not be an IPv4-mapped IPv6 address"),
        ("010.0.0.1", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    ] {
        let shown = ip.trim_matches('\'');
        assert_eq!(
            of_service(&format!("externalIPs: [192.0.2.1, {ip}]")),
            [format!("spec.externalIPs[1]: Invalid value: {shown:?}: {why}")]
        );
    }
    let found = load(
        &[Source::new(
            "x.yaml",
            of("Service", "spec:\n  ports: [{port: 80}]\n  externalIPs:\n  - 127.0.0.1"),
        )],
        &Options::default(),
    );
    let found = found.unwrap_err();
    assert_eq!((found.0[0].line, found.0[0].column), (7, 5));
}

#[test]
fn addresses_and_families_of_a_service_fit_each_other() {
    const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    for (spec, want) in [
        ("ipFamilies: [IPv4, IPv4]", vec!["spec.ipFamilies[1]: Duplicate value: \"IPv4\"".to_owned()]),
        (
            "ipFamilies: [IPv5]",
            vec!["spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\"".to_owned()],
        ),
        (
            "clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5, 10.96.0.6]",
            vec![
                "spec.clusterIPs: Invalid value: [\"10.96.0.5\",\"10.96.0.6\"]: may specify no more than one IP for \
                 each IP family"
                    .to_owned(),
            ],
        ),
        (
            "clusterIP: 10.96.0.5, clusterIPs: [10.96.0.6]",
            vec!["spec.clusterIPs: Invalid value: [\"10.96.0.6\"]: first value must match `clusterIP`".to_owned()],
        ),
        (
            "clusterIPs: [10.96.0.6]",
            vec![
                "spec.clusterIPs: Invalid value: [\"10.96.0.6\"]: must be empty when `clusterIP` is not specified"
                    .to_owned(),
            ],
        ),
        (
            "clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5, 'fd00::5'], ipFamilies: [IPv6, IPv4]",
            vec![
                "spec.clusterIPs[0]: Invalid value: \"10.96.0.5\": expected an IPv6 value as indicated by \
                 `ipFamilies[0]`"
                    .to_owned(),
                "spec.clusterIPs[1]: Invalid value: \"fd00::5\": expected an IPv4 value as indicated by \
                 `ipFamilies[1]`"
                    .to_owned(),
            ],
        ),
        (
            "clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5, 'fd00::5', 'fd00::6']",
            vec![
                "spec.clusterIPs: Invalid value: [\"10.96.0.5\",\"fd00::5\",\"fd00::6\"]: may only hold up to 2 values"
                    .to_owned(),
            ],
        ),
        (
            "clusterIP: None, clusterIPs: [None, 10.96.0.5]",
            vec![
                "spec.clusterIPs: Invalid value: [\"None\",\"10.96.0.5\"]: 'None' must be the first and only value"
                    .to_owned(),
            ],
        ),
        (
            "clusterIP: None, type: NodePort",
            vec!["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services".to_owned()],
        ),
        ("clusterIP: x", vec![format!("spec.clusterIPs[0]: Invalid value: \"x\": {IP}")]),
        (
            "type: ExternalName, externalName: a.b, clusterIP: None, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack",
            vec![
                "spec.clusterIPs: Forbidden: may not be set for ExternalName services".to_owned(),
                "spec.ipFamilies: Forbidden: may not be set for ExternalName services".to_owned(),
                "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services".to_owned(),
            ],
        ),
        ("clusterIP: ''", vec![]),
        ("clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5, 'fd00::5'], ipFamilies: [IPv4, IPv6]", vec![]),
    ] {
        assert_eq!(of_service(spec), want, "{spec}");
    }
}

#[test]
fn how_traffic_gets_to_a_service_is_checked() {
    const BALANCERS: &str = "Forbidden: may only be used when `type` is 'LoadBalancer'";
    let qualified = "name part must consist of alphanumeric characters";
    for (spec, want) in [
        (
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than or \
             equal to 86400",
        ),
        (
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater",
        ),
        ("loadBalancerClass: a/b", &format!("spec.loadBalancerClass: {BALANCERS}")),
        (
            "type: LoadBalancer, loadBalancerClass: a b",
            &format!("spec.loadBalancerClass: Invalid value: \"a b\": {qualified}"),
        ),
        (
            "externalTrafficPolicy: Local",
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        (
            "type: NodePort, externalTrafficPolicy: Far",
            "spec.externalTrafficPolicy: Unsupported value: \"Far\": supported values: \"Cluster\", \"Local\"",
        ),
        (
            "internalTrafficPolicy: Far",
            "spec.internalTrafficPolicy: Unsupported value: \"Far\": supported values: \"Cluster\", \"Local\"",
        ),
        (
            "type: LoadBalancer, healthCheckNodePort: 30000",
            "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and \
             `externalTrafficPolicy` is 'Local'",
        ),
        (
            "type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 70000",
            "spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        ("allocateLoadBalancerNodePorts: true", &format!("spec.allocateLoadBalancerNodePorts: {BALANCERS}")),
        ("loadBalancerSourceRanges: [10.0.0.0/8]", &format!("spec.LoadBalancerSourceRanges: {BALANCERS}")),
        (
            "type: LoadBalancer, loadBalancerSourceRanges: [' 10.0.0.0/8 ', 10.0.0.0/33]",
            "spec.LoadBalancerSourceRanges[1]: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. \
             10.9.8.0/24 or 2001:db8::/64)",
        ),
        (
            "trafficDistribution: Near",
            "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \
             \"PreferSameNode\", \"PreferSameZone\"",
        ),
        (
            "type: LoadBalancer, ports: [{port: 10250}]",
            "spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet",
        ),
        (
            "ports: [{port: 80, appProtocol: a b}]",
            &format!("spec.ports[0].appProtocol: Invalid value: \"a b\": {qualified}"),
        ),
        (
            "type: NodePort, ports: [{port: 80, name: a, nodePort: 30000}, {port: 81, name: b, nodePort: 30000}]",
            "spec.ports[1].nodePort: Duplicate value: 30000",
        ),
        (
            "ports: [{port: 80, nodePort: 30000}]",
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        ("ports: []", "spec.ports: Required value"),
    ] {
        let spec =
            if spec.contains("ports:") { spec.to_owned() } else { format!("ports: [{{port: 80}}], {spec}") };
        let found = errors(&of("Service", &format!("spec: {{{spec}}}")));
        assert!(found.len() == 1 && found[0].starts_with(want), "{spec}: {found:?}");
    }
}

#[test]
fn what_an_api_server_takes_is_taken() {
    for good in [
        "type: NodePort, externalTrafficPolicy: Local",
        "externalIPs: [192.0.2.1], externalTrafficPolicy: Local",
        "type: LoadBalancer, externalTrafficPolicy: Local, allocateLoadBalancerNodePorts: false",
        "trafficDistribution: PreferSameZone",
        "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}",
    ] {
        assert_eq!(of_service(good), [""; 0], "{good}");
    }
}

#[test]
fn what_has_no_effect_on_one_host_is_told_and_the_rest_gets_its_default() {
    let spec = "spec: {ports: [{port: 80, targetPort: ''}], sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}, \
                externalName: a.b, externalIPs: [192.0.2.1], loadBalancerIP: 192.0.2.2}";
    let all = loaded(&of("Service", spec));
    let spec = &all.objects[0].object["spec"];
    assert_eq!(spec.get("sessionAffinityConfig"), None);
    assert_eq!(spec["ports"][0]["targetPort"], 80);
    assert_eq!(spec["externalTrafficPolicy"], "Cluster");
    let told: Vec<_> = all.warnings.0.iter().map(|one| one.field_path.as_str()).collect();
    assert_eq!(told, ["spec.sessionAffinityConfig", "spec.externalName", "spec.loadBalancerIP"]);
    let spec = "spec: {type: LoadBalancer, sessionAffinity: ClientIP, ports: [{port: 80}], \
                loadBalancerSourceRanges: [10.0.0.0/8]}";
    let all = loaded(&of("Service", spec));
    let spec = &all.objects[0].object["spec"];
    assert_eq!(spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
    assert_eq!(spec["allocateLoadBalancerNodePorts"], true);
    assert_eq!(all.warnings.0[0].field_path, "spec.loadBalancerSourceRanges");
}

#[test]
fn endpoints_are_checked_and_given_their_defaults() {
    let slice =
        |rest: &str| of("EndpointSlice", rest).replace("apiVersion: v1", "apiVersion: discovery.k8s.io/v1");
    let good = "addressType: IPv6\nendpoints: [{addresses: ['fd00::1']}]\nports: [{port: 80}]";
    let made = object(&slice(good));
    assert_eq!(made["ports"][0], json!({"name": "", "port": 80, "protocol": "TCP"}));
    let bad = "addressType: X\nendpoints: [{addresses: []}]\nports: [{port: 1}, {port: 2, protocol: Z}]";
    assert_eq!(
        errors(&slice(bad)),
        [
            "addressType: Unsupported value: \"X\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            "endpoints[0].addresses: Required value: must contain at least 1 address",
            "ports[1].name: Duplicate value: \"\"",
            "ports[1].protocol: Unsupported value: \"Z\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ]
    );
    let list = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nitems: [{metadata: {name: a}, addressType: IPv4}]";
    assert_eq!(loaded(list).objects[0].name, "a");
    let endpoints = "subsets: [{addresses: [{ip: 169.254.1.1}], ports: [{port: 1}, {port: 2, name: b}]}]";
    assert_eq!(
        errors(&of("Endpoints", endpoints)),
        [
            "subsets[0].addresses[0].ip: Invalid value: \"169.254.1.1\": may not be in the link-local range \
             (169.254.0.0/16, fe80::/10)",
            "subsets[0].ports[0].name: Required value",
        ]
    );
}

#[test]
fn names_are_judged_by_their_kind() {
    let named = |kind: &str, name: &str| errors(&of(kind, "").replace("name: a", &format!("name: {name}")));
    assert!(named("ConfigMap", "a.b").is_empty());
    assert!(
        named("Namespace", "a.b")[0]
            .starts_with("metadata.name: Invalid value: \"a.b\": a lowercase RFC 1123 label")
    );
    assert!(
        errors(&of("Service", "spec: {clusterIP: None}").replace("name: a", "name: 1a"))[0]
            .contains("a DNS-1035 label must consist")
    );
    let placed = of("Namespace", "").replace("name: a", "name: a, namespace: b");
    assert_eq!(errors(&placed), ["metadata.namespace: Forbidden: not allowed on this type"]);
    let twice = format!("{0}---\n{0}", of("ConfigMap", ""));
    assert_eq!(errors(&twice), ["metadata.name: Duplicate value: \"a\""]);
}

#[test]
fn what_is_needed_first_comes_first_and_lists_may_be_of_one_kind() {
    let text = format!(
        "{}---\napiVersion: v1\nkind: SecretList\nitems: [{{metadata: {{name: b}}}}]\n---\n{}",
        of("ConfigMap", ""),
        of("Namespace", "status: {phase: Active}")
    );
    let all = loaded(&text);
    let kinds: Vec<&str> = all.objects.iter().map(|object| object.kind.kind()).collect();
    assert_eq!(kinds, ["Namespace", "ConfigMap", "Secret"]);
    assert_eq!(all.warnings.0.len(), 1, "the status that a server wrote");
}

#[test]
fn what_was_saved_from_podbox_belongs_to_no_set_any_more() {
    let saved = |kind: &str, rest: &str| {
        let annotations = "{name: a, annotations: {podbox.local/set: /old, b: c}}";
        of(kind, rest).replace("{name: a}", annotations)
    };
    let pod = "spec: {containers: [{name: c, image: podbox.local/toolbox}]}";
    let all = loaded(&format!("{}---\n{}", saved("ConfigMap", ""), saved("Pod", pod)));
    assert_eq!(all.objects[0].object["metadata"]["annotations"], json!({"b": "c"}));
    assert_eq!(all.pods[0].object["metadata"]["annotations"], json!({"b": "c"}));
    assert_eq!(all.pods[0].pod.annotations.len(), 1);
}
