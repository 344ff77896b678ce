//! Kubernetes quantities: `100m`, `1.5Gi`, `2e3`.
//!
//! Exact fixed-point numbers in billionths, never floating point. What is finer than a billionth is rounded
//! away from zero, what is larger than 2^63-1 is capped, and the canonical text keeps the family of suffix
//! that was written (`k8s.io/apimachinery/pkg/api/resource`).

use std::fmt;
use std::str::FromStr;

/// A quantity and the family of suffixes that it was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    nano: i128,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// `Ki`, `Mi` …
    Binary,
    /// `n`, `u`, `m`, none, `k`, `M` …
    Decimal,
    /// `e3`, `E-3` …
    Exponent,
}

/// The text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression \
     '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct InvalidQuantity;

const NANO: i128 = 1_000_000_000;
const MILLION: i128 = 1_000_000;
/// 2^63-1 whole units.
const MAX: i128 = i64::MAX as i128 * NANO;
/// Digits that cannot overflow an `i128` of billionths; anything longer is over [`MAX`].
const DIGITS: i32 = 29;

impl Quantity {
    /// Zero.
    pub const ZERO: Quantity = Quantity { nano: 0, family: Family::Decimal };

    /// So many thousandths, written as decimal numbers are.
    #[must_use]
    pub fn of_milli(milli: u64) -> Self {
        Self { nano: (i128::from(milli) * MILLION).min(MAX), family: Family::Decimal }
    }

    /// So many bytes, written as amounts of memory are.
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Self {
        Self { nano: (i128::from(bytes) * NANO).min(MAX), family: Family::Binary }
    }

    /// Thousandths, rounded away from zero.
    #[must_use]
    pub fn milli(self) -> i128 {
        up(self.nano, MILLION)
    }

    /// Whole units, rounded away from zero.
    #[must_use]
    pub fn whole(self) -> i128 {
        up(self.nano, NANO)
    }

    /// Rounded away from zero to thousandths, the finest that the API server stores for resources.
    #[must_use]
    pub fn rounded_to_milli(self) -> Self {
        Self { nano: self.milli() * MILLION, ..self }
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Whether it has no fraction.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }
}

impl Quantity {
    /// Compares amounts, whatever they were written as.
    #[must_use]
    pub fn amount_cmp(self, other: Self) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    /// Written as the one before it.
    fn add(self, other: Self) -> Self {
        Self { nano: (self.nano + other.nano).min(MAX), ..self }
    }
}

fn up(value: i128, unit: i128) -> i128 {
    let (quotient, rest) = (value / unit, value % unit);
    quotient + rest.signum()
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(InvalidQuantity);
        }
        let (family, scale) = suffix_scale(suffix).ok_or(InvalidQuantity)?;
        let nano = match scale {
            Scale::Ten(exponent) => decimal_nano(whole, fraction, exponent),
            Scale::Two(power) => binary_nano(whole, fraction, power),
        };
        let nano = if text.starts_with('-') { -nano } else { nano };
        Ok(Self { nano, family })
    }
}

enum Scale {
    /// Times ten to this.
    Ten(i32),
    /// Times 1024 to this.
    Two(u32),
}

fn suffix_scale(suffix: &str) -> Option<(Family, Scale)> {
    let ten = |exponent| Some((Family::Decimal, Scale::Ten(exponent)));
    let two = |power| Some((Family::Binary, Scale::Two(power)));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => two(1),
        "Mi" => two(2),
        "Gi" => two(3),
        "Ti" => two(4),
        "Pi" => two(5),
        "Ei" => two(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let size = digits.parse::<i32>().ok().filter(|n| *n <= 100_000)?;
            let exponent = if exponent.starts_with('-') { -size } else { size };
            Some((Family::Exponent, Scale::Ten(exponent)))
        }
    }
}

fn decimal_nano(whole: &str, fraction: &str, exponent: i32) -> i128 {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    let length = |text: &str| i32::try_from(text.len()).unwrap_or(i32::MAX);
    // The power of ten that turns the digits into billionths.
    let shift = (9 + exponent).saturating_sub(length(fraction));
    if length(digits).saturating_add(shift) > DIGITS {
        return MAX;
    }
    let parse = |text: &str| text.parse::<i128>().unwrap_or(0);
    let nano = if let Ok(zeros) = u32::try_from(shift) {
        parse(digits) * 10_i128.pow(zeros)
    } else {
        let cut = usize::try_from(-i64::from(shift)).unwrap_or(usize::MAX);
        let keep = digits.len().saturating_sub(cut);
        let rest = i128::from(digits[keep..].bytes().any(|b| b != b'0'));
        if keep == 0 { rest } else { parse(&digits[..keep]) + rest }
    };
    nano.min(MAX)
}

