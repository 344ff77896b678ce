//! What the Container Device Interface changes in a container's Spec. Pure.

use std::path::Path;

use oci_spec::OciSpecError;
use oci_spec::runtime::{LinuxDeviceBuilder, LinuxDeviceCgroupBuilder, LinuxDeviceType, MountBuilder, Spec};
use runtime::plan::UserSpec;

use crate::cdi::{DeviceNode, Edits, Mount};

/// Makes one device's edits.
pub(super) fn edit(spec: &mut Spec, user: &mut UserSpec, edits: &Edits) -> Result<(), OciSpecError> {
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        for line in &edits.env {
            let name = line.split_once('=').map_or(line.as_str(), |(name, _)| name);
            env.retain(|known| known.split_once('=').is_none_or(|(known, _)| known != name));
            env.push(line.clone());
        }
        process.set_env(Some(env));
    }
    for node in &edits.device_nodes {
        add_node(spec, node)?;
    }
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in &edits.mounts {
        mounts.push(mount_of(mount)?);
    }
    spec.set_mounts(Some(mounts));
    user.supplementary.extend(edits.additional_gids.iter().copied().filter(|gid| *gid != 0));
    Ok(())
}

fn add_node(spec: &mut Spec, node: &DeviceNode) -> Result<(), OciSpecError> {
    let Some(linux) = spec.linux_mut() else { return Ok(()) };
    let kind = match node.kind.as_deref() {
        Some("b") => LinuxDeviceType::B,
        Some("p") => LinuxDeviceType::P,
        _ => LinuxDeviceType::C,
    };
    let (major, minor) = (node.major.unwrap_or(0), node.minor.unwrap_or(0));
    let device = LinuxDeviceBuilder::default().path(&node.path).typ(kind).major(major).minor(minor);
    let device = device.file_mode(node.file_mode.unwrap_or(0o666));
    let device = device.uid(node.uid.unwrap_or(0)).gid(node.gid.unwrap_or(0)).build()?;
    let mut devices = linux.devices().clone().unwrap_or_default();
    devices.retain(|known| known.path() != &node.path);
    devices.push(device);
    linux.set_devices(Some(devices));
    if kind == LinuxDeviceType::P {
        return Ok(());
    }
    let access = node.permissions.as_deref().unwrap_or("rwm");
    let rule = LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).major(major).minor(minor);
    let rule = rule.access(access).build()?;
    if let Some(resources) = linux.resources_mut() {
        let mut rules = resources.devices().clone().unwrap_or_default();
        rules.push(rule);
        resources.set_devices(Some(rules));
    }
    Ok(())
}

fn mount_of(mount: &Mount) -> Result<oci_spec::runtime::Mount, OciSpecError> {
    let mut options = mount.options.clone();
    let kind = mount.kind.as_deref().filter(|kind| !kind.is_empty());
    let binds = kind.is_none_or(|kind| kind == "bind" || kind == "none");
    if binds && !options.iter().any(|option| option == "bind" || option == "rbind") {
        options.push("rbind".to_owned());
    }
    let source: &Path = &mount.host_path;
    MountBuilder::default()
        .destination(&mount.container_path)
        .typ(if binds { "bind" } else { kind.unwrap_or("bind") })
        .source(source)
        .options(options)
        .build()
}
