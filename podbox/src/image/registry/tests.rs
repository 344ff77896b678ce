//! Against a real registry; what one cannot be made to do is in [`scripted`].

use std::fs;
use std::path::Path;

use serde_json::json;

use super::super::documents::{architecture, write_configuration};
use super::super::testing::{Home, Registry, config, docker_archive, gzip, layer, noise, oci_layout};
use super::super::{PruneScope, PullPolicy, UnpackError};
use super::*;

mod scripted;

fn pull(home: &Home, reference: &str, options: &PullOptions) -> Result<(Image, Vec<Progress>), ImageError> {
    let mut seen = Vec::new();
    let image = home.store.pull(reference, options, &mut |progress| seen.push(progress))?;
    Ok((image, seen))
}

fn always(home: &Home, conf: &str) -> PullOptions {
    PullOptions { policy: PullPolicy::Always, ..home.options(conf) }
}

fn count(seen: &[Progress], wanted: fn(&Progress) -> bool) -> usize {
    seen.iter().filter(|progress| wanted(progress)).count()
}

const DONE: fn(&Progress) -> bool = |progress| matches!(progress, Progress::LayerDone { .. });
const EXISTS: fn(&Progress) -> bool = |progress| matches!(progress, Progress::LayerExists { .. });

fn size_of(seen: &[Progress]) -> Option<u64> {
    seen.iter().find_map(|progress| match progress {
        Progress::Found { size } => Some(*size),
        _ => None,
    })
}

/// Pushes an image of these layers, each compressed with gzip.
fn push(home: &Home, registry: &Registry, name: &str, layers: &[Vec<u8>]) {
    let directory = tempfile::tempdir_in(home.directory.path()).expect("a directory");
    let layers: Vec<(Vec<u8>, Vec<u8>)> = layers.iter().map(|layer| (layer.clone(), gzip(layer))).collect();
    oci_layout(directory.path(), "it", &layers);
    registry.push(&format!("oci:{}:it", directory.path().display()), name);
}

#[test]
fn an_image_is_pulled_once_and_asked_for_again_only_when_the_policy_says_so() {
    let home = Home::new();
    let registry = Registry::start(home.directory.path(), "");
    let (base, top) = (layer(&[("base", "1"), ("gone", "1")]), layer(&[("top", "2"), (".wh.gone", "")]));
    push(&home, &registry, "team/app:1", &[base.clone(), top.clone()]);
    let name = format!("{}/team/app:1", registry.address);

    let (image, seen) = pull(&home, &name, &always(&home, "")).expect("pulls");
    assert_eq!(image.config, config());
    assert_eq!((image.layers.len(), count(&seen, DONE)), (2, 2));
    assert_eq!(fs::read_to_string(image.layers[0].join("top")).expect("a file"), "2");
    assert_eq!(fs::read_to_string(image.layers[1].join("base")).expect("a file"), "1");
    let size = size_of(&seen).expect("a size");
    let by_digest = image.repo_digest.clone().expect("a digest");
    let manifest = registry.blob(by_digest.rsplit('@').next().expect("a digest"));
    let documents =
        [manifest, registry.blob(&image.id)].map(|blob| fs::metadata(blob).expect("a blob").len());
    let blobs = [&base, &top].map(|layer| gzip(layer).len() as u64);
    assert_eq!(size, documents.iter().chain(&blobs).sum::<u64>());
    assert!(by_digest.starts_with(&format!("{}/team/app@sha256:", registry.address)));

    let (again, seen) = pull(&home, &name, &always(&home, "")).expect("pulls again");
    assert_eq!((again, count(&seen, EXISTS), count(&seen, DONE)), (image.clone(), 2, 0));
    assert_eq!(size_of(&seen), Some(size), "though nothing had to be fetched");
    let (pinned, _) = pull(&home, &by_digest, &home.options("")).expect("pulls by digest");
    assert_eq!((pinned.id, pinned.reference), (image.id.clone(), by_digest));

    push(&home, &registry, "team/app:1", &[base, layer(&[("top", "3")])]);
    let (same, seen) = pull(&home, &name, &home.options("")).expect("is there");
    assert_eq!((same.id, seen.len()), (image.id.clone(), 0));
    let (newer, seen) = pull(&home, &name, &always(&home, "")).expect("pulls the newer");
    assert_ne!(newer.id, image.id);
    assert_eq!((count(&seen, EXISTS), count(&seen, DONE)), (1, 1));

    // A pod still runs the older one, which it knows by the registry's digest.
    let used = [image.repo_digest.clone().expect("a digest")];
    assert!(home.store.prune(PruneScope::Unused, &used).expect("prunes").contains(&newer.id));
    assert!(image.layers.iter().all(|layer| layer.is_dir()));

    pull(&home, &name, &home.options("")).expect("pulls");
    drop(registry);
    assert!(pull(&home, &name, &home.options("")).is_ok());
    let gone = pull(&home, &name, &always(&home, "")).expect_err("nobody there");
    assert_eq!(gone.reason(), "ErrImagePull");
}

