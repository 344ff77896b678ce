//! Finding a container's image: in the store if it may come from there, else by a pull in a process of its own,
//! so that TLS and decompression never become part of a supervisor's memory.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use std::os::fd::OwnedFd;
use std::process::Stdio;

use runtime::process::Process;
use serde::Deserialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::context::kept_environment;
use crate::image::{self, Image, Progress, Reference, StageRequest};
use crate::pod::PullPolicy;
use crate::report;

use super::full;
use super::machine::{Arrival, Event, Failure, ImageFacts, Index};
use super::pull_secrets;
use super::volume_images;
use super::world::World;

/// Looks for the image of container `index`, pulls it if the policy says so, and tells the machine.
pub(super) async fn find(world: Arc<World>, index: Index) {
    let pod = world.pod();
    let container = &pod.containers[index];
    let pulling = || world.event(Event::Pulling(index));
    let event = match obtain(&world, (&container.image, container.pull_policy), pulling).await {
        Ok((image, arrival)) => match volume_images::mount(&world, container).await {
            Ok(()) => Event::ImageFound(index, facts(&image), arrival),
            Err((reference, failure)) => Event::VolumeImageFailed(index, reference, explain(&world, failure)),
        },
        Err(failure) => Event::ImageFailed(index, explain(&world, failure)),
    };
    world.event(event);
}

/// What a full disk did not take is the store's, wherever the image comes from. That it is full arrives as text.
fn explain(world: &World, failure: Failure) -> Failure {
    if !failure.message.contains("No space left on device") {
        return failure;
    }
    Failure { message: full::told(&failure.message, &world.settings.store.images()), ..failure }
}

fn facts(image: &Image) -> ImageFacts {
    ImageFacts {
        reference: image.reference.clone(),
        id: image.repo_digest.clone().unwrap_or_else(|| image.id.clone()),
        stop_signal: image.config.stop_signal.clone(),
    }
}

/// The image of that reference, from the store or by a pull, whose beginning is told.
pub(super) async fn obtain(
    world: &World,
    (reference, policy): (&str, PullPolicy),
    pulling: impl Fn(),
) -> Result<(Image, Arrival), Failure> {
    let failure = |reason: &str, message: String| Failure { reason: reason.to_owned(), message };
    let present =
        world.images.lookup(reference).map_err(|error| failure(error.reason(), report::chain(&error)))?;
    let local = !matches!(reference.parse(), Ok(Reference::Registry(_)));
    match (present, policy) {
        (Some(image), _) if local => Ok((image, Arrival::Present)),
        (Some(image), PullPolicy::IfNotPresent | PullPolicy::Never) => Ok((image, Arrival::Present)),
        (None, PullPolicy::Never) if !local => Err(failure(
            "ErrImageNeverPull",
            format!("Container image \"{reference}\" is not present with pull policy of Never"),
        )),
        (_, PullPolicy::Always) | (None, PullPolicy::IfNotPresent | PullPolicy::Never) => {
            if !local {
                pulling();
            }
            let before = Instant::now();
            let (image, size) = pull(world, reference, policy)
                .await
                .map_err(|error| failure("ErrImagePull", report::chain(&error)))?
                .map_err(|failed| failure(&failed.reason, failed.message))?;
            let arrival = match size {
                Some(size) if !local => Arrival::Pulled { took: before.elapsed(), size },
                // Another pod's pull was faster, and nobody was asked.
                _ => Arrival::Present,
            };
            Ok((image, arrival))
        }
    }
}

/// What the pull stage says, a line each.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Progress(Progress),
    Image(Box<Image>),
    Failed(image::Failure),
}

/// An image, and its size in bytes as the registry serves it where one was asked.
type Pulled = (Image, Option<u64>);

/// Runs the pull stage.
async fn pull(
    world: &World,
    reference: &str,
    policy: PullPolicy,
) -> io::Result<Result<Pulled, image::Failure>> {
    let (pull_secrets, missing) = pull_secrets::read(&world.settings.store, &world.pod());
    let registry = image::RegistryOptions { pull_secrets, ..world.settings.registry_options() };
    let request = StageRequest {
        root: world.settings.store.images(),
        reference: reference.to_owned(),
        policy: match policy {
            PullPolicy::Always => image::PullPolicy::Always,
            PullPolicy::IfNotPresent | PullPolicy::Never => image::PullPolicy::IfNotPresent,
        },
        registry,
    };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let theirs: OwnedFd = theirs.into();
    let mut command = world.exe.command();
    command.args(["stage", "pull"]).envs(kept_environment());
    let child = command.stdin(Stdio::from(theirs.try_clone()?)).stdout(Stdio::from(theirs)).spawn()?;
    drop(command);
    let process = Process::of_pid(child.id().cast_signed())?;
    ours.set_nonblocking(true)?;
    let (read, mut write) = UnixStream::from_std(ours)?.into_split();
    let mut text = serde_json::to_vec(&request)?;
    text.push(b'\n');
    write.write_all(&text).await?;
    let answer = listen(BufReader::with_capacity(1024, read)).await;
    super::stages::reap_soon(&process)?;
    if !missing.is_empty() && !matches!(answer, Ok(Ok(_))) {
        world.event(Event::Told(pull_secrets::missing_note(&missing)));
    }
    answer
}

async fn listen(reader: impl AsyncBufRead + Unpin) -> io::Result<Result<Pulled, image::Failure>> {
    let mut lines = reader.lines();
    let mut size = None;
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            // Of several places that were asked, the last is the one that it came from.
            Line::Progress(Progress::Found { size: told }) => size = Some(told),
            Line::Progress(_) => {}
            Line::Image(image) => return Ok(Ok((*image, size))),
            Line::Failed(failure) => return Ok(Err(failure)),
        }
    }
    Err(io::Error::other("the pull ended without an answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = r#"{"image":{"reference":"r","id":"sha256:1","repo_digest":null,"layers":[],"config":{"env":[],"entrypoint":[],"cmd":[],"working_dir":null,"user":null,"stop_signal":null}}}"#;

    async fn size(lines: &[&str]) -> Option<u64> {
        let text = lines.join("\n");
        listen(text.as_bytes()).await.expect("an answer").expect("an image").1
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_size_is_the_whole_images_wherever_its_layers_were() {
        let found = |size| format!(r#"{{"progress":{{"event":"found","size":{size}}}}}"#);
        let exists = r#"{"progress":{"event":"layerExists","digest":"sha256:2"}}"#;
        let started = r#"{"progress":{"event":"layerStarted","digest":"sha256:3","total":7}}"#;
        assert_eq!(size(&[&found(100), exists, IMAGE]).await, Some(100));
        assert_eq!(size(&[&found(100), started, &found(200), exists, IMAGE]).await, Some(200));
        assert_eq!(size(&[IMAGE]).await, None);
    }
}
