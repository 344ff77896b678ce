use super::super::Tokens;
use super::*;
use crate::manifest::{Options, Source, load};
use crate::pod::VolumeSource;
use crate::store::{Layers, Store};

/// What the files of a volume say where these objects are, as `path mode text`, a line each.
fn written(volume: &str, objects: &[(ObjectKind, &str, Value)]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    let store = Store { run: path("run"), data: path("data"), logs: path("logs"), layers: Layers::Disk };
    for (kind, name, object) in objects {
        store.keep_object(*kind, ("default", name), object).unwrap();
    }
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, labels: {{b: '2', a: '1'}}}}\nspec:\n  volumes: [{{name: v, {volume}}}]\n  containers: [{{name: c, image: i, resources: {{limits: {{cpu: 250m, memory: 64Mi}}}}}}]\n"
    );
    let mut loaded = load(&[Source::new("pod.yaml", text)], &Options::default()).unwrap();
    let pod = loaded.pods.remove(0).pod;
    let VolumeSource::Files(files) = &pod.volumes[0].source else { panic!("{:?}", pod.volumes) };
    let (pod_dir, tokens) = (store.pod("uid"), Tokens::default());
    let place = Place { pod: &pod, dir: &pod_dir, store: &store, tokens: &tokens };
    let payload = payload(&place, "v", files).map_err(|error| error.to_string())?;
    let line = |(path, file): (&PathBuf, &File)| {
        format!("{} {:o} {}\n", path.display(), file.mode, String::from_utf8_lossy(&file.data))
    };
    Ok(payload.iter().map(line).collect())
}

fn map() -> (ObjectKind, &'static str, Value) {
    (ObjectKind::ConfigMap, "m", json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}}))
}

fn secret() -> (ObjectKind, &'static str, Value) {
    (ObjectKind::Secret, "s", json!({"data": {"password": "aHVudGVyMg=="}}))
}

#[test]
fn every_key_is_a_file_or_those_that_are_asked_for() {
    let all = written("configMap: {name: m}", &[map()]);
    assert_eq!(all.as_deref(), Ok("a 644 1\nb 644 2\nc 644 \0\u{1}\n"));
    let some = "configMap: {name: m, defaultMode: 0600, items: [{key: b, path: x//y/./b}, {key: a, path: a, mode: 0444}]}";
    assert_eq!(written(some, &[map()]).as_deref(), Ok("a 444 1\nx/y/b 600 2\n"));
    assert_eq!(written("secret: {secretName: s}", &[secret()]).as_deref(), Ok("password 644 hunter2\n"));
}

#[test]
fn what_is_missing_is_told_unless_it_is_optional() {
    let why = |volume: &str| written(volume, &[map(), secret()]).unwrap_err();
    assert_eq!(why("configMap: {name: none}"), "configmap \"none\" not found");
    assert_eq!(why("secret: {secretName: none}"), "secret \"none\" not found");
    assert_eq!(
        why("configMap: {name: m, items: [{key: z, path: z}]}"),
        "configmap references non-existent config key: z"
    );
    assert_eq!(
        why("secret: {secretName: s, items: [{key: z, path: z}]}"),
        "references non-existent secret key: z"
    );
    assert_eq!(
        why("projected: {sources: [{configMap: {name: x}}, {secret: {name: w}}]}"),
        "[configmap \"x\" not found, secret \"w\" not found]"
    );
    assert_eq!(written("configMap: {name: none, optional: true}", &[]).as_deref(), Ok(""));
    let some = "configMap: {name: m, optional: true, items: [{key: z, path: z}, {key: a, path: a}]}";
    assert_eq!(written(some, &[map()]).as_deref(), Ok("a 644 1\n"));
}

#[test]
fn a_pod_can_read_of_itself() {
    let facts = "items: [{path: l, fieldRef: {fieldPath: metadata.labels}}, {path: me, mode: 0400, fieldRef: {fieldPath: metadata.name}}, {path: cpu, resourceFieldRef: {containerName: c, resource: limits.cpu}}, {path: memory, resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Mi}}]";
    let want = "cpu 644 1\nl 644 a=\"1\"\nb=\"2\"\nme 400 p\nmemory 644 64\n";
    assert_eq!(written(&format!("downwardAPI: {{{facts}}}"), &[]).as_deref(), Ok(want));
    let projected =
        format!("projected: {{sources: [{{downwardAPI: {{{facts}}}}}, {{configMap: {{name: m}}}}]}}");
    let both = written(&projected, &[map()]).unwrap();
    assert!(both.contains("\nmemory 644 64\n") && both.starts_with("a 644 1\n"), "{both}");
}

#[test]
fn a_key_cannot_lead_out_of_the_volume() {
    for key in ["..data", "../x", "a/../../x", "/x"] {
        let object = (ObjectKind::ConfigMap, "m", json!({"data": {key: "1"}}));
        assert_eq!(written("configMap: {name: m}", &[object]), Err(format!("invalid path: {key:?}")));
    }
}
