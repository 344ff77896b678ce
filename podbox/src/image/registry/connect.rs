//! From a URL to an open HTTP connection: proxy, address, TCP, TLS.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use probes::names::Resolver;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::RegistryError;
use super::trust::NoVerification;

/// One connection that can take a request.
pub(crate) type Connection = SendRequest<Empty<Bytes>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Directories of `HOST[:PORT]/*.crt`: containers-certs.d(5), docker's certificates.
const CERTS_DIRECTORIES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Where a connection goes, and how much is believed there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Do not check certificates.
    pub(crate) insecure: bool,
}

impl Target {
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// As it stands in a `Host` header and in messages: the usual port is left out.
    pub(crate) fn display(&self) -> String {
        let usual = if self.https { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { self.authority() }
    }

    /// Loopback, where plain HTTP gives nothing away.
    pub(crate) fn is_loopback(host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// Opens connections and keeps idle ones for the next request.
pub(crate) struct Connector {
    resolver: Resolver,
    proxies: Proxies,
    certs_directories: Vec<PathBuf>,
    idle: Mutex<HashMap<Target, Vec<Connection>>>,
    /// Reading the system's certificates takes milliseconds; done for the first HTTPS connection.
    roots: Mutex<Option<Arc<RootCertStore>>>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connector {
    pub(crate) fn new(certs_directory: Option<&Path>) -> Connector {
        let system = || CERTS_DIRECTORIES.iter().map(PathBuf::from).collect();
        Connector {
            resolver: Resolver::system(),
            proxies: Proxies::from_environment(),
            certs_directories: certs_directory.map_or_else(system, |only| vec![only.to_owned()]),
            idle: Mutex::new(HashMap::new()),
            roots: Mutex::new(None),
        }
    }

    /// A connection that was given back, or nothing.
    pub(crate) fn reuse(&self, target: &Target) -> Option<Connection> {
        let mut idle = locked(&self.idle);
        let connections = idle.get_mut(target)?;
        while let Some(connection) = connections.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Takes a connection back whose last response has been read to its end.
    pub(crate) fn give_back(&self, target: &Target, connection: Connection) {
        if !connection.is_closed() {
            locked(&self.idle).entry(target.clone()).or_default().push(connection);
        }
    }

    /// A new connection.
    pub(crate) async fn open(&self, target: &Target) -> Result<Connection, RegistryError> {
        let stream = self.stream(target).await?;
        let failed = |source| RegistryError::Exchange { host: target.authority(), source };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // The connection's errors come out of the requests that it serves.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn stream(&self, target: &Target) -> Result<Box<dyn Stream>, RegistryError> {
        let tcp = match self.proxies.proxy_for(target) {
            Some(proxy) => {
                let mut stream = self.tcp(&proxy.host, proxy.port).await?;
                let connected = timeout(CONNECT_TIMEOUT, proxy.tunnel(&mut stream, target)).await;
                connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|source| {
                    RegistryError::Connect { host: format!("{} (proxy)", proxy.host), source }
                })?;
                stream
            }
            None => self.tcp(&target.host, target.port).await?,
        };
        if !target.https {
            return Ok(Box::new(tcp));
        }
        let failed = |source| RegistryError::Tls { host: target.authority(), source };
        let bare = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|error| failed(io::Error::other(error)))?;
        let config = self.tls(target).map_err(failed)?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = timeout(CONNECT_TIMEOUT, handshake).await;
        Ok(Box::new(stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(failed)?))
    }

    async fn tcp(&self, host: &str, port: u16) -> Result<TcpStream, RegistryError> {
        let addresses = self.resolver.addresses(host).await?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect((address, port))).await {
                Ok(Ok(stream)) => {
                    // A request is one small packet that should not wait.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(RegistryError::Connect { host: format!("{host}:{port}"), source: last })
    }

    fn tls(&self, target: &Target) -> io::Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        if target.insecure {
            let verifier = Arc::new(NoVerification::new(provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
        }
        let mut roots = self.system_roots();
        let mut names = vec![target.authority()];
        if target.port == 443 {
            names.push(target.host.clone());
        }
        for directory in &self.certs_directories {
            for name in &names {
                add_certificates(&directory.join(name), Arc::make_mut(&mut roots))?;
            }
        }
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn system_roots(&self) -> Arc<RootCertStore> {
        let mut cached = locked(&self.roots);
        cached
            .get_or_insert_with(|| {
                let mut roots = RootCertStore::empty();
                // Some certificates of a system are often unusable; without any, verification says so.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                Arc::new(roots)
            })
            .clone()
    }
}

fn add_certificates(directory: &Path, roots: &mut RootCertStore) -> io::Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            for certificate in CertificateDer::pem_file_iter(&path).map_err(io::Error::other)? {
                roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
        }
    }
    Ok(())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The proxies of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in either case.
#[derive(Debug, Default)]
struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Proxy {
    host: String,
    port: u16,
    authorization: Option<String>,
}

impl Proxies {
    fn from_environment() -> Proxies {
        let variable = |name: &str| {
            let lower = std::env::var(name.to_ascii_lowercase());
            lower.or_else(|_| std::env::var(name)).ok().filter(|value| !value.is_empty())
        };
        let list = variable("NO_PROXY").unwrap_or_default();
        Proxies {
            http: variable("HTTP_PROXY").and_then(|url| Proxy::parse(&url)),
            https: variable("HTTPS_PROXY").and_then(|url| Proxy::parse(&url)),
            direct: list.split(',').map(|host| host.trim().to_owned()).collect(),
        }
    }

    fn proxy_for(&self, target: &Target) -> Option<&Proxy> {
        let proxy = if target.https { self.https.as_ref() } else { self.http.as_ref() }?;
        let excepted = |rule: &String| {
            let rule = rule.trim_start_matches('*');
            let suffix = rule.trim_start_matches('.');
            let below = target.host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
            rule == "*"
                || !suffix.is_empty() && (target.host == suffix || target.authority() == rule || below)
        };
        let everything = self.direct.iter().any(|rule| rule == "*");
        (!everything && !Target::is_loopback(&target.host) && !self.direct.iter().any(excepted))
            .then_some(proxy)
    }
}

impl Proxy {
    /// `[http://][user:password@]host[:port][/]`; a proxy that itself speaks TLS is not used.
    fn parse(url: &str) -> Option<Proxy> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return None,
            None => url,
        };
        let rest = rest.split('/').next()?;
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (place, 80),
        };
        let encode = |user: &str| base64::engine::general_purpose::STANDARD.encode(user);
        Some(Proxy { host: host.to_owned(), port, authorization: user.map(encode) })
    }

    /// Asks the proxy to connect us (RFC 9110, section 9.3.6), for plain HTTP too: so that the connection
    /// behaves like any other.
    async fn tunnel(&self, stream: &mut TcpStream, target: &Target) -> io::Result<()> {
        let authority = target.authority();
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: Basic {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() > 1 << 14 {
                return Err(io::Error::other("the proxy's answer has no end"));
            }
            answer.push(stream.read_u8().await?);
        }
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        match line.split(' ').nth(1) {
            Some(status) if status.starts_with('2') => Ok(()),
            _ => Err(io::Error::other(format!("the proxy answered {line:?}"))),
        }
    }
}

#[cfg(test)]
mod tests;
