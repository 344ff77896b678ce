//! A private host for a test: network namespaces of its own, so that no bridge, route or rule ever touches
//! the real one.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use netplugin::{Attached, Masquerade, NetError, NetworkConfig, PortMapping, Protocol, Request};
use nix::sched::CloneFlags;

/// Generous: only a hang is a failure.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A network namespace that lives as long as this value.
pub struct Netns {
    file: File,
    path: PathBuf,
}

impl Netns {
    #[expect(clippy::disallowed_methods, reason = "in a thread of its own, which ends")]
    pub fn new() -> Netns {
        let thread = std::thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).expect("tests run as root");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let file = thread.join().unwrap();
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
        Netns { file, path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does `job` inside, in a thread of its own.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                job()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    #[expect(clippy::disallowed_methods, reason = "in a thread of its own, which ends")]
    fn enter(&self) {
        nix::sched::setns(&self.file, CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// Runs a command inside and returns what it printed.
    pub fn sh(&self, command: &str) -> String {
        let output = self.run(|| Command::new("sh").args(["-ec", command]).output().unwrap());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {text}{errors}");
        text
    }

    /// A TCP server that tells each client which address it sees, until the namespace's test ends.
    pub fn serve_tcp(&self, address: &str) -> SocketAddr {
        let address: SocketAddr = address.parse().unwrap();
        let (sender, receiver) = mpsc::channel();
        let file = self.file.try_clone().unwrap();
        std::thread::spawn(move || {
            let inside = Netns { file, path: PathBuf::new() };
            inside.enter();
            drop(inside);
            let listener = TcpListener::bind(address).unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            for mut stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().unwrap().ip().to_canonical();
                let _ = stream.write_all(peer.to_string().as_bytes());
            }
        });
        receiver.recv().unwrap()
    }

    /// The same over UDP.
    pub fn serve_udp(&self, address: &str) -> SocketAddr {
        let address: SocketAddr = address.parse().unwrap();
        let (sender, receiver) = mpsc::channel();
        let file = self.file.try_clone().unwrap();
        std::thread::spawn(move || {
            let inside = Netns { file, path: PathBuf::new() };
            inside.enter();
            drop(inside);
            let socket = UdpSocket::bind(address).unwrap();
            sender.send(socket.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 100];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer);
            }
        });
        receiver.recv().unwrap()
    }

    /// The address that a TCP server sees when it is called from here.
    pub fn seen_by_tcp(&self, server: &str) -> Result<IpAddr, String> {
        let server: SocketAddr = server.parse().unwrap();
        self.run(|| {
            let mut stream = TcpStream::connect_timeout(&server, PATIENCE).map_err(|e| e.to_string())?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).map_err(|e| e.to_string())?;
            text.parse().map_err(|_| format!("{text:?} is no address"))
        })
    }

    /// The address that a UDP server sees when it is called from here.
    pub fn seen_by_udp(&self, server: &str) -> Result<IpAddr, String> {
        self.seen_by_udp_within(server, PATIENCE)
    }

    pub fn seen_by_udp_within(&self, server: &str, patience: Duration) -> Result<IpAddr, String> {
        let server: SocketAddr = server.parse().unwrap();
        self.run(|| {
            let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.set_read_timeout(Some(patience)).unwrap();
            socket.connect(server).map_err(|e| e.to_string())?;
            socket.send(b"who am I?").map_err(|e| e.to_string())?;
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).map_err(|e| e.to_string())?;
            let text = String::from_utf8_lossy(&buffer[..length]);
            text.parse().map_err(|_| format!("{text:?} is no address"))
        })
    }
}

/// A host with an empty network configuration and a state directory.
pub struct Host {
    pub netns: Netns,
    pub config: NetworkConfig,
    _directory: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Host {
        // Where a real one is: on tmpfs.
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let config = config(directory.path().join("ipam/default"));
        let netns = Netns::new();
        netns.sh("ip link set lo up");
        Host { netns, config, _directory: directory }
    }

