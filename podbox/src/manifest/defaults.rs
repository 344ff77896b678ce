//! The values that the API server fills in where a manifest gives none.
//!
//! From `pkg/apis/core/v1/defaults.go`; the service account comes from an admission plugin.

use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::pod::{APPARMOR, Quantity, aggregate};

/// Fills in a Pod's defaults, in place.
pub(crate) fn fill(pod: &mut k8s::Pod, namespace: &str) {
    set(&mut pod.metadata.namespace, namespace);
    app_armor(pod);
    let Some(spec) = &mut pod.spec else { return };
    set(&mut spec.restart_policy, "Always");
    set(&mut spec.dns_policy, "ClusterFirst");
    set(&mut spec.scheduler_name, "default-scheduler");
    let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
    let account = account.or(spec.service_account.as_deref().filter(|name| !name.is_empty()));
    let account = account.unwrap_or("default").to_owned();
    spec.service_account_name = Some(account.clone());
    spec.service_account = Some(account);
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.enable_service_links.get_or_insert(true);
    spec.security_context.get_or_insert_default();
    let host_network = spec.host_network == Some(true);
    for one in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        container(one);
        if host_network {
            for port in one.ports.iter_mut().flatten() {
                if port.host_port.unwrap_or(0) == 0 {
                    port.host_port = Some(port.container_port);
                }
            }
        }
    }
    pod_resources(spec);
    for one in spec.volumes.iter_mut().flatten() {
        volume(one);
    }
}

/// The annotations that said it before there was a field; the container's own field wins.
fn app_armor(pod: &mut k8s::Pod) {
    let (Some(annotations), Some(spec)) = (&pod.metadata.annotations, &mut pod.spec) else { return };
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        let Some(value) = annotations.get(&format!("{APPARMOR}{}", container.name)) else { continue };
        let (kind, name) = match value.as_str() {
            "runtime/default" => ("RuntimeDefault", None),
            "unconfined" => ("Unconfined", None),
            other => match other.strip_prefix("localhost/") {
                Some(name) => ("Localhost", Some(name.to_owned())),
                None => continue,
            },
        };
        let profile = k8s::AppArmorProfile { type_: kind.to_owned(), localhost_profile: name };
        container.security_context.get_or_insert_default().app_armor_profile.get_or_insert(profile);
    }
}

/// What a pod requests as a whole, where it says only a part of it: what its containers request, or else its limit.
fn pod_resources(spec: &mut k8s::PodSpec) {
    let Some(mut resources) = spec.resources.take() else { return };
    round(resources.limits.iter_mut().flatten());
    round(resources.requests.iter_mut().flatten());
    let mut requests = resources.requests.take().unwrap_or_default();
    for name in ["cpu", "memory"] {
        if let Some(sum) = aggregate::requests(spec, name) {
            requests.entry(name.to_owned()).or_insert_with(|| Text(sum.to_string()));
        }
    }
    for (name, limit) in resources.limits.iter().flatten() {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    resources.requests = (!requests.is_empty()).then_some(requests);
    spec.resources = Some(resources);
}

fn set(field: &mut Option<String>, value: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(value.to_owned());
    }
}

fn set_number(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or(0) == 0 {
        *field = Some(value);
    }
}

