//! `podbox stage pull`: one pull as a process of its own.
//!
//! TLS and decompression want megabytes; a supervisor has one. So it starts this, writes one JSON line, and
//! reads lines until the last:
//!
//! ```text
//! stdin   {"root":"/var/lib/podbox","reference":"nginx","policy":"IfNotPresent","registry":{}}
//! stdout  {"progress":{"event":"layerStarted","digest":"sha256:…","total":123}}
//!         {"image":{…}}   or   {"failed":{"reason":"ErrImagePull","message":"…"}}
//! ```

use std::io::{self, BufRead, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::{Image, ImageError, Progress, PullOptions, PullPolicy, RegistryOptions, Store};

/// What `podbox stage pull` is asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageRequest {
    /// The store's directory.
    pub root: PathBuf,
    /// As it stands in `image:`.
    pub reference: String,
    /// When to ask the registry.
    #[serde(default)]
    pub policy: PullPolicy,
    /// Where registries are configured.
    #[serde(default)]
    pub registry: RegistryOptions,
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `ErrImagePull`, `InvalidImageName` or `ErrImageNeverPull`.
    pub reason: String,
    /// The whole chain, in one line.
    pub message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Line<'a> {
    Progress(&'a Progress),
    Image(&'a Image),
    Failed(Failure),
}

/// The stage's main function. Exits with 0 if the last line is an image.
pub fn stage_main() -> ExitCode {
    let mut text = String::new();
    let request = match io::stdin().lock().read_line(&mut text) {
        Ok(_) => serde_json::from_str::<StageRequest>(&text).map_err(io::Error::other),
        Err(error) => Err(error),
    };
    let result = match request {
        Ok(request) => run(&request).map_err(|error| failure(&error)),
        Err(error) => {
            let message = format!("read the request on standard input: {error}");
            Err(Failure { reason: "ErrImagePull".to_owned(), message })
        }
    };
    match result {
        Ok(image) => {
            print(&Line::Image(&image));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            print(&Line::Failed(failure));
            ExitCode::FAILURE
        }
    }
}

fn run(request: &StageRequest) -> Result<Image, ImageError> {
    let options = PullOptions { policy: request.policy, registry: request.registry.clone() };
    let mut progress = |progress: Progress| print(&Line::Progress(&progress));
    Store::open(&request.root)?.pull(&request.reference, &options, &mut progress)
}

fn failure(error: &ImageError) -> Failure {
    Failure { reason: error.reason().to_owned(), message: error.message() }
}

/// A supervisor that no longer listens is no reason to stop: another may want the image soon.
fn print(line: &Line<'_>) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        let _ = io::stdout().lock().write_all(&text);
    }
}
