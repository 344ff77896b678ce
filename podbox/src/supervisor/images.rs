//! Finding a container's image: in the store if it may come from there, else by a pull in a process of its own,
//! so that TLS and decompression never become part of a supervisor's memory.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use runtime::process::Process;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::image::{Image, PullAnswer, PullRequest};
use crate::pod::PullPolicy;
use crate::report;

use super::machine::{Arrival, Event, Failure, ImageFacts, Index};
use super::world::World;

/// Looks for the image of container `index`, pulls it if the policy says so, and tells the machine.
pub(super) async fn find(world: Arc<World>, index: Index) {
    let event = match try_find(&world, index).await {
        Ok((image, arrival)) => Event::ImageFound(index, facts(&world, index, &image), arrival),
        Err(failure) => Event::ImageFailed(index, failure),
    };
    world.event(event);
}

fn facts(world: &World, index: Index, image: &Image) -> ImageFacts {
    ImageFacts {
        reference: world.pod.containers[index].image.clone(),
        id: image.repo_digest.clone().unwrap_or_else(|| image.id.clone()),
        stop_signal: image.config.stop_signal.clone(),
    }
}

async fn try_find(world: &World, index: Index) -> Result<(Image, Arrival), Failure> {
    let container = &world.pod.containers[index];
    let reference = &container.image;
    let failure = |reason: &str, message: String| Failure { reason: reason.to_owned(), message };
    let present = world
        .images
        .lookup(reference)
        .map_err(|error| failure(error.reason(), report::chain(&error)))?;
    let local = crate::image::is_local(reference);
    match (present, container.pull_policy) {
        (Some(image), _) if local => Ok((image, Arrival::Present)),
        (Some(image), PullPolicy::IfNotPresent | PullPolicy::Never) => Ok((image, Arrival::Present)),
        (None, PullPolicy::Never) if !local => Err(failure(
            "ErrImageNeverPull",
            format!("Container image \"{reference}\" is not present with pull policy of Never"),
        )),
        (_, PullPolicy::Always) | (None, PullPolicy::IfNotPresent | PullPolicy::Never) => {
            if !local {
                world.event(Event::Pulling(index));
            }
            let before = Instant::now();
            let image = pull(world, reference).await?;
            let size = image.size;
            let arrival = if local { Arrival::Present } else { Arrival::Pulled { took: before.elapsed(), size } };
            Ok((image, arrival))
        }
    }
}
