//! docs/support.md: every field of a Pod and what podbox does with it, written from the list that manifests are
//! checked against.

use std::fmt::Write;

use k8s_openapi::api::core::v1 as k8s;

use super::{FIELDS, Honoured, Look, Refused, SILENT, Verdict, Warn, schema, verdict};

/// Where the document is, from this crate.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/support.md");

/// The document's sections: the path of what each is about, and what it is called. A field belongs to the longest path
/// that it is below of.
const SECTIONS: [(&str, &str); 11] = [
    ("", "The object"),
    ("metadata", "`metadata`"),
    ("spec", "`spec`"),
    ("spec.securityContext", "`spec.securityContext`"),
    ("spec.containers[*]", "`spec.containers[*]` and `spec.initContainers[*]`"),
    ("spec.containers[*].env[*]", "`env[*]` of a container"),
    ("spec.containers[*].(probe)", "`livenessProbe`, `readinessProbe` and `startupProbe` of a container"),
    ("spec.containers[*].lifecycle", "`lifecycle` of a container; (hook) is `postStart` or `preStop`"),
    ("spec.containers[*].resources", "`resources` of a container; (device) is a name with a slash"),
    ("spec.containers[*].securityContext", "`securityContext` of a container"),
    ("spec.volumes[*]", "`spec.volumes[*]`"),
];

/// The paths of the Pod API as the list writes them.
fn api() -> Vec<String> {
    let mut paths: Vec<String> = schema::paths::<k8s::Pod>()
        .into_iter()
        .map(|path| {
            let steps = path.split('.').map(|step| match step {
                "livenessProbe" | "readinessProbe" | "startupProbe" => "(probe)",
                "postStart" | "preStop" => "(hook)",
                "initContainers[*]" => "containers[*]",
                "initContainers" => "containers",
                step => step,
            });
            steps.collect::<Vec<_>>().join(".")
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

fn is_below(path: &str, of: &str) -> bool {
    of.is_empty() || path.strip_prefix(of).is_some_and(|rest| rest.starts_with(['.', '[']))
}

/// The entry of the list that decides about a field: its own, or that of an object that is not looked into.
fn decided_by(path: &str) -> Option<(&'static str, Verdict)> {
    let above = FIELDS.iter().filter(|(of, verdict)| *verdict != Look && is_below(path, of));
    above.min_by_key(|(of, _)| of.len()).or_else(|| FIELDS.iter().find(|(of, _)| *of == path)).copied()
}

fn words(verdict: Verdict) -> String {
    match verdict {
        Look => String::new(),
        Honoured => "honoured".to_owned(),
        Warn(why) => format!("ignored with a warning: {}", why.trim_end_matches(": ignored")),
        Refused(why) => format!("refused: {why}"),
    }
}

fn document() -> String {
    let mut text = String::from(
        "# Every field of a Pod\n\n\
         What podbox does with each field of the Pod API (Kubernetes v1.36), written by a test from the list that \
         manifests are checked against\n(`podbox/src/manifest/fields.rs`). To write it anew:\n\
         `PODBOX_WRITE_DOCS=1 cargo test -p podbox --lib support`.\n\n\
         A field is *honoured*, *ignored with a warning* because nothing on a single host could give it a meaning, or \
         *refused* with the\nreason that stands here. Fields that are in no table are no fields of a Pod: they are \
         errors, unless `--validate` says otherwise.\nOf a field that is ignored or refused the fields below it are \
         named beside it.\n",
    );
    let api = api();
    let of_maps = FIELDS.iter().map(|(path, _)| (*path).to_owned()).filter(|path| !api.contains(path));
    let mut all: Vec<String> = api.iter().cloned().chain(of_maps).collect();
    all.sort();
    for (section, title) in SECTIONS {
        let _ = write!(text, "\n## {title}\n\n| field | what podbox does with it |\n|---|---|\n");
        for path in all.iter().filter(|path| section_of(path) == section) {
            let Some((by, verdict)) = decided_by(path).filter(|(by, verdict)| by == path && *verdict != Look)
            else {
                continue;
            };
            let name = path[section.len()..].trim_start_matches('.');
            let below: Vec<_> = all.iter().filter(|path| is_below(path, by)).collect();
            let below: Vec<_> = below
                .iter()
                .map(|path| {
                    format!("`{}`", path[by.len()..].trim_start_matches("[*]").trim_start_matches('.'))
                })
                .collect();
            let below = if below.is_empty() { String::new() } else { format!(" ({})", below.join(", ")) };
            let _ = writeln!(text, "| `{name}`{below} | {} |", words(verdict));
        }
    }
    text.push_str("\n## Values that say nothing\n\nOf fields that are ignored these values are taken without a warning:\n\n");
    for (path, value) in SILENT {
        let value = if value.is_empty() { "\"\"" } else { value };
        let _ = writeln!(text, "- `{path}: {value}`");
    }
    text
}

fn section_of(path: &str) -> &'static str {
    let above = SECTIONS.iter().map(|(section, _)| *section).filter(|section| is_below(path, section));
    above.max_by_key(|section| section.len()).unwrap_or("")
}

#[test]
fn every_field_of_the_pod_api_has_its_verdict() {
    let api = api();
    assert!(api.len() > 500 && api.iter().any(|path| path == "spec.affinity.nodeAffinity"), "{api:#?}");
    let undecided: Vec<_> =
        api.iter().filter(|path| decided_by(path).is_none() && verdict(path).is_none()).collect();
    assert!(undecided.is_empty(), "{undecided:#?}");
}

#[test]
fn the_list_has_no_field_that_is_none() {
    let api = api();
    let strange: Vec<_> = FIELDS
        .iter()
        .map(|(path, _)| *path)
        .filter(|path| !api.iter().any(|known| known == path))
        .filter(|path| !["resources.limits.", "resources.requests."].iter().any(|map| path.contains(map)))
        .filter(|path| !["metadata.selfLink"].contains(path))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn the_document_of_supported_fields_is_what_the_list_says() {
    let text = document();
    if std::env::var_os("PODBOX_WRITE_DOCS").is_some() {
        std::fs::write(DOCUMENT, &text).unwrap();
    }
    let written = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        written == text,
        "docs/support.md is not up to date: PODBOX_WRITE_DOCS=1 cargo test -p podbox --lib support"
    );
}
