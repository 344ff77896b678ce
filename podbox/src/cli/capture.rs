//! `podbox capture`: packets of a pod, as lines or in a file.

mod places;
mod sink;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use netplugin::{PacketSocket, Seen};
use runtime::cgroup::Cgroups;

use crate::capture::filter;
use crate::capture::owners::{Owners, Processes};
use crate::capture::packet::Packet;
use crate::config::duration;
use crate::oci;
use crate::status;

use super::pods::{self, Found};
use super::watch::{Watch, Woken};
use super::{Failure, Session, completion, names};
use places::Places;
use sink::Sink;

/// Arguments of `capture`.
#[derive(Debug, Args)]
pub(super) struct CaptureArgs {
    /// The pod
    #[arg(add = completion::pod())]
    pod: String,
    /// Which packets: words of tcpdump's filters, such as tcp port 80 and not host 10.244.0.1
    #[arg(trailing_var_arg = true, value_name = "FILTER")]
    filter: Vec<String>,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// Write a pcapng file instead of lines; - is standard output
    #[arg(long, short, value_name = "FILE|-")]
    write: Option<PathBuf>,
    /// The interface; any is all of them [default: eth0]
    #[arg(long, short, value_name = "NAME|any")]
    interface: Option<String>,
    /// End after so many packets
    #[arg(long, short, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time
    #[arg(long, value_parser = duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// Keep at most so many bytes of a packet
    #[arg(long, default_value_t = LONGEST, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=i64::from(LONGEST)))]
    snaplen: u32,
}

/// As much as any packet can have.
const LONGEST: u32 = 262_144;
/// So many packets are taken before anything else is looked at.
const BURST: usize = 256;

/// Runs the command.
pub(super) fn run(session: &Session, args: &CaptureArgs) -> Result<ExitCode, Failure> {
    names::require_root("capture a pod's packets")?;
    let text = args.filter.join(" ");
    let wanted = filter::parse(&text).map_err(|error| Failure::request(&error))?;
    let (namespace, name) = names::pod_name(&args.pod, &args.namespace);
    let found = pods::find(session, namespace, name)?;
    let netns = netns(&found, args)?;
    let places = Places::of(&found.name(), netns.clone(), args.interface.as_deref())?;
    let program =
        filter::compile(wanted.as_ref(), places.only()).map_err(|error| Failure::request(&error))?;
    let socket = PacketSocket::open(netns.as_deref(), &program).map_err(|error| Failure::host(&error))?;
    let filter = wanted.map(|wanted| wanted.to_string());
    let sink = match &args.write {
        Some(path) => Sink::file(path, args.snaplen, filter)?,
        None => Sink::lines(),
    };
    let mut watch = Watch::new()?;
    watch.catch_interrupts()?;
    watch.mind_the_reader();
    watch.add(found.dir.run());
    if !session.quiet {
        anstream::eprintln!("capturing on {} of pod {}; Ctrl-C ends it", places.shown(), found.name());
    }
    let owners = Owners::new(netns, || processes(&found));
    let mut capture = Capture { socket, places, owners, sink, left: args.count, lost: 0, taken: 0 };
    let result = capture.go_on(&watch, &found, args.duration.map(|time| Instant::now() + time));
    let closed = capture.sink.close(u64::from(capture.lost));
    if !session.quiet {
        let Capture { taken, lost, .. } = capture;
        // In one piece: the lines go another way, and whoever reads both mixes them.
        let said = format!("{taken} packets captured, {lost} dropped by the kernel\n");
        anstream::eprint!("{said}");
    }
    result.and(closed).map(|()| ExitCode::SUCCESS)
}

/// The pod's own network namespace; none is the host's.
fn netns(found: &Found, args: &CaptureArgs) -> Result<Option<PathBuf>, Failure> {
    if found.pod.host.network {
        if args.interface.is_none() {
            let problem = "it is in the host's network, whose interfaces carry the packets of others too";
            return Err(Failure::wrong(format!("capture packets of pod {}: {problem}", found.name()))
                .hint("say which interface is meant: -i NAME, or -i any"));
        }
        return Ok(None);
    }
    let netns = found.dir.namespaces().join("net");
    if !netns.exists() {
        return Err(Failure::pod(format!("capture packets of pod {}: it has no network now", found.name())));
    }
    Ok(Some(netns))
}

/// The processes of each running container.
fn processes(found: &Found) -> Processes {
    let cgroups = Cgroups::detect();
    let records = found.memory().map(|memory| memory.containers).unwrap_or_default();
    let running = records.into_iter().filter_map(|record| {
        let first = status::process(&record)?;
        let group = cgroups.at(&oci::container_path(&found.pod, &record.name, record.attempt));
        let mut pids = group.pids();
        if !pids.contains(&first.pid) {
            pids.push(first.pid);
        }
        Some((record.name, pids))
    });
    running.collect()
}

struct Capture<'a> {
    socket: PacketSocket,
    places: Places,
    owners: Owners<'a>,
    sink: Sink,
    /// How many packets are still to come, if that was said.
    left: Option<u64>,
    taken: u64,
    lost: u32,
}

impl Capture<'_> {
    /// Takes packets until there are enough, the time is over, the pod has gone, or somebody has seen enough.
    fn go_on(&mut self, watch: &Watch, found: &Found, until: Option<Instant>) -> Result<(), Failure> {
        let mut buffer = vec![0; LONGEST as usize];
        while self.left != Some(0) {
            match watch.wait(Some(self.socket.as_fd()), until)? {
                Woken::Interrupted | Woken::Unheard | Woken::TimedOut => break,
                Woken::Changed if !found.dir.namespaces().exists() => {
                    self.burst(&mut buffer)?;
                    break;
                }
                Woken::Changed => {}
                Woken::Ready => self.burst(&mut buffer)?,
            }
        }
        Ok(())
    }

    fn burst(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        for _ in 0..BURST {
            if self.left == Some(0) {
                break;
            }
            let Some(seen) = self.socket.receive(buffer).map_err(|error| Failure::host(&error))? else {
                break;
            };
            self.take(&seen, &buffer[..seen.captured])?;
        }
        self.sink.flush()
    }

    fn take(&mut self, seen: &Seen, bytes: &[u8]) -> Result<(), Failure> {
        self.lost = self.lost.max(seen.lost);
        let packet = Packet::read(seen.hardware, bytes, seen.length);
        let owner = packet.ip().and_then(|ip| self.owners.of(ip, seen.way));
        let Some(place) = self.places.find(seen.index) else { return Ok(()) };
        let about = sink::About { seen, bytes, packet: &packet, owner };
        self.sink.take(place, &about)?;
        self.taken += 1;
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}
