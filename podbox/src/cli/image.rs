//! `podbox image`: fetch, list, look into, bring in, name and remove images.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::image::{
    Image, ImageConfig, ImageError, ImageSummary, ImportOptions, PruneScope, PullOptions, PullPolicy,
    RegistryError, Store, UnpackError,
};
use crate::output::table::Table;
use crate::report;

use super::out::line;
use super::{Failure, Session, completion, names, pods};

use self::progress::Display;

mod change;
mod progress;

/// Subcommands of `image`.
#[derive(Debug, Subcommand)]
pub(super) enum ImageCommand {
    /// Fetch images into the store
    Pull(PullArgs),
    /// List the images in the store
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Print all about images, as JSON
    Inspect(InspectArgs),
    /// Bring in the images of an archive or of an OCI layout
    Load(LoadArgs),
    /// Make an image of a root file system in a tar archive
    Import(ImportArgs),
    /// Give an image another name
    Tag(TagArgs),
    /// Remove names and, with the last one, the image
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Remove images that nothing uses, and what broken pulls left
    Prune(PruneArgs),
}

/// `podbox image pull`
#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// As in a manifest's `image:`
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// When to ask the registry
    #[arg(long, value_enum, default_value_t = Policy::Always)]
    policy: Policy,
    /// Credentials [default: those of podman and docker]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// Every time
    Always,
    /// If the image is not in the store
    #[value(alias = "IfNotPresent")]
    Missing,
    /// Only say whether it is there
    Never,
}

/// `podbox image ls`
#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// Leave the heads out
    #[arg(long)]
    no_headers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    /// With digests and dates
    Wide,
    Json,
}

/// `podbox image inspect`
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE", add = completion::image())]
    images: Vec<String>,
}

/// `podbox image load`
#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// A file of `docker save` or `podman save`, an OCI layout's directory, or `-`
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// The same
    #[arg(long, short, value_name = "FILE", conflicts_with = "file")]
    input: Option<PathBuf>,
    /// What to call an image that has no name in there, or only a tag [default: by the file's name]
    #[arg(long, short, value_name = "NAME")]
    tag: Option<String>,
}

/// `podbox image import`
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// A tar archive, compressed or not, or `-`
    file: PathBuf,
    /// What to call the image
    name: String,
    /// What containers run: `CMD`, `ENTRYPOINT`, `ENV`, `WORKDIR`, `USER`, `STOPSIGNAL`, as in a Dockerfile
    #[arg(long = "change", short, value_name = "INSTRUCTION")]
    changes: Vec<String>,
}

/// `podbox image tag`
#[derive(Debug, Args)]
pub(super) struct TagArgs {
    /// A name, an id, or the beginning of an id
    #[arg(add = completion::image())]
    image: String,
    /// The names to give
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// `podbox image rm`
#[derive(Debug, Args)]
pub(super) struct RmArgs {
    /// Names, ids, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE", add = completion::image())]
    images: Vec<String>,
    /// What is not there counts as removed
    #[arg(long, short)]
    force: bool,
}

/// `podbox image prune`
#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Also images that have a name, if no pod uses them
    #[arg(long, short)]
    all: bool,
}

/// Runs the command.
pub(super) fn run(session: &Session, command: ImageCommand) -> Result<ExitCode, Failure> {
    let store = Store::open(&session.settings.store.images()).map_err(|error| failure(&error))?;
    match command {
        ImageCommand::Pull(args) => pull(session, &store, &args),
        ImageCommand::Ls(args) => list(session, &store, &args),
        ImageCommand::Inspect(args) => inspect(&store, &args),
        ImageCommand::Load(args) => load(session, &store, &args),
        ImageCommand::Import(args) => import(&store, &args),
        ImageCommand::Tag(args) => tag(&store, &args),
        ImageCommand::Rm(args) => remove(session, &store, &args),
        ImageCommand::Prune(args) => prune(session, &store, &args),
    }
}

