//! A registry that does what it is told: tokens, redirects, broken connections, lies.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::image::testing::child;

struct Asked {
    path: String,
    headers: BTreeMap<String, String>,
}

#[derive(Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Break the connection after so many bytes of the body, or never end.
    cut: Option<usize>,
    stall: bool,
}

fn ok(body: &[u8]) -> Reply {
    Reply { status: 200, body: body.to_vec(), ..Reply::default() }
}

/// Listens on loopback until the test program ends; returns its address.
fn serve(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = handler.clone();
            std::thread::spawn(move || converse(stream, &*handler));
        }
    });
    address
}

fn converse(mut stream: TcpStream, handler: &dyn Fn(&Asked) -> Reply) {
    let mut lines = BufReader::new(stream.try_clone().expect("a stream"));
    loop {
        let mut first = String::new();
        // Somebody tries TLS first: that is not text, or not a request.
        if lines.read_line(&mut first).unwrap_or(0) == 0 || !first.starts_with("GET ") {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let reply = handler(&Asked { path, headers });
        let mut head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_err() {
            return;
        }
        if reply.stall {
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
        if reply.cut.is_some() {
            return;
        }
    }
}

/// An image with one layer, as a registry serves it: by path below the repository.
struct Served {
    documents: BTreeMap<String, Vec<u8>>,
    blob: Vec<u8>,
    blob_path: String,
}

fn image(content: &[u8]) -> Served {
    let blob = gzip(content);
    let configuration = write_configuration(&config(), &[digest::of(content)], None);
    let describe = |bytes: &[u8], kind: &str| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest::of(bytes), "size": bytes.len()});
    let manifest = json!({"schemaVersion": 2, "config": describe(&configuration, "config.v1+json"),
        "layers": [describe(&blob, "layer.v1.tar+gzip")]});
    let documents = BTreeMap::from([
        ("manifests/1".to_owned(), manifest.to_string().into_bytes()),
        (format!("blobs/{}", digest::of(&configuration)), configuration),
    ]);
    let blob_path = format!("blobs/{}", digest::of(&blob));
    Served { documents, blob, blob_path }
}

impl Served {
    fn document(&self, asked: &Asked) -> Option<Reply> {
        self.documents.get(asked.path.strip_prefix("/v2/app/")?).map(|bytes| ok(bytes))
    }

    fn is_blob(&self, asked: &Asked) -> bool {
        asked.path == format!("/v2/app/{}", self.blob_path)
    }
}

fn not_found() -> Reply {
    Reply { status: 404, ..Reply::default() }
}

#[test]
fn a_token_is_fetched_for_the_repository_and_goes_nowhere_else() {
    let home = Home::new();
    let served = image(&layer(&[("a", "1")]));
    let blob = served.blob.clone();
    let storage_saw: Arc<Mutex<Vec<bool>>> = Arc::default();
    let saw = storage_saw.clone();
    let storage = serve(move |asked| {
        saw.lock().expect("a list").push(asked.headers.contains_key("authorization"));
        ok(&blob)
    });
    let tokens = serve(|asked| {
        let wanted = asked.path == "/token?scope=repository:app:pull&service=the%20service";
        let secret = asked.headers.get("authorization").is_some_and(|value| value == "Basic dTpw");
        if wanted && secret { ok(br#"{"token":"t0k3n"}"#) } else { not_found() }
    });
    let registry = serve(move |asked| {
        if asked.headers.get("authorization").is_none_or(|value| value != "Bearer t0k3n") {
            let challenge = format!(
                "Bearer realm=\"http://{tokens}/token\",service=\"the service\",scope=\"repository:app:pull\""
            );
            return Reply { status: 401, headers: vec![("WWW-Authenticate", challenge)], ..Reply::default() };
        }
        if served.is_blob(asked) {
            let headers = vec![("Location", format!("http://{storage}/somewhere?signed=yes"))];
            return Reply { status: 307, headers, ..Reply::default() };
        }
        served.document(asked).unwrap_or_else(not_found)
    });
    let auth = json!({"auths": {&registry: {"username": "u", "password": "p"}}});
    fs::write(home.path("auth.json"), auth.to_string()).expect("a file");
    let (image, _) = pull(&home, &format!("{registry}/app:1"), &home.options("")).expect("pulls");
    assert_eq!(fs::read_to_string(image.layers[0].join("a")).expect("a file"), "1");
    assert_eq!(*storage_saw.lock().expect("a list"), [false]);
}

#[test]
fn a_transfer_that_breaks_goes_on_where_it_broke() {
    let home = Home::new();
    let text = noise(7, 1 << 20);
    let served = image(&layer(&[("noise", &text)]));
    let ranges: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let seen = ranges.clone();
    let registry = serve(move |asked| {
        if !served.is_blob(asked) {
            return served.document(asked).unwrap_or_else(not_found);
        }
        let range = asked.headers.get("range").cloned();
        let mut seen = seen.lock().expect("a list");
        seen.push(range.clone());
        let total = served.blob.len();
        let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match (seen.len(), start) {
            (1, _) => Reply { cut: Some(300_000), ..ok(&served.blob) },
            // The second time the range is ignored, and it breaks again, further on.
            (2, _) => Reply { cut: Some(500_000), ..ok(&served.blob) },
            (_, Some(start)) => Reply {
                status: 206,
                headers: vec![("Content-Range", format!("bytes {start}-{}/{total}", total - 1))],
                body: served.blob[start..].to_vec(),
                ..Reply::default()
            },
            (_, None) => not_found(),
        }
    });
    let (image, _) = pull(&home, &format!("{registry}/app:1"), &home.options("")).expect("pulls");
    assert_eq!(fs::read_to_string(image.layers[0].join("noise")).expect("a file"), text);
    let asked = ranges.lock().expect("a list").clone();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0], None);
    assert!(asked[1].is_some() && asked[2].is_some() && asked[1] != asked[2], "{asked:?}");
}

