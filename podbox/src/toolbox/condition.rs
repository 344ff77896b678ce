//! `test` and `[`: conditions as POSIX writes them, with `-a`, `-o`, `!` and parentheses.
//!
//! The grammar, weakest first: `or = and {-o and}`, `and = not {-a not}`, `not = [!] primary`. A lone
//! operand is true if it is not empty; with three operands the middle one is taken for an operator first,
//! so that `[ "$x" = "!" ]` works whatever is in the variable.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::Outcome;
use super::failure::Failure;

/// `test CONDITION`: 0 if it holds, 1 if not, 2 if it makes no sense.
pub(super) fn test(args: &[OsString]) -> Outcome {
    let words: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    holds(&words).map(|truth| u8::from(!truth))
}

/// `[ CONDITION ]`.
pub(super) fn bracket(args: &[OsString]) -> Outcome {
    match args.split_last() {
        Some((last, rest)) if last == "]" => test(rest),
        _ => Err(Failure::usage("the closing ] is missing")),
    }
}

/// Whether the condition holds.
pub(super) fn holds(words: &[&[u8]]) -> Result<bool, Failure> {
    if words.is_empty() {
        return Ok(false);
    }
    let mut reader = Reader { words, at: 0 };
    let truth = reader.or()?;
    match reader.peek() {
        None => Ok(truth),
        Some(word) => Err(unexpected(word)),
    }
}

struct Reader<'a> {
    words: &'a [&'a [u8]],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a [u8]> {
        self.words.get(self.at).copied()
    }

    fn eat(&mut self, word: &[u8]) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<bool, Failure> {
        let mut truth = self.and()?;
        while self.eat(b"-o") {
            truth |= self.and()?;
        }
        Ok(truth)
    }

    fn and(&mut self) -> Result<bool, Failure> {
        let mut truth = self.not()?;
        while self.eat(b"-a") {
            truth &= self.not()?;
        }
        Ok(truth)
    }

    fn not(&mut self) -> Result<bool, Failure> {
        if let [left, operator, right, ..] = self.words[self.at..]
            && let Some(truth) = binary(left, operator, right)?
        {
            self.at += 3;
            return Ok(truth);
        }
        if self.words.len() > self.at + 1 && self.eat(b"!") {
            return Ok(!self.not()?);
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<bool, Failure> {
        let Some(word) = self.peek() else {
            return Err(Failure::usage("a condition ends too early"));
        };
        self.at += 1;
        let alone = self.peek().is_none();
        if word == b"(" && !alone {
            let truth = self.or()?;
            return if self.eat(b")") { Ok(truth) } else { Err(Failure::usage("the closing ) is missing")) };
        }
        if let ([b'-', letter], Some(operand)) = (word, self.peek())
            && let Some(truth) = unary(*letter, operand)
        {
            self.at += 1;
            return Ok(truth);
        }
        Ok(!word.is_empty())
    }
}

fn unexpected(word: &[u8]) -> Failure {
    Failure::Usage(format!("{:?} is not expected here", String::from_utf8_lossy(word)))
}

/// `None` if the middle word is no operator.
fn binary(left: &[u8], operator: &[u8], right: &[u8]) -> Result<Option<bool>, Failure> {
    let number = |word: &[u8]| -> Result<i64, Failure> {
        let text = String::from_utf8_lossy(word);
        text.trim().parse().map_err(|_| Failure::Usage(format!("{text:?} is not a whole number")))
    };
    let numbers = || Ok::<_, Failure>(number(left)?.cmp(&number(right)?));
    let newer = |left: &[u8], right: &[u8]| match (followed(left), followed(right)) {
        (Some(left), Some(right)) => left.modified().ok() > right.modified().ok(),
        (left, right) => left.is_some() && right.is_none(),
    };
    Ok(Some(match operator {
        b"=" | b"==" => left == right,
        b"!=" => left != right,
        b"-eq" => numbers()?.is_eq(),
        b"-ne" => numbers()?.is_ne(),
        b"-lt" => numbers()?.is_lt(),
        b"-le" => numbers()?.is_le(),
        b"-gt" => numbers()?.is_gt(),
        b"-ge" => numbers()?.is_ge(),
        b"-nt" => newer(left, right),
        b"-ot" => newer(right, left),
        _ => return Ok(None),
    }))
}

fn followed(path: &[u8]) -> Option<Metadata> {
    fs::metadata(Path::new(OsStr::from_bytes(path))).ok()
}

/// `None` if the letter is no operator.
fn unary(letter: u8, operand: &[u8]) -> Option<bool> {
    let path = Path::new(OsStr::from_bytes(operand));
    let is = |check: fn(&Metadata) -> bool| followed(operand).as_ref().is_some_and(check);
    let may = |how| access(path, how).is_ok();
    Some(match letter {
        b'n' => !operand.is_empty(),
        b'z' => operand.is_empty(),
        b'e' => is(|_| true),
        b'f' => is(Metadata::is_file),
        b'd' => is(Metadata::is_dir),
        b's' => is(|meta| meta.size() > 0),
        b'p' => is(|meta| meta.file_type().is_fifo()),
        b'S' => is(|meta| meta.file_type().is_socket()),
        b'b' => is(|meta| meta.file_type().is_block_device()),
        b'c' => is(|meta| meta.file_type().is_char_device()),
        b'h' | b'L' => fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()),
        b'r' => may(AccessFlags::R_OK),
        b'w' => may(AccessFlags::W_OK),
        b'x' => may(AccessFlags::X_OK),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> bool {
        let words: Vec<&[u8]> =
            text.split_whitespace().map(|word| if word == "''" { b"" } else { word.as_bytes() }).collect();
        holds(&words).unwrap()
    }

    #[test]
    fn a_lone_operand_is_true_if_it_is_not_empty() {
        assert!(check("x") && check("-f") && check("!"));
        assert!(!check("''") && !check(""));
    }

    #[test]
    fn strings_and_numbers_compare_differently() {
        assert!(check("01 -eq 1") && !check("01 = 1"));
        assert!(check("2 -lt 10") && check("a != b") && check("-n a") && check("-z ''"));
    }

    #[test]
    fn not_and_or_bind_as_posix_says() {
        assert!(check("a = b -o c = c -a d = d"));
        assert!(check("! a = b") && !check("! ( a = b -o c = c )"));
    }

    #[test]
    fn an_operator_in_the_middle_wins_over_what_stands_around_it() {
        assert!(check("! = !") && check("-f = -f") && !check("( = )"));
    }

    #[test]
    fn files_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let (dir, file) = (dir.path().display(), file.display());
        assert!(check(&format!("-d {dir} -a -e {file} -a -f {file} -a ! -s {file}")));
        assert!(!check(&format!("-f {file}.none")));
    }

    #[test]
    fn a_word_that_is_no_number_is_named() {
        assert_eq!(holds(&[b"a", b"-gt", b"1"]).unwrap_err().to_string(), "\"a\" is not a whole number");
    }
}
