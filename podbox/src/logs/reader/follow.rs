//! Following: waiting for output that is yet to come.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::cursor::Cursor;
use super::lines::Printer;
use super::{Query, ReadError, Source};

/// Prints what there is and then what comes, until `stop` becomes readable (or hangs up); what was written
/// by then is still printed.
///
/// Directories and logs that are not there yet are waited for.
///
/// # Errors
/// As [`super::print`], and where the kernel gives no watch.
pub fn follow(
    sources: &[Source],
    query: &Query,
    out: &mut dyn Write,
    stop: BorrowedFd<'_>,
) -> Result<(), ReadError> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
        .map_err(|errno| ReadError::Watch { path: Path::new("inotify").to_owned(), source: errno.into() })?;
    let mut printer = Printer::new(out, query);
    let mut cursors: Vec<Followed<'_>> = sources
        .iter()
        .enumerate()
        .map(|(id, source)| Followed { cursor: Cursor::new(id, source), watched: false })
        .collect();
    let alone = cursors.len() == 1;
    let mut news = News::Files;
    loop {
        for followed in &mut cursors {
            followed.read(&inotify, news, &mut printer, query)?;
            if alone {
                followed.cursor.show_pending(&mut printer)?;
            }
        }
        printer.flush()?;
        if printer.is_full() {
            return Ok(());
        }
        news = match wait(&inotify, stop)? {
            Woken::Output(news) => news,
            Woken::Stop => break,
        };
    }
    for followed in &mut cursors {
        followed.read(&inotify, News::Files, &mut printer, query)?;
        followed.cursor.end(&mut printer)?;
    }
    printer.flush()
}

struct Followed<'a> {
    cursor: Cursor<'a>,
    watched: bool,
}

/// What has happened in a watched directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// Files have grown.
    Growth,
    /// Files or directories have come, gone or been renamed.
    Files,
}

enum Woken {
    Output(News),
    Stop,
}

impl Followed<'_> {
    fn read(
        &mut self,
        inotify: &Inotify,
        news: News,
        printer: &mut Printer<'_>,
        query: &Query,
    ) -> Result<(), ReadError> {
        if !self.watched {
            self.watched = watch(inotify, self.cursor.dir())?;
        }
        match news {
            News::Growth => self.cursor.drain(printer),
            News::Files => self.cursor.read(printer, query),
        }
    }
}

/// Watches the directory, or the nearest one above it that is there, so that its making is noticed.
fn watch(inotify: &Inotify, dir: &Path) -> Result<bool, ReadError> {
    let mask = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_ONLYDIR;
    let mut at = dir;
    loop {
        match inotify.add_watch(at, mask) {
            // The directory below may have been made before its parent was watched: look again.
            Ok(_) if at != dir && dir.starts_with(at) && next_below(at, dir).is_dir() => at = dir,
            Ok(_) => return Ok(at == dir),
            Err(Errno::ENOENT) => {
                at = at.parent().filter(|up| !up.as_os_str().is_empty()).unwrap_or(Path::new("."))
            }
            Err(errno) => return Err(ReadError::Watch { path: at.to_owned(), source: errno.into() }),
        }
    }
}

/// The directory one step below `above` on the way to `dir`.
fn next_below<'a>(above: &Path, dir: &'a Path) -> &'a Path {
    dir.ancestors().take_while(|path| *path != above).last().unwrap_or(dir)
}

fn wait(inotify: &Inotify, stop: BorrowedFd<'_>) -> Result<Woken, ReadError> {
    let failed = |source: io::Error| ReadError::Watch { path: Path::new("inotify").to_owned(), source };
    loop {
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN), PollFd::new(stop, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(failed(errno.into())),
            Ok(_) => {}
        }
        if fds[1].any().unwrap_or(true) {
            return Ok(Woken::Stop);
        }
        match inotify.read_events() {
            Ok(events) => {
                let growth = events.iter().all(|event| event.mask == AddWatchFlags::IN_MODIFY);
                return Ok(Woken::Output(if growth { News::Growth } else { News::Files }));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}
