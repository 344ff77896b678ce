use std::fs;

use e2e::Host;

use crate::{all, file, map, reader, stored};

const CLAIM: &str = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n";

#[test]
fn down_of_a_file_removes_what_it_holds_and_nothing_else() {
    let host = Host::new();
    let path = file(&host, "web.yaml", &all(&[&map("m", "one"), &reader("web", "m")]));
    host.up(&map("other", "x"));
    host.podbox(["up", "-d", &path]).ok();
    assert_eq!(host.down(&[&path]).text(), "pod default/web down\nconfigmap/m removed");
    assert_eq!(stored(&host, "configmaps", "m"), None);
    assert!(stored(&host, "configmaps", "other").is_some());
    // `up` takes the bare name of a directory; here it would be a pod's.
    let dir = host.dir().join("shop");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("m.yaml"), map("m", "two")).unwrap();
    let down = |what: &str| host.cmd(["down", what]).directory(host.dir()).run();
    host.cmd(["up", "-d", "shop"]).directory(host.dir()).run().ok();
    down("shop").code(2).complains("`podbox down shop/` is about the manifests in that directory");
    assert_eq!(down("shop/").text(), "configmap/m removed");
    // As with pods: what a manifest names may be gone already.
    assert_eq!(host.down(&[&path]).text(), "");
    host.finish();
}

#[test]
fn objects_are_named_as_kubectl_names_them() {
    let host = Host::new();
    host.up(&all(&[&map("a", "x"), &map("b", "x"), &map("c", "x")]));
    assert_eq!(host.down(&["configmap/a"]).text(), "configmap/a removed");
    assert_eq!(host.down(&["cm", "b", "c"]).text(), "configmap/c removed\nconfigmap/b removed");
    host.podbox(["down", "cm/a"]).code(2).complains("configmaps \"a\" not found");
    host.podbox(["down", "cm", "../../secrets/default/s"]).code(2).complains("not found");
    host.podbox(["down", "-n", "../secrets/default", "cm/s"]).code(2).complains("not found");
    host.finish();
}

#[test]
fn a_namespace_goes_with_everything_in_it() {
    let host = Host::new();
    let inside = |text: String| text.replace("metadata: {", "metadata: {namespace: team, ");
    let team = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n";
    host.up(&all(&[team, &inside(map("m", "one"))]));
    host.up(&inside(reader("web", "m")));
    let output = host.down(&["ns/team"]);
    assert_eq!(output.text(), "pod team/web down\nnamespace/team removed");
    assert!(!host.root_dir().join("objects/configmaps/team/m.json").exists());
    assert_eq!(stored(&host, "namespaces", "team"), None);
    // What cannot be removed does not keep the rest.
    host.up(&map("m", "x"));
    host.podbox(["down", "ns/default", "cm/m"]).code(2).complains("this namespace may not be deleted");
    assert_eq!(stored(&host, "configmaps", "m"), None);
    host.podbox(["down", "ns/team"]).code(2).complains("namespaces \"team\" not found");
    host.finish();
}

#[test]
fn nothing_begins_in_a_namespace_that_is_being_removed() {
    let host = Host::new();
    let team = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n";
    host.up(team);
    // A `down` that was killed on its way.
    let path = host.root_dir().join("objects/namespaces/_/team.json");
    let mut object = stored(&host, "namespaces", "team").unwrap();
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    fs::write(path, object.to_string()).unwrap();
    let pod = reader("web", "m").replace("name: web", "name: web, namespace: team");
    host.try_up(&pod, &[]).code(2).complains(
        "pods \"web\" is forbidden: unable to create new content in namespace team because it is being terminated",
    );
    host.down(&["ns", "team"]);
    host.up(team);
    host.finish();
}

#[test]
fn a_claim_is_protected_while_a_pod_uses_it_and_keeps_its_data_until_told_otherwise() {
    let host = Host::new();
    let pod = reader("web", "m")
        + "    volumeMounts: [{name: v, mountPath: /v}]\n  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]\n";
    let both = all(&[CLAIM, &map("m", "x"), &pod]);
    host.up(&both);
    host.podbox(["exec", "web", "--", "sh", "-c", "echo kept >/v/file"]).ok();
    host.podbox(["down", "pvc/data"])
        .code(2)
        .complains("persistentvolumeclaim/data is used by pod default/web");
    assert!(stored(&host, "persistentvolumeclaims", "data").is_some());
    let path = file(&host, "all.yaml", &both);
    host.down(&[&path]);
    assert_eq!(stored(&host, "persistentvolumeclaims", "data"), None);
    host.up(&both);
    assert_eq!(host.exec("web", &["cat", "/v/file"]), "kept");
    host.down(&["--volumes", &path]);
    assert!(!host.root_dir().join("claims/default/data").exists());
    host.finish();
}
