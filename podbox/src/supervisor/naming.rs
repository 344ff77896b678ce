//! Answers the pod's questions for names: at addresses inside its network namespace that every pod has, or, for a pod that
//! has the host's, at an address of the host's loopback interface that is this pod's.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netplugin::{Described, Listeners};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::config::Settings;
use crate::dns::{self, Cache, Known, Reply, Silent, Transport, Zone};
use crate::pod::{DnsPolicy, Pod};
use crate::report;
use crate::store::PodDir;

use super::sandbox::lines;
use super::world::{Message, World};

const PORT: u16 = 53;
/// The longest question that is read, in bytes.
const LONGEST: usize = 4096;
/// How many questions that others must answer, and how many connections, are dealt with at once.
const AT_ONCE: usize = 64;
/// How many more such questions wait for their turn, and for how long: a resolver has given up by then (resolv.conf(5)).
const WAITING: usize = 1024;
const TURN: Duration = Duration::from_secs(5);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(10);

/// Where those addresses are, 127.64.0.0/10: far from those that resolvers of hosts have (127.0.0.53, 127.0.1.1).
const ON_THE_HOST: u32 = 0x7f40_0000;
const PREFIX: u32 = 0xffc0_0000;
/// How many of them are tried.
const TRIES: u32 = 16;

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
    cache: Mutex<Cache>,
    silent: Silent,
    room: Semaphore,
    queue: Semaphore,
}

/// Where a pod's questions go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// To the host's name servers.
    Elsewhere,
    /// Here, at addresses in the pod's own network.
    Inside,
    /// Here, at an address of the host's loopback interface that no other pod has.
    OnTheHost,
}

impl Place {
    fn of(pod: &Pod, settings: &Settings) -> Place {
        match (pod.dns.policy, pod.host.network) {
            (DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet, false) => Place::Inside,
            (DnsPolicy::ClusterFirstWithHostNet, true) => Place::OnTheHost,
            // Not everybody's: a pod that answers names itself wants port 53 of all its addresses.
            (DnsPolicy::Default | DnsPolicy::None, false) if names_the_cluster(pod, settings) => {
                Place::Inside
            }
            // With the host's network ClusterFirst is Default (kubelet, `getPodDNSType`).
            _ => Place::Elsewhere,
        }
    }
}

/// Whether a pod's own configuration has it ask the cluster.
fn names_the_cluster(pod: &Pod, settings: &Settings) -> bool {
    let bounds = settings.service_bounds();
    let mut named = pod.dns.nameservers.iter().filter_map(|server| server.parse().ok());
    named.any(|server: IpAddr| bounds.dns().any(|own| own == server))
}

/// Where the pod asks: host number 10 of the range of Services of each family, or its address on the host.
pub(super) fn addresses(world: &World) -> Vec<IpAddr> {
    match Place::of(&world.pod(), &world.settings) {
        Place::Elsewhere => Vec::new(),
        Place::Inside => world.settings.service_bounds().dns().collect(),
        Place::OnTheHost => candidates(world).into_iter().take(1).collect(),
    }
}

/// The addresses inside the pod's own network that its containers ask, as they have been told.
pub(super) fn told_inside(settings: &Settings, pod: &Pod, dir: &PodDir) -> Vec<IpAddr> {
    if Place::of(pod, settings) != Place::Inside {
        return Vec::new();
    }
    let told = std::fs::read_to_string(dir.etc().join("resolv.conf")).unwrap_or_default();
    let told: Vec<IpAddr> = dns::servers(&told, &[]).iter().map(SocketAddr::ip).collect();
    settings.service_bounds().dns().filter(|own| told.contains(own)).collect()
}

/// The commands that [`begin`] stands for.
#[must_use]
pub fn describe(settings: &Settings, pod: &Pod, netns: &Path) -> Vec<Described> {
    match Place::of(pod, settings) {
        Place::Inside => {
            netplugin::describe_listen(netns, &settings.service_bounds().dns().collect::<Vec<_>>())
        }
        // All of 127.0.0.0/8 is there already.
        Place::Elsewhere | Place::OnTheHost => Vec::new(),
    }
}

