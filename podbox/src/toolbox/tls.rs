//! `tls`: TLS in front of a server that has none.
//!
//! The certificate is self-signed and its key is in every podbox binary, so it keeps nothing secret. It is for
//! HTTPS probes, which believe any certificate, and for trying out clients that can be told to.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Outcome;
use super::failure::Failure;
use super::flags::{parse, value};
use super::http_server::listen;
use super::serve_async::until_signal;

const CERTIFICATE: &[u8] = include_bytes!("tls/cert.der");
const KEY: &[u8] = include_bytes!("tls/key.der");

/// `tls [--port 8443] [--to 127.0.0.1:8080]`: takes TLS connections and passes on what is in them.
pub(super) fn tls(args: &[OsString]) -> Outcome {
    let parsed = parse(args, &[value("port").or(b'p'), value("to").or(b't')])?;
    let acceptor = TlsAcceptor::from(Arc::new(config().map_err(Failure::system("certificate"))?));
    let listener = listen(parsed.number("port")?.unwrap_or(8443))?;
    let to = parsed.get("to").unwrap_or("127.0.0.1:8080").to_owned();
    until_signal(listener, move |stream| {
        let (acceptor, to) = (acceptor.clone(), to.clone());
        async move {
            let mut inside = acceptor.accept(stream).await?;
            let mut server = TcpStream::connect(to).await?;
            copy_bidirectional(&mut inside, &mut server).await.map(drop)
        }
    })
}

fn config() -> io::Result<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(KEY.into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config.with_no_client_auth().with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        });
    config.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_fits_its_key() {
        config().unwrap();
    }
}
