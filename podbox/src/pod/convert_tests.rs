use crate::manifest::{Options, Source, load};
use crate::pod::*;

fn pod(name: &str, spec: &str) -> Pod {
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{spec}\n");
    let mut loaded =
        load(&[Source::new("p", text)], &Options::default()).unwrap_or_else(|why| panic!("{why}"));
    loaded.pods.remove(0).pod
}

const C: &str = "  containers: [{name: c, image: i}]\n";

#[test]
fn the_hostname_is_the_given_one_or_the_pods_name_cut_to_63_characters() {
    let cut = format!("{}.tail", "a".repeat(62));
    for (name, spec, want) in
        [("web", "", "web"), ("web", "  hostname: h\n", "h"), ("a.b", "", "a.b"), (&cut, "", &"a".repeat(62))]
    {
        assert_eq!(pod(name, &format!("{spec}{C}")).hostname, want);
    }
    let with = pod("web", &format!("  hostname: h\n  subdomain: s\n{C}"));
    assert_eq!(with.fqdn.as_deref(), Some("h.s.default.svc.cluster.local"));
    assert_eq!(pod("web", C).fqdn, None);
}

#[test]
fn an_override_is_the_whole_hostname_and_a_whole_name_may_be_the_kernels() {
    let over =
        pod("web", &format!("  hostname: h\n  subdomain: s\n  hostnameOverride: www.example.com\n{C}"));
    assert_eq!((over.kernel_hostname(), over.fqdn.as_deref()), ("www.example.com", None));
    let whole = pod("web", &format!("  subdomain: s\n  setHostnameAsFQDN: true\n{C}"));
    assert_eq!((whole.kernel_hostname(), &*whole.hostname), ("web.s.default.svc.cluster.local", "web"));
    let without = pod("web", &format!("  setHostnameAsFQDN: true\n{C}"));
    assert_eq!(without.kernel_hostname(), "web");
}

#[test]
fn the_qos_class_follows_requests_and_limits() {
    let limits = "resources: {limits: {cpu: 1, memory: 1Gi}}";
    for (first, second, want) in [
        ("", "", QosClass::BestEffort),
        ("resources: {requests: {cpu: 0}}", "", QosClass::BestEffort),
        ("resources: {requests: {ephemeral-storage: 1Gi}}", "", QosClass::BestEffort),
        ("resources: {requests: {cpu: 1m}}", "", QosClass::Burstable),
        (limits, limits, QosClass::Guaranteed),
        (limits, "", QosClass::Burstable),
        (limits, "resources: {limits: {cpu: 1}}", QosClass::Burstable),
        (
            limits,
            "resources: {limits: {cpu: 1, memory: 1024Mi}, requests: {cpu: 1000m, memory: 1Gi}}",
            QosClass::Guaranteed,
        ),
        (limits, "resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}", QosClass::Burstable),
    ] {
        let spec = format!("  containers: [{{name: a, image: i, {first}}}, {{name: b, image: i, {second}}}]");
        assert_eq!(pod("p", &spec).qos, want, "{first} / {second}");
    }
}

#[test]
fn the_pods_security_context_is_under_each_containers() {
    let pod = pod(
        "p",
        "  securityContext: {runAsUser: 1, runAsGroup: 2, runAsNonRoot: true, supplementalGroups: [5], supplementalGroupsPolicy: Strict, sysctls: [{name: net/core/somaxconn, value: \"9\"}]}
  containers:
  - {name: a, image: i}
  - {name: b, image: i, securityContext: {runAsUser: 7, runAsNonRoot: false, readOnlyRootFilesystem: true, capabilities: {add: [CAP_net_admin, SYS_TIME], drop: [ALL]}}}",
    );
    assert_eq!((pod.security.supplemental_groups, pod.security.strict_groups), (vec![5], true));
    assert_eq!(pod.security.sysctls.get("net.core.somaxconn").map(String::as_str), Some("9"));
    let [a, b] = &pod.containers[..] else { panic!() };
    assert_eq!(
        (a.security.run_as_user, a.security.run_as_group, a.security.run_as_non_root),
        (Some(1), Some(2), true)
    );
    assert_eq!(
        (b.security.run_as_user, b.security.run_as_group, b.security.run_as_non_root),
        (Some(7), Some(2), false)
    );
    assert_eq!(b.security.add_capabilities, ["NET_ADMIN", "SYS_TIME"]);
    assert_eq!(b.security.drop_capabilities, ["ALL"]);
    assert!(b.security.read_only_root && !a.security.read_only_root);
}

