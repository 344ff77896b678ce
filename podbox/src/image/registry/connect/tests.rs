use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Signed by `ca.crt` for `registry.test`; both are valid for a hundred years.
const CERTIFICATE: &[u8] = include_bytes!("../testdata/server.crt");
const KEY: &[u8] = include_bytes!("../testdata/server.key");
const AUTHORITY: &[u8] = include_bytes!("../testdata/ca.crt");

/// Speaks TLS on a port of loopback and closes every connection after the handshake.
async fn tls_server() -> io::Result<u16> {
    let certificates = vec![CertificateDer::from_pem_slice(CERTIFICATE).map_err(io::Error::other)?];
    let key = PrivateKeyDer::from_pem_slice(KEY).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    Ok(port)
}

#[tokio::test]
async fn a_certificate_is_checked_against_the_authorities_of_its_registry() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let (hosts, certs) = (home.path().join("hosts"), home.path().join("certs.d"));
    std::fs::write(&hosts, "127.0.0.1 registry.test other.test\n")?;
    let port = tls_server().await?;
    let connector = || Connector {
        resolver: Resolver::of_files(&hosts, "/dev/null"),
        proxies: Proxies::default(),
        ..Connector::new(Some(&certs))
    };
    let target = |host: &str, insecure| Target { https: true, host: host.into(), port, insecure };
    let refused = |result| matches!(result, Err(RegistryError::Tls { .. }));

    let strict = target("registry.test", false);
    assert!(refused(connector().open(&strict).await), "an unknown authority");
    assert!(connector().open(&target("registry.test", true)).await.is_ok(), "insecure takes anything");

    for host in ["registry.test", "other.test"] {
        let directory = certs.join(format!("{host}:{port}"));
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("ca.crt"), AUTHORITY)?;
    }
    assert!(connector().open(&strict).await.is_ok(), "its own authority");
    assert!(refused(connector().open(&target("other.test", false)).await), "another name");
    Ok(())
}

fn target(host: &str) -> Target {
    Target { https: true, host: host.into(), port: 443, insecure: false }
}

#[test]
fn a_proxy_is_used_except_where_it_must_not_be() {
    let proxies = Proxies {
        http: None,
        https: Proxy::parse("http://user:pw@proxy.example:3128/"),
        direct: vec!["internal.example".into(), ".corp".into()],
    };
    let used = |host: &str| proxies.proxy_for(&target(host)).is_some();
    assert!(used("registry.example"));
    assert!(used("notinternal.example"));
    assert!(!used("internal.example"));
    assert!(!used("a.internal.example"));
    assert!(!used("a.corp"));
    assert!(!used("127.0.0.1"));
    assert!(!used("localhost"));
    let proxy = proxies.https.as_ref();
    assert_eq!(proxy.map(|proxy| proxy.port), Some(3128));
    assert!(proxy.is_some_and(|proxy| proxy.authorization.is_some()));
}

#[test]
fn loopback_is_known_in_all_its_spellings() {
    for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
        assert!(Target::is_loopback(host), "{host}");
    }
    assert!(!Target::is_loopback("localhost.example"));
}
