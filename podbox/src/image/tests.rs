use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::testing::{Home, child, config, docker_archive, gzip, layer, noise, oci_layout};
use super::*;

fn pull(home: &Home, reference: &str) -> Result<Image, ImageError> {
    home.store.pull(reference, &PullOptions::default(), &mut |_| {})
}

fn read(image: &Image, name: &str) -> Option<String> {
    image.layers.iter().find_map(|layer| fs::read_to_string(layer.join(name)).ok())
}

#[test]
fn the_toolbox_is_made_once_of_the_running_binary() {
    let home = Home::new();
    assert_eq!(home.store.lookup("podbox.local/toolbox").expect("a look-up"), None);
    let image = pull(&home, "podbox.local/toolbox").expect("the toolbox");
    assert_eq!(home.store.lookup("podbox.local/toolbox:latest").expect("a look-up"), Some(image.clone()));
    let binary = image.layers[0].join("bin/toolbox");
    let own = fs::read("/proc/self/exe").expect("this program");
    assert_eq!(fs::read(&binary).expect("a copy of it"), own);
    assert_eq!(fs::metadata(&binary).expect("a copy of it").permissions().mode() & 0o7777, 0o755);
    assert_eq!(
        fs::metadata(image.layers[0].join("tmp")).expect("a directory").permissions().mode() & 0o7777,
        0o1777
    );
    assert!(read(&image, "etc/passwd").is_some_and(|text| text.contains("app:x:1000:1000")));
    for applet in crate::toolbox::APPLETS {
        let link = fs::read_link(image.layers[0].join("bin").join(applet)).expect("an applet");
        assert_eq!(link, Path::new("/bin/toolbox"));
    }
    let again = pull(&home, "podbox.local/toolbox").expect("the toolbox");
    assert_eq!((again, home.layers().len()), (image, 1));
}

#[test]
fn the_host_and_a_directory_are_used_in_place() {
    let home = Home::new();
    let host = home.store.lookup("podbox.local/host").expect("a look-up").expect("an image");
    assert_eq!(host.layers, [Path::new("/")]);
    assert!(host.config.env[0].starts_with("PATH="));
    let name = format!("rootfs:{}", home.directory.path().display());
    let image = pull(&home, &name).expect("an image");
    assert_eq!(image.layers, [home.directory.path()]);
    assert_ne!(image.id, host.id);
    assert_eq!(home.store.lookup("rootfs:/no/such/directory").expect("a look-up"), None);
    let missing = pull(&home, "rootfs:/no/such/directory").expect_err("nothing there");
    assert_eq!(missing.reason(), "ErrImagePull");
    assert!(!home.path("store").join("layers").exists());
}

#[test]
fn an_oci_layout_is_imported_once_and_again_when_it_changes() {
    let home = Home::new();
    let layout = home.path("layout");
    let (first, second) = (layer(&[("a", "1"), ("b", "1")]), layer(&[("b", "2"), (".wh.a", "")]));
    oci_layout(&layout, "v1", &[(first.clone(), gzip(&first)), (second.clone(), second.clone())]);
    let name = format!("oci:{}:v1", layout.display());
    assert_eq!(home.store.lookup(&name).expect("a look-up"), None);
    let image = pull(&home, &name).expect("an image");
    assert_eq!(image.config, config());
    // Topmost first.
    assert_eq!(read(&image, "b").as_deref(), Some("2"));
    assert_eq!(image.layers.len(), 2);
    assert_eq!(home.store.lookup(&name).expect("a look-up"), Some(image.clone()));

    let other = layer(&[("c", "3")]);
    oci_layout(&layout, "v1", &[(other.clone(), zstd::encode_all(other.as_slice(), 1).expect("compresses"))]);
    assert_eq!(home.store.lookup(&name).expect("a look-up"), None);
    let changed = pull(&home, &name).expect("an image");
    assert_ne!(changed.id, image.id);
    let wrong = pull(&home, &format!("oci:{}:v2", layout.display())).expect_err("no such tag");
    assert!(wrong.message().contains("only [v1]"), "{}", wrong.message());
}