fn container(container: &mut k8s::Container) {
    let policy = pull_policy(container.image.as_deref().unwrap_or(""));
    set(&mut container.image_pull_policy, policy);
    set(&mut container.termination_message_path, "/dev/termination-log");
    set(&mut container.termination_message_policy, "File");
    let resources = container.resources.get_or_insert_default();
    round(resources.limits.iter_mut().flatten());
    round(resources.requests.iter_mut().flatten());
    if let Some(limits) = &resources.limits {
        let requests = resources.requests.get_or_insert_default();
        for (name, limit) in limits {
            requests.entry(name.clone()).or_insert_with(|| limit.clone());
        }
    }
    for port in container.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
    }
    let probes =
        [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    for probe in probes.into_iter().flatten() {
        set_number(&mut probe.timeout_seconds, 1);
        set_number(&mut probe.period_seconds, 10);
        set_number(&mut probe.success_threshold, 1);
        set_number(&mut probe.failure_threshold, 3);
        if let Some(http) = &mut probe.http_get {
            set(&mut http.path, "/");
            set(&mut http.scheme, "HTTP");
        }
        if let Some(grpc) = &mut probe.grpc {
            grpc.service.get_or_insert_default();
        }
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        for hook in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
            if let Some(http) = &mut hook.http_get {
                set(&mut http.path, "/");
                set(&mut http.scheme, "HTTP");
            }
        }
    }
    for env in container.env.iter_mut().flatten() {
        // An empty value and none are the same.
        env.value = env.value.take().filter(|value| !value.is_empty());
    }
    for source in container.env.iter_mut().flatten().filter_map(|env| env.value_from.as_mut()) {
        if let Some(field) = &mut source.field_ref {
            set(&mut field.api_version, "v1");
        }
        if let Some(resource) = &mut source.resource_field_ref {
            resource.divisor.get_or_insert_with(|| Text("0".to_owned()));
        }
    }
}

fn volume(volume: &mut k8s::Volume) {
    if let Some(image) = &mut volume.image {
        let policy = pull_policy(image.reference.as_deref().unwrap_or(""));
        set(&mut image.pull_policy, policy);
    }
    if let Some(path) = &mut volume.host_path {
        path.type_.get_or_insert_default();
    }
    if let Some(limit) = volume.empty_dir.as_mut().and_then(|dir| dir.size_limit.as_mut()) {
        canonical(limit, |quantity| quantity);
    }
    files(volume);
    if let Some(template) = volume.ephemeral.as_mut().and_then(|one| one.volume_claim_template.as_mut()) {
        set(&mut template.spec.volume_mode, "Filesystem");
    }
    let bare = k8s::Volume { name: std::mem::take(&mut volume.name), ..Default::default() };
    let no_source = *volume == k8s::Volume::default();
    volume.name = bare.name;
    if no_source {
        volume.empty_dir = Some(k8s::EmptyDirVolumeSource::default());
    }
}

/// The defaults of volumes whose files podbox writes.
fn files(volume: &mut k8s::Volume) {
    const MODE: i32 = 0o644;
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(MODE);
    }
    if let Some(map) = &mut volume.config_map {
        map.default_mode.get_or_insert(MODE);
    }
    if let Some(facts) = &mut volume.downward_api {
        facts.default_mode.get_or_insert(MODE);
        facts.items.iter_mut().flatten().for_each(downward);
    }
    let Some(projected) = &mut volume.projected else { return };
    projected.default_mode.get_or_insert(MODE);
    for source in projected.sources.iter_mut().flatten() {
        if let Some(facts) = &mut source.downward_api {
            facts.items.iter_mut().flatten().for_each(downward);
        }
        if let Some(token) = &mut source.service_account_token {
            token.expiration_seconds.get_or_insert(60 * 60);
        }
    }
}

fn downward(file: &mut k8s::DownwardAPIVolumeFile) {
    if let Some(field) = &mut file.field_ref {
        set(&mut field.api_version, "v1");
    }
    if let Some(resource) = &mut file.resource_field_ref {
        resource.divisor.get_or_insert_with(|| Text("0".to_owned()));
    }
}

/// `Always` for `latest`, said or meant, otherwise `IfNotPresent`.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !digest => "Always",
        _ => "IfNotPresent",
    }
}

/// The API server stores resources in thousandths at the finest, in canonical text.
fn round<'a>(quantities: impl Iterator<Item = (&'a String, &'a mut Text)>) {
    for (_, quantity) in quantities {
        canonical(quantity, Quantity::rounded_to_milli);
    }
}

fn canonical(text: &mut Text, change: impl Fn(Quantity) -> Quantity) {
    if let Ok(quantity) = text.0.parse::<Quantity>() {
        text.0 = change(quantity).to_string();
    }
}
