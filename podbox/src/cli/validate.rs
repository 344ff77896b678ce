//! `podbox validate`: read and check manifests.

use std::process::ExitCode;

use clap::Args;

use super::strictness::ValidateFlag;
use super::{Failure, Session, names, out, removal};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Manifests: files, directories, or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    files: Vec<String>,
    #[command(flatten)]
    validate: ValidateFlag,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &ValidateArgs) -> Result<ExitCode, Failure> {
    let loaded = names::load_for(
        &session.settings,
        &args.files,
        args.validate.strictness(),
        &session.settings.pods.allowed_unsafe_sysctls,
    )?;
    if !session.quiet {
        for loaded in &loaded.pods {
            out::line(format_args!("pod {}/{} is valid", loaded.pod.namespace, loaded.pod.name))?;
        }
        for object in &loaded.objects {
            let what = removal::shown(object.kind, &object.namespace, &object.name);
            out::line(format_args!("{what} is valid"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