#[test]
fn a_registry_that_lies_about_a_manifest_is_not_believed() {
    let home = Home::new();
    let served = image(&layer(&[("a", "1")]));
    let other = digest::of(b"something else");
    let promised = other.clone();
    let registry = serve(move |asked| {
        let mut reply = served.document(asked).unwrap_or_else(|| ok(&served.documents["manifests/1"]));
        if asked.path.ends_with("manifests/1") {
            reply.headers.push(("Docker-Content-Digest", promised.clone()));
        }
        reply
    });
    for name in [format!("{registry}/app:1"), format!("{registry}/app@{other}")] {
        let error = pull(&home, &name, &home.options("")).expect_err("a lie");
        assert!(matches!(error, ImageError::Mismatch { .. }), "{error:?}");
    }
}

#[test]
fn old_manifests_and_endless_ones_are_refused() {
    let home = Home::new();
    let registry = serve(|asked| match asked.path.as_str() {
        "/v2/old/manifests/1" => ok(br#"{"schemaVersion":1,"name":"old","fsLayers":[],"history":[]}"#),
        "/v2/endless/manifests/1" => ok(&vec![b' '; (MAX_DOCUMENT + 1) as usize]),
        _ => not_found(),
    });
    for (name, part) in [("old", "schema 1"), ("endless", "more than")] {
        let error = pull(&home, &format!("{registry}/{name}:1"), &home.options("")).expect_err(name);
        assert!(error.message().contains(part), "{}", error.message());
    }
}

/// Run by the next test as a process of its own.
#[test]
#[ignore = "another test runs it as a process of its own"]
fn a_pull_in_a_process_of_its_own() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let store = Store::open(Path::new(&variable("TEST_ROOT"))).expect("a store");
    let mut options = PullOptions::default();
    options.registry.registries_conf = Some("/dev/null".into());
    println!(
        "{:?}",
        store.pull(&variable("TEST_REFERENCE"), &options, &mut |progress| println!("{progress:?}"))
    );
}

#[test]
fn a_pull_killed_in_the_middle_leaves_a_store_that_pulls_again() {
    let home = Home::new();
    let text = noise(8, 4 << 20);
    let served = image(&layer(&[("first", "1"), ("noise", &text)]));
    let honest = Arc::new(Mutex::new(false));
    let now = honest.clone();
    let registry = serve(move |asked| {
        if !served.is_blob(asked) {
            return served.document(asked).unwrap_or_else(not_found);
        }
        let stall = !*now.lock().expect("a flag");
        Reply { cut: stall.then_some(2 << 20), stall, ..ok(&served.blob) }
    });
    let name = format!("{registry}/app:1");
    let mut process = child("image::registry::tests::scripted::a_pull_in_a_process_of_its_own")
        .env("TEST_ROOT", home.path("store"))
        .env("TEST_REFERENCE", &name)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(process.stdout.take().expect("its output"));
    let halfway = lines.lines().any(|line| line.expect("a line").starts_with("LayerBytes"));
    assert!(halfway, "the child ended before the layer was half here");
    process.kill().expect("a kill");
    process.wait().expect("its end");
    assert_eq!(home.layers().len(), 1, "its work directory: {:?}", home.layers());
    assert_eq!(home.store.lookup(&name).expect("a look-up"), None);

    *honest.lock().expect("a flag") = true;
    let (image, _) = pull(&home, &name, &home.options("")).expect("pulls");
    assert_eq!(fs::read_to_string(image.layers[0].join("noise")).expect("a file"), text);
    assert_eq!(home.layers().len(), 1, "its layer alone: {:?}", home.layers());
}
