//! `cat`, `head`, `ls`, `touch`, `rm`, `mkdir`: as much of each as a script in a manifest uses.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use super::Outcome;
use super::failure::{Failure, chain};
use super::flags::{parse, switch, value};
use super::{complain, text, whoami};

/// Does `act` to every operand, complains about each failure, and goes on.
fn each(applet: &str, operands: &[OsString], mut act: impl FnMut(&OsStr) -> Result<(), Failure>) -> Outcome {
    let mut code = 0;
    for operand in operands {
        if let Err(failure) = act(operand) {
            complain(applet, &chain(&failure));
            code = 1;
        }
    }
    Ok(code)
}

fn shown(path: &OsStr) -> String {
    path.to_string_lossy().into_owned()
}

fn open(path: &OsStr) -> Result<Box<dyn Read>, Failure> {
    if path == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path).map_err(Failure::system(shown(path)))?))
}

/// The operands, or standard input if there is none.
fn or_stdin(operands: Vec<OsString>) -> Vec<OsString> {
    if operands.is_empty() { vec!["-".into()] } else { operands }
}

/// `cat [FILE…]`.
pub(super) fn cat(args: &[OsString]) -> Outcome {
    let files = or_stdin(parse(args, &[switch("unbuffered").or(b'u')])?.rest);
    let mut out = io::stdout().lock();
    let mut buffer = [0; 8192];
    each("cat", &files, |path| {
        let mut file = open(path)?;
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::system(shown(path))(error)),
            };
            // What has come is shown at once: cat is also a way to look at a pipe.
            out.write_all(&buffer[..read])
                .and_then(|()| out.flush())
                .map_err(Failure::system("standard output"))?;
        }
        Ok(())
    })
}

/// `head [-n LINES] [FILE…]`.
pub(super) fn head(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("lines").or(b'n')])?;
    let lines: usize = parsed.number("lines")?.unwrap_or(10);
    let mut out = io::stdout().lock();
    each("head", &or_stdin(parsed.rest), |path| {
        let mut file = io::BufReader::new(open(path)?);
        let mut line = Vec::new();
        for _ in 0..lines {
            line.clear();
            if file.read_until(b'\n', &mut line).map_err(Failure::system(shown(path)))? == 0 {
                break;
            }
            out.write_all(&line).map_err(Failure::system("standard output"))?;
        }
        out.flush().map_err(Failure::system("standard output"))
    })
}

/// `touch [-c] FILE…`: makes the file, or sets its times to now.
pub(super) fn touch(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[switch("no-create").or(b'c')])?;
    let create = !parsed.has("no-create");
    need(&parsed.rest, "touch FILE…")?;
    each("touch", &parsed.rest, |path| {
        let opened = File::options().write(true).create(create).truncate(false).open(path);
        match opened {
            Ok(file) => file.set_modified(SystemTime::now()).map_err(Failure::system(shown(path))),
            Err(error) if !create && error.kind() == io::ErrorKind::NotFound => Ok(()),
            // A directory cannot be opened for writing, but its times can be set.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => File::open(path)
                .and_then(|dir| dir.set_modified(SystemTime::now()))
                .map_err(Failure::system(shown(path))),
            Err(error) => Err(Failure::system(shown(path))(error)),
        }
    })
}

/// `rm [-r] [-f] FILE…`.
pub(super) fn rm(args: &[OsString]) -> Outcome {
    let parsed =
        parse(args, &[switch("recursive").or(b'r'), switch("Recursive").or(b'R'), switch("force").or(b'f')])?;
    let recursive = parsed.has("recursive") || parsed.has("Recursive");
    let force = parsed.has("force");
    if !force {
        need(&parsed.rest, "rm [-r] [-f] FILE…")?;
    }
    each("rm", &parsed.rest, |path| {
        let removed = match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() && recursive => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if force && error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(Failure::system(shown(path))),
        }
    })
}

/// `mkdir [-p] [-m MODE] DIR…`.
pub(super) fn mkdir(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[switch("parents").or(b'p'), value("mode").or(b'm')])?;
    need(&parsed.rest, "mkdir [-p] [-m MODE] DIR…")?;
    let mode = match parsed.get("mode") {
        None => 0o777,
        Some(text) => u32::from_str_radix(text, 8)
            .map_err(|_| Failure::Usage(format!("{text:?} is not a mode such as 755")))?,
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(parsed.has("parents")).mode(mode);
    each("mkdir", &parsed.rest, |path| builder.create(path).map_err(Failure::system(shown(path))))
}

fn need(operands: &[OsString], call: &str) -> Result<(), Failure> {
    if operands.is_empty() { Err(Failure::usage(call)) } else { Ok(()) }
}

