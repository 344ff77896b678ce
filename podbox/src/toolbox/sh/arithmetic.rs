//! `$((…))`: whole numbers with C's operators (XCU 2.6.4), by precedence climbing.

/// Where names have their values.
pub(super) trait Names {
    /// The value, 0 if there is none.
    fn value(&self, name: &str) -> Result<i64, String>;
    /// Sets the value.
    fn set(&mut self, name: &str, value: i64);
}

/// The value of an expression; an empty one is 0.
pub(super) fn evaluate(text: &str, names: &mut dyn Names) -> Result<i64, String> {
    let mut reader = Reader { text, rest: text.trim_start(), names, skipping: 0, depth: 0 };
    if reader.rest.is_empty() {
        return Ok(0);
    }
    let value = reader.assignment()?;
    if reader.rest.is_empty() { Ok(value) } else { Err(reader.wrong()) }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    names: &'a mut dyn Names,
    /// Above 0 inside of a branch that is not taken, where nothing is set.
    skipping: usize,
    depth: usize,
}

/// Binary operators, weakest first.
const LEVELS: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Reader<'_> {
    fn wrong(&self) -> String {
        format!("arithmetic: {:?} is not expected in {:?}", self.rest, self.text.trim())
    }

    fn eat(&mut self, sign: &str) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// An operator, if it is not the beginning of a longer one.
    fn operator(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        let sign = *signs.iter().find(|sign| self.rest.starts_with(**sign))?;
        let after = self.rest[sign.len()..].chars().next();
        let longer = match sign {
            "|" => after == Some('|'),
            "&" => after == Some('&'),
            "<" => after == Some('<'),
            ">" => after == Some('>'),
            _ => false,
        };
        // `a += 1` is not `a + (= 1)`.
        let sets = after == Some('=') && !matches!(sign, "==" | "!=" | "<=" | ">=" | "<" | ">" | "&&" | "||");
        if longer || sets {
            return None;
        }
        self.eat(sign);
        Some(sign)
    }

    fn assignment(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > 200 {
            return Err("arithmetic: too deeply nested".to_owned());
        }
        let value = self.assign_or_choose();
        self.depth -= 1;
        value
    }

    fn assign_or_choose(&mut self) -> Result<i64, String> {
        let before = self.rest;
        if let Some(name) = self.name() {
            for sign in ["=", "+=", "-=", "*=", "/=", "%="] {
                if !self.rest.starts_with(sign) || self.rest.starts_with("==") {
                    continue;
                }
                self.eat(sign);
                let right = self.assignment()?;
                let left = if sign == "=" { 0 } else { self.names.value(&name)? };
                let value = match sign.strip_suffix('=') {
                    Some("") | None => right,
                    Some(operator) => self.apply(operator, left, right)?,
                };
                if self.skipping == 0 {
                    self.names.set(&name, value);
                }
                return Ok(value);
            }
            self.rest = before;
        }
        let condition = self.binary(0)?;
        if !self.eat("?") {
            return Ok(condition);
        }
        let yes = self.branch(condition != 0, Self::assignment)?;
        if !self.eat(":") {
            return Err(self.wrong());
        }
        let no = self.branch(condition == 0, Self::assignment)?;
        Ok(if condition != 0 { yes } else { no })
    }

    fn branch(
        &mut self,
        taken: impl Into<bool>,
        read: fn(&mut Self) -> Result<i64, String>,
    ) -> Result<i64, String> {
        let skip = usize::from(!taken.into());
        self.skipping += skip;
        let value = read(self);
        self.skipping -= skip;
        value
    }

    fn binary(&mut self, level: usize) -> Result<i64, String> {
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(sign) = self.operator(signs) {
            let decided = sign == "||" && left != 0 || sign == "&&" && left == 0;
            let skip = usize::from(decided);
            self.skipping += skip;
            let right = self.binary(level + 1)?;
            self.skipping -= skip;
            left = self.apply(sign, left, right)?;
        }
        Ok(left)
    }

    fn apply(&self, sign: &str, left: i64, right: i64) -> Result<i64, String> {
        Ok(match sign {
            "||" => i64::from(left != 0 || right != 0),
            "&&" => i64::from(left != 0 && right != 0),
            "|" => left | right,
            "^" => left ^ right,
            "&" => left & right,
            "==" => i64::from(left == right),
            "!=" => i64::from(left != right),
            "<=" => i64::from(left <= right),
            ">=" => i64::from(left >= right),
            "<" => i64::from(left < right),
            ">" => i64::from(left > right),
            "<<" => left.wrapping_shl((right & 63) as u32),
            ">>" => left.wrapping_shr((right & 63) as u32),
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            _ if right == 0 && self.skipping > 0 => 0,
            _ if right == 0 => return Err(format!("arithmetic: division by zero in {:?}", self.text.trim())),
            "/" => left.wrapping_div(right),
            _ => left.wrapping_rem(right),
        })
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > 200 {
            return Err("arithmetic: too deeply nested".to_owned());
        }
        let value = if self.eat("!") {
            self.unary().map(|value| i64::from(value == 0))
        } else if self.eat("~") {
            self.unary().map(|value| !value)
        } else if self.eat("-") {
            self.unary().map(i64::wrapping_neg)
        } else if self.eat("+") {
            self.unary()
        } else {
            self.primary()
        };
        self.depth -= 1;
        value
    }

    fn primary(&mut self) -> Result<i64, String> {
        if self.eat("(") {
            let value = self.assignment()?;
            return if self.eat(")") { Ok(value) } else { Err(self.wrong()) };
        }
        if let Some(name) = self.name() {
            return self.names.value(&name);
        }
        let end = self.rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        let value = number(digits).ok_or_else(|| self.wrong())?;
        self.rest = rest.trim_start();
        Ok(value)
    }

    fn name(&mut self) -> Option<String> {
        let first = self.rest.chars().next()?;
        if !first.is_ascii_alphabetic() && first != '_' {
            return None;
        }
        let end = self.rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        Some(name.to_owned())
    }
}