#[test]
fn the_downward_api_is_resolved_to_what_is_meant() {
    let pod = pod(
        "p",
        "  containers:
  - name: c
    image: i
    env:
    - {name: A, value: $(B)}
    - {name: B}
    - {name: C, valueFrom: {fieldRef: {fieldPath: \"metadata.annotations['a.b/c']\"}}}
    - {name: D, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
    - {name: E, valueFrom: {resourceFieldRef: {resource: requests.memory, divisor: 1Mi, containerName: d}}}
    - {name: F, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
  - {name: d, image: i}",
    );
    let values: Vec<_> = pod.containers[0].env.iter().map(|variable| variable.value.clone()).collect();
    let resource = |container: &str, resource, divisor_milli| EnvValue::Resource {
        container: container.to_owned(),
        resource,
        divisor_milli,
    };
    assert_eq!(
        values,
        [
            EnvValue::Literal("$(B)".to_owned()),
            EnvValue::Literal(String::new()),
            EnvValue::Field(FieldPath::Annotation("a.b/c".to_owned())),
            resource("c", ResourceField::LimitsCpu, 1000),
            resource("d", ResourceField::RequestsMemory, 1_048_576_000),
            resource("c", ResourceField::LimitsCpu, 1),
        ]
    );
}

#[test]
fn volumes_mounts_and_namespaces_arrive() {
    let pod = pod(
        "p",
        "  hostNetwork: true
  hostAliases: [{ip: 1.2.3.4, hostnames: [a, b]}]
  dnsConfig: {nameservers: [9.9.9.9], options: [{name: ndots, value: \"2\"}, {name: debug}]}
  terminationGracePeriodSeconds: -3
  volumes:
  - name: a
  - {name: b, emptyDir: {medium: Memory, sizeLimit: 1Ki}}
  - {name: c, hostPath: {path: /x, type: FileOrCreate}}
  containers:
  - name: c
    image: i
    ports: [{containerPort: 53, protocol: UDP, hostIP: \"::1\"}]
    volumeMounts: [{name: a, mountPath: rel, subPath: s}, {name: c, mountPath: /c, readOnly: true}]",
    );
    assert!(pod.host.network && !pod.host.pid && !pod.host.ipc);
    assert_eq!(pod.termination_grace_seconds, 1);
    assert_eq!(pod.host_aliases[0].hostnames, ["a", "b"]);
    let options = [("ndots".to_owned(), Some("2".to_owned())), ("debug".to_owned(), None)];
    assert_eq!((pod.dns.nameservers, pod.dns.options), (vec!["9.9.9.9".to_owned()], options.to_vec()));
    let sources: Vec<_> = pod.volumes.into_iter().map(|volume| volume.source).collect();
    assert_eq!(
        sources,
        [
            VolumeSource::EmptyDir { memory: false, size_limit_bytes: None },
            VolumeSource::EmptyDir { memory: true, size_limit_bytes: Some(1024) },
            VolumeSource::HostPath { path: "/x".into(), kind: HostPathType::FileOrCreate },
        ]
    );
    let container = &pod.containers[0];
    assert_eq!((container.ports[0].protocol, container.ports[0].host_port), (Protocol::Udp, Some(53)));
    assert_eq!(container.ports[0].host_ip, Some("::1".parse().unwrap()));
    assert_eq!(container.mounts[0].mount_path, "/rel");
    assert_eq!(container.mounts[0].sub_path.as_deref(), Some("s"));
    assert!(container.mounts[1].read_only);
}

#[test]
fn the_pull_policy_follows_the_tag() {
    for (image, want) in [
        ("nginx", PullPolicy::Always),
        ("nginx:latest", PullPolicy::Always),
        ("nginx:1", PullPolicy::IfNotPresent),
        ("localhost:5000/nginx", PullPolicy::Always),
        ("localhost:5000/nginx:1", PullPolicy::IfNotPresent),
        (
            "nginx@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            PullPolicy::IfNotPresent,
        ),
    ] {
        let pod = pod("p", &format!("  containers: [{{name: c, image: \"{image}\"}}]"));
        assert_eq!(pod.containers[0].pull_policy, want, "{image}");
    }
}

#[test]
fn init_containers_and_sidecars_come_first_and_have_their_roles() {
    let pod = pod(
        "p",
        "  restartPolicy: OnFailure
  initContainers:
  - {name: i, image: i}
  - {name: s, image: i, restartPolicy: Always}
  - {name: z, image: i, restartPolicy: Never}
  containers:
  - {name: c, image: i}
  - {name: d, image: i, restartPolicy: Always}",
    );
    let roles: Vec<_> = pod.containers.iter().map(|one| (&*one.name, one.role, one.restart_policy)).collect();
    assert_eq!(
        roles,
        [
            ("i", Role::Init, RestartPolicy::OnFailure),
            ("s", Role::Sidecar, RestartPolicy::Always),
            ("z", Role::Init, RestartPolicy::Never),
            ("c", Role::Main, RestartPolicy::OnFailure),
            ("d", Role::Main, RestartPolicy::Always),
        ]
    );
    assert_eq!(pod.main_containers().next().map(|one| &*one.name), Some("c"));
}

#[test]
fn hooks_have_their_defaults_and_named_ports_are_resolved() {
    let pod = pod(
        "p",
        "  os: {name: linux}
  containers:
  - name: c
    image: i
    ports: [{name: web, containerPort: 8080}]
    lifecycle: {postStart: {httpGet: {port: web}}, preStop: {sleep: {seconds: 3}}, stopSignal: SIGINT}",
    );
    let call =
        probes::Call { https: false, host: None, port: 8080, path: "/".to_owned(), headers: Vec::new() };
    let lifecycle = &pod.containers[0].lifecycle;
    assert_eq!(lifecycle.post_start, Some(Hook::HttpGet(call)));
    assert_eq!(lifecycle.pre_stop, Some(Hook::Sleep(3)));
    assert_eq!(lifecycle.stop_signal.as_deref(), Some("SIGINT"));
}

#[test]
fn init_containers_count_for_the_qos_class() {
    let limits = "resources: {limits: {cpu: 1, memory: 1Gi}}";
    for (init, want) in [("", QosClass::Burstable), (limits, QosClass::Guaranteed)] {
        let spec = format!(
            "  initContainers: [{{name: i, image: i, {init}}}]\n  containers: [{{name: c, image: i, {limits}}}]"
        );
        assert_eq!(pod("p", &spec).qos, want);
    }
}

#[test]
fn a_containers_own_profiles_and_labels_take_the_place_of_the_pods() {
    let spec = "  hostUsers: false
  securityContext:
    seccompProfile: {type: RuntimeDefault}
    appArmorProfile: {type: RuntimeDefault}
    seLinuxOptions: {level: s0:c1}
  containers:
  - {name: c, image: i}
  - name: own
    image: i
    securityContext:
      seccompProfile: {type: Localhost, localhostProfile: a.json}
      appArmorProfile: {type: Localhost, localhostProfile: mine}
      seLinuxOptions: {type: t}
      procMount: Unmasked";
    let made = pod("p", spec);
    assert!(made.security.user_namespace);
    let [pods, own] = [0, 1].map(|index| made.containers[index].security.clone());
    assert_eq!(
        (pods.seccomp, pods.app_armor),
        (SeccompProfile::RuntimeDefault, AppArmorProfile::RuntimeDefault)
    );
    assert_eq!((pods.selinux.unwrap_or_default().level.as_str(), pods.unmasked_proc), ("s0:c1", false));
    assert_eq!(own.seccomp, SeccompProfile::Localhost("a.json".into()));
    assert_eq!(own.app_armor, AppArmorProfile::Localhost("mine".into()));
    let label = own.selinux.unwrap_or_default();
    assert_eq!((label.kind.as_str(), label.level.as_str(), own.unmasked_proc), ("t", "", true));
    let usual = pod("p", C);
    assert!(!usual.security.user_namespace && usual.containers[0].security == ContainerSecurity::default());
}

#[test]
fn the_old_annotation_of_apparmor_means_the_field_unless_that_is_given() {
    let annotated = |context: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{container.apparmor.security.beta.kubernetes.io/c: localhost/old}}}}\nspec: {{containers: [{{name: c, image: i{context}}}]}}"
        );
        let loaded = load(&[Source::new("p", text)], &Options::default());
        loaded
            .unwrap_or_else(|why| panic!("{why}"))
            .pods
            .remove(0)
            .pod
            .containers
            .remove(0)
            .security
            .app_armor
    };
    assert_eq!(annotated(""), AppArmorProfile::Localhost("old".into()));
    let own = ", securityContext: {appArmorProfile: {type: Unconfined}}";
    assert_eq!(annotated(own), AppArmorProfile::Unconfined);
}

#[test]
fn volumes_that_are_written_and_claims_that_say_so_are_only_read() {
    let pod = pod(
        "p",
        "  volumes:
  - {name: m, configMap: {name: map}}
  - {name: s, projected: {defaultMode: 0400, sources: [{serviceAccountToken: {path: t}}, {secret: {name: s, optional: true}}]}}
  - {name: r, persistentVolumeClaim: {claimName: disk, readOnly: true}}
  - {name: w, persistentVolumeClaim: {claimName: disk}}
  - {name: e, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}
  containers:
  - name: c
    image: i
    volumeMounts: [{name: m, mountPath: /m}, {name: s, mountPath: /s}, {name: r, mountPath: /r}, {name: w, mountPath: /w}, {name: e, mountPath: /e}]",
    );
    let read_only: Vec<bool> = pod.containers[0].mounts.iter().map(|mount| mount.read_only).collect();
    assert_eq!(read_only, [true, true, true, false, false]);
    let token = TokenFile { path: "t".to_owned(), audience: None, expiration_seconds: 3600 };
    let secret = KeysOf { name: "s".to_owned(), items: Vec::new(), optional: true };
    let sources = vec![FilesFrom::Token(token), FilesFrom::Secret(secret)];
    let files = Files { sources, default_mode: 0o400, in_memory: true };
    assert_eq!(pod.volumes[1].source, VolumeSource::Files(files));
    assert_eq!(pod.volumes[3].source, VolumeSource::Claim { claim: "disk".to_owned() });
    assert!(matches!(&pod.volumes[4].source, VolumeSource::Ephemeral { claim, .. } if claim == "p-e"));
}
