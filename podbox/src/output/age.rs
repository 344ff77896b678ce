//! Ages as kubectl writes them: few digits, and no more precision than a reader wants.

use std::time::Duration;

/// `5s`, `2m10s`, `3h`, `2d4h`, `1y30d`: the rules of apimachinery's `duration.HumanDuration`.
///
/// The smaller unit is shown only while the greater one is small: seconds below ten minutes, minutes below
/// eight hours, hours below eight days, days below eight years.
pub fn human_duration(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    match (seconds, minutes, hours, days) {
        (0..120, ..) => format!("{seconds}s"),
        (_, 0..10, ..) => pair((minutes, "m"), (seconds % 60, "s")),
        (_, 0..180, ..) => format!("{minutes}m"),
        (_, _, 0..8, _) => pair((hours, "h"), (minutes % 60, "m")),
        (_, _, 0..48, _) => format!("{hours}h"),
        (.., 0..8) => pair((days, "d"), (hours % 24, "h")),
        (.., 0..730) => format!("{days}d"),
        (.., 730..2920) => pair((days / 365, "y"), (days % 365, "d")),
        _ => format!("{}y", days / 365),
    }
}

fn pair(great: (u64, &str), small: (u64, &str)) -> String {
    match small.0 {
        0 => format!("{}{}", great.0, great.1),
        rest => format!("{}{}{rest}{}", great.0, great.1, small.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_prints_them() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 3600;
        const DAY: u64 = 24 * HOUR;
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (2 * MINUTE, "2m"),
            (2 * MINUTE + 10, "2m10s"),
            (10 * MINUTE + 10, "10m"),
            (179 * MINUTE, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR + 5 * MINUTE, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (7 * DAY + HOUR, "7d1h"),
            (8 * DAY + HOUR, "8d"),
            (729 * DAY, "729d"),
            (730 * DAY, "2y"),
            (731 * DAY, "2y1d"),
            (8 * 365 * DAY + DAY, "8y"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), text, "{seconds} seconds");
        }
    }
}