#[test]
fn a_mirror_serves_the_names_of_docker_hub() {
    let home = Home::new();
    let registry = Registry::start(home.directory.path(), "");
    docker_archive(&home.path("app.tar"), &["app"], &[layer(&[("a", "1")])]);
    registry.push(&format!("docker-archive:{}", home.path("app.tar").display()), "luksa/http-go:latest");
    // The first mirror is nobody, the second is ours; docker.io itself is never asked.
    let conf = format!(
        "[[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:9\"\n\
         [[registry.mirror]]\nlocation = \"127.0.0.1:9/nobody\"\n\
         [[registry.mirror]]\nlocation = \"{}\"\n",
        registry.address
    );
    let (image, seen) = pull(&home, "luksa/http-go", &home.options(&conf)).expect("pulls");
    assert_eq!(image.reference, "docker.io/luksa/http-go:latest");
    assert!(image.repo_digest.is_some_and(|digest| digest.starts_with("docker.io/luksa/http-go@sha256:")));
    assert_eq!(count(&seen, |progress| matches!(progress, Progress::Skipped { .. })), 1);
    assert!(home.store.lookup("luksa/http-go").expect("a look-up").is_some());

    // One place said no: that is another thing than that nobody could be asked.
    let error = pull(&home, "luksa/absent", &home.options(&conf)).expect_err("nowhere");
    let message = error.message();
    assert_eq!(error.reason(), "ErrImagePull", "{message}");
    assert!(message.contains("manifest unknown") && message.contains("Connection refused"), "{message}");
    assert!(!message.contains("os error"), "{message}");
}

#[test]
fn tampered_blobs_are_refused_and_nothing_is_left() {
    let home = Home::new();
    let registry = Registry::start(home.directory.path(), "");
    let content = layer(&[("a", "1")]);
    push(&home, &registry, "app:layer", std::slice::from_ref(&content));
    let name = format!("{}/app:layer", registry.address);

    let blob = registry.blob(&digest::of(&gzip(&content)));
    let honest = fs::read(&blob).expect("a blob");
    let mut other = gzip(&layer(&[("a", "2")]));
    assert_eq!(other.len(), honest.len(), "the same length, so that only the digest can tell");
    fs::write(&blob, &other).expect("tampers");
    let error = pull(&home, &name, &always(&home, "")).expect_err("a tampered layer");
    assert!(matches!(error, ImageError::Mismatch { .. }), "{error:?}");
    assert_eq!(error.reason(), "ErrImagePull");
    let middle = other.len() / 2;
    other[middle] ^= 0xff;
    fs::write(&blob, &other).expect("tampers");
    let error = pull(&home, &name, &always(&home, "")).expect_err("a broken layer");
    assert!(error.message().contains("digest mismatch: expected sha256:"), "{error:?}");
    // What stops unpacking at the first byte says the same, and so does an archive that ends too early.
    other[0] ^= 0xff;
    fs::write(&blob, &other).expect("tampers");
    let error = pull(&home, &name, &always(&home, "")).expect_err("no gzip any more");
    assert!(matches!(error, ImageError::Mismatch { .. }), "{error:?}");
    assert!(home.layers().is_empty(), "{:?}", home.layers());
    fs::write(&blob, &honest).expect("mends");

    let configuration = write_configuration(&config(), &[digest::of(&content)], None);
    let path = registry.blob(&digest::of(&configuration));
    fs::write(&path, String::from_utf8_lossy(&configuration).replace("/srv", "/etc")).expect("tampers");
    let error = pull(&home, &name, &always(&home, "")).expect_err("a tampered configuration");
    assert!(matches!(error, ImageError::Mismatch { .. }), "{error:?}");
    assert!(home.layers().is_empty() && home.store.list().expect("a list").is_empty());
    fs::write(&path, configuration).expect("mends");
    pull(&home, &name, &always(&home, "")).expect("honest again");
}

