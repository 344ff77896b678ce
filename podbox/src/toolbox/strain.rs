//! Applets that make trouble on purpose: `exitcode`, `eat`, `spin`, `flood`.

use std::ffi::OsString;
use std::hint::black_box;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::raise;

use super::failure::Failure;
use super::flags::{self, parse, switch, value};
use super::signals::{Ends, exit_code};
use super::{Outcome, processes, text};

/// `exitcode [--after D] [--signal S] N [TEXT…]`: prints the text, then ends with N, or by the signal.
pub(super) fn exitcode(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("signal").or(b's'), value("after")])?;
    let mut words = parsed.rest.iter();
    let signal = parsed.get("signal").map(processes::signal).transpose()?.flatten();
    let code = match (signal, words.next()) {
        (None, None) => return Err(Failure::usage("exitcode [--after D] [--signal S] N [TEXT…]")),
        (Some(_), None) => 0,
        (_, Some(number)) => {
            let number = number.to_string_lossy();
            number
                .parse()
                .map_err(|_| Failure::Usage(format!("{number:?} is not an exit code (0 to 255)")))?
        }
    };
    let rest: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    if !rest.is_empty() {
        text::print((rest.join(" ") + "\n").as_bytes())?;
    }
    if let Some(limit) = parsed.duration("after")?
        && let Some(signal) = Ends::claim()?.wait_for(limit)?
    {
        return Ok(exit_code(signal));
    }
    if let Some(signal) = signal {
        raise(signal).map_err(Failure::system(signal))?;
        // Process 1 survives a signal that it has no handler for; then the number alone tells.
        return Ok(exit_code(signal));
    }
    Ok(code)
}

/// `eat SIZE [--step SIZE] [--pause D]`: takes and touches that much memory, step by step, then holds it.
pub(super) fn eat(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("step"), value("pause")])?;
    let size = |text: &str| {
        flags::bytes(text).ok_or_else(|| Failure::Usage(format!("{text:?} is not a size such as 64Mi")))
    };
    let [goal] = &parsed.rest[..] else {
        return Err(Failure::usage("eat SIZE [--step SIZE] [--pause D]"));
    };
    let goal = size(&goal.to_string_lossy())?;
    let step = parsed.get("step").map(size).transpose()?.unwrap_or(4 << 20).clamp(1, goal.max(1));
    let pause = parsed.duration("pause")?.unwrap_or_default();
    let ends = Ends::claim()?;
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut eaten = 0;
    while eaten < goal {
        let bite = usize::try_from(step.min(goal - eaten)).map_err(|_| Failure::usage("too large"))?;
        // A byte that is not zero: zero pages would be shared and cost nothing.
        held.push(black_box(vec![1; bite]));
        eaten += bite as u64;
        if let Some(signal) = ends.wait_for(pause)? {
            return Ok(exit_code(signal));
        }
    }
    text::print(format!("holding {eaten} bytes\n").as_bytes())?;
    let signal = ends.wait()?;
    drop(black_box(held));
    Ok(exit_code(signal))
}

/// `spin [--for D] [--threads N]`: keeps processors busy.
pub(super) fn spin(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("for"), value("threads").or(b't')])?;
    let ends = Ends::claim()?;
    for _ in 0..parsed.number::<usize>("threads")?.unwrap_or(1) {
        let burn = || {
            let mut value = 1_u64;
            loop {
                value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        };
        thread::Builder::new().spawn(burn).map_err(Failure::system("thread"))?;
    }
    match parsed.duration("for")? {
        Some(limit) => Ok(ends.wait_for(limit)?.map_or(0, exit_code)),
        None => Ok(exit_code(ends.wait()?)),
    }
}

/// `flood [--lines N | --bytes SIZE] [--width N] [--rate N] [--stderr]`: numbered lines, as fast as they are taken.
///
/// `--rate` is in lines a second. `--bytes` cuts the last line so that exactly that many bytes are written.
pub(super) fn flood(args: &[OsString]) -> Outcome {
    let known = [value("lines").or(b'n'), value("bytes"), value("width"), value("rate"), switch("stderr")];
    let parsed = parse(args, &known)?;
    let lines: u64 = parsed.number("lines")?.unwrap_or(u64::MAX);
    let bytes = match parsed.get("bytes") {
        None => u64::MAX,
        Some(text) => flags::bytes(text).ok_or_else(|| Failure::Usage(format!("{text:?} is not a size")))?,
    };
    let width: usize = parsed.number("width")?.unwrap_or(72);
    let rate: Option<u32> = parsed.number("rate")?;
    let mut out: Box<dyn Write> = if parsed.has("stderr") {
        Box::new(io::stderr().lock())
    } else {
        Box::new(io::BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    };
    let started = Instant::now();
    let mut left = bytes;
    let mut buffer = Vec::with_capacity(width + 1);
    for number in 0..lines {
        if left == 0 {
            break;
        }
        numbered(number, width, &mut buffer);
        let part = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        out.write_all(&buffer[..part]).map_err(Failure::system("output"))?;
        left -= part as u64;
        if let Some(rate) = rate.filter(|rate| *rate > 0) {
            out.flush().map_err(Failure::system("output"))?;
            let due = Duration::from_secs_f64((number + 1) as f64 / f64::from(rate));
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
    out.flush().map_err(Failure::system("output"))?;
    Ok(0)
}

/// Line `number`, `width` characters wide (or as wide as the number) and a newline.
fn numbered(number: u64, width: usize, buffer: &mut Vec<u8>) {
    buffer.clear();
    let _ = write!(buffer, "{number}");
    let mut letters = (b'a'..=b'z').cycle();
    if buffer.len() < width {
        buffer.push(b' ');
    }
    while buffer.len() < width {
        buffer.extend(letters.next());
    }
    buffer.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooded_line_has_the_width_asked_for() {
        let mut buffer = Vec::new();
        numbered(42, 8, &mut buffer);
        assert_eq!(buffer, b"42 abcde\n");
        numbered(12345, 3, &mut buffer);
        assert_eq!(buffer, b"12345\n");
    }

    #[test]
    fn an_exit_code_must_fit_a_byte() {
        assert_eq!(exitcode(&["7".into()]).unwrap(), 7);
        assert_eq!(exitcode(&["256".into()]).unwrap_err().code(), 2);
    }
}
