use e2e::Host;

use crate::{all, file, map, stored};

#[test]
fn all_mistakes_of_all_files_come_at_once_and_change_nothing() {
    let host = Host::new();
    let good = file(&host, "good.yaml", &map("good", "x"));
    let one = file(&host, "one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndta: {a: b}\n");
    let two = file(
        &host,
        "two.yaml",
        &all(&[
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: '%%'}\n",
            "apiVersion: v1\nkind: Configmap\nmetadata: {name: s}\n",
        ]),
    );
    let refused = host.podbox(["up", &good, &one, &two]).code(2);
    let refused = refused
        .complains("unknown field \"dta\"")
        .complains("did you mean `data`?")
        .complains("error: kind: Deployment is not supported: podbox runs Pods")
        .complains("put spec.template into a Pod")
        .complains("data[k]: Invalid value: illegal base64 data at input byte 0")
        .complains("did you mean `ConfigMap`?")
        .complains("4 mistakes in the manifest; nothing was changed");
    assert!(refused.stderr.contains("one.yaml:4:1"), "{refused}");
    assert_eq!(stored(&host, "configmaps", "good"), None);
    assert_eq!(host.podbox(["validate", &good]).ok().text(), "configmap/good is valid");
    host.finish();
}
