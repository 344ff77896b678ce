//! Volumes that are images: pulled as a container's image is, and mounted before the first container that uses them.
//!
//! What is mounted is an overlay of the layers alone, which nobody can write to. It stays as long as the pod does, on
//! the host, where a tmpfs for an emptyDir would be too.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MsFlags, mount as mount_at};
use runtime::layers;

use crate::image::Image;
use crate::pod::{Container, VolumeSource};
use crate::report;
use crate::volumes;

use super::images;
use super::machine::{Arrival, Event, Failure, Note, pulled};
use super::world::World;

/// Sees to the image volumes that `container` mounts.
///
/// # Errors
/// The first image that is not to be had, or cannot be mounted, by its reference.
pub(super) async fn mount(world: &World, container: &Container) -> Result<(), (String, Failure)> {
    let pod = world.pod();
    for volume in &pod.volumes {
        let VolumeSource::Image { reference, pull_policy } = &volume.source else { continue };
        if !container.mounts.iter().any(|mount| mount.volume == volume.name) {
            continue;
        }
        let pulling = || tell(world, "Pulling", format!("Pulling image \"{reference}\""));
        let (image, arrival) = images::obtain(world, (reference, *pull_policy), pulling)
            .await
            .map_err(|failure| (reference.clone(), failure))?;
        if let Arrival::Pulled { .. } = arrival {
            tell(world, "Pulled", pulled(reference, &arrival));
        }
        let users = pod.security.user_namespace.then(|| world.dir.namespaces());
        mount_one(&image, &world.dir.volume(&volume.name), users.as_deref()).map_err(|error| {
            let message = format!("mount image \"{reference}\": {}", report::chain(&error));
            (reference.clone(), Failure { reason: "ErrImagePull".to_owned(), message })
        })?;
    }
    Ok(())
}

fn tell(world: &World, reason: &str, message: String) {
    let note = Note { warning: false, reason: reason.to_owned(), message, container: None };
    world.event(Event::Told(note));
}

/// Mounts an image; as the user namespace sees it that is pinned in `users`, if there is one.
fn mount_one(image: &Image, at: &Path, users: Option<&Path>) -> io::Result<()> {
    fs::create_dir_all(at)?;
    if volumes::is_mounted(at) {
        return Ok(());
    }
    if let Some(pin_dir) = users {
        let layers: Vec<&Path> = image.layers.iter().map(|path| path.as_path()).collect();
        return layers::mount_for_users(&layers, at, pin_dir);
    }
    // By descriptors: the options have room for less than a page, and know colons and commas. The empty directory that
    // is mounted over goes below all, since there have to be two.
    let layers = image.layers.iter().map(|path| path.as_path()).chain([at]);
    let held: Vec<fs::File> = layers.map(fs::File::open).collect::<io::Result<_>>()?;
    let names: Vec<String> =
        held.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
    let options = format!("lowerdir={}", names.join(":"));
    mount_at(Some("overlay"), at, Some("overlay"), MsFlags::MS_RDONLY, Some(options.as_str()))?;
    Ok(())
}