/// The addresses on the host that a pod tries: the one that its containers have been told of, and some by its uid.
fn candidates(world: &World) -> Vec<IpAddr> {
    let told = std::fs::read_to_string(world.dir.etc().join("resolv.conf")).unwrap_or_default();
    let told = dns::servers(&told, &[]).first().map(SocketAddr::ip).filter(is_on_the_host);
    let hash = world.pod().uid.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193) // FNV-1a
    });
    let nth = |n| Ipv4Addr::from_bits(ON_THE_HOST | (hash.wrapping_add(n) & !PREFIX)).into();
    told.into_iter().chain((0..TRIES).map(nth)).collect()
}

fn is_on_the_host(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(four) if four.to_bits() & PREFIX == ON_THE_HOST)
}

/// Sockets that are being made.
pub(super) struct Early(Option<JoinHandle<io::Result<Made>>>);

/// What came of each address, and how many microseconds it took.
struct Made(Vec<(IpAddr, io::Result<Listeners>)>, u64);

/// Makes the sockets in the pod's network, on another thread: it may be attached meanwhile.
pub(super) fn prepare(world: &World) -> Early {
    world.naming.stop();
    if Place::of(&world.pod(), &world.settings) != Place::Inside {
        return Early(None);
    }
    let (netns, wanted) = (world.dir.namespaces().join("net"), addresses(world));
    Early(Some(tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let made = netplugin::listen(&netns, &wanted, PORT)?;
        Ok(Made(made, u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)))
    })))
}

/// Listens, for each family that the pod has an address of, and tells where; what cannot be had is logged.
pub(super) async fn begin(world: &Arc<World>, ips: &[IpAddr], Early(early): Early) -> Vec<IpAddr> {
    let has = |address: &IpAddr| ips.iter().any(|ip| ip.is_ipv4() == address.is_ipv4());
    let sockets = match early {
        Some(early) => match early.await.map_err(io::Error::other).and_then(|made| made) {
            Ok(Made(sockets, micros)) => {
                trace(world, micros);
                sockets.into_iter().filter(|(address, _)| has(address)).collect()
            }
            Err(error) => {
                report::log(format_args!("supervisor: answer names: {error}"));
                Vec::new()
            }
        },
        None if Place::of(&world.pod(), &world.settings) == Place::OnTheHost => on_the_host(world),
        None => Vec::new(),
    };
    let got = |(address, made): (IpAddr, io::Result<Listeners>)| match made {
        Ok(made) => Some((address, made)),
        Err(error) => {
            report::log(format_args!("supervisor: answer names at {address}: {error}"));
            None
        }
    };
    let sockets: Vec<_> = sockets.into_iter().filter_map(got).collect();
    let own: Vec<IpAddr> = sockets.iter().map(|(address, _)| *address).collect();
    if !own.is_empty() {
        serve(world, sockets);
    }
    own
}

fn trace(world: &World, micros: u64) {
    let netns = world.dir.namespaces().join("net");
    let steps = describe(&world.settings, &world.pod(), &netns);
    // All were done in one go, whose time is the first one's.
    let times = std::iter::once(micros).chain(std::iter::repeat(0));
    world.send(Message::Trace(lines(
        "names",
        steps.iter().zip(times).map(|(step, micros)| (&step.name, &step.command, micros)),
    )));
}

/// The first address that nobody has.
fn on_the_host(world: &World) -> Vec<(IpAddr, io::Result<Listeners>)> {
    let mut last = None;
    for address in candidates(world) {
        let made = netplugin::listen_here(address, PORT);
        let is_taken = made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
        last = Some((address, made));
        if !is_taken {
            break;
        }
    }
    last.into_iter().collect()
}

