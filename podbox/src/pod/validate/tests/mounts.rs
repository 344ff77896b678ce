use super::table;

#[test]
fn how_a_volume_is_mounted_is_checked() {
    let volumes = "volumes: [{name: a}]";
    let mount = |rest: &str| format!("volumeMounts: [{{name: a, mountPath: /a, {rest}}}]");
    let privileged =
        format!("{}\n    securityContext: {{privileged: true}}", mount("mountPropagation: Bidirectional"));
    table(&[
        (volumes, &mount("subPathExpr: $(X)"), &[]),
        (
            volumes,
            &mount("subPathExpr: $(X), subPath: b"),
            &[
                "_.volumeMounts[0].subPathExpr: Invalid value: \"$(X)\": subPathExpr and subPath are mutually exclusive",
            ],
        ),
        (
            volumes,
            &mount("subPathExpr: /$(X)/.."),
            &[
                "_.volumeMounts[0].subPathExpr: Invalid value: \"/$(X)/..\": must be a relative path",
                "_.volumeMounts[0].subPathExpr: Invalid value: \"/$(X)/..\": must not contain '..'",
            ],
        ),
        (volumes, &mount("mountPropagation: HostToContainer"), &[]),
        (volumes, &privileged, &[]),
        (
            volumes,
            &mount("mountPropagation: Bidirectional"),
            &[
                "_.volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ],
        ),
        (
            volumes,
            &mount("mountPropagation: X"),
            &[
                "_.volumeMounts[0].mountPropagation: Unsupported value: \"X\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
            ],
        ),
        (volumes, &mount("recursiveReadOnly: Enabled, readOnly: true, mountPropagation: None"), &[]),
        (volumes, &mount("recursiveReadOnly: Disabled"), &[]),
        (
            volumes,
            &mount("recursiveReadOnly: IfPossible, mountPropagation: HostToContainer"),
            &[
                "_.volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
                "_.volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified",
            ],
        ),
        (
            volumes,
            &mount("recursiveReadOnly: X"),
            &[
                "_.volumeMounts[0].recursiveReadOnly: Unsupported value: \"X\": supported values: \"Disabled\", \"Enabled\", \"IfPossible\"",
            ],
        ),
    ]);
}

#[test]
fn volumes_that_are_images_and_their_group_are_checked() {
    table(&[
        ("volumes: [{name: a, image: {reference: r}}]", "", &[]),
        ("volumes: [{name: a, image: {}}]", "", &["spec.volumes[0].image.reference: Required value"]),
        (
            "volumes: [{name: a, image: {reference: r, pullPolicy: X}}]",
            "",
            &[
                "spec.volumes[0].image.pullPolicy: Unsupported value: \"X\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            ],
        ),
        (
            "volumes: [{name: a, emptyDir: {}, image: {reference: r}}]",
            "",
            &["spec.volumes[0].image: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            "securityContext: {fsGroup: -1, fsGroupChangePolicy: X}",
            "",
            &[
                "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
                "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"X\": supported values: \"Always\", \"OnRootMismatch\"",
            ],
        ),
    ]);
}
