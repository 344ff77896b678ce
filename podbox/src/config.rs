//! Settings: built-in defaults, `/etc/podbox/podbox.toml` over them, the environment over that, flags last.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netplugin::{Firewall, Masquerade, NetworkConfig, PortMapping, Subnet};
use serde::{Deserialize, Serialize};

mod networks;
mod peers;
mod pods;
mod services;

use crate::chain::ChainSettings;
use crate::image::RegistryOptions;
use crate::pod::Protocol;
use crate::report;
use crate::restart::BackoffSettings;
use crate::services::{Allotment, Bounds};
use crate::store::{Layers, Store};

pub use pods::{IdRange, PodSettings};
pub use services::ServiceSettings;

const FILE: &str = "/etc/podbox/podbox.toml";
const RUN: &str = "/run/podbox";
const ROOT: &str = "/var/lib/podbox";
const LOGS: &str = "/var/log/pods";

/// Everything that can be set, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Where things lie.
    pub store: Store,
    /// The pods' network.
    pub network: NetworkConfig,
    /// Further networks, which pods join by annotation.
    #[serde(default)]
    pub further_networks: Vec<NetworkConfig>,
    /// The chain of CNI plugins that pods get their network from instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainSettings>,
    /// The delays between restarts and between pulls.
    pub backoff: BackoffSettings,
    /// containers' registries.conf, if not the usual one.
    pub registries_conf: Option<PathBuf>,
    /// What this host lets pods do.
    #[serde(default)]
    pub pods: PodSettings,
    /// Where Services get their addresses and ports.
    #[serde(default)]
    pub services: ServiceSettings,
    /// Where files of CDI lie; what comes later counts more.
    #[serde(default = "usual_cdi")]
    pub cdi_directories: Vec<PathBuf>,
}

impl Settings {
    /// All networks, the one that every pod is on first.
    pub fn networks(&self) -> impl Iterator<Item = &NetworkConfig> {
        std::iter::once(&self.network).chain(&self.further_networks)
    }

    /// The network of that name.
    #[must_use]
    pub fn network_of(&self, name: &str) -> Option<&NetworkConfig> {
        self.networks().find(|network| network.name == name)
    }

    /// Where registries are configured.
    #[must_use]
    pub fn registry_options(&self) -> RegistryOptions {
        RegistryOptions { registries_conf: self.registries_conf.clone(), ..RegistryOptions::default() }
    }

    /// What Services are given.
    #[must_use]
    pub fn allotment(&self) -> Allotment {
        let network = self.network.clone();
        let in_the_way = move |protocol: Protocol, host_ip: Option<IpAddr>, host_port: u16| {
            if host_ip.is_some_and(|ip| !netplugin::is_address_of_host(ip)) {
                return None;
            }
            let protocol = protocol.on_the_wire();
            let mapping = PortMapping { host_ip, host_port, container_port: host_port, protocol };
            let found = netplugin::port_in_the_way(&network, &mapping);
            found.unwrap_or_else(Some).map(|error| report::chain(&error))
        };
        Allotment { bounds: self.service_bounds(), in_the_way: Box::new(in_the_way) }
    }

    /// What Services may have at all.
    #[must_use]
    pub fn service_bounds(&self) -> Bounds {
        let (first, last) = self.services.node_ports;
        // Where others give pods their addresses, it is for them to know which.
        let own = self.networks().filter(|_| self.chain.is_none());
        let pods = own.flat_map(|network| network.subnets().map(|subnet| network.space_of(subnet)));
        Bounds { ranges: self.service_ranges(), node_ports: first..=last, pods: pods.collect() }
    }

    /// The ranges of cluster IPs, of the families that pods have.
    #[must_use]
    pub fn service_ranges(&self) -> Vec<Subnet> {
        let four = self.services.ipv4.filter(|_| self.network.ipv4.is_some());
        let six = self.services.ipv6.filter(|_| self.network.ipv6.is_some());
        four.into_iter().chain(six).collect()
    }
}

