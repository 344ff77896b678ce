//! `podbox api-resources`: the kinds of object that podbox knows, and what they may be called.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::output::table::Table;

use super::kinds::Kind;
use super::{Failure, out};

/// Arguments of `api-resources`.
#[derive(Debug, Args)]
pub(super) struct ApiResourcesArgs {
    /// How to print
    #[arg(long, short, value_enum)]
    output: Option<Format>,
    /// No column heads
    #[arg(long)]
    no_headers: bool,
    /// Only kinds whose objects lie in a namespace, or only the others
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespaced: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Name,
    /// With what commands can do
    Wide,
}

/// Runs the command.
pub(super) fn run(args: &ApiResourcesArgs) -> Result<ExitCode, Failure> {
    let mut kinds = Kind::ALL.to_vec();
    kinds.sort_by_key(|kind| kind.resource());
    kinds.retain(|kind| args.namespaced.is_none_or(|wanted| wanted == kind.is_namespaced()));
    if args.output == Some(Format::Name) {
        let names: String = kinds.iter().map(|kind| format!("{}\n", kind.resource())).collect();
        out::print(names)?;
        return Ok(ExitCode::SUCCESS);
    }
    let wide = args.output == Some(Format::Wide);
    let mut heads = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
    heads.extend(wide.then_some(["VERBS", "CATEGORIES"]).into_iter().flatten());
    let mut table = Table::new(heads);
    if args.no_headers {
        table = table.without_heads();
    }
    for kind in kinds {
        let namespaced = kind.is_namespaced().to_string();
        let mut row = vec![kind.resource(), kind.short(), kind.api_version(), &namespaced, kind.kind()];
        let category = if Kind::CATEGORY_ALL.contains(&kind) { "all" } else { "" };
        let verbs = match kind {
            Kind::Derived(_) => "get,list,watch",
            Kind::Pod | Kind::Object(_) => "create,delete,get,list,update,watch",
        };
        row.extend(wide.then_some([verbs, category]).into_iter().flatten());
        table.push_as_is(row);
    }
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
