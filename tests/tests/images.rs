//! Images: from a real registry, from files, from directories.

use std::fs;

use e2e::{Archive, Cmd, Host, Layer, Registry, pod};
use serde_json::json;

fn with_registry() -> (Host, Registry) {
    let host = Host::builder().registries("").build();
    let registry = Registry::start(host.dir(), host.port(30));
    fs::write(host.dir().join("registries.conf"), registry.mirrors()).unwrap();
    (host, registry)
}

/// A pod that runs `ls` and such in an image, to its end.
fn look(image: &str, command: &str) -> String {
    pod(
        "look",
        &format!("  restartPolicy: Never\n  containers: [{{name: c, image: '{image}', command: {command}}}]"),
    )
}

#[test]
fn layers_are_applied_with_their_whiteouts() {
    let (host, registry) = with_registry();
    let image = Archive::new([
        Layer::toolbox(&["ls", "cat", "sleep"]),
        Layer::new().dir("data").file("data/a", "a").file("data/b", "old").dir("dir").file("dir/x", "x"),
        Layer::new()
            .file("data/.wh.a", "")
            .file("data/b", "new")
            .file("dir/.wh..wh..opq", "")
            .file("dir/y", "y"),
    ]);
    registry.push(&image, "layers:1");
    let reference = format!("{}/layers:1", registry.host());
    host.podbox(["image", "pull", &reference]).ok();
    host.try_up(&look(&reference, "[ls, /data, /dir]"), &["--wait", "complete"]).ok();
    let seen = host.logs(&["look"]);
    let names: Vec<&str> = seen.split_whitespace().filter(|word| word.len() == 1).collect();
    assert_eq!(names, ["b", "y"], "{seen}");
    host.try_up(&look(&reference, "[cat, /data/b]"), &["--wait", "complete"]).ok();
    assert_eq!(host.logs(&["look"]), "new");
    drop(registry);
    host.finish();
}

#[test]
fn pull_policies_ask_the_registry_only_when_they_should() {
    let (host, mut registry) = with_registry();
    registry.push(&Archive::new([Layer::toolbox(&["echo"])]).set("Cmd", json!(["echo", "one"])), "app:1");
    let reference = format!("{}/app:1", registry.host());
    let manifest = |policy: &str| {
        pod(
            "app",
            &format!(
                "  restartPolicy: Never\n  containers: [{{name: c, image: '{reference}', imagePullPolicy: {policy}}}]"
            ),
        )
    };
    let output = host.try_up(&manifest("Never"), &["--wait", "complete"]).code(1);
    assert!(output.stderr.contains("ErrImageNeverPull"), "{output}");
    host.try_up(&manifest("IfNotPresent"), &["--wait", "complete"]).ok();
    assert_eq!(host.logs(&["app"]), "one\n");
    registry.push(&Archive::new([Layer::toolbox(&["echo"])]).set("Cmd", json!(["echo", "two"])), "app:1");
    host.try_up(&manifest("IfNotPresent"), &["--wait", "complete"]).ok();
    assert_eq!(host.logs(&["app"]), "one\n", "present is present");
    host.try_up(&manifest("Always"), &["--wait", "complete"]).ok();
    assert_eq!(host.logs(&["app"]), "two\n");
    registry.pause();
    host.try_up(&manifest("IfNotPresent"), &["--wait", "complete"]).ok();
    host.try_up(&manifest("Never"), &["--wait", "complete"]).ok();
    let output = host.try_up(&manifest("Always"), &["--wait", "complete"]).code(1);
    assert!(output.stderr.contains("ErrImagePull"), "{output}");
    registry.resume();
    drop(registry);
    host.finish();
}

