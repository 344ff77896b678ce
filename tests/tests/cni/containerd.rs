//! Debian's containerd: a pod sandbox made by its CRI plugin, on podbox's network. The CRI is spoken by hand, gRPC over
//! curl, so that nothing else is needed.

use std::fs;
use std::path::PathBuf;

use e2e::{Archive, Background, Cmd, Host, Layer, Output, pod, wait_good};
use serde_json::json;

use super::{DEBIAN, config, install, peer, write};

/// A containerd with everything of its own.
struct Containerd {
    dir: PathBuf,
    _daemon: Background,
}

const PAUSE: &str = "docker.io/local/pause:1";

impl Containerd {
    fn start(host: &Host) -> Containerd {
        let dir = host.dir().join("ctd");
        write(&dir.join("net.d"), "10-podbox.conflist", &config(host, "1.0.0"));
        let bin = install(host);
        // containerd of this age calls this one by itself, and from the same directory.
        std::os::unix::fs::symlink(format!("{DEBIAN}/loopback"), bin.join("loopback")).unwrap();
        let place = |name: &str| dir.join(name).display().to_string();
        let conf = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n[grpc]\naddress = \"{}\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{}\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{PAUSE}\"\nrestrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"{}\"\nconf_dir = \"{}\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n",
            place("root"),
            place("state"),
            place("sock"),
            place("opt"),
            bin.display(),
            place("net.d"),
        );
        fs::write(dir.join("config.toml"), conf).unwrap();
        let image = dir.join("pause.tar");
        Archive::new([Layer::toolbox(&["tcp-echo"])])
            .set("Cmd", json!(["tcp-echo", "--port", "9000"]))
            .write(&image, PAUSE);
        let daemon = Cmd::new("containerd").args(["-c", &place("config.toml")]).spawn();
        let containerd = Containerd { dir, _daemon: daemon };
        wait_good("containerd", || containerd.ctr(&["version"]));
        let import = ["-n", "k8s.io", "images", "import", "--snapshotter", "native"];
        containerd.ctr(&[&import[..], &[image.to_str().unwrap()]].concat()).ok();
        containerd
    }

    fn ctr(&self, args: &[&str]) -> Output {
        let socket = self.dir.join("sock").display().to_string();
        Cmd::new("ctr").args(["-a", &socket]).args(args).run()
    }

    /// One call of the CRI's runtime service; the answer as it comes.
    fn cri(&self, method: &str, message: &[u8]) -> Output {
        // A gRPC message: not compressed, its length, itself.
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0][..], &length, message].concat();
        let socket = self.dir.join("sock").display().to_string();
        Cmd::new("curl")
            .args(["-sS", "-v", "--http2-prior-knowledge", "--unix-socket", &socket])
            .args(["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-"])
            .args([format!("http://localhost/runtime.v1.RuntimeService/{method}")])
            .input(body)
            .run()
    }
}

impl Drop for Containerd {
    /// A test that failed leaves its sandbox to this.
    fn drop(&mut self) {
        let listed = self.cri("ListPodSandbox", b"").stdout;
        if let Some(id) = hexadecimal(&listed, 64) {
            self.cri("StopPodSandbox", &field(1, id.as_bytes()));
            self.cri("RemovePodSandbox", &field(1, id.as_bytes()));
        }
    }
}

/// A field of a protobuf message that holds text or a message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(content);
    bytes
}

/// A field that holds a number below 2^14.
fn number(field: u8, value: u16) -> Vec<u8> {
    let low = u8::try_from(value & 0x7f).unwrap();
    vec![field << 3, low | 0x80, u8::try_from(value >> 7).unwrap()]
}

/// `PodSandboxConfig`: metadata, hostname, log directory, one port, labels.
fn sandbox(port: u16) -> Vec<u8> {
    let metadata = [field(1, b"cri"), field(2, b"0c-uid"), field(3, b"team")].concat();
    let mut high = vec![3 << 3];
    let mut rest = u32::from(port);
    while rest >= 0x80 {
        high.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    high.push(u8::try_from(rest).unwrap());
    let mapping = [number(2, 9000), high].concat();
    [field(1, &metadata), field(2, b"cri"), field(3, b"/tmp"), field(5, &mapping)].concat()
}

/// The first text of that many hexadecimal digits.
fn hexadecimal(text: &str, length: usize) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_hexdigit()).find(|part| part.len() == length)
}

#[test]
fn a_sandbox_of_containerds_cri_is_on_podboxs_network() {
    let host = Host::new();
    let port = host.port(1);
    let containerd = Containerd::start(&host);
    let made = containerd.cri("RunPodSandbox", &field(1, &sandbox(port)));
    let id = hexadecimal(&made.stdout, 64).unwrap_or_else(|| panic!("{made}")).to_owned();
    let status = containerd.cri("PodSandboxStatus", &field(1, id.as_bytes()));
    let start = host.gateway().strip_suffix('1').unwrap().to_owned();
    let at = status.stdout.find(&start).unwrap_or_else(|| panic!("{status}"));
    let digits = |c: &char| c.is_ascii_digit() || *c == '.';
    let ip: String = status.stdout[at..].chars().take_while(digits).collect();

    let answer = wait_good("an answer", || peer(&format!("{ip}:9000")).run());
    assert!(answer.stdout.contains(&host.gateway()), "{answer}");
    peer(&format!("{}:{port}", host.gateway())).run().ok();
    host.up(&pod(
        "own",
        "  containers: [{name: c, image: podbox.local/toolbox, command: [sleep, infinity]}]",
    ));
    let heard = host.exec("own", &["connect", &format!("{ip}:9000"), "peer"]);
    assert!(heard.contains(&host.pod("own").ip()), "{heard}");
    // The lease says whose it is, in the runtime's own words.
    let lease = fs::read_to_string(host.run_dir().join("ipam/podbox").join(&ip)).unwrap();
    assert!(lease.contains("team/cri") && lease.contains(&id), "{lease}");
    host.down(&["own"]);
    containerd.cri("StopPodSandbox", &field(1, id.as_bytes()));
    containerd.cri("RemovePodSandbox", &field(1, id.as_bytes()));
    assert!(!host.run_dir().join("ipam/podbox").join(&ip).exists());
    drop(containerd);
    host.finish();
}
