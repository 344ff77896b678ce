//! What of a container's confinement is the host's: files of seccomp profiles, AppArmor, SELinux.

use std::fs;
use std::path::Path;

use oci_spec::runtime::LinuxSeccomp;

use crate::oci;
use crate::pod::{AppArmorProfile, ContainerSecurity, Pod, SeLinuxOptions, SeccompProfile};

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
/// The profile that containerd loads for all pods. podbox runs no apparmor_parser, so it must be there.
const DEFAULT_PROFILE: &str = "cri-containerd.apparmor.d";

/// What to filter a container's system calls by; nothing if it is unconfined, as privileged containers always are.
/// `profiles` is the directory of the host's own profiles.
///
/// # Errors
/// A profile that is missing or is none, in containerd's words.
pub(crate) fn seccomp_profile(
    security: &ContainerSecurity,
    profiles: &Path,
) -> Result<Option<LinuxSeccomp>, String> {
    if security.privileged {
        return Ok(None);
    }
    match &security.seccomp {
        SeccompProfile::Unconfined => Ok(None),
        SeccompProfile::RuntimeDefault => {
            oci::seccomp::runtime_default(security).map(Some).map_err(|error| error.to_string())
        }
        SeccompProfile::Localhost(name) => {
            let path = profiles.join(name);
            let shown = path.display();
            let text = fs::read_to_string(&path).map_err(|error| {
                // The number behind the text is Rust's addition.
                let why = error.to_string().to_lowercase();
                let why = why.split(" (os error").next().unwrap_or_default().to_owned();
                format!("cannot load seccomp profile \"{shown}\": open {shown}: {why}")
            })?;
            let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
            oci::seccomp::parse(&text, security, &kernel.unwrap_or_default())
                .map(Some)
                .map_err(|error| format!("decoding seccomp profile failed \"{shown}\": {error}"))
        }
    }
}

/// Why a kubelet on this host would reject the pod: something is to be enforced that the host cannot enforce.
pub(crate) fn refusal(pod: &Pod) -> Option<String> {
    let asks = |security: &ContainerSecurity| {
        matches!(security.app_armor, AppArmorProfile::RuntimeDefault | AppArmorProfile::Localhost(_))
    };
    let asked = pod.containers.iter().any(|container| asks(&container.security));
    (asked && !has_app_armor()).then(|| {
        "AppArmor: Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned()
    })
}

fn has_app_armor() -> bool {
    fs::read_to_string(ENABLED).is_ok_and(|text| text.starts_with('Y'))
}

/// The name of the AppArmor profile that a container's program gets, if any.
///
/// # Errors
/// A profile that is not loaded, in containerd's words.
pub(crate) fn app_armor_profile(security: &ContainerSecurity) -> Result<Option<String>, String> {
    let name = match &security.app_armor {
        AppArmorProfile::Unset => return Ok(None),
        AppArmorProfile::Unconfined => return Ok(has_app_armor().then(|| "unconfined".to_owned())),
        AppArmorProfile::RuntimeDefault => DEFAULT_PROFILE,
        AppArmorProfile::Localhost(name) => name,
    };
    if is_loaded(&fs::read_to_string(LOADED).unwrap_or_default(), name) {
        Ok(Some(name.to_owned()))
    } else {
        Err(format!("apparmor profile not found {name}"))
    }
}

/// The kernel lists `NAME (MODE)` a line.
fn is_loaded(list: &str, name: &str) -> bool {
    list.lines().filter_map(|line| line.rsplit_once(" (")).any(|(loaded, _)| loaded == name)
}

/// The SELinux label of a container's program.
pub(crate) fn selinux_label(security: &ContainerSecurity) -> Option<String> {
    security.selinux.as_ref().filter(|_| !security.privileged).map(label)
}

/// What is not given is as in the usual policy for containers.
fn label(options: &SeLinuxOptions) -> String {
    let or = |given: &str, usual: &str| if given.is_empty() { usual.to_owned() } else { given.to_owned() };
    let (user, role) = (or(&options.user, "system_u"), or(&options.role, "system_r"));
    format!("{user}:{role}:{}:{}", or(&options.kind, "container_t"), or(&options.level, "s0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_said_in_containerds_words() {
        let local = |privileged| ContainerSecurity {
            privileged,
            seccomp: SeccompProfile::Localhost("x.json".into()),
            ..ContainerSecurity::default()
        };
        let expected = "cannot load seccomp profile \"/nowhere/x.json\": open /nowhere/x.json: no such file or \
                        directory";
        assert_eq!(seccomp_profile(&local(false), Path::new("/nowhere")).unwrap_err(), expected);
        assert_eq!(seccomp_profile(&local(true), Path::new("/nowhere")), Ok(None));
    }

    #[test]
    fn a_profile_is_found_by_its_whole_name() {
        let list = "docker-default (enforce)\n/usr/bin/man (a) (complain)\n";
        assert!(is_loaded(list, "docker-default") && is_loaded(list, "/usr/bin/man (a)"));
        assert!(!is_loaded(list, "docker") && !is_loaded(list, "/usr/bin/man") && !is_loaded("", ""));
    }

    #[test]
    fn a_label_has_four_parts_whatever_is_given() {
        let level = SeLinuxOptions { level: "s0:c1,c2".into(), ..SeLinuxOptions::default() };
        assert_eq!(label(&level), "system_u:system_r:container_t:s0:c1,c2");
        let kind = SeLinuxOptions { kind: "spc_t".into(), user: "u".into(), ..SeLinuxOptions::default() };
        assert_eq!(label(&kind), "u:system_r:spc_t:s0");
    }
}
