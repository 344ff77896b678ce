//! Times as log entries write them: RFC 3339 in UTC with nine digits of a second.
//!
//! All stamps that podbox writes have the same length, so that comparing them as text compares them as
//! times. Writing one is on the path of every chunk of output: no allocation, a few dozen instructions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a written stamp, as in `2016-10-06T00:17:09.669794202Z`.
pub const STAMP_LEN: usize = 30;

/// A written stamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp([u8; STAMP_LEN]);

impl Stamp {
    /// Writes a time of the years 1970 to 9999; others become the nearest of them.
    pub fn new(time: SystemTime) -> Self {
        const END: Duration = Duration::new(253_402_300_799, 999_999_999);
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(END);
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], second / 3600);
        digits(&mut text[14..16], second / 60 % 60);
        digits(&mut text[17..19], second % 60);
        digits(&mut text[20..29], u64::from(since.subsec_nanos()));
        Self(text)
    }

    /// The stamp's characters.
    pub fn as_bytes(&self) -> &[u8; STAMP_LEN] {
        &self.0
    }

    /// `YYYYMMDD-HHMMSS`, the ending of a rotated file's name.
    pub(super) fn compact(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        format!(
            "{}{}{}-{}{}{}",
            &text[0..4],
            &text[5..7],
            &text[8..10],
            &text[11..13],
            &text[14..16],
            &text[17..19]
        )
    }
}

impl std::fmt::Debug for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Writes the number right-aligned over the zeros that are there.
fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01.
///
/// The year is taken to begin in March, so that the leap day is its last: then a month's first day follows
/// from its number by one linear formula, and the eras of 400 years repeat exactly.
fn civil(days: u64) -> (u64, u64, u64) {
    const MARCH_0000_TO_1970: u64 = 719_468;
    const ERA: u64 = 146_097;
    let days = days + MARCH_0000_TO_1970;
    let (era, of_era) = (days / ERA, days % ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_format_is_written_as_it_stands_there() {
        let time = UNIX_EPOCH + Duration::new(1_475_713_029, 669_794_202);
        assert_eq!(format!("{:?}", Stamp::new(time)), "2016-10-06T00:17:09.669794202Z");
        assert_eq!(Stamp::new(time).compact(), "20161006-001709");
    }

    #[test]
    fn leap_days_are_where_they_belong() {
        for (second, text) in [
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
            (0, "1970-01-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(format!("{:?}", Stamp::new(UNIX_EPOCH + Duration::from_secs(second))), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_time(seconds in 0_u64..253_402_207_200, nanos in 0_u32..1_000_000_000) {
            let time = UNIX_EPOCH + Duration::new(seconds, nanos);
            let text = format!("{:?}", Stamp::new(time));
            let read: jiff::Timestamp = text.parse().unwrap();
            prop_assert_eq!(SystemTime::from(read), time);
        }

        #[test]
        fn stamps_sort_as_their_times_do(a in 0_u64..1 << 62, b in 0_u64..1 << 62) {
            let at = |nanos| UNIX_EPOCH + Duration::from_nanos(nanos);
            prop_assert_eq!(Stamp::new(at(a)).cmp(&Stamp::new(at(b))), a.cmp(&b));
        }
    }
}