fn serve(world: &Arc<World>, sockets: Vec<(IpAddr, Listeners)>) {
    let server = Arc::new(Server {
        world: Arc::clone(world),
        zone: Zone::new(crate::pod::CLUSTER_DOMAIN),
        own: sockets.iter().map(|(address, _)| *address).collect(),
        cache: Mutex::default(),
        silent: Silent::default(),
        room: Semaphore::new(AT_ONCE),
        queue: Semaphore::new(AT_ONCE + WAITING),
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
            reply @ (Reply::Forward | Reply::Follow(_)) => {
                let (server, socket) = (Arc::clone(&server), Arc::clone(&socket));
                let task = async move {
                    if let Some(reply) = server.find_out(&buffer, Transport::Udp, reply).await {
                        let _ = socket.send_to(&reply, from).await;
                    }
                };
                tokio::spawn(task);
            }
        }
    }
}

/// If there are too many connections, the one that was opened first makes room: clients that leave theirs open do not keep
/// others out (RFC 7766, 6.2.3).
async fn by_connections(server: Arc<Server>, listener: TcpListener) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut callers = JoinSet::new();
    let mut oldest = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while callers.try_join_next().is_some() {}
        oldest.retain(|caller: &AbortHandle| !caller.is_finished());
        if oldest.len() >= AT_ONCE
            && let Some(caller) = oldest.pop_front()
        {
            caller.abort();
        }
        let server = Arc::clone(&server);
        // Whoever goes away or is silent has no answer to miss.
        oldest.push_back(callers.spawn(async move { drop(converse(&server, stream).await) }));
    }
}

async fn converse(server: &Server, mut stream: tokio::net::TcpStream) -> io::Result<()> {
    loop {
        let length = tokio::time::timeout(IDLE, stream.read_u16()).await??;
        let mut message = vec![0; length.into()];
        tokio::time::timeout(IDLE, stream.read_exact(&mut message)).await??;
        let reply = server.respond(&message, Transport::Tcp);
        let reply = server.find_out(&message, Transport::Tcp, reply).await;
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

    /// What is sent in the end.
    async fn find_out(&self, message: &[u8], transport: Transport, reply: Reply) -> Option<Vec<u8>> {
        match reply {
            Reply::Send(reply) => Some(reply),
            Reply::Silence => None,
            Reply::Forward => self.forward(message, transport).await,
            Reply::Follow(alias) => {
                let more = self.follow(alias.question).await;
                dns::joined(message, transport, (&alias.reply, &more))
            }
        }
    }

    /// What an alias stands for, which may be another one.
    async fn follow(&self, mut question: Vec<u8>) -> Vec<Vec<u8>> {
        let (mut found, mut asked) = (Vec::new(), Vec::new());
        while asked.len() < dns::MOST_ALIASES {
            match self.respond(&question, Transport::Tcp) {
                Reply::Silence => break,
                Reply::Send(reply) => {
                    found.push(reply);
                    break;
                }
                Reply::Forward => {
                    found.extend(self.forward_whole(&question).await);
                    break;
                }
                // It leads back to where it came from.
                Reply::Follow(alias) if alias.question == question || asked.contains(&alias.question) => {
                    break;
                }
                Reply::Follow(alias) => {
                    found.push(alias.reply);
                    asked.push(std::mem::replace(&mut question, alias.question));
                }
            }
        }
        found
    }

    /// Over a connection if a datagram does not hold it.
    async fn forward_whole(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self.forward(message, Transport::Udp).await {
            Some(reply) if dns::is_cut(&reply) => self.forward(message, Transport::Tcp).await,
            reply => reply,
        }
    }

    /// What the host's servers say, or have said. Whoever asks much at once waits; whoever asks too much, or where nobody
    /// answers, is told of a failure.
    async fn forward(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let kept = self.cache().answer(message, transport, Instant::now());
        if kept.is_some() {
            return kept;
        }
        let Ok(_place) = self.queue.try_acquire() else { return dns::unanswered(message) };
        let Ok(Ok(_room)) = tokio::time::timeout(TURN, self.room.acquire()).await else {
            return dns::unanswered(message);
        };
        let servers =
            dns::servers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(), &self.own);
        let Some(reply) = dns::ask(message, transport, (&servers, &self.silent)).await else {
            return dns::unanswered(message);
        };
        self.cache().keep(message, transport, (&reply, Instant::now()));
        Some(reply)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
