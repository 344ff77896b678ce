//! From `debug`'s flags to the container that kubectl would have sent.

use std::fs::File;
use std::io::Read;

use serde_json::{Value, json};

use crate::manifest::{self, Source};
use crate::report;

use super::super::Failure;
use super::super::run::object::{merge, pair};
use super::{DebugArgs, Profile};

/// Letters and digits of which no bad words are made (`k8s.io/apimachinery/pkg/util/rand`); as many as divide 256 are not
/// needed for a name.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// What a custom file may not have: the flags say it, or no debug container has it.
const NOT_CUSTOM: [&str; 5] = ["name", "command", "image", "lifecycle", "volumeDevices"];

/// `debugger-xxxxx`.
pub(super) fn new_name() -> Result<String, Failure> {
    let mut bytes = [0; 5];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Failure::cannot(format!("read /dev/urandom: {error}")))?;
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    Ok(format!("debugger-{}", String::from_iter(letters)))
}

/// The container of that name, without defaults.
///
/// # Errors
/// If a flag is no `NAME=VALUE`, or the custom file is no part of a container.
pub(super) fn of_flags(args: &DebugArgs, name: &str) -> Result<Value, Failure> {
    let made = &args.made;
    let mut container = json!({"name": name});
    if let Some(image) = &made.image {
        container["image"] = json!(image);
    }
    if !args.command.is_empty() {
        container[if made.arguments_only { "args" } else { "command" }] = json!(args.command);
    }
    if !made.env.is_empty() {
        let variable = |text: &String| {
            let (name, value) = pair(text, "--env")?;
            Ok(json!({"name": name, "value": value}))
        };
        container["env"] = made.env.iter().map(variable).collect::<Result<Vec<_>, Failure>>()?.into();
    }
    if let Some(policy) = &made.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    if let Some(target) = &made.target {
        container["targetContainerName"] = json!(target);
    }
    for (field, wanted) in [("stdin", args.streams.stdin), ("tty", args.streams.tty)] {
        if wanted {
            container[field] = json!(true);
        }
    }
    if let Some(context) = security_context(made.profile) {
        container["securityContext"] = context;
    }
    if let Some(path) = &made.custom {
        customize(&mut container, custom(path)?);
    }
    Ok(container)
}

fn security_context(profile: Profile) -> Option<Value> {
    match profile {
        Profile::Legacy | Profile::Baseline => None,
        Profile::General => Some(json!({"capabilities": {"add": ["SYS_PTRACE"]}})),
        Profile::Restricted => Some(json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        })),
        Profile::Netadmin => Some(json!({"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}})),
        Profile::Sysadmin => Some(json!({"privileged": true})),
    }
}

fn custom(path: &std::path::Path) -> Result<Value, Failure> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| Failure::wrong(format!("read {shown}: {}", report::chain(&error))))?;
    let wrong = |why: String| Failure::wrong(format!("--custom {shown}: {why}"));
    let source = Source::new(shown.to_string(), text);
    let value = manifest::value(&source).map_err(|mistakes| {
        wrong(mistakes.0.first().map_or_else(String::new, |mistake| mistake.message.clone()))
    })?;
    let Some(fields) = value.as_object() else {
        return Err(wrong("write a mapping of a container's fields".to_owned()));
    };
    match NOT_CUSTOM.into_iter().find(|field| fields.contains_key(*field)) {
        Some(field) => Err(wrong(format!("a custom profile may not set {field}"))),
        None => Ok(value),
    }
}

/// Merges as the API server merges containers: variables by name, mounts by path, other lists are replaced.
fn customize(container: &mut Value, mut custom: Value) {
    for (list, key) in [("env", "name"), ("volumeMounts", "mountPath")] {
        let (Some(new), Some(old)) = (custom[list].as_array_mut(), container[list].as_array()) else {
            continue;
        };
        let mut all = old.clone();
        all.retain(|one| new.iter().all(|other| other[key] != one[key]));
        all.append(new);
        *new = all;
    }
    // Where the file has no such list, looking for it has made an empty place.
    if let Some(fields) = custom.as_object_mut() {
        fields.retain(|field, value| !(value.is_null() && matches!(field.as_str(), "env" | "volumeMounts")));
    }
    merge(container, &custom);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_letters_that_spell_nothing() {
        let name = new_name().unwrap();
        let letters = name.strip_prefix("debugger-").unwrap();
        assert!(letters.len() == 5 && letters.bytes().all(|letter| LETTERS.contains(&letter)), "{name}");
    }

    #[test]
    fn a_custom_file_adds_to_variables_and_mounts_and_replaces_the_rest() {
        let mut container =
            json!({"name": "d", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
        customize(
            &mut container,
            json!({"env": [{"name": "B", "value": "3"}], "volumeMounts": [{"name": "v", "mountPath": "/v"}], "tty": true}),
        );
        let env = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]);
        assert_eq!(container["env"], env);
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/v");
        assert_eq!(container["tty"], true);
        customize(&mut container, json!({"workingDir": "/"}));
        assert_eq!(container["env"], env);
    }

    #[test]
    fn profiles_give_the_rights_that_kubectls_do() {
        assert_eq!(security_context(Profile::Legacy), None);
        assert_eq!(security_context(Profile::General).unwrap()["capabilities"]["add"], json!(["SYS_PTRACE"]));
        assert_eq!(security_context(Profile::Restricted).unwrap()["runAsNonRoot"], true);
        assert_eq!(security_context(Profile::Sysadmin).unwrap()["privileged"], true);
    }
}
