//! The session with a container that has been asked for a moment ago.

use std::io;
use std::process::ExitCode;

use crate::logs::reader::{self, Pick, Query, ReadError, Source};
use crate::pod::Container;
use crate::supervisor::attach::Since;
use crate::supervisor::machine::{Record, State, Terminated};

use super::super::attach::session::{Connection, Wish};
use super::super::pods::{Care, Found};
use super::super::watch::{Watch, Woken};
use super::super::{Failure, Session};
use super::DebugArgs;

/// Asks for a session that begins when the container does.
pub(super) fn ask(
    session: &Session,
    found: &Found,
    container: &Container,
    args: &DebugArgs,
) -> Result<(Connection, Wish), Failure> {
    let wanted = (args.streams.stdin, args.streams.tty);
    let wish = Wish::of(container, 0, wanted, &args.detach_keys, !session.quiet);
    Ok((Connection::ask(found, &wish, Since::Start)?, wish))
}

/// Waits until the container runs, telling why it does not, and takes part in its life until it or the session ends.
pub(super) fn follow(found: &Found, mut connection: Connection, wish: &Wish) -> Result<ExitCode, Failure> {
    wait_for_the_answer(found, &wish.container, &connection)?;
    if let Err(refused) = connection.hear(found) {
        return match (ended(found, &wish.container), found.care()) {
            (Some(end), _) => of_logs(found, &wish.container, &end),
            (None, Care::Finished) => {
                Err(Failure::pod(format!("pod {} ended before container {}", found.name(), wish.container)))
            }
            (None, Care::Guarded | Care::Abandoned) => Err(refused),
        };
    }
    let code = connection.follow(found, wish)?;
    match ended(found, &wish.container).filter(|end| end.reason == "StartError") {
        Some(end) => Err(not_started(found, &wish.container, &end)),
        None => Ok(code),
    }
}

/// Until the supervisor answers, which it does when the container begins.
fn wait_for_the_answer(found: &Found, name: &str, connection: &Connection) -> Result<(), Failure> {
    let mut watch = Watch::new()?;
    watch.catch_interrupts()?;
    watch.add(found.dir.run());
    let mut told = None;
    loop {
        let why = record(found, name).and_then(|record| record.why);
        if let Some(why) = why.filter(|why| told.as_ref() != Some(why)) {
            anstream::eprintln!("Warning: container {name}: {}: {}", why.reason, why.message);
            told = Some(why);
        }
        match watch.wait(Some(connection.answer()), None)? {
            Woken::Ready => return Ok(()),
            Woken::Interrupted => return Err(Failure::interrupted()),
            Woken::Changed | Woken::Unheard | Woken::TimedOut => {}
        }
    }
}

fn record(found: &Found, name: &str) -> Option<Record> {
    found.memory()?.containers.into_iter().find(|record| record.name == name)
}

fn ended(found: &Found, name: &str) -> Option<Terminated> {
    match record(found, name)?.state {
        State::Exited(end) => Some(end),
        _ => None,
    }
}

/// It was quicker than this command.
fn of_logs(found: &Found, name: &str, end: &Terminated) -> Result<ExitCode, Failure> {
    if end.reason == "StartError" {
        return Err(not_started(found, name, end));
    }
    anstream::eprintln!("Container terminated, falling back to logs");
    let dir = found.dir.logs(&found.pod.namespace, &found.pod.name, &found.pod.uid).join(name);
    let source = Source { dir, pick: Pick::Current, label: String::new() };
    match reader::print(&[source], &Query::default(), &mut io::stdout()) {
        Err(ReadError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other.map_err(|error| Failure::host(&error))?,
    }
    Ok(ExitCode::from(u8::try_from(end.exit.code()).unwrap_or(1)))
}

fn not_started(found: &Found, name: &str, end: &Terminated) -> Failure {
    let message = end.message.clone().unwrap_or_default();
    let code = if message.contains("not found") || message.contains("No such file") { 127 } else { 126 };
    Failure::code(code, format!("container {name} of pod {}: StartError: {message}", found.name()))
}