/// What a kubelet tells is the whole image's, as the registry serves it, whatever is here already.
#[test]
fn the_size_of_a_pulled_image_counts_layers_that_were_there_already() {
    let (host, registry) = with_registry();
    let image = |word: &str| Archive::new([Layer::toolbox(&["echo"])]).set("Cmd", json!(["echo", word]));
    let size = |tag: &str| -> u64 {
        registry.push(&image(tag), &format!("app:{tag}"));
        let reference = format!("{}/app:{tag}", registry.host());
        let spec = format!("  restartPolicy: Never\n  containers: [{{name: c, image: '{reference}'}}]");
        host.try_up(&pod(tag, &spec), &["--wait", "complete"]).ok();
        let pulled = host.events(tag).into_iter().find(|event| event["reason"] == "Pulled").unwrap();
        let message = pulled["message"].as_str().unwrap().to_owned();
        let (_, size) = message.split_once("Image size: ").unwrap_or_else(|| panic!("{message}"));
        size.trim_end_matches(" bytes.").parse().unwrap_or_else(|_| panic!("{message}"))
    };
    // Words of one length, so that the configurations are of one size.
    let (first, second) = (size("one"), size("two"));
    assert_eq!(first, second);
    let layers = fs::metadata(e2e::binary()).unwrap().len();
    assert!(
        (layers / 20..layers).contains(&first),
        "{first} bytes of which {layers} are the program, compressed"
    );
    drop(registry);
    host.finish();
}

#[test]
fn an_image_can_be_named_by_its_digest_and_a_wrong_one_is_refused() {
    let (host, registry) = with_registry();
    registry.push(&Archive::new([Layer::toolbox(&["echo"])]).set("Cmd", json!(["echo", "hi"])), "app:1");
    let tagged = format!("{}/app:1", registry.host());
    host.try_up(&pod("app", &format!("  containers: [{{name: c, image: '{tagged}'}}]")), &[]).ok();
    let id = host.pod("app").container("c")["imageID"].as_str().unwrap_or_default().to_owned();
    let digest = id.rsplit('@').next().unwrap_or_default().to_owned();
    assert!(digest.starts_with("sha256:"), "{id}");
    host.down(&["app", "--grace-period", "0"]);
    let exact = format!("{}/app@{digest}", registry.host());
    host.try_up(&look(&exact, "[echo, exact]"), &["--wait", "complete"]).ok();
    let wrong = format!("{}/app@sha256:{}", registry.host(), "0".repeat(64));
    host.podbox(["image", "pull", &wrong]).code(2);
    drop(registry);
    host.finish();
}

#[test]
fn a_blob_that_was_tampered_with_is_refused_and_leaves_nothing() {
    let (host, registry) = with_registry();
    registry.push(&Archive::new([Layer::toolbox(&["echo"])]), "app:1");
    let blobs = host.dir().join("registry/data/docker/registry/v2/blobs/sha256");
    let mut largest = (0, std::path::PathBuf::new());
    for first in fs::read_dir(blobs).unwrap().flatten() {
        for blob in fs::read_dir(first.path()).unwrap().flatten() {
            let data = blob.path().join("data");
            largest = largest.max((fs::metadata(&data).unwrap().len(), data));
        }
    }
    let mut bytes = fs::read(&largest.1).unwrap();
    let middle = bytes.len() / 2;
    let honest = bytes.clone();
    let reference = format!("{}/app:1", registry.host());
    // In the middle the compressed stream breaks, at its start there is no such stream: the cause is one.
    for at in [middle, 0] {
        bytes.clone_from(&honest);
        bytes[at] ^= 1;
        fs::write(&largest.1, &bytes).unwrap();
        let output =
            host.podbox(["image", "pull", &reference]).complains("digest mismatch: expected sha256:");
        assert!(!output.good(), "a changed layer was accepted\n{output}");
    }
    let layers: Vec<_> = fs::read_dir(host.dir().join("root/layers")).unwrap().flatten().collect();
    assert!(layers.iter().all(|layer| layer.file_name() == ".work"), "{layers:?}");
    assert_eq!(fs::read_dir(host.dir().join("root/layers/.work")).unwrap().count(), 0);
    assert!(!host.podbox(["image", "ls"]).ok().stdout.contains("app"));
    drop(registry);
    host.finish();
}

