//! What others have answered, for as long as they said it may be kept, and not for longer than the cluster's DNS keeps it.
//!
//! Source: RFC 2308 (what there is not), `cache 30` in kubeadm's Corefile. Failures are not kept.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{HEADER, Transport};
use super::wire::{TYPE_OPT, after_name, number, short};

/// More answers are not kept.
const MOST: usize = 256;
/// Longer answers are not kept, in bytes: there are no more than 300 KiB in all.
const LONGEST: usize = 1232;
/// Longer questions have something in them that is only for them, in bytes.
const LONGEST_QUESTION: usize = 400;
/// The longest that anything is kept, in seconds.
const KEPT: u32 = 30;

const TYPE_SOA: u16 = 6;
const TRUNCATED: u8 = 0x02;
const NAME_ERROR: u8 = 3;

/// Answers by their questions.
#[derive(Debug, Default)]
pub struct Cache(HashMap<Key, Kept>);

/// All of a question but for its number and the case of its letters.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key(Transport, Vec<u8>);

#[derive(Debug)]
struct Kept {
    reply: Vec<u8>,
    /// Where in the reply it says how long its records may be kept.
    ages: Vec<usize>,
    since: Instant,
    until: Instant,
}

impl Cache {
    /// What was answered before, less the time that has passed since.
    #[must_use]
    pub fn answer(&self, message: &[u8], transport: Transport, now: Instant) -> Option<Vec<u8>> {
        let kept = self.0.get(&key(message, transport)?).filter(|kept| now < kept.until)?;
        let passed = u32::try_from((now - kept.since).as_secs()).unwrap_or(u32::MAX);
        let mut reply = kept.reply.clone();
        for at in &kept.ages {
            let left = number(&reply, *at)?.saturating_sub(passed);
            reply[*at..*at + 4].copy_from_slice(&left.to_be_bytes());
        }
        // The question is given back as it was written (see `key`: it has this length).
        let question = question(message)?;
        reply[question.clone()].copy_from_slice(&message[question]);
        reply[..2].copy_from_slice(&message[..2]);
        Some(reply)
    }

    /// Keeps an answer, if it may be kept.
    pub fn keep(&mut self, message: &[u8], transport: Transport, (reply, now): (&[u8], Instant)) {
        let (Some(key), Some((seconds, ages))) = (key(message, transport), lifetime(reply)) else { return };
        let same = question(message).zip(question(reply)).is_some_and(|(one, other)| {
            one == other && message[one.clone()].eq_ignore_ascii_case(&reply[one])
        });
        if seconds == 0 || reply.len() > LONGEST || !same {
            return;
        }
        self.0.retain(|_, kept| now < kept.until);
        if self.0.len() >= MOST && !self.0.contains_key(&key) {
            let Some(first) = self.0.values().map(|kept| kept.until).min() else { return };
            self.0.retain(|_, kept| kept.until > first);
        }
        let until = now + Duration::from_secs(seconds.into());
        self.0.insert(key, Kept { reply: reply.to_vec(), ages, since: now, until });
    }
}

fn key(message: &[u8], transport: Transport) -> Option<Key> {
    let question = question(message)?;
    if message.len() > LONGEST_QUESTION {
        return None;
    }
    let mut bytes = message[2..].to_vec();
    // The name's labels are shorter than 64 bytes, so no length looks like a letter; its type might.
    bytes[question.start - 2..question.end - 6].make_ascii_lowercase();
    Some(Key(transport, bytes))
}

/// Where the only question of a message is.
fn question(message: &[u8]) -> Option<Range<usize>> {
    let end = after_name(message, HEADER)? + 4;
    let is_whole = *message.get(end - 5)? == 0 && end <= message.len();
    (short(message, 4)? == 1 && is_whole).then_some(HEADER..end)
}

/// How many seconds a reply may be kept, and where it says so.
fn lifetime(reply: &[u8]) -> Option<(u32, Vec<usize>)> {
    let [flags, code] = [*reply.get(2)?, *reply.get(3)? & 0x0f];
    if flags & TRUNCATED != 0 || !matches!(code, 0 | NAME_ERROR) {
        return None;
    }
    let [answers, authorities, others] = [short(reply, 6)?, short(reply, 8)?, short(reply, 10)?];
    let (mut at, mut ages, mut seconds, mut denied) = (question(reply)?.end, Vec::new(), KEPT, false);
    for index in 0..u32::from(answers) + u32::from(authorities) + u32::from(others) {
        let fields = after_name(reply, at)?;
        let end = fields + 10 + usize::from(short(reply, fields + 8)?);
        reply.get(..end)?;
        let kind = short(reply, fields)?;
        if kind != TYPE_OPT {
            ages.push(fields + 4);
            seconds = seconds.min(number(reply, fields + 4)?);
        }
        let is_authority = (u32::from(answers)..u32::from(answers) + u32::from(authorities)).contains(&index);
        if kind == TYPE_SOA && is_authority {
            denied = true;
            // The last of its numbers is how long that there is nothing may be kept (RFC 2308, 4).
            seconds = seconds.min(number(reply, end.checked_sub(4)?)?);
        }
        at = end;
    }
    let is_kept = denied || (answers > 0 && code == 0);
    is_kept.then_some((seconds, ages))
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