#[test]
fn of_several_platforms_this_machine_is_taken() {
    let home = Home::new();
    let registry = Registry::start(home.directory.path(), "");
    let layout = home.path("layout");
    let mut manifests = Vec::new();
    for (arch, content) in [("s390x", "other"), (architecture().to_string().as_str(), "own")] {
        let content = layer(&[("arch", content)]);
        oci_layout(&layout, "it", &[(content.clone(), gzip(&content))]);
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).expect("an index")).expect("JSON");
        let mut entry = index["manifests"][0].clone();
        entry["platform"] = json!({"os": "linux", "architecture": arch});
        entry.as_object_mut().expect("an object").remove("annotations");
        manifests.push(entry);
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "manifests": manifests}).to_string();
    let id = digest::of(index.as_bytes());
    fs::write(layout.join("blobs/sha256").join(&id["sha256:".len()..]), &index).expect("a blob");
    let top = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": MANIFEST_TYPES[0], "digest": id, "size": index.len(),
        "annotations": {"org.opencontainers.image.ref.name": "all"}}]});
    fs::write(layout.join("index.json"), top.to_string()).expect("an index");
    let output = std::process::Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:all", layout.display()))
        .arg(format!("docker://{}/many:1", registry.address))
        .output()
        .expect("skopeo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (image, _) = pull(&home, &format!("{}/many:1", registry.address), &home.options("")).expect("pulls");
    assert_eq!(fs::read_to_string(image.layers[0].join("arch")).expect("a file"), "own");
    // What names the image is the list, as docker and containerd report it.
    assert!(image.repo_digest.is_some_and(|digest| digest.ends_with(&id)));
}

#[test]
fn a_registry_that_wants_a_password_gets_the_one_of_the_file() {
    let home = Home::new();
    // The bcrypt hash of "secret".
    let hash = "user:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
    fs::write(home.path("htpasswd"), hash).expect("a file");
    let auth =
        format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", home.path("htpasswd").display());
    let registry = Registry::start(home.directory.path(), &auth);
    let content = layer(&[("a", "1")]);
    oci_layout(&home.path("layout"), "it", &[(content.clone(), gzip(&content))]);
    let output = std::process::Command::new("skopeo")
        .args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            "--dest-creds",
            "user:secret",
        ])
        .arg(format!("oci:{}:it", home.path("layout").display()))
        .arg(format!("docker://{}/private:1", registry.address))
        .output()
        .expect("skopeo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name = format!("{}/private:1", registry.address);

    let error = pull(&home, &name, &home.options("")).expect_err("no password");
    assert!(error.message().contains("status 401"), "{}", error.message());
    // base64 of "user:secret" and of "user:wrong".
    for (secret, works) in [("dXNlcjp3cm9uZw==", false), ("dXNlcjpzZWNyZXQ=", true)] {
        let auth = json!({"auths": {&registry.address: {"auth": secret}}});
        fs::write(home.path("auth.json"), auth.to_string()).expect("a file");
        assert_eq!(pull(&home, &name, &home.options("")).is_ok(), works);
    }
}

#[test]
fn what_the_registry_does_not_have_is_said_in_its_own_words() {
    let home = Home::new();
    let registry = Registry::start(home.directory.path(), "");
    let name = format!("{}/absent:1", registry.address);
    let error = pull(&home, &name, &home.options("")).expect_err("not there");
    assert_eq!(error.reason(), "ErrImagePull");
    assert!(error.message().contains("status 404: manifest unknown"), "{}", error.message());
}

#[test]
fn many_pulls_at_once_do_not_disturb_each_other() {
    let home = Home::new();
    let registry = Registry::start(home.directory.path(), "");
    let shared = layer(&[("shared", &noise(1, 1 << 20))]);
    for number in 0..3 {
        let own = layer(&[("own", &noise(10 + number, 1 << 18))]);
        push(&home, &registry, &format!("app{number}:1"), &[shared.clone(), own]);
    }
    let options = always(&home, "");
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..9)
            .map(|thread| {
                let name = format!("{}/app{}:1", registry.address, thread % 3);
                let (home, options) = (&home, &options);
                scope.spawn(move || pull(home, &name, options).map(|(image, _)| image))
            })
            .collect();
        for pull in pulls {
            let image = pull.join().expect("no panic").expect("pulls");
            let shared = fs::metadata(image.layers[1].join("shared")).expect("a file");
            assert_eq!(shared.len(), 1 << 20);
        }
    });
    assert_eq!(home.layers().len(), 4, "{:?}", home.layers());
}

#[test]
fn a_hostile_layer_is_refused_and_nothing_is_left() {
    let home = Home::new();
    let registry = Registry::start(home.directory.path(), "");
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.as_old_mut().name[..9].copy_from_slice(b"../escape");
    header.set_cksum();
    builder.append(&header, &b"x"[..]).expect("an entry");
    push(&home, &registry, "hostile:1", &[builder.into_inner().expect("an archive")]);
    let name = format!("{}/hostile:1", registry.address);
    let error = pull(&home, &name, &home.options("")).expect_err("hostile");
    assert!(matches!(&error, ImageError::Unpack { source: UnpackError::Unsafe { .. }, .. }), "{error:?}");
    assert!(home.layers().is_empty() && !Path::new(&home.path("store/layers/escape")).exists());
}