#[test]
fn a_docker_archive_is_imported_under_the_name_that_is_asked() {
    let home = Home::new();
    let path = home.path("image.tar");
    docker_archive(&path, &["one:1", "example.com/two:2"], &[layer(&[("a", "1")]), layer(&[("b", "2")])]);
    for name in [
        format!("docker-archive:{}", path.display()),
        format!("docker-archive:{}:one:1", path.display()),
        format!("docker-archive:{}:example.com/two:2", path.display()),
    ] {
        let image = pull(&home, &name).expect("an image");
        assert_eq!((read(&image, "a").as_deref(), read(&image, "b").as_deref()), (Some("1"), Some("2")));
        assert_eq!(home.store.lookup(&name).expect("a look-up").map(|image| image.id), Some(image.id));
    }
    assert_eq!(home.layers().len(), 2);
    let missing = pull(&home, &format!("docker-archive:{}:three", path.display()));
    assert!(missing.is_err());
    assert_eq!(pull(&home, "docker-archive:/no/such.tar").expect_err("no file").reason(), "ErrImagePull");
}

#[test]
fn loading_gives_every_name_and_loading_compressed_from_a_stream_gives_the_same() {
    let home = Home::new();
    let path = home.path("image.tar");
    docker_archive(&path, &["one:1", "two"], &[layer(&[("a", "1")])]);
    let loaded = home.store.load(&path, None).expect("loads");
    let names: Vec<&str> = loaded.iter().map(|image| image.reference.as_str()).collect();
    assert_eq!(names, ["docker.io/library/one:1", "docker.io/library/two:latest"]);
    assert!(home.store.lookup("two").expect("a look-up").is_some());

    let other = Home::new();
    let bytes = gzip(&fs::read(&path).expect("the archive"));
    let streamed = other.store.load_stream(bytes.as_slice(), None).expect("loads");
    assert_eq!(streamed[0].id, loaded[0].id);

    let layout = home.path("layout");
    let content = layer(&[("x", "y")]);
    oci_layout(&layout, "registry.example/x:3", &[(content.clone(), content)]);
    let loaded = home.store.load(&layout, None).expect("loads");
    assert_eq!(loaded[0].reference, "registry.example/x:3");
    // The same as one file.
    let archive = home.path("layout.tar");
    let mut builder = tar::Builder::new(fs::File::create(&archive).expect("a file"));
    builder.append_dir_all(".", &layout).expect("an archive");
    builder.into_inner().expect("an archive");
    assert_eq!(other.store.load(&archive, None).expect("loads")[0].id, loaded[0].id);
}

#[test]
fn a_layout_that_has_only_a_tag_is_named_by_its_file_or_by_the_user() {
    let home = Home::new();
    let content = layer(&[("x", "y")]);
    let layout = |directory: &str, tag: &str| {
        oci_layout(&home.path(directory), tag, &[(content.clone(), content.clone())]);
        home.path(directory)
    };
    let load = |path: &Path, default: Option<&str>| {
        home.store.load(path, default).expect("loads").remove(0).reference
    };
    let nginx = layout("nginx", "v1");
    assert_eq!(load(&nginx, None), "localhost/nginx:v1");
    assert_eq!(load(&nginx.join("../nginx/."), None), "localhost/nginx:v1");
    assert_eq!(load(&nginx, Some("team/web")), "docker.io/team/web:v1");
    assert_eq!(load(&nginx, Some("localhost:5000/web:2")), "localhost:5000/web:2");
    assert_eq!(load(&layout("Web App", "v1"), None), "localhost/loaded:v1");
    assert_eq!(load(&layout("Upper-1.27", "V1"), None), "localhost/upper-1.27:V1");

    let archive = home.path("httpd-2.4.oci.tar.gz");
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", &nginx).expect("an archive");
    fs::write(&archive, gzip(&builder.into_inner().expect("an archive"))).expect("a file");
    assert_eq!(load(&archive, None), "localhost/httpd-2.4:v1");
    let stream = fs::File::open(&archive).expect("a file");
    assert_eq!(home.store.load_stream(stream, None).expect("loads")[0].reference, "localhost/loaded:v1");

    // What docker's buildkit writes: the whole name, and beside it the tag alone.
    let path = nginx.join("index.json");
    let mut index: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).expect("an index")).expect("JSON");
    index["manifests"][0]["annotations"]["io.containerd.image.name"] = "registry.example/web:v1".into();
    fs::write(&path, index.to_string()).expect("an index");
    let loaded = home.store.load(&nginx, None).expect("loads");
    let names: Vec<&str> = loaded.iter().map(|image| image.reference.as_str()).collect();
    assert_eq!(names, ["registry.example/web:v1"]);
    for wanted in ["v1", "registry.example/web:v1"] {
        pull(&home, &format!("oci:{}:{wanted}", nginx.display())).expect("an image");
    }
}