#[test]
fn an_image_that_is_not_there_is_told_as_a_kubelet_tells_it() {
    let (host, registry) = with_registry();
    let reference = format!("{}/nobody:1", registry.host());
    let manifest = pod("app", &format!("  containers: [{{name: c, image: '{reference}'}}]"));
    host.try_up(&manifest, &[]).code(1).complains("ErrImagePull").complains(&reference);
    assert!(
        host.podbox(["get", "pods", "-A", "-o", "name"]).ok().stdout.is_empty(),
        "it is taken down again"
    );
    host.try_up(&manifest, &["--wait", "none"]).ok();
    let view = host.wait_pod("app", "back-off", |pod| {
        pod.text("status.containerStatuses.0.state.waiting.reason") == "ImagePullBackOff"
    });
    assert_eq!(view.phase(), "Pending");
    host.wait_event("app", "Failed", "Error: ErrImagePull");
    host.wait_event("app", "BackOff", "Back-off pulling image");
    // It is there in the end, and the pod comes up by itself.
    registry.push(
        &Archive::new([Layer::toolbox(&["sleep"])]).set("Cmd", json!(["sleep", "infinity"])),
        "nobody:1",
    );
    host.wait_pod("app", "Ready", |pod| pod.is("Ready"));
    drop(registry);
    host.finish();
}

#[test]
fn archives_layouts_and_directories_are_images_too() {
    let host = Host::new();
    let image = Archive::new([Layer::toolbox(&["echo"])]).set("Cmd", json!(["echo", "from a file"]));
    let archive = image.write(&host.dir().join("image.tar"), "local/echo:1");
    let layout = host.dir().join("layout");
    Cmd::new("skopeo")
        .args(["--insecure-policy", "--tmpdir"])
        .args([host.dir()])
        .args([
            "copy",
            &format!("docker-archive:{}", archive.display()),
            &format!("oci:{}:v1", layout.display()),
        ])
        .run()
        .ok();
    let rootfs = host.dir().join("rootfs");
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    fs::copy(e2e::binary(), rootfs.join("bin/toolbox")).unwrap();
    std::os::unix::fs::symlink("toolbox", rootfs.join("bin/echo")).unwrap();
    let complete = |manifest: &str| {
        host.try_up(manifest, &["--wait", "complete"]).ok();
        host.logs(&["look"])
    };
    let plain = |image: String| {
        pod("look", &format!("  restartPolicy: Never\n  containers: [{{name: c, image: '{image}'}}]"))
    };
    assert_eq!(complete(&plain(format!("docker-archive:{}", archive.display()))), "from a file\n");
    assert_eq!(complete(&plain(format!("oci:{}:v1", layout.display()))), "from a file\n");
    assert_eq!(
        complete(&look(&format!("rootfs:{}", rootfs.display()), "[echo, a directory]")),
        "a directory\n"
    );
    assert!(!rootfs.join("proc").exists() && !rootfs.join("etc").exists(), "the directory was written to");
    host.finish();
}

