use crate::manifest::{Diagnostic, Options, Source, load};

/// What is wrong with a Pod of this volume.
fn wrong(volume: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  volumes: [{{name: v, {volume}}}]\n  containers: [{{name: c, image: i}}]\n"
    );
    match load(&[Source::new("pod.yaml", text)], &Options::default()) {
        Ok(_) => Vec::new(),
        Err(found) => found.0.iter().map(Diagnostic::text).collect(),
    }
}

fn table(rows: &[(&str, &[&str])]) {
    for (volume, want) in rows {
        let got = wrong(volume);
        let got: Vec<&str> =
            got.iter().map(|text| text.strip_prefix("spec.volumes[0]").unwrap_or(text)).collect();
        assert_eq!(got, *want, "{volume}");
    }
}

#[test]
fn a_volume_has_one_source() {
    table(&[
        ("configMap: {name: m}", &[]),
        (
            "emptyDir: {}, hostPath: {path: /x}",
            &[".hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            "projected: {sources: []}, configMap: {name: m}, secret: {secretName: s}",
            &[
                ".projected: Forbidden: may not specify more than 1 volume type",
                ".configMap: Forbidden: may not specify more than 1 volume type",
            ],
        ),
    ]);
}

#[test]
fn keys_and_modes_of_objects_are_checked() {
    const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
    table(&[
        ("configMap: {}", &[".configMap.name: Required value"]),
        ("secret: {}", &[".secret.secretName: Required value"]),
        ("configMap: {name: m, defaultMode: 0640, items: [{key: a, path: b/c, mode: 256}]}", &[]),
        (
            "configMap: {name: m, defaultMode: 512}",
            &[&format!(".configMap.defaultMode: Invalid value: 512: {MODE}")],
        ),
        (
            "secret: {secretName: s, items: [{key: a, path: b, mode: -1}]}",
            &[&format!(".secret.items[0].mode: Invalid value: -1: {MODE}")],
        ),
        (
            "configMap: {name: m, items: [{key: '', path: ''}]}",
            &[".configMap.items[0].key: Required value", ".configMap.items[0].path: Required value"],
        ),
        (
            "configMap: {name: m, items: [{key: a, path: /a}, {key: b, path: ../b}, {key: c, path: ..c}]}",
            &[
                ".configMap.items[0].path: Invalid value: \"/a\": must be a relative path",
                ".configMap.items[1].path: Invalid value: \"../b\": must not contain '..'",
                ".configMap.items[2].path: Invalid value: \"..c\": must not start with '..'",
            ],
        ),
    ]);
}

#[test]
fn a_file_of_the_downward_api_has_one_fact() {
    table(&[
        (
            "downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.labels}}, {path: b, fieldRef: {fieldPath: \"metadata.annotations['x/y']\"}}, {path: c, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}]}",
            &[],
        ),
        (
            "downwardAPI: {items: [{path: a}]}",
            &[".downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"],
        ),
        (
            "downwardAPI: {items: [{path: a, fieldRef: {fieldPath: status.podIP}}]}",
            &[
                ".downwardAPI.fieldRef.fieldPath: Unsupported value: \"status.podIP\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
            ],
        ),
        (
            "downwardAPI: {items: [{path: a, resourceFieldRef: {resource: limits.cpu}}]}",
            &[".downwardAPI.resourceFieldRef.containerName: Required value"],
        ),
        (
            "downwardAPI: {items: [{path: a, resourceFieldRef: {resource: limits.cpu, containerName: c}, fieldRef: {fieldPath: metadata.uid}}]}",
            &[
                ".downwardAPI: Invalid value: \"resource\": fieldRef and resourceFieldRef can not be specified simultaneously",
            ],
        ),
    ]);
}

#[test]
fn projected_sources_share_their_paths() {
    table(&[
        (
            "projected: {sources: [{configMap: {name: m, items: [{key: a, path: p}]}}, {secret: {name: s, items: [{key: a, path: p}]}}]}",
            &[".projected: Invalid value: \"s\": conflicting duplicate paths"],
        ),
        (
            "projected: {sources: [{configMap: {name: m}, secret: {name: s}}]}",
            &[".projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"],
        ),
        ("projected: {sources: [{serviceAccountToken: {path: token}}]}", &[]),
        (
            "projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 599}}]}",
            &[
                ".projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
            ],
        ),
        (
            "projected: {sources: [{serviceAccountToken: {path: '', expirationSeconds: 4294967297}}]}",
            &[
                ".projected.sources[0].serviceAccountToken.path: Required value",
                ".projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
            ],
        ),
    ]);
}

#[test]
fn claims_and_their_templates_are_checked() {
    table(&[
        ("persistentVolumeClaim: {claimName: ''}", &[".persistentVolumeClaim.claimName: Required value"]),
        ("ephemeral: {}", &[".ephemeral.volumeClaimTemplate: Required value"]),
        (
            "ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}",
            &[],
        ),
        (
            "ephemeral: {volumeClaimTemplate: {spec: {accessModes: []}}}",
            &[
                ".ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
                ".ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
            ],
        ),
    ]);
}