#[test]
fn an_image_below_a_directory_whose_name_has_a_colon_is_found() {
    let home = Home::new();
    let content = layer(&[("x", "y")]);
    fs::create_dir(home.path("at:12:30")).expect("a directory");
    let (layout, archive) = (home.path("at:12:30/layout"), home.path("at:12:30/a.tar"));
    oci_layout(&layout, "v1", &[(content.clone(), content.clone())]);
    docker_archive(&archive, &["one:1"], &[content]);
    for name in [
        format!("oci:{}", layout.display()),
        format!("oci:{}:v1", layout.display()),
        format!("docker-archive:{}", archive.display()),
        format!("docker-archive:{}:one:1", archive.display()),
    ] {
        let image = pull(&home, &name).expect("an image");
        assert_eq!(read(&image, "x").as_deref(), Some("y"));
        assert_eq!(home.store.lookup(&name).expect("a look-up"), Some(image));
    }
    let missing = pull(&home, &format!("oci:{}:v1", home.path("at:12:30/none").display()));
    let message = missing.expect_err("not there").message();
    assert!(message.contains("at:12:30/none/index.json"), "{message}");
}

#[test]
fn a_root_file_system_is_imported_with_what_it_should_run() {
    let home = Home::new();
    let options = ImportOptions { reference: "mine:1".into(), config: config(), created: None };
    let bytes = gzip(&layer(&[("etc/", ""), ("etc/os-release", "NAME=test")]));
    let image = home.store.import(bytes.as_slice(), &options).expect("imports");
    assert_eq!(image.config, config());
    assert_eq!(home.store.lookup("mine:1").expect("a look-up"), Some(image.clone()));
    assert_eq!(read(&image, "etc/os-release").as_deref(), Some("NAME=test"));
}

#[test]
fn names_come_and_go_and_layers_go_with_the_last_image() {
    let home = Home::new();
    let (shared, own) = (layer(&[("s", "shared")]), layer(&[("o", "own")]));
    docker_archive(&home.path("1.tar"), &["one"], std::slice::from_ref(&shared));
    docker_archive(&home.path("2.tar"), &["two"], &[shared, own]);
    let one = home.store.load(&home.path("1.tar"), None).expect("loads").remove(0);
    let two = home.store.load(&home.path("2.tar"), None).expect("loads").remove(0);
    home.store.tag("two", "registry.example/other:tag").expect("tags");
    assert_eq!(home.store.list().expect("a list").len(), 3);

    let details = home.store.inspect(&two.id[..14]).expect("by a beginning of its id");
    assert_eq!(details.repo_tags, ["docker.io/library/two:latest", "registry.example/other:tag"]);
    assert_eq!(details.size, "shared".len() as u64 + "own".len() as u64);

    let in_use = [two.id.clone()];
    let removed = home.store.remove("two", &in_use).expect("one name of several");
    assert_eq!(removed, ["docker.io/library/two:latest"]);
    let kept = home.store.remove("registry.example/other:tag", &in_use);
    assert!(matches!(kept, Err(ImageError::InUse { .. })), "{kept:?}");
    home.store.remove(&two.id, &[]).expect("by id");
    assert_eq!(home.store.lookup("registry.example/other:tag").expect("a look-up"), None);
    assert_eq!(home.layers().len(), 1, "the shared layer stays");
    assert!(home.store.lookup("one").expect("a look-up").is_some());
    home.store.remove("one", &[]).expect("the last");
    assert!(home.layers().is_empty());
    assert!(matches!(home.store.remove("one", &[]), Err(ImageError::NotFound { .. })));
    assert!(home.store.list().expect("a list").is_empty());
    drop(one);
}

