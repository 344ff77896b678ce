//! seccomp, AppArmor, SELinux, procMount and user namespaces.

use super::{errors, table, wrong};

const TYPES: &str = "supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"";

#[test]
fn seccomp_profiles_are_checked() {
    table(&[
        ("securityContext: {seccompProfile: {type: RuntimeDefault}}", "", &[]),
        ("", "securityContext: {seccompProfile: {type: Localhost, localhostProfile: a/b.json}}", &[]),
        (
            "securityContext: {seccompProfile: {}}",
            "",
            &[
                "spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set",
            ],
        ),
        (
            "",
            "securityContext: {seccompProfile: {type: runtime/default}}",
            &[&format!(
                "_.securityContext.seccompProfile.type: Unsupported value: \"runtime/default\": {TYPES}"
            )],
        ),
        (
            "",
            "securityContext: {seccompProfile: {type: Localhost}}",
            &[
                "_.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            ],
        ),
        (
            "",
            "securityContext: {seccompProfile: {type: Localhost, localhostProfile: /a/../b}}",
            &[
                "_.securityContext.seccompProfile.localhostProfile: Invalid value: \"/a/../b\": must be a relative path",
                "_.securityContext.seccompProfile.localhostProfile: Invalid value: \"/a/../b\": must not contain '..'",
            ],
        ),
        (
            "",
            "securityContext: {seccompProfile: {type: Unconfined, localhostProfile: a}}",
            &[
                "_.securityContext.seccompProfile.localhostProfile: Invalid value: {\"localhostProfile\":\"a\",\"type\":\"Unconfined\"}: can only be set when seccomp type is Localhost",
            ],
        ),
    ]);
}

#[test]
fn profiles_of_apparmor_are_checked() {
    table(&[
        ("securityContext: {appArmorProfile: {type: Unconfined}}", "", &[]),
        ("", "securityContext: {appArmorProfile: {type: Localhost, localhostProfile: mine}}", &[]),
        (
            "securityContext: {appArmorProfile: {type: X}}",
            "",
            &[&format!("spec.securityContext.appArmorProfile.type: Unsupported value: \"X\": {TYPES}")],
        ),
        (
            "",
            "securityContext: {appArmorProfile: {type: \"\"}}",
            &[
                "_.securityContext.appArmorProfile.type: Required value: type is required when appArmorProfile is set",
            ],
        ),
        (
            "",
            "securityContext: {appArmorProfile: {type: Localhost}}",
            &[
                "_.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost",
            ],
        ),
        (
            "",
            "securityContext: {appArmorProfile: {type: Localhost, localhostProfile: \" a\"}}",
            &[
                "_.securityContext.appArmorProfile.localhostProfile: Invalid value: \" a\": must not be padded with whitespace",
            ],
        ),
        (
            "",
            "securityContext: {appArmorProfile: {type: RuntimeDefault, localhostProfile: a}}",
            &[
                "_.securityContext.appArmorProfile.localhostProfile: Invalid value: \"a\": can only be set when AppArmor type is Localhost",
            ],
        ),
    ]);
}

#[test]
fn the_annotations_that_were_before_the_field_of_apparmor_are_checked() {
    let annotated = |container: &str, profile: &str| {
        errors(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{container.apparmor.security.beta.kubernetes.io/{container}: {profile:?}}}}}\nspec: {{containers: [{{name: c, image: i}}]}}"
        ))
    };
    for right in ["runtime/default", "localhost/mine", "unconfined", ""] {
        assert!(annotated("c", right).is_empty(), "{right}");
    }
    let path = "metadata.annotations[container.apparmor.security.beta.kubernetes.io/";
    assert_eq!(
        annotated("c", "mine"),
        [format!("{path}c]: Invalid value: \"mine\": invalid AppArmor profile name: \"mine\"")]
    );
    assert_eq!(
        annotated("d", "unconfined"),
        [format!("{path}d]: Invalid value: \"d\": container not found")]
    );
}

#[test]
fn a_user_namespace_goes_with_no_namespace_of_the_host() {
    assert!(wrong("hostUsers: false", "securityContext: {procMount: Unmasked}").is_empty());
    assert!(wrong("hostUsers: true\n  hostNetwork: true\n  hostPID: true", "").is_empty());
    assert_eq!(
        wrong("hostUsers: false\n  hostNetwork: true\n  hostPID: true\n  hostIPC: true", ""),
        [
            "spec.hostNetwork: Forbidden: when `hostUsers` is false",
            "spec.HostPID: Forbidden: when `hostUsers` is false",
            "spec.HostIPC: Forbidden: when `hostUsers` is false",
        ]
    );
    table(&[
        (
            "",
            "securityContext: {procMount: Unmasked}",
            &[
                "_.securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
            ],
        ),
        (
            "hostUsers: false",
            "securityContext: {procMount: unmasked}",
            &[
                "_.securityContext.procMount: Unsupported value: \"unmasked\": supported values: \"Default\", \"Unmasked\"",
            ],
        ),
    ]);
}

#[test]
fn what_only_windows_has_is_refused_in_a_pod_that_says_it_is_linuxs() {
    let options = "securityContext: {windowsOptions: {runAsUserName: a}}";
    assert!(wrong("", options).is_empty());
    let refused = "Forbidden: windows options cannot be set for a linux pod";
    let mut found = wrong(&format!("os: {{name: linux}}\n  {options}"), options);
    // The warnings stand beside them.
    found.retain(|text| !text.ends_with("ignored"));
    assert_eq!(
        found,
        [
            format!("spec.securityContext.windowsOptions: {refused}"),
            format!("spec.containers[0].securityContext.windowsOptions: {refused}"),
        ]
    );
}