/// `10`, `0x1f`, `017`.
pub(super) fn number(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => i64::from_str_radix(digits, 8).ok(),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    impl Names for BTreeMap<String, i64> {
        fn value(&self, name: &str) -> Result<i64, String> {
            Ok(self.get(name).copied().unwrap_or(0))
        }

        fn set(&mut self, name: &str, value: i64) {
            self.insert(name.to_owned(), value);
        }
    }

    fn value(text: &str) -> i64 {
        evaluate(text, &mut BTreeMap::from([("x".to_owned(), 7)])).unwrap()
    }

    #[test]
    fn operators_bind_as_in_c() {
        assert_eq!(value("1 + 2 * 3 - 4 / 2 % 3"), 5);
        assert_eq!(value("(1 + 2) * -3"), -9);
        assert_eq!(value("1 << 4 | 3 & 2 ^ 1"), 19);
        assert_eq!(value("2 > 1 && 1 >= 1 && !0 && 3 != 4"), 1);
        assert_eq!(value("x > 5 ? x : 0"), 7);
        assert_eq!(value("0x10 + 010 + none"), 24);
        assert_eq!(value(""), 0);
    }

    #[test]
    fn only_the_branch_that_is_taken_sets_and_divides() {
        let mut names = BTreeMap::new();
        assert_eq!(evaluate("a = b = 3, 1".split(',').next().unwrap(), &mut names), Ok(3));
        assert_eq!(evaluate("0 && (a = 9)", &mut names), Ok(0));
        assert_eq!(evaluate("1 || 1 / 0", &mut names), Ok(1));
        assert_eq!(evaluate("a += 2", &mut names), Ok(5));
        assert_eq!(names.get("a"), Some(&5));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let said = |text| evaluate(text, &mut BTreeMap::new()).unwrap_err();
        assert_eq!(said("1 / 0"), "arithmetic: division by zero in \"1 / 0\"");
        assert_eq!(said("1 +"), "arithmetic: \"\" is not expected in \"1 +\"");
        assert_eq!(said("1 2"), "arithmetic: \"2\" is not expected in \"1 2\"");
        assert!(said(&"(".repeat(1000)).ends_with("too deeply nested"));
    }
}