fn binary_nano(whole: &str, fraction: &str, power: u32) -> i128 {
    let factor = 1024_i128.pow(power);
    let whole = whole.trim_start_matches('0');
    if whole.len() > 19 {
        return MAX;
    }
    let units = whole.parse::<i128>().unwrap_or(0) * factor;
    if units > i128::from(i64::MAX) {
        return MAX;
    }
    let kept = &fraction[..fraction.len().min(18)];
    let finer = i128::from(fraction[kept.len()..].bytes().any(|b| b != b'0'));
    let scaled = format!("{kept:0<18}").parse::<i128>().unwrap_or(0) * factor + finer;
    (units * NANO + up(scaled, NANO)).min(MAX)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        match self.family {
            // Below one kibi, a binary suffix could not say it.
            Family::Binary if self.nano.abs() >= 1024 * NANO => {
                let (mut number, mut suffix) = (self.whole(), 0);
                while number % 1024 == 0 && suffix < 6 {
                    number /= 1024;
                    suffix += 1;
                }
                write!(f, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][suffix])
            }
            Family::Binary | Family::Decimal => {
                let (number, thousands) = self.thousands(9);
                write!(f, "{number}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][thousands])
            }
            Family::Exponent => match self.thousands(usize::MAX) {
                (number, 3) => write!(f, "{number}"),
                (number, thousands) => {
                    let exponent = i64::try_from(thousands).unwrap_or(0) * 3 - 9;
                    write!(f, "{number}e{exponent}")
                }
            },
        }
    }
}

impl Quantity {
    /// The number without the thousands that divide it, and how many (counted from billionths).
    fn thousands(self, most: usize) -> (i128, usize) {
        let (mut number, mut thousands) = (self.nano, 0);
        while number % 1000 == 0 && thousands < most {
            number /= 1000;
            thousands += 1;
        }
        (number, thousands)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_have_their_canonical_text() {
        for (text, canonical) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("250m", "250m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1M", "1M"),
            ("128Mi", "128Mi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e-1", "1200e-3"),
            ("1E", "1E"),
            ("1Ei", "1Ei"),
            ("-1", "-1"),
            ("-1.5", "-1500m"),
            ("1n", "1n"),
            ("0.0000000001", "1n"),
            ("-0.0000000001", "-1n"),
            ("100u", "100u"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "9223372036854775807"),
            ("9Ei", "9223372036854775807"),
            ("99999999999999999999999999999999999999999", "9223372036854775807"),
            ("1e-99999", "1e-9"),
            ("0.00000000000000000000000000000000000000000000001", "1n"),
        ] {
            let quantity: Quantity = text.parse().unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(quantity.to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "abc",
            "1MB",
            "1mi",
            "1 Gi",
            " 1",
            "1K",
            "1..2",
            "1.2.3",
            "1e",
            "1e+",
            "0x10",
            "1,5",
            "--1",
            "1e9999999999",
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(InvalidQuantity), "{text:?}");
        }
    }

    #[test]
    fn fractions_round_up_to_milli_and_to_whole_units() {
        let quantity: Quantity = "0.1m".parse().unwrap();
        assert_eq!((quantity.milli(), quantity.whole()), (1, 1));
        assert_eq!(quantity.rounded_to_milli().to_string(), "1m");
        let quantity: Quantity = "-1500m".parse().unwrap();
        assert_eq!((quantity.milli(), quantity.whole()), (-1500, -2));
        assert_eq!("1.5Gi".parse::<Quantity>().unwrap().whole(), 1_610_612_736);
    }

    proptest! {
        #[test]
        fn printing_and_parsing_gives_the_same_amount(
            number in -1_000_000_000_i64..1_000_000_000,
            fraction in proptest::option::of(0_u32..1_000_000),
            suffix in proptest::sample::select(vec![
                "n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2", "e0",
            ]),
        ) {
            let text = match fraction {
                Some(fraction) => format!("{number}.{fraction}{suffix}"),
                None => format!("{number}{suffix}"),
            };
            let quantity: Quantity = text.parse().unwrap();
            let printed = quantity.to_string();
            let again: Quantity = printed.parse().unwrap();
            prop_assert_eq!(again.to_string(), printed);
            // A binary suffix above one kibi holds whole units only.
            if quantity.family != Family::Binary || quantity.is_whole() {
                prop_assert_eq!(again.nano, quantity.nano);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+0-9.eEinumkKMGTP]{0,60}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
