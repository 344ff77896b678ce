//! Manifests that are nearly right: those of the tests, mutated byte by byte, word by word and line by line.
//!
//! Whatever the text is, reading it ends soon, without a panic, and every mistake is shown inside of the file. What is
//! accepted is accepted again when podbox prints it, and by every `--validate`.
//!
//! `hack/fuzz SECONDS` goes on for so long, from a seed that it prints.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Color, Diagnostics, Options, Source, Strictness, load};

/// How many texts are tried where no time is given.
const CASES: u64 = 1500;
/// Far above what a text of some KiB takes, so that a slow machine passes.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a manifest may hold somewhere and should not everywhere.
const WORDS: [&str; 46] = [
    "&a",
    "*a",
    "<<: *a",
    "\n<<: *a\n",
    "\t",
    "\u{feff}",
    "\n---\n",
    "\n...\n",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[",
    "!!str",
    "!!int ",
    "!x ",
    "|",
    ">-",
    "'",
    "\"",
    ": ",
    "- ",
    "null",
    "~",
    "0644",
    "1e999",
    "-1",
    "9223372036854775808",
    "yes",
    "no",
    "\\ud83d\\ude00",
    " # ",
    "%",
    "@",
    "? ",
    "\r\n",
    "\u{85}",
    "\u{2028}",
    "名前",
    "\u{1f600}",
    "spec",
    "containers",
    "{}",
    "[]",
    ".nan",
    "\0",
];

/// xorshift: a test that fails must fail again with its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap_or(0) % limit
    }

    /// A place in something of this length, its end included.
    fn place(&mut self, length: usize) -> usize {
        self.below(length + 1)
    }

    fn range(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.place(length);
        start..(start + self.below(most) + 1).min(length)
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/manifests")];
    while let Some(dir) = dirs.pop() {
        let mut entries: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() { dirs.push(path) } else { found.push(std::fs::read(path).unwrap()) }
        }
    }
    let json: Vec<Vec<u8>> = found
        .iter()
        .filter_map(|text| load(&[Source::new("f", text.clone())], &Options::default()).ok())
        .map(|loaded| loaded.pods[0].object.to_string().into_bytes())
        .collect();
    found.extend(json);
    assert!(found.len() > 100);
    found
}

/// Where words and what is between them begin.
fn borders(text: &[u8]) -> Vec<usize> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    let change = |at: &usize| *at == 0 || is_word(text[*at]) != is_word(text[*at - 1]) || !is_word(text[*at]);
    (0..text.len()).filter(change).chain([text.len()]).collect()
}

fn mutate(text: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let length = text.len();
    match random.below(9) {
        0 if length > 0 => {
            let at = random.below(length);
            text[at] ^= 1 << random.below(8);
        }
        1 => drop(text.drain(random.range(length, 20))),
        2 => {
            let copied = text[random.range(length, 200)].to_vec();
            let at = random.place(length);
            text.splice(at..at, copied);
        }
        3 => text.truncate(random.place(length)),
        4 | 5 => {
            let borders = borders(text);
            let at = random.below(borders.len());
            let end = borders[(at + random.below(2)).min(borders.len() - 1)];
            let word = WORDS[random.below(WORDS.len())].as_bytes().to_vec();
            text.splice(borders[at]..end, word);
        }
        6 => {
            let other = &corpus[random.below(corpus.len())];
            let taken = other[random.range(other.len(), 300)].to_vec();
            let at = random.place(length);
            text.splice(at..at, taken);
        }
        7 => lines(text, random),
        _ => {
            let words = borders(text);
            let (one, two) = (random.below(words.len()), random.below(words.len()));
            let word = text[words[one]..words.get(one + 1).copied().unwrap_or(length)].to_vec();
            text.splice(words[two]..words.get(two + 1).copied().unwrap_or(length), word);
        }
    }
}

/// Removes, repeats, moves or indents a line.
fn lines(text: &mut Vec<u8>, random: &mut Random) {
    let mut lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (from, to) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(4) {
        0 => drop(lines.remove(from)),
        1 => lines.insert(to, lines[from].clone()),
        2 => lines.swap(from, to),
        _ => {
            let blanks = vec![b' '; random.below(4)];
            lines[from].splice(0..0, blanks);
        }
    }
    *text = lines.concat();
}

/// Every mistake is shown at a place that the file has.
fn check_places(text: &[u8], found: &Diagnostics) {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.split('\n').collect();
    for one in &found.0 {
        assert!(one.line >= 1 && one.line <= lines.len(), "line {}: {one:?}", one.line);
        let width = lines[one.line - 1].chars().count();
        assert!(one.column >= 1 && one.column <= width + 1, "column {} of {width}: {one:?}", one.column);
    }
    for color in [Color::Never, Color::Ansi] {
        assert!(found.render(color).len() < 4 << 20, "that is more than anyone would read");
    }
}

fn check(text: &[u8]) {
    let read = |text: &[u8], strictness| {
        load(&[Source::new("f", text)], &Options { strictness, ..Options::default() })
    };
    let start = Instant::now();
    let strict = read(text, Strictness::Strict);
    let [warn, ignore] = [Strictness::Warn, Strictness::Ignore].map(|strictness| read(text, strictness));
    for found in [&strict, &warn, &ignore] {
        check_places(text, found.as_ref().map_or_else(|errors| errors, |loaded| &loaded.warnings));
    }
    if let Ok(loaded) = &strict {
        let hashes = |pods: &[super::LoadedPod]| -> Vec<String> {
            pods.iter().map(|one| one.pod.manifest_hash.clone()).collect()
        };
        for other in [&warn, &ignore] {
            let other = other.as_ref().expect("what is right strictly is right in any case");
            assert_eq!(hashes(&other.pods), hashes(&loaded.pods));
        }
        for one in &loaded.pods {
            let again = read(one.object.to_string().as_bytes(), Strictness::Strict);
            let again = again.unwrap_or_else(|why| panic!("what podbox prints is refused:\n{why}"));
            assert_eq!(again.pods[0].object, one.object);
        }
    }
    assert!(start.elapsed() < PATIENCE, "it took {:?}", start.elapsed());
}

#[test]
fn fuzz_of_manifests_that_are_nearly_right() {
    let seconds = std::env::var("PODBOX_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut seed = std::env::var("PODBOX_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1_u64);
    let corpus = corpus();
    let mut cases = 0;
    while end.map_or(cases < CASES, |end| Instant::now() < end) {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut text = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(6) {
            mutate(&mut text, &corpus, &mut random);
        }
        if let Err(panic) = std::panic::catch_unwind(|| check(&text)) {
            eprintln!("PODBOX_FUZZ_SEED={seed} made this text:\n{}", String::from_utf8_lossy(&text));
            std::panic::resume_unwind(panic);
        }
        (seed, cases) = (seed + 1, cases + 1);
    }
    println!("{cases} texts up to seed {seed}");
}
