use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::writer::{Limits, LogWriter, Written};
use super::super::{Stream, rotate};
use super::*;

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn container() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn source(dir: &TempDir, pick: Pick) -> Source {
    Source { dir: dir.path().to_owned(), pick, label: String::new() }
}

fn writer(dir: &TempDir, attempt: u32, limits: Limits) -> LogWriter {
    LogWriter::open(dir.path().join(format!("{attempt}.log")), limits).unwrap()
}

/// Writes `text` to an attempt's log, each line one second after the other, beginning with second 1.
fn log(dir: &TempDir, attempt: u32, text: &str) {
    let mut writer = writer(dir, attempt, Limits::default());
    for (second, line) in text.split_inclusive('\n').enumerate() {
        let _ = writer.write(Stream::Stdout, line.as_bytes(), at(second as u64 + 1)).unwrap();
    }
}

fn printed(sources: &[Source], query: &Query) -> String {
    let mut out = Vec::new();
    print(sources, query, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn tail(lines: u64) -> Query {
    Query { tail: Some(lines), ..Query::default() }
}

#[test]
fn what_was_written_comes_back_with_empty_lines_and_without_a_last_newline() {
    let dir = container();
    log(&dir, 0, "one\n\ntwo\nno end");
    assert_eq!(printed(&[source(&dir, Pick::Current)], &Query::default()), "one\n\ntwo\nno end");
}

#[test]
fn tail_counts_joined_lines_and_an_unfinished_one_too() {
    let dir = container();
    let long = "x".repeat(40_000);
    log(&dir, 0, &format!("one\n{long}\nthree\nfour"));
    let sources = [source(&dir, Pick::Current)];
    assert_eq!(printed(&sources, &tail(2)), "three\nfour");
    assert_eq!(printed(&sources, &tail(3)), format!("{long}\nthree\nfour"));
    assert_eq!(printed(&sources, &tail(99)), format!("one\n{long}\nthree\nfour"));
    assert_eq!(printed(&sources, &tail(0)), "");
}

#[test]
fn rotated_and_compressed_parts_are_read_as_one() {
    let dir = container();
    let mut writer = writer(&dir, 0, Limits { max_bytes: 100, max_files: 9 });
    let mut all = String::new();
    for second in 0..20 {
        let line = format!("line {second}\n");
        let _ = writer.write(Stream::Stdout, line.as_bytes(), at(second)).unwrap();
        all.push_str(&line);
    }
    rotate::compress_older(writer.path()).unwrap();
    let sources = [source(&dir, Pick::Current)];
    assert_eq!(printed(&sources, &Query::default()), all);
    assert_eq!(printed(&sources, &tail(7)), all[all.find("line 13").unwrap()..]);
}

#[test]
fn since_leaves_out_what_is_older() {
    let dir = container();
    log(&dir, 0, "one\ntwo\nthree\n");
    let query = Query { since: Some(at(2)), ..Query::default() };
    assert_eq!(printed(&[source(&dir, Pick::Current)], &query), "two\nthree\n");
    std::fs::write(
        dir.path().join("0.log"),
        "1970-01-01T00:00:01.5Z stdout F short\n1970-01-01T02:00:02+02:00 stdout F zoned\nno entry\n",
    )
    .unwrap();
    assert_eq!(printed(&[source(&dir, Pick::Current)], &query), "zoned\n");
}

#[test]
fn the_previous_attempt_is_the_one_before_the_latest() {
    let dir = container();
    log(&dir, 9, "nine\n");
    let previous = [source(&dir, Pick::Previous)];
    let error = print(&previous, &Query::default(), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ReadError::NoPrevious { .. }));
    log(&dir, 10, "ten\n");
    assert_eq!(printed(&previous, &Query::default()), "nine\n");
    assert_eq!(printed(&[source(&dir, Pick::Current)], &Query::default()), "ten\n");
    assert_eq!(printed(&[source(&dir, Pick::Onwards(3))], &Query::default()), "nine\nten\n");
}

#[test]
fn labels_and_times_stand_at_the_beginning_of_each_line() {
    let (a, b) = (container(), container());
    log(&a, 0, "one\nunfinished");
    log(&b, 0, "two\n");
    let labels = aligned_labels(&["a", "long"]);
    let label = |dir, label: &str| Source { label: label.to_owned(), ..source(dir, Pick::Current) };
    let sources = [label(&a, &labels[0]), label(&b, &labels[1])];
    assert_eq!(printed(&sources, &Query::default()), "a    | one\na    | unfinished\nlong | two\n");
    let query = Query { times: Times::Shown, ..tail(1) };
    assert_eq!(
        printed(&[label(&b, &pod_label("web", "b"))], &query),
        "[pod/web/b] 1970-01-01T00:00:01.000000000Z two\n"
    );
}

#[test]
fn no_more_bytes_are_printed_than_asked_for() {
    let dir = container();
    log(&dir, 0, "one\ntwo\n");
    let query = Query { limit_bytes: Some(5), ..Query::default() };
    assert_eq!(printed(&[source(&dir, Pick::Current)], &query), "one\nt");
}

#[test]
fn a_container_that_has_not_started_prints_nothing() {
    let dir = container();
    let missing = Source { dir: dir.path().join("none"), ..source(&dir, Pick::Current) };
    assert_eq!(printed(&[missing], &Query::default()), "");
}

/// A follower in a thread of its own, whose output can be waited for.
struct Following {
    text: mpsc::Receiver<Vec<u8>>,
    seen: String,
    stop: Option<io::PipeWriter>,
    thread: thread::JoinHandle<Result<(), ReadError>>,
}

struct Channel(mpsc::Sender<Vec<u8>>);

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Following {
    fn start(sources: Vec<Source>, query: Query) -> Self {
        let (sender, text) = mpsc::channel();
        let (reader, stop) = io::pipe().unwrap();
        let thread = thread::spawn(move || follow(&sources, &query, &mut Channel(sender), reader.as_fd()));
        Self { text, seen: String::new(), stop: Some(stop), thread }
    }

    #[track_caller]
    fn expect(&mut self, all: &str) {
        while self.seen != all {
            let more = self.text.recv_timeout(Duration::from_secs(20));
            let more = more.unwrap_or_else(|_| panic!("seen only {:?}, not {all:?}", self.seen));
            self.seen.push_str(&String::from_utf8(more).unwrap());
            assert!(all.starts_with(&self.seen), "seen {:?}, expected {all:?}", self.seen);
        }
    }

    fn end(mut self) -> String {
        drop(self.stop.take());
        self.thread.join().unwrap().unwrap();
        self.seen.extend(self.text.iter().map(|bytes| String::from_utf8(bytes).unwrap()));
        self.seen
    }
}

#[test]
fn a_follower_sees_what_comes_and_a_prompt_before_its_newline() {
    let dir = container();
    let mut writer = writer(&dir, 0, Limits::default());
    let mut write = |text: &str| {
        let _ = writer.write(Stream::Stdout, text.as_bytes(), at(1)).unwrap();
    };
    write("before\n");
    let mut following = Following::start(vec![source(&dir, Pick::Current)], tail(0));
    // Nothing tells from outside when the watch is set; what is written before it counts as before.
    thread::sleep(Duration::from_millis(200));
    write("one\n");
    following.expect("one\n");
    write("name? ");
    following.expect("one\nname? ");
    write("web\n");
    following.expect("one\nname? web\n");
    write("last");
    assert_eq!(following.end(), "one\nname? web\nlast");
}

#[test]
fn a_follower_goes_through_rotations_without_losing_or_repeating_a_line() {
    let dir = container();
    let mut following = Following::start(vec![source(&dir, Pick::Current)], Query::default());
    let mut writer = writer(&dir, 0, Limits { max_bytes: 2000, max_files: 1000 });
    let mut all = String::new();
    for number in 0..3000 {
        let line = format!("line {number}\n");
        if writer.write(Stream::Stdout, line.as_bytes(), at(number / 40)).unwrap() == Written::Rotated
            && number % 7 == 0
        {
            rotate::compress_older(writer.path()).unwrap();
        }
        all.push_str(&line);
    }
    following.expect(&all);
    assert_eq!(following.end(), all);
}

#[test]
fn a_follower_waits_for_a_container_that_has_not_started_and_for_its_next_attempts() {
    let dir = container();
    let deep = dir.path().join("pod/web");
    let sources = vec![Source { dir: deep.clone(), pick: Pick::Onwards(0), label: "web | ".into() }];
    let mut following = Following::start(sources, Query::default());
    thread::sleep(Duration::from_millis(50));
    let mut first = LogWriter::open(deep.join("0.log"), Limits::default()).unwrap();
    let _ = first.write(Stream::Stdout, b"first\nunfini", at(1)).unwrap();
    following.expect("web | first\nweb | unfini");
    let mut second = LogWriter::open(deep.join("1.log"), Limits::default()).unwrap();
    let _ = second.write(Stream::Stdout, b"second\n", at(2)).unwrap();
    // The line that the first attempt left open is not the second one's.
    following
        .expect("web | first\nweb | unfinisecond\n".replace("unfinisecond", "unfini\nweb | second").as_str());
    following.end();
}

#[test]
fn followed_containers_do_not_mix_their_lines() {
    let (a, b) = (container(), container());
    let label = |dir, label: &str| Source { label: label.to_owned(), ..source(dir, Pick::Current) };
    let mut following = Following::start(vec![label(&a, "a | "), label(&b, "b | ")], Query::default());
    let (mut a, mut b) = (writer(&a, 0, Limits::default()), writer(&b, 0, Limits::default()));
    let _ = a.write(Stream::Stdout, b"half", at(1)).unwrap();
    let _ = b.write(Stream::Stderr, b"whole\n", at(1)).unwrap();
    following.expect("b | whole\n");
    let _ = a.write(Stream::Stdout, b" and half\n", at(1)).unwrap();
    following.expect("b | whole\na | half and half\n");
    following.end();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn reading_gives_back_every_byte_over_chunks_rotations_and_compression(
        chunks in prop::collection::vec(
            prop_oneof!["[ab\n]{0,30}", "[x]{20000,40000}", "\n{1,3}"], 0..20)
    ) {
        let dir = container();
        let mut writer = writer(&dir, 0, Limits { max_bytes: 30_000, max_files: 99 });
        for (second, chunk) in chunks.iter().enumerate() {
            if writer.write(Stream::Stdout, chunk.as_bytes(), at(second as u64)).unwrap()
                == Written::Rotated
            {
                rotate::compress_older(writer.path()).unwrap();
            }
        }
        let sources = [source(&dir, Pick::Current)];
        let all = chunks.concat();
        prop_assert_eq!(&printed(&sources, &Query::default()), &all);
        let lines: Vec<&str> = all.split_inclusive('\n').collect();
        for count in [0, 1, 2, 5] {
            let expected = lines[lines.len().saturating_sub(count)..].concat();
            prop_assert_eq!(printed(&sources, &tail(count as u64)), expected, "tail {}", count);
        }
    }
}
