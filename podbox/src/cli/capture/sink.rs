//! Where packets go: lines on the terminal, or a pcapng file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use netplugin::{Seen, Way};

use crate::capture::line::Shown;
use crate::capture::packet::Packet;
use crate::capture::pcapng::{Record, Writer};
use crate::report;

use super::super::{Failure, out};
use super::places::Place;

/// A packet and what is known of it.
pub(super) struct About<'a> {
    pub(super) seen: &'a Seen,
    pub(super) bytes: &'a [u8],
    pub(super) packet: &'a Packet,
    /// The container that it comes from or goes to.
    pub(super) owner: Option<&'a str>,
}

/// Takes packets.
pub(super) enum Sink {
    Lines { text: String, widest: usize },
    File(Box<Pcapng>),
}

/// A pcapng file in the making.
pub(super) struct Pcapng {
    writer: Writer<BufWriter<Box<dyn Write>>>,
    path: PathBuf,
    filter: Option<String>,
    /// The file's numbers of interfaces by the kernel's, with how many packets there were.
    interfaces: BTreeMap<u32, (u32, u64)>,
    last: Duration,
}

impl Sink {
    pub(super) fn lines() -> Sink {
        Sink::Lines { text: String::new(), widest: 0 }
    }

    /// A file, or standard output. `limit` is the most that is kept of a packet.
    pub(super) fn file(path: &Path, limit: u32, filter: Option<String>) -> Result<Sink, Failure> {
        let out: Box<dyn Write> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            let made = File::create(path);
            Box::new(made.map_err(|error| Failure::wrong(format!("create {}: {error}", path.display())))?)
        };
        let path = path.to_owned();
        let writer = Writer::new(BufWriter::with_capacity(256 << 10, out), limit)
            .map_err(|error| failed(&path, &error))?;
        Ok(Sink::File(Box::new(Pcapng {
            writer,
            path,
            filter,
            interfaces: BTreeMap::new(),
            last: Duration::ZERO,
        })))
    }

    pub(super) fn take(&mut self, place: &Place, about: &About<'_>) -> Result<(), Failure> {
        match self {
            Sink::Lines { text, widest } => {
                line(text, widest, place, about);
                Ok(())
            }
            Sink::File(file) => file.take(place, about).map_err(|error| failed(&file.path, &error)),
        }
    }

    /// Hands on what has come so far.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Sink::Lines { text, .. } => out::print(std::mem::take(text)),
            Sink::File(file) => file.writer.flush().map_err(|error| failed(&file.path, &error)),
        }
    }

    /// Ends it. `lost`: how many packets the kernel has dropped, on all interfaces together.
    pub(super) fn close(&mut self, lost: u64) -> Result<(), Failure> {
        if let Sink::File(file) = self {
            let Pcapng { writer, interfaces, last, path, .. } = &mut **file;
            for (id, received) in interfaces.values() {
                writer.statistics(*id, *last, *received, lost).map_err(|error| failed(path, &error))?;
            }
        }
        self.flush()
    }
}

impl Pcapng {
    fn take(&mut self, place: &Place, about: &About<'_>) -> io::Result<()> {
        let About { seen, bytes, owner, .. } = about;
        let id = match self.interfaces.get(&seen.index) {
            Some((id, _)) => *id,
            None => self.writer.interface(&place.interface, &place.description, self.filter.as_deref())?,
        };
        self.interfaces.entry(seen.index).or_insert((id, 0)).1 += 1;
        self.last = seen.at;
        let comment = owner.map(|owner| format!("container {owner}"));
        let comment = comment.as_deref();
        self.writer.packet(&Record {
            interface: id,
            at: seen.at,
            way: seen.way,
            length: seen.length,
            bytes,
            comment,
        })
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::unheard(),
        _ => Failure::cannot(format!("write {}: {}", path.display(), report::chain(error))),
    }
}

/// `13:04:10.123456 eth0 Out web tcp 10.244.0.2:40000 > 10.244.0.3:80: Flags [S], …`
fn line(text: &mut String, widest: &mut usize, place: &Place, about: &About<'_>) {
    use std::fmt::Write as _;
    let nanosecond = i128::try_from(about.seen.at.as_nanos()).unwrap_or(0);
    let time = Timestamp::from_nanosecond(nanosecond).unwrap_or_default().to_zoned(TimeZone::system());
    let way = match about.seen.way {
        Way::Out => "Out",
        Way::InBroadcast => "B",
        Way::InMulticast => "M",
        Way::InForeign => "P",
        Way::In => "In",
    };
    let owner = about.owner.unwrap_or("-");
    *widest = (*widest).max(owner.len());
    let shown = Shown(about.packet, about.seen.length);
    let (time, name) = (time.strftime("%H:%M:%S.%6f"), &place.interface.name);
    let _ = writeln!(text, "{time} {name:<5} {way:<3} {owner:<widest$} {shown}", widest = *widest);
}
