//! Where a reader stands in one container's logs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use super::super::entry::{Entry, Stream, Tag};
use super::super::rotate;
use super::lines::{Pending, Printer};
use super::{Pick, Query, ReadError, Source, attempts};

/// A place in a container's logs.
pub(super) struct Cursor<'a> {
    id: usize,
    source: &'a Source,
    at: Option<Place>,
    /// Lines that `tail` still leaves out.
    skip: u64,
    pending: [Pending; 2],
}

/// The attempt that is being read.
struct Place {
    attempt: u32,
    log: PathBuf,
    /// The current part, unless a rotation has just taken it away.
    current: Option<Current>,
    /// The rotated parts that have been read, without their `.gz`.
    done: Vec<PathBuf>,
}

/// The part that is still written to.
struct Current {
    file: File,
    inode: u64,
    /// The beginning of an entry whose end was not written when it was read.
    carry: Vec<u8>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(id: usize, source: &'a Source) -> Self {
        Self { id, source, at: None, skip: 0, pending: Default::default() }
    }

    /// The source's directory.
    pub(super) fn dir(&self) -> &'a Path {
        &self.source.dir
    }

    /// Reads all there is: from the beginning the first time, from the last place later.
    pub(super) fn read(&mut self, printer: &mut Printer<'_>, query: &Query) -> Result<(), ReadError> {
        if self.at.is_none() {
            let Some(attempt) = self.first_attempt()? else { return Ok(()) };
            let log = self.log(attempt);
            self.skip = surplus(&log, query.tail)?;
            self.at = Some(Place { attempt, log, current: None, done: Vec::new() });
        }
        loop {
            self.drain(printer)?;
            if printer.is_full() || !(self.turn(printer, query)? || self.next_attempt(printer)?) {
                return Ok(());
            }
        }
    }

    /// Reads what was added to the current part: the common case of following.
    pub(super) fn drain(&mut self, printer: &mut Printer<'_>) -> Result<(), ReadError> {
        let Some(mut place) = self.at.take() else { return Ok(()) };
        let drained = match &mut place.current {
            Some(current) => self.lines(&mut current.file, &place.log, &mut current.carry, printer),
            None => Ok(()),
        };
        self.at = Some(place);
        drained
    }

    /// Prints lines that have no end yet.
    pub(super) fn show_pending(&mut self, printer: &mut Printer<'_>) -> Result<(), ReadError> {
        let [stdout, stderr] = &mut self.pending;
        printer.show((self.id, Stream::Stdout), stdout)?;
        printer.show((self.id, Stream::Stderr), stderr)
    }

    /// Prints what is left when no more is to come.
    pub(super) fn end(&mut self, printer: &mut Printer<'_>) -> Result<(), ReadError> {
        self.show_pending(printer)?;
        printer.abandon();
        Ok(())
    }

    fn log(&self, attempt: u32) -> PathBuf {
        self.source.dir.join(format!("{attempt}.log"))
    }

    fn first_attempt(&self) -> Result<Option<u32>, ReadError> {
        let dir = &self.source.dir;
        let numbers = attempts(dir).map_err(ReadError::read(dir))?;
        Ok(match self.source.pick {
            Pick::Current => numbers.last().copied(),
            Pick::Onwards(first) => numbers.iter().copied().find(|number| *number >= first),
            Pick::Previous => match numbers[..] {
                [.., previous, _] => Some(previous),
                _ => return Err(ReadError::NoPrevious { dir: dir.clone() }),
            },
        })
    }

    /// Opens the current part if it is not the one at hand, and reads all parts that lie between the two;
    /// `false` if there is nothing to turn to.
    fn turn(&mut self, printer: &mut Printer<'_>, query: &Query) -> Result<bool, ReadError> {
        let Some(place) = &self.at else { return Ok(false) };
        let held = place.current.as_ref().map(|current| current.inode);
        let log = place.log.clone();
        if held.is_some() && held == inode(&log)? {
            return Ok(false);
        }
        let (current, parts) = look(&log)?;
        // What was written to the part at hand before it was renamed: nobody will add to it any more.
        self.drain(printer)?;
        let new = match &self.at {
            Some(place) => parts.iter().filter(|part| !place.done.contains(&plain_name(part))).collect(),
            None => Vec::new(),
        };
        let turned = current.is_some() || !new.is_empty();
        for (at, part) in new.into_iter().enumerate() {
            // The first part that is new has been read already, when it was the current one.
            let had = match held {
                None => false,
                Some(_) if is_gzip(part) => at == 0,
                Some(held) => inode(part)?.map_or(at == 0, |inode| inode == held),
            };
            // A part that was last written before the wanted time holds nothing of it.
            let modified = fs::metadata(part).and_then(|meta| meta.modified()).ok();
            let too_old = modified.zip(query.since).is_some_and(|(modified, since)| modified < since);
            if !had && !too_old {
                let mut reader = open_part(part).map_err(ReadError::read(part))?;
                self.lines(&mut *reader, part, &mut Vec::new(), printer)?;
            }
        }
        if let Some(place) = &mut self.at {
            place.current = current;
            place.done = parts.iter().map(|part| plain_name(part)).collect();
        }
        Ok(turned)
    }

    /// Turns to the attempt after the one at hand, if it is wanted and there.
    fn next_attempt(&mut self, printer: &mut Printer<'_>) -> Result<bool, ReadError> {
        let (Some(place), Pick::Onwards(_)) = (&self.at, self.source.pick) else { return Ok(false) };
        let later = attempts(&self.source.dir).map_err(ReadError::read(&self.source.dir))?;
        let Some(attempt) = later.into_iter().find(|number| *number > place.attempt) else {
            return Ok(false);
        };
        self.drain(printer)?;
        self.end(printer)?;
        self.at = Some(Place { attempt, log: self.log(attempt), current: None, done: Vec::new() });
        Ok(true)
    }

    fn lines(
        &mut self,
        reader: &mut dyn Read,
        path: &Path,
        carry: &mut Vec<u8>,
        printer: &mut Printer<'_>,
    ) -> Result<(), ReadError> {
        each_line(reader, path, carry, &mut |line| {
            let Some(entry) = Entry::parse(line) else { return Ok(Go::On) };
            if self.skip > 0 {
                self.skip -= u64::from(entry.tag == Tag::Full);
                return Ok(Go::On);
            }
            let pending = &mut self.pending[usize::from(entry.stream == Stream::Stderr)];
            printer.entry((self.id, entry.stream), &self.source.label, &entry, pending)?;
            Ok(if printer.is_full() { Go::Home } else { Go::On })
        })
    }
}

