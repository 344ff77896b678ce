//! `podbox port-forward`: local ports that lead into a pod, to what listens on its loopback or everywhere.
//!
//! Source: kubectl `portforward.go` (arguments and words), containerd `sandbox_portforward_linux.go` (localhost inside
//! the pod's network namespace, IPv4 before IPv6).

mod pair;
mod relay;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use clap::Args;

use super::behind::{self, Chosen};
use super::pods::{Care, Found};
use super::watch::{Watch, Woken};
use super::{Failure, Session, completion, names, out};
use pair::Pair;
use relay::Way;

/// Arguments of `port-forward`.
#[derive(Debug, Args)]
pub(super) struct PortForwardArgs {
    /// The pod, or svc/NAME for one of a Service's pods
    #[arg(add = completion::pod())]
    pod: String,
    /// [LOCAL:]REMOTE, or :REMOTE for a random local port; REMOTE may be a port's name; of svc/NAME it is the Service's port
    #[arg(required = true, value_name = "PORTS")]
    ports: Vec<String>,
    /// Namespace
    #[arg(long, short, default_value = "default", add = completion::namespace())]
    namespace: String,
    /// Addresses to listen on: IP addresses, or localhost for 127.0.0.1 and ::1
    #[arg(long, value_delimiter = ',', default_value = "localhost", value_name = "ADDRESS")]
    address: Vec<String>,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &PortForwardArgs) -> Result<ExitCode, Failure> {
    names::require_root("forward ports to a pod")?;
    let Chosen { pod: found, service, .. } = behind::choose(session, &args.pod, &args.namespace)?;
    let pair = |text: &String| Pair::parse(text, &found.pod, service.as_ref());
    let pairs: Vec<Pair> = args.ports.iter().map(pair).collect::<Result<_, _>>()?;
    let addresses: Vec<Host> = args.address.iter().map(|text| Host::parse(text)).collect::<Result<_, _>>()?;
    found.readopt_if_abandoned()?;
    let phase = found.status().0.and_then(|status| status.phase).unwrap_or_else(|| "Pending".to_owned());
    if phase != "Running" {
        return Err(Failure::pod(format!(
            "unable to forward port because pod is not running. Current status={phase}"
        )));
    }
    let mut watch = Watch::new()?;
    watch.catch_interrupts()?;
    watch.add(found.dir.run());
    let mut listeners = Vec::new();
    for pair in &pairs {
        let mut pair = *pair;
        for host in &addresses {
            listeners.extend(host.listen(&mut pair)?.into_iter().map(|listener| (listener, pair.remote)));
        }
    }
    for (listener, remote) in listeners {
        let local = listener.local_addr().map_err(|error| Failure::host(&error))?;
        out::line(format_args!("Forwarding from {local} -> {remote}"))?;
        let way = Way { namespace: found.dir.namespaces().join("net"), remote, local: local.port() };
        std::thread::spawn(move || relay::accept(&listener, &way));
    }
    until_the_pod_ends(&watch, &found)
}

fn until_the_pod_ends(watch: &Watch, found: &Found) -> Result<ExitCode, Failure> {
    loop {
        if !found.dir.run().exists() || found.care() == Care::Finished {
            return Err(Failure::pod("lost connection to pod"));
        }
        // As kubectl: this is how such a session ends, and nothing has failed.
        if watch.wait(None, None)? == Woken::Interrupted {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// Both loopbacks, or the one that there is.
    Localhost,
    Address(IpAddr),
}

impl Host {
    fn parse(text: &str) -> Result<Host, Failure> {
        match text {
            "localhost" => Ok(Host::Localhost),
            _ => text
                .parse()
                .map(Host::Address)
                .map_err(|_| Failure::wrong(format!("{text} is not a valid IP"))),
        }
    }

    /// Listens. A random port becomes the pair's own, so that all addresses have the same one.
    fn listen(self, pair: &mut Pair) -> Result<Vec<TcpListener>, Failure> {
        let addresses = match self {
            Host::Localhost => vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
            Host::Address(address) => vec![address],
        };
        let (mut listeners, mut errors) = (Vec::new(), Vec::new());
        for address in addresses {
            let bound = TcpListener::bind(SocketAddr::new(address, pair.local))
                .and_then(|listener| listener.local_addr().map(|local| (listener, local)));
            match bound {
                Ok((listener, local)) => {
                    pair.local = local.port();
                    listeners.push(listener);
                }
                Err(error) => errors.push(format!("{address}: {error}")),
            }
        }
        if listeners.is_empty() {
            return Err(Failure::cannot(format!(
                "unable to listen on port {}: {}",
                pair.local,
                errors.join("; ")
            )));
        }
        Ok(listeners)
    }
}