#[test]
fn an_image_that_lost_its_name_stays_while_a_pod_runs_it() {
    let home = Home::new();
    docker_archive(&home.path("1.tar"), &["app"], &[layer(&[("v", "1")])]);
    docker_archive(&home.path("2.tar"), &["app"], &[layer(&[("v", "2")])]);
    let old = home.store.load(&home.path("1.tar"), None).expect("loads").remove(0);
    home.store.load(&home.path("2.tar"), None).expect("loads");
    assert_eq!(home.store.list().expect("a list")[1].repository, "<none>");
    assert!(
        home.store.prune(PruneScope::Nameless, std::slice::from_ref(&old.id)).expect("prunes").is_empty()
    );
    assert_eq!(read(&old, "v").as_deref(), Some("1"));
    assert_eq!(home.store.prune(PruneScope::Nameless, &[]).expect("prunes"), std::slice::from_ref(&old.id));
    assert_eq!((read(&old, "v"), home.layers().len()), (None, 1));
    assert_eq!(home.store.prune(PruneScope::Unused, &[]).expect("prunes").len(), 2);
    assert!(home.layers().is_empty() && home.store.list().expect("a list").is_empty());
}

#[test]
fn a_layer_that_was_removed_by_hand_makes_its_image_unknown() {
    let home = Home::new();
    let path = home.path("1.tar");
    docker_archive(&path, &["app"], &[layer(&[("v", "1")])]);
    let image = home.store.load(&path, None).expect("loads").remove(0);
    fs::remove_dir_all(&image.layers[0]).expect("removes");
    assert_eq!(home.store.lookup("app").expect("a look-up"), None);
    home.store.load(&path, None).expect("loads again");
    assert!(home.store.lookup("app").expect("a look-up").is_some());
}

#[test]
fn an_image_without_layers_still_has_a_lower_directory() {
    let home = Home::new();
    docker_archive(&home.path("1.tar"), &["scratch"], &[]);
    let image = home.store.load(&home.path("1.tar"), None).expect("loads").remove(0);
    assert_eq!(fs::read_dir(&image.layers[0]).expect("a directory").count(), 0);
}

#[test]
fn bytes_that_are_not_what_their_name_says_are_refused_and_nothing_is_left() {
    let home = Home::new();
    let layout = home.path("layout");
    let content = layer(&[("a", "1")]);
    let blobs = oci_layout(&layout, "v1", &[(content.clone(), gzip(&content))]);
    fs::write(&blobs[0], gzip(&layer(&[("a", "2")]))).expect("tampers");
    let error = pull(&home, &format!("oci:{}", layout.display())).expect_err("tampered");
    assert!(matches!(error, ImageError::Mismatch { .. }), "{error:?}");
    assert!(home.layers().is_empty(), "{:?}", home.layers());
    assert!(home.store.list().expect("a list").is_empty());
}

#[test]
fn reasons_are_the_ones_a_kubelet_reports() {
    let home = Home::new();
    let reason = |reference: &str, policy: PullPolicy| {
        let options = PullOptions { policy, ..home.options("") };
        home.store.pull(reference, &options, &mut |_| {}).expect_err("no image").reason()
    };
    assert_eq!(reason("UPPER/case:x y", PullPolicy::Always), "InvalidImageName");
    assert_eq!(reason("absent", PullPolicy::Never), "ErrImageNeverPull");
    assert_eq!(reason("podbox.local/absent", PullPolicy::IfNotPresent), "ErrImagePull");
    // Nobody listens on the discard port.
    assert_eq!(reason("127.0.0.1:9/x", PullPolicy::IfNotPresent), "ErrImagePull");
    assert_eq!(home.store.lookup("a b").expect_err("no name").reason(), "InvalidImageName");
}

#[test]
fn what_dead_pulls_left_is_removed_and_what_living_ones_use_is_not() {
    let home = Home::new();
    let living = work::Work::new(&home.store).expect("a work directory");
    let dead = home.store.layers().join(".work/1-1/0/half");
    fs::create_dir_all(&dead).expect("leftovers");
    let other = work::Work::new(&home.store).expect("a work directory");
    assert!(!dead.exists());
    assert_eq!(home.layers().len(), 2);
    drop((living, other));
    assert!(home.layers().is_empty());
}

/// Run by other tests through [`child`]: loads an archive into a store.
#[test]
#[ignore = "another test runs it as a process of its own"]
fn a_load_in_a_process_of_its_own() {
    let (Some(root), Some(path)) = (std::env::var_os("TEST_ROOT"), std::env::var_os("TEST_ARCHIVE")) else {
        return;
    };
    let store = Store::open(Path::new(&root)).expect("a store");
    match store.load(Path::new(&path), None) {
        Ok(_) => println!("loaded"),
        Err(error) => println!("failed: {}", error.message()),
    }
}

