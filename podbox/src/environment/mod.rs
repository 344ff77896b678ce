//! A container's own environment: `envFrom`, `env` and the variables of Services, as a kubelet makes them. Pure;
//! [`known`] reads what it takes.
//!
//! `envFrom` comes first, in the order of its list, then `env`; whatever comes later wins. A value's `$(NAME)` sees what
//! came before it and the Services. Source: kubelet `kubelet_pods.go` (makeEnvironmentVariables).

mod file;
mod known;
mod services;

use crate::oci::{self, Surroundings};
use crate::pod::{Container, EnvValue, Pod, Referent};

pub use known::{Known, are_needed};

/// Why an environment cannot be made: the kubelet's CreateContainerConfigError.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// The object is not there.
    #[error("{} \"{name}\" not found", one_of(*kind))]
    NoObject {
        /// Its kind.
        kind: Referent,
        /// Its name.
        name: String,
    },
    /// The object has no such key.
    #[error("couldn't find key {key} in {} {namespace}/{name}", kind_of(*kind))]
    NoKey {
        /// The key.
        key: String,
        /// The object's kind.
        kind: Referent,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// The value holds bytes that no environment variable takes.
    #[error("the value of key {key} in {} {namespace}/{name} is no text", kind_of(*kind))]
    NoText {
        /// The key.
        key: String,
        /// The object's kind.
        kind: Referent,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// The file is not there, or not in the form that it should have.
    #[error("couldn't parse env file")]
    BadFile,
    /// The file has no such variable.
    #[error("environment variable key \"{key}\" not found in file \"{path}\"")]
    NotInFile {
        /// The variable.
        key: String,
        /// The file's path in its volume.
        path: String,
    },
}

impl EnvironmentError {
    /// Whether a change of an object may mend it.
    #[must_use]
    pub fn is_of_an_object(&self) -> bool {
        matches!(self, Self::NoObject { .. } | Self::NoKey { .. } | Self::NoText { .. })
    }
}

fn one_of(kind: Referent) -> &'static str {
    match kind {
        Referent::ConfigMap => "configmap",
        Referent::Secret => "secret",
    }
}

fn kind_of(kind: Referent) -> &'static str {
    match kind {
        Referent::ConfigMap => "ConfigMap",
        Referent::Secret => "Secret",
    }
}

/// Variables in the order of their first definition, later values winning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(Vec<(String, String)>);

impl Variables {
    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Defines a variable, or redefines it in its place.
    pub fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Defines a variable from `NAME=value`.
    pub fn set_line(&mut self, line: &str) {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        self.set(name, value.to_owned());
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The environment that the manifest gives to a container.
///
/// # Errors
/// The first reference, in the order of assembly, that leads nowhere and is not optional.
pub fn own(
    pod: &Pod,
    container: &Container,
    around: &Surroundings,
    known: &Known,
) -> Result<Variables, EnvironmentError> {
    let mut own = Variables::default();
    for from in &container.env_from {
        let Some(object) = known.object(from.kind, &from.name) else {
            if from.optional {
                continue;
            }
            return Err(EnvironmentError::NoObject { kind: from.kind, name: from.name.clone() });
        };
        for (key, value) in object {
            let value = value.clone().ok_or_else(|| no_text(pod, from.kind, &from.name, key))?;
            own.set(&format!("{}{key}", from.prefix), value);
        }
    }
    for variable in &container.env {
        if let Some(value) = value(pod, container, &variable.value, (around, known, &own))? {
            own.set(&variable.name, value);
        }
    }
    for (name, value) in &known.services {
        if own.get(name).is_none() {
            own.set(name, value.clone());
        }
    }
    Ok(own)
}

/// The value of one variable; `None` if it is optional and there is none.
fn value(
    pod: &Pod,
    container: &Container,
    value: &EnvValue,
    (around, known, own): (&Surroundings, &Known, &Variables),
) -> Result<Option<String>, EnvironmentError> {
    Ok(Some(match value {
        EnvValue::Literal(text) => oci::expand(text, |name| own.get(name).or_else(|| known.service(name))),
        EnvValue::Field(path) => oci::field(pod, path, around),
        EnvValue::Resource { container: name, resource, divisor_milli } => {
            let named = pod.containers.iter().find(|other| &other.name == name).unwrap_or(container);
            oci::resource_field(&oci::effective(pod, named), *resource, *divisor_milli, around)
        }
        EnvValue::Key { kind, name, key, optional } => {
            let Some(object) = known.object(*kind, name) else {
                let missing = EnvironmentError::NoObject { kind: *kind, name: name.clone() };
                return if *optional { Ok(None) } else { Err(missing) };
            };
            match object.get(key) {
                Some(value) => value.clone().ok_or_else(|| no_text(pod, *kind, name, key))?,
                None if *optional => return Ok(None),
                None => {
                    let (key, namespace, name) = (key.clone(), pod.namespace.clone(), name.clone());
                    return Err(EnvironmentError::NoKey { key, kind: *kind, namespace, name });
                }
            }
        }
        EnvValue::File { volume, path, key, optional } => {
            let text = match known.file(volume, path) {
                Some(text) => text,
                None if *optional => return Ok(None),
                None => return Err(EnvironmentError::BadFile),
            };
            match file::variable(text, key).map_err(|file::Malformed| EnvironmentError::BadFile)? {
                Some(value) => value,
                None if *optional => return Ok(None),
                None => return Err(EnvironmentError::NotInFile { key: key.clone(), path: path.clone() }),
            }
        }
    }))
}

fn no_text(pod: &Pod, kind: Referent, name: &str, key: &str) -> EnvironmentError {
    let (key, namespace, name) = (key.to_owned(), pod.namespace.clone(), name.to_owned());
    EnvironmentError::NoText { key, kind, namespace, name }
}

#[cfg(test)]
mod tests;
