//! `podbox net graph`: a picture of what is there.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::picture;

use super::super::{Failure, Session, completion, names, out};
use super::gather;

/// Arguments of `net graph`.
#[derive(Debug, Args)]
pub(in crate::cli) struct GraphArgs {
    /// How to draw
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// Only the pods and Services of this namespace
    #[arg(long, short, add = completion::namespace())]
    namespace: Option<String>,
    /// Those of all namespaces, which is also what is drawn without -n
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Boxes and lines, at most 100 columns wide
    Text,
    /// For a browser
    Svg,
    /// For Graphviz
    Dot,
    /// For a code block in a document
    Mermaid,
    /// All that the pictures are made of
    Json,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &GraphArgs) -> Result<ExitCode, Failure> {
    names::require_root("look into the network")?;
    let picture = gather::picture(session, args.namespace.as_deref())?;
    let nobody = picture.services.is_empty() && picture.hosts.iter().all(|host| host.pods.is_empty());
    if let Some(namespace) = args.namespace.as_ref().filter(|_| nobody) {
        anstream::eprintln!("No resources found in {namespace} namespace.");
    }
    let drawn = match args.output {
        Format::Text => picture::text(&picture),
        Format::Svg => picture::svg(&picture),
        Format::Dot => picture::dot(&picture),
        Format::Mermaid => picture::mermaid(&picture),
        Format::Json => {
            let text = serde_json::to_string_pretty(&picture).map_err(|error| Failure::host(&error))?;
            text + "\n"
        }
    };
    out::print(drawn)?;
    Ok(ExitCode::SUCCESS)
}