fn pull(session: &Session, store: &Store, args: &PullArgs) -> Result<ExitCode, Failure> {
    names::require_root("pull images")?;
    let mut registry = session.settings.registry_options();
    registry.auth_file = args.authfile.clone().or(registry.auth_file);
    let policy = match args.policy {
        Policy::Always => PullPolicy::Always,
        Policy::Missing => PullPolicy::IfNotPresent,
        Policy::Never => PullPolicy::Never,
    };
    let options = PullOptions { policy, registry };
    let mut errors = Errors::default();
    for reference in &args.images {
        let mut display = if session.quiet { Display::Silent } else { Display::new() };
        let result = store.pull(reference, &options, &mut |progress| display.show(&progress));
        display.end();
        match result {
            Ok(image) => line(&image.id)?,
            Err(error) => errors.0.push(failure_of_named(session, &error)),
        }
    }
    errors.end()
}

fn list(session: &Session, store: &Store, args: &LsArgs) -> Result<ExitCode, Failure> {
    let images = store.list().map_err(|error| failure(&error))?;
    if args.output == Format::Json {
        let text = serde_json::to_string_pretty(&images).map_err(|error| Failure::host(&error))?;
        line(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if session.quiet {
        let ids: BTreeSet<&str> = images.iter().map(|image| image.id.as_str()).collect();
        for id in ids {
            line(short(id))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = match args.output {
        Format::Wide => Table::new(["REPOSITORY", "TAG", "IMAGE ID", "SIZE", "CREATED", "DIGEST"]),
        Format::Table | Format::Json => Table::new(["REPOSITORY", "TAG", "IMAGE ID", "SIZE"]),
    };
    for image in &images {
        table.push(row(image, args.output));
    }
    if args.no_headers {
        table = table.without_heads();
    }
    line(table.to_string().trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn row(image: &ImageSummary, format: Format) -> Vec<String> {
    let mut row = vec![
        image.repository.clone(),
        image.tag.clone(),
        short(&image.id).to_owned(),
        progress::size(image.size),
    ];
    if format == Format::Wide {
        row.push(image.created.clone().unwrap_or_default());
        let digest = image.repo_digest.as_deref().and_then(|digest| digest.rsplit_once('@'));
        row.push(digest.map(|(_, digest)| digest.to_owned()).unwrap_or_default());
    }
    row
}

fn inspect(store: &Store, args: &InspectArgs) -> Result<ExitCode, Failure> {
    let mut found = Vec::new();
    let mut errors = Errors::default();
    for name in &args.images {
        match store.inspect(name) {
            Ok(details) => found.push(json!(details)),
            Err(error) => errors.add(&error),
        }
    }
    let text = serde_json::to_string_pretty(&found).map_err(|error| Failure::host(&error))?;
    line(&text)?;
    errors.end()
}

fn load(session: &Session, store: &Store, args: &LoadArgs) -> Result<ExitCode, Failure> {
    names::require_root("load images")?;
    let path = args.input.as_ref().unwrap_or(&args.file);
    let default = args.tag.as_deref();
    let loaded = if path == Path::new("-") {
        store.load_stream(std::io::stdin().lock(), default)
    } else {
        store.load(path, default)
    };
    for image in loaded.map_err(|error| failure_of_named(session, &error))? {
        let Image { reference, id, .. } = image;
        if session.quiet { line(&id)? } else { line(format!("Loaded image: {reference}"))? }
    }
    Ok(ExitCode::SUCCESS)
}

fn import(store: &Store, args: &ImportArgs) -> Result<ExitCode, Failure> {
    names::require_root("import an image")?;
    let mut config = ImageConfig::default();
    for instruction in &args.changes {
        change::apply(&mut config, instruction)
            .map_err(|reason| Failure::wrong(format!("change {instruction:?}: {reason}")))?;
    }
    let now = jiff::Timestamp::now().to_string();
    let options = ImportOptions { reference: args.name.clone(), config, created: Some(now) };
    let imported = if args.file == Path::new("-") {
        store.import(std::io::stdin().lock(), &options)
    } else {
        let file = File::open(&args.file).map_err(|error| {
            Failure::wrong(format!("open {}: {}", args.file.display(), report::chain(&error)))
        })?;
        store.import(file, &options)
    };
    line(&imported.map_err(|error| failure(&error))?.id)?;
    Ok(ExitCode::SUCCESS)
}

fn tag(store: &Store, args: &TagArgs) -> Result<ExitCode, Failure> {
    names::require_root("tag an image")?;
    for name in &args.names {
        store.tag(&args.image, name).map_err(|error| failure(&error))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn remove(session: &Session, store: &Store, args: &RmArgs) -> Result<ExitCode, Failure> {
    names::require_root("remove images")?;
    let in_use = in_use(session, store);
    let mut errors = Errors::default();
    for name in &args.images {
        match store.remove(name, &in_use) {
            Ok(removed) => removed.iter().try_for_each(|removed| told(removed))?,
            Err(ImageError::NotFound { .. }) if args.force => {}
            Err(error) => errors.add(&error),
        }
    }
    errors.end()
}

fn prune(session: &Session, store: &Store, args: &PruneArgs) -> Result<ExitCode, Failure> {
    names::require_root("remove images")?;
    let scope = if args.all { PruneScope::Unused } else { PruneScope::Nameless };
    let removed = store.prune(scope, &in_use(session, store)).map_err(|error| failure(&error))?;
    removed.iter().try_for_each(|removed| told(removed))?;
    Ok(ExitCode::SUCCESS)
}

/// What pods have: the images of their containers' status, and what their specifications name now, which a
/// container that has not come to start yet will want.
fn in_use(session: &Session, store: &Store) -> Vec<String> {
    let mut used = BTreeSet::new();
    for pod in pods::all(session, None) {
        let status = pod.object()["status"].take();
        for kind in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
            for container in status[kind].as_array().into_iter().flatten() {
                used.extend(container["imageID"].as_str().map(str::to_owned));
            }
        }
        for container in &pod.pod.containers {
            used.extend(store.lookup(&container.image).ok().flatten().map(|image| image.id));
        }
    }
    used.into_iter().collect()
}

fn told(removed: &str) -> Result<(), Failure> {
    match removed.starts_with("sha256:") {
        true => line(format!("Deleted: {removed}")),
        false => line(format!("Untagged: {removed}")),
    }
}

/// As many digits of an id as docker shows.
fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

/// A request that cannot be granted, or a host that cannot do it.
fn failure(error: &ImageError) -> Failure {
    let of_the_host = match error {
        ImageError::Io { .. } | ImageError::Unpack { source: UnpackError::Write { .. }, .. } => true,
        ImageError::Registry { source, .. } => {
            source.is_unreachable() || matches!(**source, RegistryError::Exchange { .. })
        }
        _ => false,
    };
    if of_the_host { Failure::host(error) } else { Failure::request(error) }
}

/// The same where the request may name a file: one that is not there, and would not be in the store, was named wrongly.
fn failure_of_named(session: &Session, error: &ImageError) -> Failure {
    match error {
        ImageError::Io { path, source, .. }
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                && !path.starts_with(session.settings.store.images()) =>
        {
            Failure::request(error)
        }
        _ => failure(error),
    }
}

/// The failures of several independent requests.
#[derive(Default)]
struct Errors(Vec<Failure>);

impl Errors {
    fn add(&mut self, error: &ImageError) {
        self.0.push(failure(error));
    }

    /// All are told; the last gives the exit code.
    fn end(mut self) -> Result<ExitCode, Failure> {
        let Some(last) = self.0.pop() else { return Ok(ExitCode::SUCCESS) };
        for failure in self.0 {
            let _ = failure.report();
        }
        Err(last)
    }
}
