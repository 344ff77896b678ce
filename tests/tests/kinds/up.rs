use e2e::{Host, PATIENCE, wait_until};

use crate::{all, map, reader, stored};

#[test]
fn objects_are_there_before_the_pods_that_need_them_wherever_they_stand() {
    let host = Host::new();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: v}\n";
    let manifest = all(&[&reader("web", "m"), secret, &map("m", "one")]);
    let output = host.up(&manifest);
    assert_eq!(output.text(), "configmap/m created\nsecret/s created\npod default/web up");
    assert_eq!(host.logs(&["web"]), "one\n");
    let config = stored(&host, "configmaps", "m").unwrap();
    assert_eq!((&config["kind"], &config["data"]["a"]), (&"ConfigMap".into(), &"one".into()));
    assert!(config["metadata"]["uid"].is_string() && config["metadata"]["creationTimestamp"].is_string());
    assert_eq!(stored(&host, "secrets", "s").unwrap()["data"]["k"], "dg==");
    let again = host.up(&manifest.replace("one", "two"));
    assert_eq!(again.text(), "configmap/m configured\nsecret/s unchanged\npod default/web unchanged");
    let after = stored(&host, "configmaps", "m").unwrap();
    assert_eq!((&after["data"]["a"], &after["metadata"]["uid"]), (&"two".into(), &config["metadata"]["uid"]));
    assert_eq!(host.cmd(["up", "-q", "-"]).input(map("m", "three")).run().ok().text(), "");
    host.finish();
}

#[test]
fn what_an_up_has_stored_goes_back_if_its_pods_cannot_start() {
    let host = Host::new();
    host.up(&map("old", "one"));
    let bad = reader("web", "old").replace("podbox.local/toolbox", "oci:/there/is/nothing");
    let manifest = all(&[&map("old", "two"), &map("new", "x"), &bad]);
    let failed = host.try_up(&manifest, &["--timeout", "5s"]);
    assert_ne!(failed.code, Some(0));
    assert_eq!(stored(&host, "configmaps", "old").unwrap()["data"]["a"], "one");
    assert_eq!(stored(&host, "configmaps", "new"), None);
    failed.complains("configmap/old put back").complains("configmap/new removed again");
    host.finish();
}

#[test]
fn what_may_not_change_is_refused_before_anything_does() {
    let host = Host::new();
    let sealed = |value: &str| format!("{}immutable: true\n", map("m", value));
    host.up(&sealed("one"));
    let refused = host.try_up(&all(&[&map("a", "x"), &sealed("two")]), &[]).code(2);
    refused
        .complains(
            "The ConfigMap \"m\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
        )
        .complains("podbox down configmap/m");
    assert_eq!(stored(&host, "configmaps", "a"), None, "all is checked before the first is written");
    assert_eq!(host.up(&sealed("one")).text(), "configmap/m unchanged");
    host.finish();
}

#[test]
fn a_service_is_stored_and_its_pods_see_it() {
    let host = Host::new();
    let ip = format!("10.214.{}.7", host.number());
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: db}}\nspec: {{clusterIP: {ip}, ports: [{{port: 5432}}]}}\n"
    );
    let pod = reader("web", "m").replace("echo $A", "echo $DB_SERVICE_HOST:$DB_SERVICE_PORT");
    let output = host.up(&all(&[&service, &map("m", "x"), &pod]));
    assert!(output.stdout.contains("service/db created"), "{output}");
    assert_eq!(host.logs(&["web"]), format!("{ip}:5432\n"));
    host.finish();
}

#[test]
fn the_example_runs_with_what_it_reads_and_leaves_nothing() {
    let host = Host::new();
    let file = e2e::fixture("../examples/settings.yaml");
    let path = file.to_str().expect("a path");
    host.podbox(["up", "-d", path]).ok();
    assert_eq!(host.logs(&["settings"]), "hello\nsomebody\n");
    let text = std::fs::read_to_string(path).expect("read the example");
    let changed = host.up(&text.replace("greeting: hello", "greeting: good day"));
    assert_eq!(
        changed.text(),
        "configmap/settings configured\nsecret/login unchanged\npod default/settings unchanged"
    );
    wait_until("the files follow", PATIENCE, || {
        host.exec("settings", &["cat", "/settings/greeting"]) == "good day"
    });
    host.down(&[path]);
    assert_eq!((stored(&host, "configmaps", "settings"), stored(&host, "secrets", "login")), (None, None));
    host.finish();
}
