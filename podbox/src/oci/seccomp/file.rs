//! seccomp profiles as files: the OCI runtime's format, and docker's, which chooses rules by architecture,
//! capabilities and kernel.

use std::collections::BTreeSet;

use oci_spec::runtime::LinuxSeccomp;
use serde::Deserialize;
use serde_json::Value;

/// What docker's rules ask of the host.
#[derive(Debug)]
pub(super) struct Host {
    /// The architecture by the profiles' name for it: `amd64`, `arm64`.
    architecture: &'static str,
    /// Major and minor number of the kernel.
    kernel: (u32, u32),
}

impl Host {
    /// A host of this architecture that runs a kernel of this release.
    pub(super) fn with(kernel: &str) -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Self { architecture, kernel: version(kernel) }
    }

    /// The name of the architecture as OCI writes it.
    fn oci_architecture(&self) -> &'static str {
        if self.architecture == "arm64" { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }
    }
}

/// The first two numbers; 0 for what is missing.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whom a rule is for, or not for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

pub(super) fn parse(
    text: &str,
    capabilities: &BTreeSet<String>,
    host: &Host,
) -> Result<LinuxSeccomp, serde_json::Error> {
    let mut profile: Value = serde_json::from_str(text)?;
    if let Some(map) = profile.get("archMap").and_then(Value::as_array) {
        let mine = map.iter().find(|entry| entry["architecture"] == host.oci_architecture());
        let all = mine.into_iter().flat_map(|entry| {
            let others = entry["subArchitectures"].as_array().cloned().unwrap_or_default();
            std::iter::once(entry["architecture"].clone()).chain(others)
        });
        profile["architectures"] = all.collect();
    }
    if let Some(rules) = profile.get_mut("syscalls").and_then(Value::as_array_mut) {
        let mut kept = Vec::with_capacity(rules.len());
        for mut rule in rules.drain(..) {
            // Docker's first profiles named one call a rule.
            if let Some(name) = rule.get("name").filter(|name| name.as_str().is_some_and(|n| !n.is_empty())) {
                rule["names"] = Value::Array(vec![name.clone()]);
            }
            if applies(&rule, capabilities, host)? {
                kept.push(rule);
            }
        }
        *rules = kept;
    }
    serde_json::from_value(profile)
}

/// docker: one match in `excludes` is enough to leave the rule out, everything in `includes` must match to keep it.
fn applies(rule: &Value, capabilities: &BTreeSet<String>, host: &Host) -> Result<bool, serde_json::Error> {
    let filter = |name: &str| match rule.get(name) {
        None | Some(Value::Null) => Ok(Filter::default()),
        Some(value) => Filter::deserialize(value),
    };
    let (includes, excludes) = (filter("includes")?, filter("excludes")?);
    let here = |arches: &[String]| arches.iter().any(|arch| arch == host.architecture);
    let new_enough = |least: &String| host.kernel >= version(least);
    let left_out = here(&excludes.arches)
        || excludes.caps.iter().any(|name| capabilities.contains(name))
        || excludes.min_kernel.as_ref().is_some_and(new_enough);
    let meant = (includes.arches.is_empty() || here(&includes.arches))
        && includes.caps.iter().all(|name| capabilities.contains(name))
        && includes.min_kernel.as_ref().is_none_or(new_enough);
    Ok(meant && !left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host { architecture: "amd64", kernel: (5, 10) };

    fn calls(rules: &str, capabilities: &[&str]) -> Vec<String> {
        let text = format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}"#);
        let capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
        let profile = parse(&text, &capabilities, &HOST).unwrap();
        profile.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect()
    }

    #[test]
    fn dockers_rules_are_kept_where_everything_included_and_nothing_excluded_fits() {
        let rule = |filters: &str| {
            let rule = format!(r#"{{"names": ["read"], "action": "SCMP_ACT_ALLOW", {filters}}}"#);
            !calls(&rule, &["CAP_SYS_ADMIN", "CAP_CHOWN"]).is_empty()
        };
        for kept in [
            r#""includes": {}, "excludes": {}"#,
            r#""includes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"], "arches": ["amd64", "x32"]}"#,
            r#""includes": {"minKernel": "4.8"}"#,
            r#""includes": {"minKernel": "5.10"}"#,
            r#""excludes": {"caps": ["CAP_SYS_TIME"], "arches": ["s390"]}, "comment": "", "args": []"#,
            r#""includes": null, "args": null"#,
        ] {
            assert!(rule(kept), "{kept}");
        }
        for dropped in [
            r#""includes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_TIME"]}"#,
            r#""includes": {"arches": ["arm64"]}"#,
            r#""includes": {"minKernel": "5.11"}"#,
            r#""excludes": {"caps": ["CAP_SYS_TIME", "CAP_CHOWN"]}"#,
            r#""excludes": {"arches": ["amd64"]}"#,
        ] {
            assert!(!rule(dropped), "{dropped}");
        }
    }

    #[test]
    fn one_call_a_rule_is_read_as_well_and_the_map_of_architectures() {
        assert_eq!(calls(r#"{"name": "mkdir", "action": "SCMP_ACT_ALLOW"}"#, &[]), ["mkdir"]);
        let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null}]}"#;
        let profile = parse(text, &BTreeSet::new(), &HOST).unwrap();
        assert_eq!(profile.architectures().as_ref().map(Vec::len), Some(2));
    }

    #[test]
    fn what_is_no_profile_is_an_error() {
        for wrong in ["", "[]", "{}", r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#] {
            assert!(parse(wrong, &BTreeSet::new(), &HOST).is_err(), "{wrong}");
        }
    }
}