#[test]
fn relative_paths_of_images_start_from_the_manifests_directory() {
    let host = Host::new();
    let app = host.dir().join("app:1");
    let rootfs = app.join("rootfs");
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    fs::copy(e2e::binary(), rootfs.join("bin/toolbox")).unwrap();
    std::os::unix::fs::symlink("toolbox", rootfs.join("bin/echo")).unwrap();
    let image = Archive::new([Layer::toolbox(&["echo"])]);
    image.write(&app.join("image.tar"), "local/echo:1");
    let complete = ["up", "-d", "--wait", "complete"];
    for name in ["rootfs:rootfs", "rootfs:./rootfs", "docker-archive:../app:1/image.tar"] {
        fs::write(app.join("pod.yaml"), look(name, "[echo, from here]")).unwrap();
        host.cmd(complete).args([app.join("pod.yaml")]).run().ok();
        assert_eq!(host.logs(&["look"]), "from here\n", "{name}");
        // The object is what the user wrote; the status says what runs.
        let view = host.pod("look");
        assert_eq!(view.text("spec.containers.0.image"), name);
        let real = view.text("status.containerStatuses.0.image");
        assert!(real.contains(app.to_str().unwrap()), "{real}");
        host.down(&["look"]);
    }
    // Standard input has no directory; there it is the one that podbox is started in.
    let here = |directory: &std::path::Path| {
        let cmd =
            Cmd::new("env").args(["-C", directory.to_str().unwrap()]).args([e2e::binary()]).args(complete);
        host.environment(cmd).args(["-"]).input(look("rootfs:rootfs", "[echo, from here]")).run()
    };
    here(&app).ok();
    host.down(&["look"]);
    let missing = host.dir().join("rootfs");
    here(host.dir()).complains(missing.to_str().unwrap()).complains("not a directory");
    fs::write(app.join("pod.yaml"), look("rootfs:rootfs", "[echo, never]")).unwrap();
    let planned = host.podbox(["plan", app.join("pod.yaml").to_str().unwrap()]).ok();
    planned.says(&format!("lowerdir={}", rootfs.display()));
    for (name, file) in [("oci:none:v1", "none/index.json"), ("docker-archive:none.tar", "none.tar")] {
        fs::write(app.join("pod.yaml"), look(name, "[echo, never]")).unwrap();
        let failed = host.cmd(complete).args([app.join("pod.yaml")]).run();
        assert!(!failed.good(), "{failed}");
        failed.complains(app.join(file).to_str().unwrap()).complains("No such file or directory");
    }
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn images_are_loaded_listed_tagged_imported_and_removed() {
    let host = Host::new();
    let image = Archive::new([Layer::toolbox(&["echo"])]).set("Cmd", json!(["echo", "loaded"]));
    let archive = image.write(&host.dir().join("image.tar"), "local/echo:1");
    host.podbox(["image", "load", archive.to_str().unwrap()]).ok().says("local/echo:1");
    host.podbox(["image", "tag", "local/echo:1", "other/name:2"]).ok();
    let list = host.podbox(["image", "ls"]).ok();
    assert!(list.stdout.contains("local/echo") && list.stdout.contains("other/name"), "{list}");
    let manifest = |name: &str, image: &str| {
        pod(
            name,
            &format!(
                "  restartPolicy: Never\n  containers: [{{name: c, image: '{image}', imagePullPolicy: Never}}]"
            ),
        )
    };
    host.try_up(&manifest("one", "other/name:2"), &["--wait", "complete"]).ok();
    host.podbox(["image", "rm", "local/echo:1"]).ok();
    let list = host.podbox(["image", "ls"]).ok();
    assert!(!list.stdout.contains("local/echo"), "{list}");
    host.try_up(&manifest("two", "other/name:2"), &["--wait", "complete"]).ok();
    host.down(&["--all"]);
    host.podbox(["image", "rm", "other/name:2"]).ok();
    host.podbox(["image", "rm", "other/name:2"]).code(2);
    let plain = host.dir().join("plain.tar");
    let binary = fs::read(e2e::binary()).unwrap();
    fs::write(&plain, Layer::new().program("toolbox", &binary).into_bytes()).unwrap();
    host.podbox(["image", "import", plain.to_str().unwrap(), "imported:1"]).ok();
    host.try_up(
        &look("imported:1", "[/toolbox, echo, imported]")
            .replace("containers: [{", "containers: [{imagePullPolicy: Never, "),
        &["--wait", "complete"],
    )
    .ok();
    assert_eq!(host.logs(&["look"]), "imported\n");
    host.finish();
}
