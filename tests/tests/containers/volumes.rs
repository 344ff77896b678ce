//! What a container writes, and to where: volumes, and its own copy of the image.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use e2e::{Host, PATIENCE, pod, wait_until};

use super::sleeper;

#[test]
fn an_empty_dir_is_shared_survives_restarts_and_goes_with_the_pod() {
    let host = Host::new();
    host.up(&pod("vol", r"
  containers:
  - name: writer
    image: podbox.local/host
    command: [sh, -c, 'echo line >> /data/file; sleep infinity']
    volumeMounts: [{name: shared, mountPath: /data}, {name: ram, mountPath: /ram}]
  - name: reader
    image: podbox.local/toolbox
    command: [sleep, infinity]
    volumeMounts: [{name: shared, mountPath: /in, readOnly: true}, {name: shared, mountPath: /sub, subPath: below}]
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: ram, emptyDir: {medium: Memory, sizeLimit: 10Mi}}
"));
    wait_until("a line", PATIENCE, || {
        host.podbox(["exec", "vol", "-c", "reader", "--", "cat", "/in/file"]).text() == "line"
    });
    host.podbox(["exec", "vol", "-c", "reader", "--", "touch", "/in/other"])
        .code(1)
        .complains("Read-only file system");
    host.podbox(["exec", "vol", "-c", "reader", "--", "touch", "/sub/made"]).ok();
    assert_eq!(
        host.exec("vol", &["cat", "/proc/self/mounts"])
            .lines()
            .filter(|line| line.contains(" /ram tmpfs ") && line.contains("size=10240k"))
            .count(),
        1
    );
    assert_eq!(host.exec("vol", &["stat", "-c", "%a %u", "/data"]), "777 0");
    assert_eq!(host.exec("vol", &["ls", "/data/below"]), "made");
    host.kill(host.container_process("vol", "writer"));
    wait_until("a second line", PATIENCE, || {
        host.podbox(["exec", "vol", "-c", "reader", "--", "cat", "/in/file"]).text() == "line\nline"
    });
    let data = host.root_dir().join("pods").join(host.pod("vol").text("metadata.uid"));
    assert!(data.join("volumes").exists(), "{}", data.display());
    host.down(&["vol", "--grace-period", "0"]);
    assert!(!data.exists());
    host.finish();
}

#[test]
fn host_paths_are_mounted_checked_and_made_as_their_type_says() {
    let host = Host::new();
    let dir = host.dir().join("shared");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "from the host").unwrap();
    let manifest = pod(
        "paths",
        r"
  containers:
  - name: c
    image: podbox.local/toolbox
    command: [sleep, infinity]
    volumeMounts:
    - {name: dir, mountPath: /host}
    - {name: made, mountPath: /made}
    - {name: file, mountPath: /etc/file, readOnly: true}
  volumes:
  - {name: dir, hostPath: {path: DIR, type: Directory}}
  - {name: made, hostPath: {path: DIR/new, type: DirectoryOrCreate}}
  - {name: file, hostPath: {path: DIR/file, type: File}}
",
    )
    .replace("DIR/", &format!("{}/", dir.display()))
    .replace("DIR,", &format!("{},", dir.display()));
    host.up(&manifest);
    assert_eq!(host.exec("paths", &["cat", "/host/file"]), "from the host");
    assert_eq!(host.exec("paths", &["cat", "/etc/file"]), "from the host");
    host.podbox(["exec", "paths", "--", "touch", "/host/back"]).ok();
    assert!(dir.join("back").exists() && dir.join("new").is_dir());
    host.down(&["paths", "--grace-period", "0"]);
    assert!(dir.join("file").exists(), "what is the host's stays");
    let wrong = manifest.replace("type: Directory}", "type: File}");
    host.try_up(&wrong, &[]).code(3).complains("is not a file");
    // Most often a volume that was meant for one file, without its subPath.
    let on_file = manifest.replace("mountPath: /made", "mountPath: /etc/passwd");
    host.try_up(&on_file, &[]).complains("mount /etc/passwd: a directory cannot be mounted on a file");
    let on_directory = manifest.replace("/etc/file", "/etc");
    host.try_up(&on_directory, &[]).complains("a file cannot be mounted on a directory");
    host.expect_nothing_left();
    host.finish();
}

#[test]
fn writes_to_the_image_are_the_containers_own_and_gone_with_it() {
    let host = Host::new();
    host.up(&pod(
        "layers",
        r"
  containers:
  - {name: a, image: podbox.local/toolbox, command: [sleep, infinity]}
  - {name: b, image: podbox.local/toolbox, command: [sleep, infinity]}
",
    ));
    host.podbox(["exec", "layers", "-c", "a", "--", "touch", "/mine"]).ok();
    host.podbox(["exec", "layers", "-c", "a", "--", "rm", "/bin/true"]).ok();
    host.podbox(["exec", "layers", "-c", "b", "--", "test", "-e", "/mine"]).code(1);
    host.podbox(["exec", "layers", "-c", "b", "--", "true"]).ok();
    host.kill(host.container_process("layers", "a"));
    host.wait_pod("layers", "a restart", |pod| {
        pod.container("a")["restartCount"] == 1 && !pod.container("a")["state"]["running"].is_null()
    });
    host.podbox(["exec", "layers", "-c", "a", "--", "test", "-e", "/mine"]).code(1);
    host.finish();
}

#[test]
fn the_hosts_root_as_an_image_cannot_be_harmed() {
    let host = Host::new();
    host.up(&sleeper("hostimage", "podbox.local/host", ""));
    let marker = "/etc/podbox-e2e-must-not-be-here";
    host.podbox(["exec", "hostimage", "--", "touch", marker]).ok();
    host.podbox(["exec", "hostimage", "--", "test", "-e", marker]).ok();
    assert!(!Path::new(marker).exists());
    let mode = fs::metadata("/etc").unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o755);
    host.finish();
}