/// What the command line says of places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--root`
    pub root: Option<PathBuf>,
    /// `--run`
    pub run: Option<PathBuf>,
    /// `--config`
    pub config: Option<PathBuf>,
}

/// Why the settings cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The file does not say what it should.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// With line and column.
        message: String,
    },
    /// One thing in the file cannot be as it is.
    #[error("{}:{line}:{column}: {message}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    paths: Paths,
    network: Network,
    peer: Vec<peers::File>,
    networks: BTreeMap<String, networks::Further>,
    restart: Restart,
    images: Images,
    containers: Containers,
    pods: pods::File,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Paths {
    root: Option<PathBuf>,
    run: Option<PathBuf>,
    logs: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Network {
    name: Option<String>,
    bridge: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    mtu: Option<u32>,
    masquerade: Option<bool>,
    firewall: Option<Firewall>,
    services_ipv4: Option<String>,
    services_ipv6: Option<String>,
    node_ports: Option<String>,
    flat_ipv4: Option<toml::Spanned<String>>,
    flat_ipv6: Option<toml::Spanned<String>>,
    overlay: Option<peers::Way>,
    vxlan_id: Option<u32>,
    vxlan_port: Option<u16>,
    underlay: Option<String>,
    cni: Option<String>,
    cni_conf_dir: Option<PathBuf>,
    cni_bin_dirs: Option<Vec<PathBuf>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Restart {
    initial_backoff: Option<String>,
    max_backoff: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Images {
    registries_conf: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Containers {
    writable_layers: Option<Layers>,
    cdi_spec_dirs: Option<Vec<PathBuf>>,
}

/// Where everybody looks for files of CDI.
fn usual_cdi() -> Vec<PathBuf> {
    vec!["/etc/cdi".into(), "/var/run/cdi".into()]
}

/// Reads the settings.
///
/// # Errors
/// [`ConfigError`] names the file and what is wrong in it. A missing default file is no error.
pub fn load(flags: &Flags) -> Result<Settings, ConfigError> {
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let (path, required) = match flags.config.clone().or_else(|| env("PODBOX_CONFIG")) {
        Some(path) => (path, true),
        None => (PathBuf::from(FILE), false),
    };
    let (mut file, text) = read(&path, required)?;
    let wrong = |message: String| ConfigError::Parse { path: path.clone(), message };

    let root = flags.root.clone().or_else(|| env("PODBOX_ROOT")).or(file.paths.root);
    let run = flags.run.clone().or_else(|| env("PODBOX_RUN")).or(file.paths.run);
    // Logs move with the root, so that a podbox that was given a root of its own writes nowhere else.
    let logs = file.paths.logs.or_else(|| root.as_ref().map(|root| root.join("log/pods")));
    let data = absolute(root.unwrap_or_else(|| ROOT.into()));
    let store = Store {
        run: absolute(run.unwrap_or_else(|| RUN.into())),
        logs: absolute(logs.unwrap_or_else(|| LOGS.into())),
        layers: file.containers.writable_layers.unwrap_or_else(|| usual_layers(&data)),
        data,
    };
    let services = ServiceSettings::resolve(&file.network).map_err(&wrong)?;
    let chain = chain(&mut file.network).map_err(&wrong)?;
    let name = file.network.name.unwrap_or_else(|| "podbox".to_owned());
    let shared = peers::Shared {
        flat: [file.network.flat_ipv4, file.network.flat_ipv6],
        overlay: file.network.overlay,
        vxlan_id: file.network.vxlan_id,
        vxlan_port: file.network.vxlan_port,
        underlay: file.network.underlay,
    };
    let mut network = NetworkConfig {
        bridge: file.network.bridge.unwrap_or_else(|| "podbox0".to_owned()),
        ipv4: subnet(file.network.ipv4.as_deref().unwrap_or("10.244.0.0/16")).map_err(&wrong)?,
        ipv6: subnet(file.network.ipv6.as_deref().unwrap_or("fd70:6f64:626f:7800::/64")).map_err(&wrong)?,
        mtu: file.network.mtu,
        beside: Vec::new(),
        masquerade: if file.network.masquerade == Some(false) {
            Masquerade::Never
        } else {
            Masquerade::Egress
        },
        firewall: file.network.firewall.unwrap_or_default(),
        peers: netplugin::Peers::default(),
        state_dir: store.leases(&name),
        name,
    };
    peers::resolve(&mut network, shared, &file.peer).map_err(|wrong| placed(&path, &text, wrong))?;
    let mut further_networks = networks::resolve(file.networks, &network, &store).map_err(&wrong)?;
    networks::introduce(&mut network, &mut further_networks);
    for network in std::iter::once(&network).chain(&further_networks) {
        network.validate().map_err(|error| wrong(error.to_string()))?;
    }
    let default = BackoffSettings::default();
    let delay = |text: Option<String>, default| text.map_or(Ok(default), |text| duration(&text));
    let backoff = BackoffSettings {
        initial: delay(file.restart.initial_backoff, default.initial).map_err(&wrong)?,
        max: delay(file.restart.max_backoff, default.max).map_err(&wrong)?,
    };
    let registries_conf = file.images.registries_conf.or_else(|| env("PODBOX_REGISTRIES_CONF"));
    let pods = file.pods.resolve(&store.data).map_err(&wrong)?;
    let cdi_directories = file.containers.cdi_spec_dirs.unwrap_or_else(usual_cdi);
    let cdi_directories = cdi_directories.into_iter().map(absolute).collect();
    services.check(&network).map_err(&wrong)?;
    Ok(Settings {
        store,
        network,
        further_networks,
        chain,
        backoff,
        registries_conf,
        pods,
        services,
        cdi_directories,
    })
}

/// An error with the line and the column of what it is about.
fn placed(path: &Path, text: &str, wrong: peers::Wrong) -> ConfigError {
    let (path, message) = (path.to_path_buf(), wrong.message);
    let Some(before) = wrong.span.and_then(|span| text.get(..span.start)) else {
        return ConfigError::Parse { path, message };
    };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    ConfigError::At { path, line, column, message }
}

fn read(path: &Path, required: bool) -> Result<(File, String), ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text)
            .map(|file| (file, text))
            .map_err(|error| ConfigError::Parse { path: path.to_path_buf(), message: error.to_string() }),
        Err(error) if error.kind() == ErrorKind::NotFound && !required => {
            Ok((File::default(), String::new()))
        }
        Err(source) => Err(ConfigError::Read { path: path.to_path_buf(), source }),
    }
}

/// On the disk, unless that is itself an overlay, as in most containers: one cannot be the upper part of another.
fn usual_layers(data: &Path) -> Layers {
    let kind = data.ancestors().find_map(|path| nix::sys::statfs::statfs(path).ok());
    match kind.is_some_and(|fs| fs.filesystem_type() == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC) {
        true => Layers::Memory,
        false => Layers::Disk,
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Where CNI's own tools put files and plugins, and where Debian's packages put the latter.
fn chain(network: &mut Network) -> Result<Option<ChainSettings>, String> {
    let Some(name) = network.cni.take() else {
        let without = network.cni_conf_dir.is_some() || network.cni_bin_dirs.is_some();
        let alone = "network: cni-conf-dir and cni-bin-dirs need cni = \"NAME\", the network to be used";
        return if without { Err(alone.to_owned()) } else { Ok(None) };
    };
    if name.is_empty() {
        return Err("network: cni is \"\"; write the name of a CNI network, or leave the key out".to_owned());
    }
    let bin_dirs = network.cni_bin_dirs.take();
    let bin_dirs = bin_dirs.unwrap_or_else(|| vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()]);
    Ok(Some(ChainSettings {
        name,
        conf_dir: absolute(network.cni_conf_dir.take().unwrap_or_else(|| "/etc/cni/net.d".into())),
        bin_dirs: bin_dirs.into_iter().map(absolute).collect(),
    }))
}

/// `""` and `"none"` switch a family off.
fn subnet(text: &str) -> Result<Option<Subnet>, String> {
    if text.is_empty() || text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| format!("network \"{text}\": {error}"))
}

/// `10s`, `500ms`, `5m`, `1h`, or a number of seconds.
///
/// # Errors
/// A sentence that says what a duration looks like.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("\"{text}\" is no duration; write 10s, 500ms, 5m or 1h")),
    };
    let number: f64 =
        number.parse().map_err(|_| format!("\"{text}\" is no duration; write 10s, 500ms, 5m or 1h"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| format!("\"{text}\" is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_cannot_be_is_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("podbox.toml");
        let read = |lines: &str| {
            fs::write(&path, format!("[network]\n{lines}\n")).unwrap();
            load(&Flags { config: Some(path.clone()), ..Flags::default() }).map_err(|error| error.to_string())
        };
        for (lines, why) in [
            ("mtu = 1279", "mtu is 1279; it must be 1280 to 65535"),
            ("mtu = 65536", "mtu is 65536"),
            ("bridge = \"podbox-with-a-long-name\"", "not an interface name"),
            ("ipv4 = \"10.0.0.0/31\"", "no room for a pod"),
        ] {
            let error = read(lines).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        read("mtu = 1280").unwrap();
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("7", 7_000),
            ("1.5s", 1500),
        ] {
            assert_eq!(duration(text).unwrap().as_millis(), millis);
        }
        for wrong in ["", "s", "ten", "10d", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("podbox.toml");
        fs::write(&path, "[network]\nbrigde = \"x\"\n").unwrap();
        let error = load(&Flags { config: Some(path), ..Flags::default() }).unwrap_err();
        assert!(error.to_string().contains("brigde"), "{error}");
    }

    #[test]
    fn a_cni_network_has_the_usual_places_and_places_alone_mean_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("podbox.toml");
        let flags = Flags { config: Some(config.clone()), ..Flags::default() };
        fs::write(&config, "[network]\ncni = \"net\"\n").unwrap();
        let chain = load(&flags).unwrap().chain.unwrap();
        assert_eq!((chain.name.as_str(), chain.conf_dir.as_path()), ("net", Path::new("/etc/cni/net.d")));
        assert_eq!(chain.bin_dirs, [Path::new("/opt/cni/bin"), Path::new("/usr/lib/cni")]);
        for (wrong, word) in [("cni-conf-dir = \"/x\"", "need cni"), ("cni = \"\"", "write the name")] {
            fs::write(&config, format!("[network]\n{wrong}\n")).unwrap();
            let error = load(&flags).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn writable_layers_lie_where_the_file_says_and_else_on_the_disk_if_an_overlay_can_be_made_there() {
        assert_eq!(usual_layers(Path::new("/proc/not/there")), Layers::Disk);
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("podbox.toml");
        let flags = Flags { config: Some(config.clone()), ..Flags::default() };
        for (word, layers) in [("disk", Layers::Disk), ("memory", Layers::Memory)] {
            fs::write(&config, format!("[containers]\nwritable-layers = \"{word}\"\n")).unwrap();
            assert_eq!(load(&flags).unwrap().store.layers, layers);
        }
        fs::write(&config, "[containers]\nwritable-layers = \"ram\"\n").unwrap();
        let error = load(&flags).unwrap_err().to_string();
        assert!(error.contains("`disk` or `memory`"), "{error}");
    }

    #[test]
    fn a_root_of_ones_own_takes_the_logs_along() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("podbox.toml");
        fs::write(&config, "").unwrap();
        let flags = Flags { root: Some(dir.path().into()), run: None, config: Some(config) };
        assert_eq!(load(&flags).unwrap().store.logs, dir.path().join("log/pods"));
    }
}
