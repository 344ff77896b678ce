//! `podbox cni`: what other container runtimes need to use podbox's network.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use netplugin::cni::PROGRAM;

use crate::store::make_dir;

use super::{Failure, out};

/// Commands for other container runtimes.
#[derive(Debug, Subcommand)]
pub(super) enum CniCommand {
    /// Put a link named podbox-bridge, which is podbox's CNI plugin, where a runtime looks for plugins
    Install {
        /// Such as /opt/cni/bin; made if it is not there
        #[arg(value_name = "DIR", default_value = "/opt/cni/bin")]
        dir: PathBuf,
    },
}

/// Runs the command.
pub(super) fn run(command: &CniCommand) -> Result<ExitCode, Failure> {
    let CniCommand::Install { dir } = command;
    let program = std::env::current_exe()
        .map_err(|error| Failure::cannot(format!("find podbox's own program: {error}")))?;
    // A file somewhere on the way there is a mistake of the request, and no trouble of the host's.
    if let Some(file) = dir.ancestors().find(|path| path.exists()).filter(|path| !path.is_dir()) {
        return Err(Failure::wrong(format!(
            "install into {}: {} is no directory; give the directory in which the runtime looks for plugins",
            dir.display(),
            file.display()
        )));
    }
    make_dir(dir).map_err(|error| Failure::host(&error))?;
    let link = dir.join(PROGRAM);
    let failed = |error: std::io::Error| Failure::cannot(format!("link {}: {error}", link.display()));
    match fs::symlink_metadata(&link) {
        Ok(there) if !there.is_symlink() => {
            return Err(Failure::wrong(format!(
                "{} is there and is no link; remove it first",
                link.display()
            )));
        }
        Ok(_) if fs::read_link(&link).map_err(failed)? == program => {}
        Ok(_) => {
            // In one step, so that no runtime ever finds none.
            let new = dir.join(format!(".{PROGRAM}.new"));
            let _ = fs::remove_file(&new);
            symlink(&program, &new).and_then(|()| fs::rename(&new, &link)).map_err(failed)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => symlink(&program, &link).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    }
    out::line(format_args!("{} -> {}", link.display(), program.display()))?;
    Ok(ExitCode::SUCCESS)
}