    /// A network outside, which the host reaches by 192.168.77.1 and fd77::1, and which knows no way back to
    /// pods. The host's default route leads there.
    pub fn outside(&self) -> Netns {
        let outside = Netns::new();
        let path = outside.path().display();
        self.netns.sh(&format!(
            "ip link add up0 type veth peer name eth0 netns {path}
             ip address add 192.168.77.1/24 dev up0
             ip address add fd77::1/64 dev up0 nodad
             ip link set up0 up
             ip route add default via 192.168.77.2
             ip -6 route add default via fd77::2"
        ));
        outside.sh("ip link set lo up; ip address add 192.168.77.2/24 dev eth0
             ip address add fd77::2/64 dev eth0 nodad; ip link set eth0 up");
        self.netns.sh("until ip -6 route get fd77::2 | grep -q up0; do sleep 0.01; done");
        outside
    }

    pub fn attach(&self, id: &str, pod: &Netns, ports: &[PortMapping]) -> Result<Attached, NetError> {
        let owner = format!("default/{id}");
        let request = Request {
            id,
            owner: &owner,
            netns: pod.path(),
            ifname: "eth0",
            ports,
            wishes: netplugin::Wishes::default(),
        };
        self.netns.run(|| netplugin::attach(&self.config, &request))
    }

    /// A new pod without ports.
    pub fn pod(&self, id: &str) -> Pod {
        self.pod_with(id, &[])
    }

    pub fn pod_with(&self, id: &str, ports: &[PortMapping]) -> Pod {
        let netns = Netns::new();
        let attached =
            self.attach(id, &netns, ports).unwrap_or_else(|e| panic!("attach {id}: {}", chain(&e)));
        Pod { netns, attached }
    }

    pub fn detach(&self, id: &str) {
        let errors = self.netns.run(|| netplugin::detach(&self.config, id));
        assert!(errors.is_empty(), "{errors:?}");
    }

    pub fn release_idle(&self) -> bool {
        self.netns.run(|| netplugin::release_idle(&self.config)).unwrap()
    }

    /// Cables go with their namespaces, a little later.
    pub fn wait_for_cables(&self) {
        self.netns.sh("for i in $(seq 500); do ip -o link | grep -q ' pb' || break; sleep 0.01; done");
    }

    /// Whatever a network could leave behind, in words; empty if there is nothing.
    pub fn left_behind(&self) -> String {
        let mut text = self.netns.sh(
            "ip -o link | grep -Ev ' (lo|up0)(:|@)' || true; nft list ruleset
             ip route show table all | grep -E '10\\.244|fd00:10' || true; ip -6 route show table all | grep fd00:10 || true",
        );
        if self.config.state_dir.exists() {
            text += &self.netns.sh(&format!("find {}", self.config.state_dir.display()));
        }
        text
    }
}

pub fn config(state_dir: PathBuf) -> NetworkConfig {
    NetworkConfig {
        name: "default".to_owned(),
        bridge: "podbox0".to_owned(),
        ipv4: Some("10.244.0.0/16".parse().unwrap()),
        ipv6: Some("fd00:10:244::/64".parse().unwrap()),
        mtu: None,
        beside: Vec::new(),
        peers: netplugin::Peers::default(),
        masquerade: Masquerade::Egress,
        firewall: netplugin::Firewall::default(),
        state_dir,
    }
}

pub struct Pod {
    pub netns: Netns,
    pub attached: Attached,
}

impl Pod {
    pub fn ip4(&self) -> IpAddr {
        self.attached.attachment.addresses[0].address
    }

    pub fn ip6(&self) -> IpAddr {
        self.attached.attachment.addresses[1].address
    }
}

pub fn tcp(host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { host_ip: None, host_port, container_port, protocol: Protocol::Tcp }
}

pub fn udp(host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { protocol: Protocol::Udp, ..tcp(host_port, container_port) }
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