/// Whether to read on.
enum Go {
    On,
    Home,
}

/// Hands over each whole line; what comes after the last newline is carried to the next call.
fn each_line(
    reader: &mut dyn Read,
    path: &Path,
    carry: &mut Vec<u8>,
    act: &mut dyn FnMut(&[u8]) -> Result<Go, ReadError>,
) -> Result<(), ReadError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ReadError::read(path)(error)),
        };
        let mut rest = &buffer[..length];
        while let Some(newline) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(newline + 1);
            rest = after;
            let go = if carry.is_empty() {
                act(line)?
            } else {
                carry.extend_from_slice(line);
                let go = act(carry)?;
                carry.clear();
                go
            };
            if matches!(go, Go::Home) {
                return Ok(());
            }
        }
        carry.extend_from_slice(rest);
    }
}

fn inode(path: &Path) -> Result<Option<u64>, ReadError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReadError::read(path)(error)),
    }
}

/// The current part and the rotated ones, as they were at one moment.
///
/// A rotation may come between opening and listing; then both are done again. It may also have taken the
/// current part away and not yet made the new one, which takes it some microseconds.
fn look(log: &Path) -> Result<(Option<Current>, Vec<PathBuf>), ReadError> {
    let mut patience = 0..5;
    loop {
        let opened = File::open(log).and_then(|file| Ok((file.metadata()?.ino(), file)));
        let current = match opened {
            Ok((inode, file)) => Some(Current { file, inode, carry: Vec::new() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ReadError::read(log)(error)),
        };
        let parts = rotate::rotated(log).map_err(ReadError::read(log))?;
        match &current {
            Some(current) if inode(log)? == Some(current.inode) => {}
            None if patience.next().is_none() => {}
            None => {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            Some(_) => continue,
        }
        return Ok((current, parts));
    }
}

/// A rotated part's name as it was before it was compressed.
fn plain_name(part: &Path) -> PathBuf {
    if is_gzip(part) { part.with_extension("") } else { part.to_owned() }
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// A rotated part, which may have been compressed or removed since its name was read.
fn open_part(path: &Path) -> io::Result<Box<dyn Read>> {
    if is_gzip(path) {
        return Ok(Box::new(MultiGzDecoder::new(File::open(path)?)));
    }
    let missing = match File::open(path) {
        Ok(file) => return Ok(Box::new(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        Err(error) => return Err(error),
    };
    let mut gzipped = path.as_os_str().to_owned();
    gzipped.push(".gz");
    match File::open(gzipped) {
        Ok(file) => Ok(Box::new(MultiGzDecoder::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(io::empty())),
        Err(_) => Err(missing),
    }
}

/// How many of the first lines to leave out so that `tail` are left. A line without an end is one too.
fn surplus(log: &Path, tail: Option<u64>) -> Result<u64, ReadError> {
    let Some(tail) = tail else { return Ok(0) };
    let mut parts = rotate::rotated(log).map_err(ReadError::read(log))?;
    parts.push(log.to_owned());
    let (mut full, mut unfinished) = (0, [0, 0]);
    for part in &parts {
        let mut reader = match open_part(part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(ReadError::read(part))?,
        };
        each_line(&mut *reader, part, &mut Vec::new(), &mut |line| {
            if let Some(entry) = Entry::parse(line) {
                let ends = entry.tag == Tag::Full;
                full += u64::from(ends);
                unfinished[usize::from(entry.stream == Stream::Stderr)] = u64::from(!ends);
            }
            Ok(Go::On)
        })?;
    }
    Ok((full + unfinished[0] + unfinished[1]).saturating_sub(tail))
}
