//! Instructions of a Dockerfile that say what an image runs.

use crate::image::ImageConfig;

/// Applies one instruction, such as `CMD ["server", "--port", "80"]` or `ENV A=1`.
///
/// A command that is not a JSON list is handed to `/bin/sh -c`, as docker does.
pub(super) fn apply(config: &mut ImageConfig, instruction: &str) -> Result<(), String> {
    let instruction = instruction.trim();
    let (name, value) = instruction.split_once([' ', '\t', '=']).unwrap_or((instruction, ""));
    let value = value.trim();
    if value.is_empty() {
        return Err("it has no value".to_owned());
    }
    match name.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = command(value)?,
        "ENTRYPOINT" => config.entrypoint = command(value)?,
        "ENV" => set(&mut config.env, value)?,
        "WORKDIR" => config.working_dir = Some(value.to_owned()),
        "USER" => config.user = Some(value.to_owned()),
        "STOPSIGNAL" => config.stop_signal = Some(value.to_owned()),
        _ => return Err("known are CMD, ENTRYPOINT, ENV, WORKDIR, USER and STOPSIGNAL".to_owned()),
    }
    Ok(())
}

fn command(value: &str) -> Result<Vec<String>, String> {
    if value.starts_with('[') {
        return serde_json::from_str(value).map_err(|error| format!("its list is not JSON ({error})"));
    }
    Ok(["/bin/sh", "-c", value].map(str::to_owned).to_vec())
}

fn set(env: &mut Vec<String>, value: &str) -> Result<(), String> {
    // `ENV NAME value` is the older form.
    let (name, value) =
        value.split_once('=').or_else(|| value.split_once(' ')).ok_or("a variable needs a value")?;
    let (name, value) = (name.trim(), value.trim().trim_matches('"'));
    env.retain(|other| other.split_once('=').is_none_or(|(other, _)| other != name));
    env.push(format!("{name}={value}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_read_as_in_a_dockerfile() {
        let mut config = ImageConfig::default();
        for instruction in [
            "CMD [\"a\", \"b c\"]",
            "entrypoint run it",
            "ENV A=1",
            "ENV A 2",
            "ENV B=\"x y\"",
            "WORKDIR /srv",
            "USER=app",
        ] {
            assert_eq!(apply(&mut config, instruction), Ok(()), "{instruction}");
        }
        assert_eq!(config.cmd, ["a", "b c"]);
        assert_eq!(config.entrypoint, ["/bin/sh", "-c", "run it"]);
        assert_eq!(config.env, ["A=2", "B=x y"]);
        assert_eq!((config.working_dir.as_deref(), config.user.as_deref()), (Some("/srv"), Some("app")));
        for wrong in ["RUN x", "CMD", "CMD [", "ENV A"] {
            assert!(apply(&mut config, wrong).is_err(), "{wrong}");
        }
    }
}
