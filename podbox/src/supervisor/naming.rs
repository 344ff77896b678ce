//! Answers the pod's questions for names, at an address inside its network namespace that every pod has.

use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::dns::{self, Known, Reply, Transport, Zone};
use crate::pod::DnsPolicy;
use crate::report;

use super::world::World;

const PORT: u16 = 53;
/// The longest question that is read, in bytes.
const LONGEST: usize = 4096;
/// How many questions and connections are dealt with at once; more wait in the kernel, which drops what it has no room for.
const AT_ONCE: usize = 64;
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);

/// The tasks that listen; they hold the pod's network namespace.
#[derive(Default)]
pub(super) struct Listening(Mutex<Vec<AbortHandle>>);

impl Listening {
    fn add(&self, task: AbortHandle) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Lets the namespace go.
    pub(super) fn stop(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
    }
}

/// What the tasks share.
struct Server {
    world: Arc<World>,
    zone: Zone,
    own: Vec<IpAddr>,
    room: Semaphore,
    callers: Arc<Semaphore>,
}

/// Whether the pod asks here at all.
pub(super) fn is_wanted(world: &World) -> bool {
    let pod = world.pod();
    !pod.host.network
        && matches!(pod.dns.policy, DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet)
}

/// Where the pod asks: host number 10 of the range of Services of each family.
pub(super) fn addresses(world: &World) -> Vec<IpAddr> {
    if is_wanted(world) { world.settings.allotment().dns().collect() } else { Vec::new() }
}

/// Listens, for each family that the pod has an address of, and tells where; what cannot be had is logged.
pub(super) fn begin(world: &Arc<World>, ips: &[IpAddr]) -> Vec<IpAddr> {
    world.naming.stop();
    if !is_wanted(world) {
        return Vec::new();
    }
    let has = |address: &IpAddr| ips.iter().any(|ip| ip.is_ipv4() == address.is_ipv4());
    let wanted: Vec<IpAddr> = addresses(world).into_iter().filter(has).collect();
    let sockets = match netplugin::listen(&world.dir.namespaces().join("net"), &wanted, PORT) {
        Ok(sockets) => sockets,
        Err(error) => {
            report::log(format_args!("supervisor: answer names at {wanted:?}: {error}"));
            Vec::new()
        }
    };
    let own: Vec<IpAddr> = sockets.iter().map(|(address, _)| *address).collect();
    let server = Arc::new(Server {
        world: Arc::clone(world),
        zone: Zone::new(crate::pod::CLUSTER_DOMAIN),
        own: own.clone(),
        room: Semaphore::new(AT_ONCE),
        callers: Arc::new(Semaphore::new(AT_ONCE)),
    });
    for (_, (udp, tcp)) in sockets {
        let (datagrams, connections) = (Arc::clone(&server), Arc::clone(&server));
        world
            .naming
            .add(tokio::spawn(async move { told(by_datagrams(datagrams, udp).await) }).abort_handle());
        world
            .naming
            .add(tokio::spawn(async move { told(by_connections(connections, tcp).await) }).abort_handle());
    }
    own
}

fn told(result: io::Result<()>) {
    if let Err(error) = result {
        report::log(format_args!("supervisor: answer names: {error}"));
    }
}

async fn by_datagrams(server: Arc<Server>, socket: UdpSocket) -> io::Result<()> {
    let socket = Arc::new(tokio::net::UdpSocket::from_std(socket)?);
    loop {
        socket.readable().await?;
        // Nothing is held while nobody asks.
        let mut buffer = vec![0; LONGEST];
        let Ok((length, from)) = socket.try_recv_from(&mut buffer) else { continue };
        buffer.truncate(length);
        match server.respond(&buffer, Transport::Udp) {
            Reply::Send(reply) => {
                let _ = socket.send_to(&reply, from).await;
            }
            Reply::Silence => {}
            Reply::Forward => {
                let (server, socket) = (Arc::clone(&server), Arc::clone(&socket));
                let task = async move {
                    if let Some(reply) = server.forward(&buffer, Transport::Udp).await {
                        let _ = socket.send_to(&reply, from).await;
                    }
                };
                tokio::spawn(task);
            }
        }
    }
}

async fn by_connections(server: Arc<Server>, listener: TcpListener) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let caller = Arc::clone(&server.callers).acquire_owned().await.map_err(io::Error::other)?;
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            // Whoever goes away or is silent has no answer to miss.
            let _ = converse(&server, stream).await;
            drop(caller);
        });
    }
}

async fn converse(server: &Server, mut stream: tokio::net::TcpStream) -> io::Result<()> {
    loop {
        let length = tokio::time::timeout(IDLE, stream.read_u16()).await??;
        let mut message = vec![0; length.into()];
        tokio::time::timeout(IDLE, stream.read_exact(&mut message)).await??;
        let reply = match server.respond(&message, Transport::Tcp) {
            Reply::Send(reply) => Some(reply),
            Reply::Forward => server.forward(&message, Transport::Tcp).await,
            Reply::Silence => None,
        };
        let Some(reply) = reply else { return Ok(()) };
        stream.write_u16(u16::try_from(reply.len()).map_err(io::Error::other)?).await?;
        tokio::time::timeout(IDLE, stream.write_all(&reply)).await??;
    }
}

impl Server {
    fn respond(&self, message: &[u8], transport: Transport) -> Reply {
        let catalogue = self.world.known.catalogue();
        let known = Known { catalogue: &catalogue, store: &self.world.settings.store };
        dns::respond(message, transport, &self.zone, &known)
    }

    /// What the host's servers say. Whoever asks too much at once, or where nobody answers, is told of a failure at once.
    async fn forward(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(_room) = self.room.try_acquire() else { return dns::unanswered(message) };
        let servers =
            dns::servers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(), &self.own);
        match dns::ask(message, transport, &servers).await {
            Some(reply) => Some(reply),
            None => dns::unanswered(message),
        }
    }
}
