//! Which container of a pod talks: the socket that a packet comes from or goes to, and the process that has it open.
//!
//! A connection is looked up when its first packet is seen, and remembered. One that is over before anybody could look
//! belongs to nobody; what listens, is found all the same.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use netplugin::{Protocol, Socket, Way};

use super::packet::{Ip, protocol};

/// As many connections are remembered; then it begins anew.
const MOST: usize = 1 << 16;
/// What was not found is looked up again, but not more often than this.
const PAUSE: Duration = Duration::from_millis(20);

/// A container's name and the numbers of its processes.
pub type Processes = Vec<(String, Vec<i32>)>;

/// One end's view of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Flow {
    protocol: Protocol,
    local: SocketAddr,
    remote: SocketAddr,
}

/// Knows whose packets are whose in one pod.
pub struct Owners<'a> {
    /// The pod's network namespace; none is the host's.
    namespace: Option<PathBuf>,
    processes: Box<dyn Fn() -> Processes + 'a>,
    known: HashMap<Flow, Option<String>>,
    sockets: Vec<(Socket, String)>,
    looked: Option<Instant>,
}

impl<'a> Owners<'a> {
    /// Knows nobody yet; `processes` is asked when somebody is looked for.
    pub fn new(namespace: Option<PathBuf>, processes: impl Fn() -> Processes + 'a) -> Owners<'a> {
        Owners {
            namespace,
            processes: Box::new(processes),
            known: HashMap::new(),
            sockets: Vec::new(),
            looked: None,
        }
    }

    /// The container that sends a packet or gets it; on loopback, the one that gets it.
    pub fn of(&mut self, ip: &Ip, way: Way) -> Option<&str> {
        let protocol = match ip.protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            _ => return None,
        };
        let (source, destination) = ip.ends()?;
        let (local, remote) = if way == Way::Out { (source, destination) } else { (destination, source) };
        let flow = Flow { protocol, local, remote };
        if !matches!(self.known.get(&flow), Some(Some(_))) {
            let found = self.look_up(flow);
            if self.known.len() >= MOST {
                self.known.clear();
            }
            self.known.insert(flow, found);
        }
        self.known.get(&flow)?.as_deref()
    }

    fn look_up(&mut self, flow: Flow) -> Option<String> {
        // A new connection has a socket that cannot be known yet; an old one without an owner can wait.
        let is_new = !self.known.contains_key(&flow);
        let is_old = self.looked.is_none_or(|looked| looked.elapsed() >= PAUSE);
        if let Some(owner) = find(&self.sockets, flow).filter(|_| !is_old) {
            return Some(owner.to_owned());
        }
        if is_new || is_old {
            self.look();
        }
        find(&self.sockets, flow).map(str::to_owned)
    }

    fn look(&mut self) {
        let sockets = netplugin::sockets(self.namespace.as_deref()).unwrap_or_default();
        let owners = inodes(&(self.processes)());
        let owned = sockets.into_iter().filter_map(|socket| {
            let owner = owners.get(&socket.inode)?;
            Some((socket, owner.clone()))
        });
        self.sockets = owned.collect();
        self.looked = Some(Instant::now());
    }
}

/// The connection's own socket, or one that takes whatever comes to that port.
fn find(sockets: &[(Socket, String)], flow: Flow) -> Option<&str> {
    let of_protocol = || sockets.iter().filter(|(socket, _)| socket.protocol == flow.protocol);
    let same =
        |a: SocketAddr, b: SocketAddr| a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical();
    let own =
        of_protocol().find(|(socket, _)| same(socket.local, flow.local) && same(socket.remote, flow.remote));
    let open =
        || of_protocol().find(|(socket, _)| socket.takes_strangers && socket.collides_with(flow.local));
    own.or_else(open).map(|(_, owner)| owner.as_str())
}

/// The containers by the sockets that their processes have open.
fn inodes(processes: &Processes) -> HashMap<u64, String> {
    let mut found = HashMap::new();
    for (container, pids) in processes {
        for pid in pids {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
            for link in links {
                let inode = link
                    .to_str()
                    .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
                if let Some(inode) = inode {
                    found.insert(inode, container.clone());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Packet, tests::segment};
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connections_both_ends_and_a_listener_are_found_by_their_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let client = TcpStream::connect(there).unwrap();
        let here = client.local_addr().unwrap();
        let own = std::process::id().cast_signed();
        let mut owners = Owners::new(None, || vec![("web".to_owned(), vec![own])]);
        let mut ask = |from, to, way| {
            let bytes = segment(from, to, 2);
            let packet = Packet::read(1, &bytes, bytes.len());
            owners.of(packet.ip().unwrap(), way).map(str::to_owned)
        };
        assert_eq!(ask(here, there, Way::Out).as_deref(), Some("web"), "the client's");
        assert_eq!(ask(here, there, Way::In).as_deref(), Some("web"), "not accepted yet: the listener's");
        let stranger = "127.0.0.1:9".parse().unwrap();
        assert_eq!(ask(stranger, there, Way::In).as_deref(), Some("web"), "the listener's");
        assert_eq!(ask(stranger, "127.0.0.1:1".parse().unwrap(), Way::In), None);
    }
}
