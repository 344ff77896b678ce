//! How volumes are mounted: parts of them, propagation, read-only trees, images, groups.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use e2e::{Archive, Host, Layer, PATIENCE, pod, wait_until};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A tmpfs of the test's own, gone with it.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn new(path: &Path, propagation: MsFlags) -> Tmpfs {
        fs::create_dir_all(path).unwrap();
        let none: Option<&str> = None;
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        mount(none, path, none, propagation, none).unwrap();
        Tmpfs(path.to_path_buf())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn parts_of_volumes_are_mounted_and_named_by_variables() {
    let host = Host::new();
    host.up(&pod(
        "parts",
        r"
  initContainers:
  - name: setup
    image: podbox.local/toolbox
    command: [sh, -c, 'echo x > /all/file']
    volumeMounts: [{name: v, mountPath: /all}]
  containers:
  - name: c
    image: podbox.local/host
    command: [sleep, infinity]
    env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    volumeMounts:
    - {name: v, mountPath: /all}
    - {name: v, mountPath: /own, subPathExpr: logs/$(POD)}
    - {name: v, mountPath: /etc/one, subPath: file, readOnly: true}
    - {name: v, mountPath: /etc/hosts, subPath: file}
  volumes: [{name: v, emptyDir: {}}]
",
    ));
    host.podbox(["exec", "parts", "--", "touch", "/own/made"]).ok();
    assert_eq!(host.exec("parts", &["ls", "/all/logs/parts"]), "made");
    assert_eq!(host.exec("parts", &["stat", "-c", "%a", "/own"]), "777");
    assert_eq!(host.exec("parts", &["cat", "/etc/one"]), "x");
    assert_eq!(host.exec("parts", &["cat", "/etc/hosts"]), "x");
    let pod = host.pod("parts");
    let mounts = &pod.container("c")["volumeMounts"];
    assert_eq!(mounts[1], serde_json::json!({"name": "v", "mountPath": "/own"}));
    assert_eq!(mounts[2]["recursiveReadOnly"], "Disabled");
    host.finish();
}

#[test]
fn expressions_without_a_value_and_paths_that_lead_out_are_configuration_errors() {
    let host = Host::new();
    let dir = host.dir().join("shared");
    fs::create_dir(&dir).unwrap();
    symlink("/etc", dir.join("out")).unwrap();
    let manifest = |name: &str, part: &str| {
        pod(
            name,
            r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    env: [{name: UP, value: ../x}, {name: ROOT, value: /x}]
    volumeMounts: [{name: v, mountPath: /v, PART}]
  volumes: [{name: v, hostPath: {path: DIR}}]
",
        )
        .replace("PART", part)
        .replace("DIR", &dir.display().to_string())
    };
    for (name, part, want) in [
        ("unset", "subPathExpr: $(NOBODY)", "missing value for NOBODY"),
        ("up", "subPathExpr: $(UP)", "unable to provision SubPath `../x`: must not contain '..'"),
        ("root", "subPathExpr: $(ROOT)", "error SubPath `/x` must not be an absolute path"),
        ("out", "subPath: out", "failed to prepare subPath for volumeMount \"v\" of container \"c\""),
        ("below", "subPath: out/x", "failed to prepare subPath for volumeMount \"v\" of container \"c\""),
    ] {
        host.try_up(&manifest(name, part), &[])
            .code(1)
            .complains(&format!("CreateContainerConfigError: {want}"));
    }
    assert!(!Path::new("/etc/x").exists());
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_container_that_swaps_links_never_has_anything_of_the_hosts_mounted() {
    let host = Host::new();
    fs::write(host.dir().join("secret"), "the host's").unwrap();
    let evil = pod(
        "evil",
        r"
  initContainers:
  - name: swapper
    restartPolicy: Always
    image: podbox.local/host
    command: [sh, -c, 'cd /v && mkdir good && touch stolen && while true; do ln -s HOST l; mv -T l part; ln -s good l; mv -T l part; done']
    volumeMounts: [{name: v, mountPath: /v}]
  containers:
  - name: victim
    image: podbox.local/toolbox
    command: [sh, -c, 'cat /part/secret >> /all/stolen; echo x >> /all/tries; false']
    volumeMounts: [{name: v, mountPath: /part, subPath: part}, {name: v, mountPath: /all}]
  volumes: [{name: v, emptyDir: {}}]
",
    )
    .replace("HOST", &host.dir().display().to_string());
    host.up_none(&evil);
    let uid = host.pod("evil").text("metadata.uid").to_owned();
    let volume = host.root_dir().join("pods").join(uid).join("volumes/v");
    let refused = "failed to prepare subPath for volumeMount \"v\" of container \"victim\"";
    wait_until("runs and refusals", PATIENCE * 3, || {
        let tries = fs::read_to_string(volume.join("tries")).unwrap_or_default();
        tries.len() > 6 && host.event_count("evil", "Failed", &format!("Error: {refused}")) > 2
    });
    assert_eq!(fs::read_to_string(volume.join("stolen")).unwrap(), "");
    host.finish();
}

#[test]
fn mounts_propagate_as_far_as_the_manifest_says() {
    let host = Host::new();
    let shared = Tmpfs::new(&host.dir().join("shared"), MsFlags::MS_SHARED);
    let private = Tmpfs::new(&host.dir().join("private"), MsFlags::MS_PRIVATE);
    for name in ["from-host", "from-both", "from-slave"] {
        fs::create_dir(shared.0.join(name)).unwrap();
    }
    let manifest = pod(
        "spread",
        r"
  containers:
  - name: both
    image: podbox.local/host
    command: [sleep, infinity]
    securityContext: {privileged: true}
    volumeMounts: [{name: v, mountPath: /mnt, mountPropagation: Bidirectional}]
  - name: slave
    image: podbox.local/host
    command: [sleep, infinity]
    securityContext: {privileged: true}
    volumeMounts: [{name: v, mountPath: /mnt, mountPropagation: HostToContainer}]
  - name: none
    image: podbox.local/host
    command: [sleep, infinity]
    volumeMounts: [{name: v, mountPath: /mnt}]
  volumes: [{name: v, hostPath: {path: DIR}}]
",
    );
    host.up(&manifest.replace("DIR", &shared.0.display().to_string()));
    let sees = |container: &str, name: &str| {
        let mounts = host.podbox(["exec", "spread", "-c", container, "--", "cat", "/proc/self/mounts"]).ok();
        mounts.text().lines().any(|line| line.contains(&format!(" /mnt/{name} ")))
    };
    let on_host = |name: &str| {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|line| line.contains(&format!("{}/{name} ", shared.0.display())))
    };
    let inside = Tmpfs::new(&shared.0.join("from-host"), MsFlags::MS_PRIVATE);
    assert!(sees("both", "from-host") && sees("slave", "from-host") && !sees("none", "from-host"));
    for (container, name) in [("both", "from-both"), ("slave", "from-slave")] {
        let target = format!("/mnt/{name}");
        host.podbox(["exec", "spread", "-c", container, "--", "mount", "-t", "tmpfs", "x", &target]).ok();
    }
    assert!(on_host("from-both") && sees("slave", "from-both") && !sees("none", "from-both"));
    assert!(!on_host("from-slave") && sees("slave", "from-slave") && !sees("both", "from-slave"));
    umount2(&shared.0.join("from-both"), MntFlags::MNT_DETACH).unwrap();
    drop(inside);
    host.down(&["spread", "--grace-period", "0"]);
    host.try_up(&manifest.replace("DIR", &private.0.display().to_string()), &[])
        .code(3)
        .complains("but it is not a shared ");
    drop((shared, private));
    host.finish();
}

