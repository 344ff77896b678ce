//! Relative paths of images, made absolute where it is still known what they are relative to.
//!
//! `oci:`, `docker-archive:` and `rootfs:` name files. The supervisor that opens them works in another
//! directory than the user, and in a later boot than the manifest was read.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use crate::image::Reference;

/// Rewrites every container's and volume's image that is a relative path, to start from `directory`, or from the working
/// directory if there is none.
pub(super) fn make_absolute(pod: &mut Pod, directory: Option<&Path>) {
    let Some(spec) = &mut pod.spec else { return };
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    let containers = containers.filter_map(|container| container.image.as_mut());
    let volumes = spec.volumes.iter_mut().flatten();
    let volumes = volumes.filter_map(|volume| volume.image.as_mut()?.reference.as_mut());
    for image in containers.chain(volumes) {
        if let Some(absolute) = Reference::rooted(image, directory.unwrap_or(Path::new(""))) {
            *image = absolute;
        }
    }
}