#[test]
fn a_full_disk_is_one_clear_error_and_leaves_nothing() {
    let home = Home::new();
    let path = home.path("big.tar");
    docker_archive(&path, &["big"], &[layer(&[("a", "small")]), layer(&[("noise", &noise(1, 4 << 20))])]);
    let small = home.path("small-disk");
    fs::create_dir(&small).expect("a directory");
    // A mount namespace of its own, so that the small file system ends with the child.
    let inner = child("image::tests::a_load_in_a_process_of_its_own");
    let script = "mount -t tmpfs -o size=2m none \"$TEST_ROOT\" && \"$@\" && find \"$TEST_ROOT/layers\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env("TEST_ROOT", &small)
        .env("TEST_ARCHIVE", &path)
        .output()
        .expect("unshare starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("failed: unpack layer 1/layer.tar: write \"noise\": No space left"), "{text}");
    let left = text.lines().filter(|line| line.contains("/layers/")).count();
    // The finished first layer with its one file, and the empty `.work`.
    assert_eq!(left, 3, "{text}");
}

#[test]
fn whiteouts_also_work_in_a_store_that_itself_lies_on_overlayfs() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(6), Some(7)) {
        eprintln!("skipped: overlayfs of kernel {release} has no whiteouts by attribute");
        return;
    }
    let home = Home::new();
    let path = home.path("image.tar");
    let lower = layer(&[
        ("kept", "1"),
        ("gone", "1"),
        ("d/gone", "1"),
        ("d/kept", "1"),
        ("o/gone", "1"),
        ("r/gone", "1"),
    ]);
    let upper = layer(&[
        (".wh.gone", ""),
        ("d/.wh.gone", ""),
        ("o/.wh.x", ""),
        ("o/.wh..wh..opq", ""),
        // A whiteout that becomes a directory.
        (".wh.r", ""),
        ("r/new", "2"),
    ]);
    docker_archive(&path, &["app"], &[lower.clone(), upper.clone()]);
    let space = home.path("space");
    fs::create_dir(&space).expect("a directory");
    let inner = child("image::tests::a_load_in_a_process_of_its_own");
    let hex = |layer: &[u8]| digest::of(layer)["sha256:".len()..].to_owned();
    let script = format!(
        "set -e; cd \"$SPACE\"; mount -t tmpfs none .; mkdir lower upper work store\n\
         mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work store\n\
         TEST_ROOT=$SPACE/store \"$@\"\n\
         cd store/layers; mkdir \"$SPACE/root\" \"$SPACE/u\" \"$SPACE/w\"\n\
         mount -t overlay none -o lowerdir={}:{},upperdir=\"$SPACE/u\",workdir=\"$SPACE/w\" \"$SPACE/root\"\n\
         cd \"$SPACE/root\"; find . -type f | sort | tr '\\n' ' '",
        hex(&upper),
        hex(&lower)
    );
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env("SPACE", &space)
        .env("TEST_ARCHIVE", &path)
        .output()
        .expect("unshare starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(text.ends_with("./d/kept ./kept ./r/new "), "{text}\n{told}");
}

#[test]
fn a_load_killed_at_any_moment_leaves_a_usable_store() {
    let home = Home::new();
    let path = home.path("big.tar");
    let layers: Vec<Vec<u8>> =
        (0..6).map(|n| layer(&[("f", &format!("{n}")), ("noise", &noise(n, 3 << 20))])).collect();
    docker_archive(&path, &["big"], &layers);
    let root = home.path("store");
    for milliseconds in [3, 6, 9, 12, 15, 20, 25, 30] {
        let mut process = child("image::tests::a_load_in_a_process_of_its_own")
            .env("TEST_ROOT", &root)
            .env("TEST_ARCHIVE", &path)
            .stdout(Stdio::null())
            .spawn()
            .expect("a child");
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        process.kill().expect("a kill");
        process.wait().expect("its end");
        // Known means whole.
        if let Some(image) = home.store.lookup("big").expect("a look-up") {
            assert_eq!(image.layers.len(), 6);
        }
    }
    let image = home.store.load(&path, None).expect("loads").remove(0);
    assert_eq!(home.layers().len(), 6, "{:?}", home.layers());
    for (number, layer) in image.layers.iter().rev().enumerate() {
        assert_eq!(fs::metadata(layer.join("noise")).expect("a file").len(), 3 << 20);
        assert_eq!(fs::read_to_string(layer.join("f")).expect("a file"), number.to_string());
    }
}