/// `ls [-l] [-a] [-1] [-d] [PATH…]`: one name a line, sorted by bytes.
pub(super) fn ls(args: &[OsString]) -> Outcome {
    let known = [
        switch("long").or(b'l'),
        switch("all").or(b'a'),
        switch("one").or(b'1'),
        switch("directory").or(b'd'),
    ];
    let parsed = parse(args, &known)?;
    let paths = if parsed.rest.is_empty() { vec![OsString::from(".")] } else { parsed.rest.clone() };
    let mut out = Vec::new();
    let code = each("ls", &paths, |path| {
        let meta = fs::symlink_metadata(path).map_err(Failure::system(shown(path)))?;
        let enter = !parsed.has("directory")
            && (meta.is_dir() || !parsed.has("long") && fs::metadata(path).is_ok_and(|meta| meta.is_dir()));
        if !enter {
            line(path, Path::new(path), parsed.has("long").then_some(&meta), &mut out);
            return Ok(());
        }
        if paths.len() > 1 {
            out.extend_from_slice(path.as_bytes());
            out.extend_from_slice(b":\n");
        }
        for name in names(path, if parsed.has("all") { Hidden::Too } else { Hidden::Not })? {
            let full = Path::new(path).join(&name);
            let meta = if parsed.has("long") { fs::symlink_metadata(&full).ok() } else { None };
            line(&name, &full, meta.as_ref(), &mut out);
        }
        Ok(())
    })?;
    text::print(&out)?;
    Ok(code)
}

#[derive(Clone, Copy, PartialEq)]
enum Hidden {
    Too,
    Not,
}

fn names(dir: &OsStr, hidden: Hidden) -> Result<Vec<OsString>, Failure> {
    let mut names: Vec<OsString> = Vec::new();
    if hidden == Hidden::Too {
        names.extend([".".into(), "..".into()]);
    }
    for entry in fs::read_dir(dir).map_err(Failure::system(shown(dir)))? {
        let name = entry.map_err(Failure::system(shown(dir)))?.file_name();
        if hidden == Hidden::Too || !name.as_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn line(name: &OsStr, path: &Path, meta: Option<&Metadata>, out: &mut Vec<u8>) {
    if let Some(meta) = meta {
        let time = jiff::Timestamp::from_second(meta.mtime()).unwrap_or_default();
        let _ = write!(
            out,
            "{} {:>3} {:<8} {:<8} {:>9} {} ",
            mode(meta.mode()),
            meta.nlink(),
            whoami::user_name(meta.uid()),
            whoami::group_name(meta.gid()),
            meta.size(),
            time.strftime("%Y-%m-%d %H:%M"),
        );
    }
    out.extend_from_slice(name.as_bytes());
    if meta.is_some_and(Metadata::is_symlink)
        && let Ok(target) = fs::read_link(path)
    {
        out.extend_from_slice(b" -> ");
        out.extend_from_slice(target.as_os_str().as_bytes());
    }
    out.push(b'\n');
}

/// `drwxr-xr-x`: type and permissions as letters.
fn mode(mode: u32) -> String {
    let kind = match mode & libc::S_IFMT {
        libc::S_IFDIR => 'd',
        libc::S_IFLNK => 'l',
        libc::S_IFIFO => 'p',
        libc::S_IFSOCK => 's',
        libc::S_IFBLK => 'b',
        libc::S_IFCHR => 'c',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn modes_are_shown_as_ls_shows_them() {
        assert_eq!(mode(libc::S_IFDIR | 0o1777), "drwxrwxrwt");
        assert_eq!(mode(libc::S_IFREG | 0o4640), "-rwSr-----");
        assert_eq!(mode(libc::S_IFLNK | 0o777), "lrwxrwxrwx");
    }

    #[test]
    fn touch_makes_a_file_and_rm_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("healthy");
        let path = file.to_str().unwrap();
        assert_eq!(touch(&args(&[path])).unwrap(), 0);
        assert!(file.exists());
        assert_eq!(rm(&args(&["-f", path, path])).unwrap(), 0);
        assert!(!file.exists());
        assert_eq!(rm(&args(&[path])).unwrap(), 1);
    }

    #[test]
    fn rm_leaves_a_directory_unless_told_to_go_deep() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        assert_eq!(mkdir(&args(&["-p", deep.to_str().unwrap()])).unwrap(), 0);
        let top = dir.path().join("a");
        assert_eq!(rm(&args(&[top.to_str().unwrap()])).unwrap(), 1);
        assert_eq!(rm(&args(&["-rf", top.to_str().unwrap()])).unwrap(), 0);
        assert!(!top.exists());
    }

    #[test]
    fn hidden_names_are_listed_only_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".hidden"), "").unwrap();
        fs::write(dir.path().join("seen"), "").unwrap();
        assert_eq!(names(dir.path().as_os_str(), Hidden::Not).unwrap(), args(&["seen"]));
        assert_eq!(
            names(dir.path().as_os_str(), Hidden::Too).unwrap(),
            args(&[".", "..", ".hidden", "seen"])
        );
    }
}
