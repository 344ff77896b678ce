//! The program that a container or an exec runs: found along the container's own PATH, and everything that
//! needs memory prepared before the gate.

use crate::recipe::Fault;
use crate::sys::task::{self, ExecVector};
use nix::errno::Errno;
use oci_spec::runtime::Process;
use std::ffi::CString;
use std::path::Path;

/// Where programs are looked for if the environment does not say (as execvp(3), with the places that
/// images use).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with its arguments and environment.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    candidates: Vec<CString>,
    args: ExecVector,
    env: ExecVector,
}

impl Program {
    /// Prepares what `process` asks for. `home` becomes `HOME` unless the environment has one.
    pub(super) fn prepare(process: &Process, home: &str) -> Result<Self, Fault> {
        let args = process.args().as_deref().unwrap_or_default();
        let name = args.first().filter(|name| !name.is_empty()).ok_or_else(|| Fault::new("no command"))?;
        let mut env: Vec<String> = process.env().clone().unwrap_or_default();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            env.push(format!("HOME={home}"));
        }
        // The last of several wins, as in a shell.
        let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        let candidates = if name.contains('/') {
            vec![name.clone()]
        } else {
            let in_directory =
                |dir: &str| if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
            path.split(':').map(in_directory).collect()
        };
        Ok(Self {
            name: name.clone(),
            candidates: candidates.into_iter().map(c_string).collect::<Result<_, _>>()?,
            args: ExecVector::new(args.iter().cloned().map(c_string).collect::<Result<_, _>>()?),
            env: ExecVector::new(env.into_iter().map(c_string).collect::<Result<_, _>>()?),
        })
    }

    /// Becomes the program. Returns only if that failed, with the exit code that a shell would give: 127 if
    /// there is no such program, 126 if there is one and it cannot be run.
    pub(super) fn exec(&self) -> Fault {
        let mut last = Errno::ENOENT;
        for candidate in &self.candidates {
            match task::exec(candidate, &self.args, &self.env) {
                Errno::ENOENT | Errno::ENOTDIR => {}
                // Another directory may have one that can be run; if not, this is the answer.
                Errno::EACCES => last = Errno::EACCES,
                errno => {
                    last = errno;
                    break;
                }
            }
        }
        let name = &self.name;
        let text = match last {
            Errno::ENOENT if !name.contains('/') => format!("\"{name}\": executable file not found in $PATH"),
            Errno::ENOENT if Path::new(name).exists() => {
                format!("\"{name}\": its interpreter or loader does not exist")
            }
            Errno::ENOENT => format!("\"{name}\": no such file or directory"),
            Errno::EACCES => format!("\"{name}\": permission denied"),
            Errno::ENOEXEC => format!("\"{name}\": exec format error"),
            errno => format!("\"{name}\": {}", errno.desc()),
        };
        let exit_code = Some(if last == Errno::ENOENT { 127 } else { 126 });
        Fault { errno: Some(last as i32), text, exit_code }
    }
}

fn c_string(text: String) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| Fault::new("an argument or environment entry has a zero byte"))
}
