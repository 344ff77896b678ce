//! `env` and `envFrom`.

use k8s_openapi::api::core::v1 as k8s;

use crate::pod::{EnvFrom, EnvValue, EnvVar, FieldPath, Quantity, Referent, ResourceField};

/// One variable of a container.
pub(super) fn variable(variable: &k8s::EnvVar, container: &k8s::Container) -> EnvVar {
    let sourced = variable.value_from.as_ref().and_then(|source| sourced(source, container));
    let literal = || EnvValue::Literal(variable.value.clone().unwrap_or_default());
    EnvVar { name: variable.name.clone(), value: sourced.unwrap_or_else(literal) }
}

fn sourced(source: &k8s::EnvVarSource, container: &k8s::Container) -> Option<EnvValue> {
    if let Some(field) = &source.field_ref {
        return FieldPath::parse(&field.field_path).map(EnvValue::Field);
    }
    if let Some(reference) = &source.resource_field_ref {
        let named = reference.container_name.clone().filter(|name| !name.is_empty());
        return Some(EnvValue::Resource {
            container: named.unwrap_or_else(|| container.name.clone()),
            resource: ResourceField::parse(&reference.resource)?,
            divisor_milli: divisor(reference),
        });
    }
    if let Some(file) = &source.file_key_ref {
        return Some(EnvValue::File {
            volume: file.volume_name.clone(),
            path: file.path.clone(),
            key: file.key.clone(),
            optional: file.optional == Some(true),
        });
    }
    let of_map = source.config_map_key_ref.as_ref();
    let of_map = of_map.map(|from| (Referent::ConfigMap, &from.name, &from.key, from.optional));
    let of_secret = source.secret_key_ref.as_ref();
    let of_secret = of_secret.map(|from| (Referent::Secret, &from.name, &from.key, from.optional));
    let (kind, name, key, optional) = of_map.or(of_secret)?;
    Some(EnvValue::Key { kind, name: name.clone(), key: key.clone(), optional: optional == Some(true) })
}

pub(super) fn divisor(reference: &k8s::ResourceFieldSelector) -> u64 {
    let quantity = reference.divisor.as_ref().and_then(|text| text.0.parse::<Quantity>().ok());
    match quantity.filter(|quantity| !quantity.is_zero()) {
        // 1E and 1Ei are more thousandths than 64 bits hold; any real amount over them rounds up to 1 alike.
        Some(quantity) => u64::try_from(quantity.milli()).unwrap_or(u64::MAX),
        None => 1000,
    }
}

/// One entry of `envFrom`.
pub(super) fn from(source: &k8s::EnvFromSource) -> Option<EnvFrom> {
    let of_map = source.config_map_ref.as_ref().map(|from| (Referent::ConfigMap, &from.name, from.optional));
    let of_secret = source.secret_ref.as_ref().map(|from| (Referent::Secret, &from.name, from.optional));
    let (kind, name, optional) = of_map.or(of_secret)?;
    let prefix = source.prefix.clone().unwrap_or_default();
    Some(EnvFrom { prefix, kind, name: name.clone(), optional: optional == Some(true) })
}
