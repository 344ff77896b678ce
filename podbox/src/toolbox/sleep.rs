//! `sleep`.

use std::ffi::OsString;
use std::time::Duration;

use super::Outcome;
use super::failure::Failure;
use super::flags;
use super::signals::{Ends, exit_code};

/// `sleep DURATION…`: waits for the sum; `infinity` waits for ever.
///
/// A signal ends it with 128 plus its number, the code that coreutils' sleep is reported with.
pub(super) fn sleep(args: &[OsString]) -> Outcome {
    let limit = total(args)?;
    let ends = Ends::claim()?;
    let ended_by = match limit {
        None => Some(ends.wait()?),
        Some(limit) => ends.wait_for(limit)?,
    };
    Ok(ended_by.map_or(0, exit_code))
}

/// The sum of the operands; `None` is for ever.
fn total(args: &[OsString]) -> Result<Option<Duration>, Failure> {
    if args.is_empty() {
        return Err(Failure::usage("how long? sleep NUMBER[s|m|h|d]… or infinity"));
    }
    let mut sum = Duration::ZERO;
    for arg in args {
        let text = arg.to_string_lossy();
        if matches!(text.as_ref(), "infinity" | "inf") {
            return Ok(None);
        }
        let one = flags::duration(&text)
            .ok_or_else(|| Failure::Usage(format!("{text:?} is not a length of time")))?;
        sum = sum.saturating_add(one);
    }
    // Longer than a century is for ever, and keeps clear of the clock's own end.
    Ok((sum < Duration::from_secs(100 * 366 * 86_400)).then_some(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Option<Duration> {
        total(&words.iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn operands_add_up() {
        assert_eq!(of(&["1m", "0.5"]), Some(Duration::from_millis(60_500)));
    }

    #[test]
    fn infinity_and_absurdly_long_times_have_no_end() {
        assert_eq!(of(&["infinity"]), None);
        assert_eq!(of(&["99999999999d"]), None);
    }

    #[test]
    fn no_operand_is_a_wrong_call() {
        assert_eq!(total(&[]).unwrap_err().code(), 2);
    }
}