#[test]
fn a_read_only_tree_is_read_only_all_the_way_down_if_it_shall_be() {
    let host = Host::new();
    let outer = Tmpfs::new(&host.dir().join("tree"), MsFlags::MS_PRIVATE);
    let inner = Tmpfs::new(&outer.0.join("below"), MsFlags::MS_PRIVATE);
    host.up(&pod(
        "tree",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    volumeMounts:
    - {name: v, mountPath: /plain, readOnly: true}
    - {name: v, mountPath: /whole, readOnly: true, recursiveReadOnly: Enabled}
    - {name: v, mountPath: /maybe, readOnly: true, recursiveReadOnly: IfPossible}
  volumes: [{name: v, hostPath: {path: DIR}}]
",
    )
    .replace("DIR", &outer.0.display().to_string()));
    host.podbox(["exec", "tree", "--", "touch", "/plain/below/made"]).ok();
    for path in ["/plain/made", "/whole/made", "/whole/below/made2", "/maybe/below/made2"] {
        host.podbox(["exec", "tree", "--", "touch", path]).code(1).complains("Read-only file system");
    }
    let pod = host.pod("tree");
    let modes: Vec<&str> = pod.container("c")["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["recursiveReadOnly"].as_str().unwrap())
        .collect();
    assert_eq!(modes, ["Disabled", "Enabled", "Enabled"]);
    host.down(&["tree", "--grace-period", "0"]);
    drop((inner, outer));
    host.finish();
}

#[test]
fn an_image_is_mounted_as_a_volume_and_nobody_writes_to_it() {
    let host = Host::new();
    let layers = [
        Layer::new().dir("data").file("data/a", "one").file("data/gone", "x"),
        Layer::new().file("data/a", "two"),
    ];
    let archive = Archive::new(layers).write(&host.dir().join("data.tar"), "data:1");
    let rootfs = host.dir().join("rootfs");
    fs::create_dir_all(rootfs.join("etc")).unwrap();
    fs::write(rootfs.join("etc/name"), "plain").unwrap();
    host.up(&pod(
        "image",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    volumeMounts:
    - {name: data, mountPath: /data}
    - {name: data, mountPath: /part, subPath: data}
    - {name: data, mountPath: /one, subPath: data/a}
    - {name: plain, mountPath: /plain}
    - {name: tools, mountPath: /tools}
  volumes:
  - {name: data, image: {reference: 'docker-archive:ARCHIVE'}}
  - {name: plain, image: {reference: 'rootfs:ROOTFS', pullPolicy: Never}}
  - {name: tools, image: {reference: podbox.local/toolbox}}
",
    )
    .replace("ARCHIVE", &archive.display().to_string())
    .replace("ROOTFS", &rootfs.display().to_string()));
    for path in ["/data/data/a", "/part/a", "/one"] {
        assert_eq!(host.exec("image", &["cat", path]), "two", "{path}");
    }
    assert_eq!(host.exec("image", &["cat", "/plain/etc/name"]), "plain");
    host.podbox(["exec", "image", "--", "/tools/bin/true"]).ok();
    for path in ["/data/new", "/part/a", "/plain/new"] {
        host.podbox(["exec", "image", "--", "touch", path]).code(1).complains("Read-only file system");
    }
    host.down(&["image", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn a_volumes_image_that_is_not_there_keeps_the_containers_that_use_it_waiting() {
    let host = Host::new();
    host.up_none(&pod("absent", r"
  containers:
  - {name: uses, image: podbox.local/toolbox, command: [sleep, infinity], volumeMounts: [{name: v, mountPath: /v}]}
  - {name: other, image: podbox.local/toolbox, command: [sleep, infinity]}
  volumes: [{name: v, image: {reference: 'registry.invalid/data:1', pullPolicy: Never}}]
"));
    host.wait_pod("absent", "a waiting container", |pod| {
        pod.container("uses")["state"]["waiting"]["reason"] == "ErrImageNeverPull"
            && !pod.container("other")["state"]["running"].is_null()
    });
    host.finish();
}

#[test]
fn volumes_belong_to_the_pods_group_and_so_does_every_container() {
    let host = Host::new();
    let dir = host.dir().join("shared");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    host.up(&pod(
        "group",
        r"
  securityContext: {fsGroup: 2345, runAsUser: 1000, runAsGroup: 1000}
  initContainers:
  - name: setup
    image: podbox.local/toolbox
    command: [sh, -c, 'echo x > /disk/file']
    volumeMounts: [{name: disk, mountPath: /disk}]
  containers:
  - name: c
    image: podbox.local/host
    command: [sleep, infinity]
    volumeMounts:
    - {name: disk, mountPath: /disk}
    - {name: ram, mountPath: /ram}
    - {name: disk, mountPath: /part, subPath: made}
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: ram, emptyDir: {medium: Memory}}
  - {name: host, hostPath: {path: DIR}}
",
    )
    .replace("DIR", &dir.display().to_string()));
    for path in ["/disk", "/ram", "/part"] {
        assert_eq!(host.exec("group", &["stat", "-c", "%a %g", path]), "2777 2345", "{path}");
    }
    // What is made in a directory of the group is the group's.
    assert_eq!(host.exec("group", &["stat", "-c", "%u %g", "/disk/file"]), "1000 2345");
    let pid = host.container_process("group", "c");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    assert!(groups.split_whitespace().any(|group| group == "2345"), "{groups}");
    let facts = fs::metadata(&dir).unwrap();
    assert_eq!((facts.gid(), facts.permissions().mode() & 0o7777), (0, 0o700), "what is the host's stays");
    host.finish();
}

#[test]
fn the_hostname_may_be_the_whole_name_or_any_other() {
    let host = Host::new();
    let named = |name: &str, extra: &str| {
        pod(
            name,
            &format!(
                "  containers:\n  - {{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}}\n{extra}"
            ),
        )
    };
    host.up(&named("whole", "  subdomain: s\n  setHostnameAsFQDN: true\n"));
    let fqdn = "whole.s.default.svc.cluster.local";
    for command in [&["hostname"][..], &["cat", "/etc/hostname"], &["sh", "-c", "echo $HOSTNAME"]] {
        assert_eq!(host.exec("whole", command), fqdn, "{command:?}");
    }
    assert!(host.exec("whole", &["cat", "/etc/hosts"]).contains(&format!("\t{fqdn}\twhole")));
    host.up(&named("other", "  hostname: h\n  subdomain: s\n  hostnameOverride: www.example.com\n"));
    assert_eq!(host.exec("other", &["hostname"]), "www.example.com");
    assert!(host.exec("other", &["cat", "/etc/hosts"]).contains("\twww.example.com\n"));
    let long = "a".repeat(40);
    host.try_up(&named(&long, "  subdomain: s\n  setHostnameAsFQDN: true\n"), &[])
        .complains("is too long (64 characters is the max, 68 characters requested)");
    host.down(&["whole", "other", "--grace-period", "0"]);
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn the_example_does_what_it_says() {
    let host = Host::new();
    let file = e2e::fixture("../examples/mounts.yaml");
    host.podbox(["up", "-d", file.to_str().unwrap(), "--wait", "complete"]).ok();
    let log = host.logs(&["mounts"]);
    assert!(log.starts_with("hello from a file\n") && log.ends_with("kept\n"), "{log}");
    host.finish();
}
