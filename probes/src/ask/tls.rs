//! TLS that believes whatever it is shown: a probe asks whether somebody answers, not who.
//!
//! The configuration is made when the first HTTPS probe is asked, and then kept for the process: most pods
//! never need it. The provider is named here and nowhere else.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_rustls::TlsConnector;

use super::wire::Wire;

static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// Puts TLS on a connection; the text of a failure is Go's where it is a common one. An I/O error comes back
/// as it is, because its words need the addresses.
pub(super) async fn wrap(wire: Wire, host: &str, peer: IpAddr) -> Result<Wire, Refusal> {
    let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::IpAddress(peer.into()));
    let config = match CONFIG.get() {
        Some(config) => Arc::clone(config),
        None => {
            let config = Arc::new(trusting().map_err(|error| Refusal::Tls(error.to_string()))?);
            Arc::clone(CONFIG.get_or_init(|| config))
        }
    };
    match TlsConnector::from(config).connect(name, wire).into_fallible().await {
        Ok(stream) => Ok(Wire::new(stream)),
        Err((error, wire)) => Err(refusal(error, &wire)),
    }
}

/// Why there is no TLS.
pub(super) enum Refusal {
    /// The peer does not speak it, or not with us.
    Tls(String),
    /// The connection broke.
    Io(io::Error),
}

fn refusal(error: io::Error, wire: &Wire) -> Refusal {
    if wire.seen().starts_with(b"HTTP/") {
        return Refusal::Tls("http: server gave HTTP response to HTTPS client".to_owned());
    }
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            Refusal::Tls("tls: first record does not look like a TLS handshake".to_owned())
        }
        Some(Error::AlertReceived(alert)) => {
            Refusal::Tls(format!("remote error: tls: {}", alert_text(*alert)))
        }
        Some(other) => Refusal::Tls(format!("tls: {other}")),
        None if error.kind() == io::ErrorKind::UnexpectedEof => Refusal::Tls("EOF".to_owned()),
        None => Refusal::Io(error),
    }
}

/// Go's `crypto/tls` names for the alerts that a server sends when it does not like what it is offered.
fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::HandshakeFailure => "handshake failure".to_owned(),
        AlertDescription::ProtocolVersion => "protocol version not supported".to_owned(),
        AlertDescription::UnrecognisedName => "unrecognized name".to_owned(),
        AlertDescription::InternalError => "internal error".to_owned(),
        AlertDescription::CertificateRequired => "certificate required".to_owned(),
        AlertDescription::BadCertificate => "bad certificate".to_owned(),
        AlertDescription::NoApplicationProtocol => "no application protocol".to_owned(),
        other => format!("{other:?}"),
    }
}

fn trusting() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    // Every probe is a stranger: nothing is kept between two of them.
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
