//! `spec.volumes`.

use k8s_openapi::api::core::v1 as k8s;
use serde_json::json;

use crate::pod::{
    DownwardFact, DownwardFile, FieldPath, Files, FilesFrom, HostPathType, KeyItem, KeysOf, Quantity,
    ResourceField, TokenFile, Volume, VolumeSource,
};

/// The permission bits of a file that names none.
const DEFAULT_MODE: i32 = 0o644;
/// How long a token is good for that says nothing of it.
const TOKEN_SECONDS: i64 = 3600;

/// A volume; `pod` is the pod's name.
pub(super) fn volume(volume: &k8s::Volume, pod: &str) -> Option<Volume> {
    Some(Volume { name: volume.name.clone(), source: source(volume, pod)? })
}

/// Whether containers only ever read the volume, whatever their mounts say.
pub(super) fn is_read_only(spec: &k8s::PodSpec, name: &str) -> bool {
    let volume = spec.volumes.iter().flatten().find(|volume| volume.name == name);
    volume.is_some_and(|volume| {
        let claim = volume.persistent_volume_claim.as_ref();
        files(volume).is_some() || claim.is_some_and(|claim| claim.read_only == Some(true))
    })
}

fn source(volume: &k8s::Volume, pod: &str) -> Option<VolumeSource> {
    let pages = volume.empty_dir.as_ref().and_then(|dir| dir.medium.as_deref()?.strip_prefix("HugePages"));
    if let Some(size) = pages {
        let size = size.strip_prefix('-').and_then(|size| size.parse::<Quantity>().ok());
        let page_bytes = size.and_then(|size| u64::try_from(size.whole()).ok());
        return Some(VolumeSource::HugePages { page_bytes });
    }
    if let Some(dir) = &volume.empty_dir {
        let limit = dir.size_limit.as_ref().and_then(|text| text.0.parse::<Quantity>().ok());
        return Some(VolumeSource::EmptyDir {
            memory: dir.medium.as_deref() == Some("Memory"),
            // Zero means that there is no limit, as it does to the kubelet.
            size_limit_bytes: limit.and_then(|limit| u64::try_from(limit.whole()).ok()).filter(|n| *n != 0),
        });
    }
    if let Some(host) = &volume.host_path {
        let kind = host_path_type(host.type_.as_deref());
        return Some(VolumeSource::HostPath { path: host.path.clone().into(), kind });
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some(VolumeSource::Claim { claim: claim.claim_name.clone() });
    }
    if let Some(template) = volume.ephemeral.as_ref().and_then(|one| one.volume_claim_template.as_ref()) {
        let claim = format!("{pod}-{}", volume.name);
        return Some(VolumeSource::Ephemeral { claim, spec: json!(template.spec) });
    }
    if let Some(image) = &volume.image {
        return Some(super::mounts::image(image));
    }
    files(volume).map(VolumeSource::Files)
}

/// `hostPath.type`, of a volume or of a PersistentVolume.
pub(crate) fn host_path_type(text: Option<&str>) -> HostPathType {
    match text {
        Some("DirectoryOrCreate") => HostPathType::DirectoryOrCreate,
        Some("Directory") => HostPathType::Directory,
        Some("FileOrCreate") => HostPathType::FileOrCreate,
        Some("File") => HostPathType::File,
        Some("Socket") => HostPathType::Socket,
        Some("CharDevice") => HostPathType::CharDevice,
        Some("BlockDevice") => HostPathType::BlockDevice,
        _ => HostPathType::Unset,
    }
}

fn files(volume: &k8s::Volume) -> Option<Files> {
    let of = |source, mode: Option<i32>, in_memory| {
        let default_mode = bits(mode.unwrap_or(DEFAULT_MODE));
        Some(Files { sources: vec![source], default_mode, in_memory })
    };
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.clone().unwrap_or_default();
        let keys = keys(name, secret.items.as_deref(), secret.optional);
        return of(FilesFrom::Secret(keys), secret.default_mode, true);
    }
    if let Some(facts) = &volume.downward_api {
        let source = FilesFrom::Downward(downward(facts.items.as_deref()));
        return of(source, facts.default_mode, true);
    }
    if let Some(map) = &volume.config_map {
        let keys = keys(map.name.clone(), map.items.as_deref(), map.optional);
        return of(FilesFrom::ConfigMap(keys), map.default_mode, false);
    }
    let projected = volume.projected.as_ref()?;
    Some(Files {
        sources: projected.sources.iter().flatten().filter_map(projection).collect(),
        default_mode: bits(projected.default_mode.unwrap_or(DEFAULT_MODE)),
        in_memory: true,
    })
}

fn projection(source: &k8s::VolumeProjection) -> Option<FilesFrom> {
    if let Some(secret) = &source.secret {
        let keys = keys(secret.name.clone(), secret.items.as_deref(), secret.optional);
        Some(FilesFrom::Secret(keys))
    } else if let Some(map) = &source.config_map {
        Some(FilesFrom::ConfigMap(keys(map.name.clone(), map.items.as_deref(), map.optional)))
    } else if let Some(facts) = &source.downward_api {
        Some(FilesFrom::Downward(downward(facts.items.as_deref())))
    } else {
        let token = source.service_account_token.as_ref()?;
        Some(FilesFrom::Token(TokenFile {
            path: token.path.clone(),
            audience: token.audience.clone().filter(|audience| !audience.is_empty()),
            expiration_seconds: u64::try_from(token.expiration_seconds.unwrap_or(TOKEN_SECONDS))
                .unwrap_or_default(),
        }))
    }
}

fn keys(name: String, items: Option<&[k8s::KeyToPath]>, optional: Option<bool>) -> KeysOf {
    let item = |item: &k8s::KeyToPath| KeyItem {
        key: item.key.clone(),
        path: item.path.clone(),
        mode: item.mode.map(bits),
    };
    let items = items.unwrap_or_default().iter().map(item).collect();
    KeysOf { name, items, optional: optional == Some(true) }
}

fn downward(items: Option<&[k8s::DownwardAPIVolumeFile]>) -> Vec<DownwardFile> {
    items.unwrap_or_default().iter().filter_map(downward_file).collect()
}

fn downward_file(file: &k8s::DownwardAPIVolumeFile) -> Option<DownwardFile> {
    let fact = match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), _) => match field.field_path.as_str() {
            "metadata.labels" => DownwardFact::Labels,
            "metadata.annotations" => DownwardFact::Annotations,
            path => DownwardFact::Field(FieldPath::parse(path)?),
        },
        (None, reference) => {
            let reference = reference.as_ref()?;
            DownwardFact::Resource {
                container: reference.container_name.clone().unwrap_or_default(),
                resource: ResourceField::parse(&reference.resource)?,
                divisor_milli: super::env::divisor(reference),
            }
        }
    };
    Some(DownwardFile { path: file.path.clone(), mode: file.mode.map(bits), fact })
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or_default()
}
