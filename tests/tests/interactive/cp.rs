//! `podbox cp`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use e2e::{Host, pod};

fn sleeper(host: &Host, name: &str) {
    host.up(&pod(
        name,
        "  terminationGracePeriodSeconds: 0\n  containers:\n  - name: c\n    image: podbox.local/toolbox\n    \
         workingDir: /home\n    command: [sleep, infinity]\n    volumeMounts: [{name: v, mountPath: /vol}]\n  \
         volumes: [{name: v, emptyDir: {}}]",
    ));
}

#[test]
fn files_and_directories_go_in_and_out_whole_with_their_permissions() {
    let host = Host::new();
    sleeper(&host, "box");
    let here = host.dir().join("here");
    fs::create_dir_all(here.join("deep/er")).unwrap();
    let big: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
    fs::write(here.join("deep/er/big"), &big).unwrap();
    fs::write(here.join("tool"), "#!").unwrap();
    fs::set_permissions(here.join("tool"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("tool", here.join("link")).unwrap();
    let local = |name: &str| here.join(name).to_str().unwrap().to_owned();
    let cp = |from: &str, to: &str| host.podbox(["cp", from, to]);
    // A volume is another mount inside the container.
    cp(here.to_str().unwrap(), "box:/vol").ok().quiet();
    assert_eq!(host.exec("box", &["sh", "-c", "cat /vol/here/link"]), "#!");
    cp(&local("tool"), "default/box:relative").ok();
    assert_eq!(host.exec("box", &["cat", "/home/relative"]), "#!");
    let back = host.dir().join("back");
    cp("box:/vol/here", back.to_str().unwrap())
        .ok()
        .complains("warning: skipping symlink: \"/vol/here/link\" -> \"tool\"");
    assert!(fs::read(back.join("deep/er/big")).unwrap() == big);
    assert_eq!(fs::metadata(back.join("tool")).unwrap().mode() & 0o777, 0o750);
    assert!(!back.join("link").is_symlink());
    host.podbox(["cp", "--no-preserve", "box:/vol/here/tool", back.join("plain").to_str().unwrap()]).ok();
    assert_eq!(fs::metadata(back.join("plain")).unwrap().mode() & 0o777, 0o644);
    // A link that was asked for by name is followed, inside the container.
    cp("box:/vol/here/link", back.join("followed").to_str().unwrap()).ok();
    assert_eq!(fs::read(back.join("followed")).unwrap(), b"#!");
    cp("box:/none", "/tmp").code(1).complains("open /none: No such file or directory");
    cp("a", "b").code(2).complains("one of src or dest must be a local file specification");
    host.down(&["box"]).ok();
    host.finish();
}

#[test]
fn no_link_leads_a_copy_out_of_the_container_or_out_of_the_target() {
    let host = Host::new();
    sleeper(&host, "trap");
    let outside = host.dir().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let out = outside.to_str().unwrap();
    // The container has no `ln`: its links are made by a copy.
    let links = host.dir().join("links");
    fs::create_dir(&links).unwrap();
    symlink(out, links.join("absolute")).unwrap();
    symlink(format!("../../../../../../../../../..{out}"), links.join("relative")).unwrap();
    let cp = |from: &str, to: &str| host.podbox(["cp", from, to]);
    cp(links.to_str().unwrap(), "trap:/vol").ok();
    let target = host.dir().join("target");
    for name in ["absolute", "relative"] {
        cp(&format!("trap:/vol/links/{name}/secret"), target.to_str().unwrap())
            .code(1)
            .complains("No such file");
        let into = format!("trap:/vol/links/{name}/written");
        cp(&format!("{out}/secret"), &into).code(1).complains("No such file");
    }
    assert!(!target.exists() && !outside.join("written").exists());
    // What lies at the target already is not followed either.
    fs::create_dir(&target).unwrap();
    symlink(outside.join("secret"), target.join("file")).unwrap();
    symlink(&outside, target.join("dir")).unwrap();
    let _ = host.exec(
        "trap",
        &["sh", "-c", "mkdir -p /vol/from/dir; echo new > /vol/from/file; echo new > /vol/from/dir/secret"],
    );
    cp("trap:/vol/from/file", target.to_str().unwrap()).ok();
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "new\n");
    cp("trap:/vol/from/dir", target.to_str().unwrap()).code(1).complains("Not a directory");
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    host.down(&["trap"]).ok();
    host.finish();
}

#[test]
fn an_archive_goes_out_to_a_pipe_and_comes_in_from_one() {
    let host = Host::new();
    sleeper(&host, "box");
    let run = |script: &str| {
        let podbox = e2e::binary();
        let script = script.replace("PODBOX", &podbox.display().to_string());
        host.environment(e2e::Cmd::new("sh")).args(["-c", &script]).run()
    };
    let made = host.dir().join("made");
    fs::create_dir_all(made.join("sub")).unwrap();
    fs::write(made.join("sub/file"), "text").unwrap();
    fs::set_permissions(made.join("sub/file"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("sub/file", made.join("link")).unwrap();
    run(&format!("tar -C {} -c . | PODBOX cp - box:/vol", made.display())).ok();
    assert_eq!(host.exec("box", &["cat", "/vol/link"]), "text");
    let listed = run("PODBOX cp box:/vol - | tar -tv").ok();
    listed.says("vol/sub/file").says("-rw-r-----");
    assert!(run("PODBOX cp box:/vol/sub/file - | tar -xO").ok().text() == "text");
    run("PODBOX cp box:/vol - | head -c 1 > /dev/null").ok();
    run("echo nonsense | PODBOX cp - box:/vol").code(1).complains("archive");
    run("tar -c /dev/null | PODBOX cp - box:/none")
        .code(1)
        .complains("open /none: No such file or directory");
    host.down(&["box"]).ok();
    host.finish();
}
