//! A certificate authority for a test, and servers that show its certificates.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Signs certificates of this machine's loopback address.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, "an authority for tests");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Writes its own certificate, for those who shall trust it.
    pub(crate) fn file(&self, folder: &Path) -> PathBuf {
        let file = folder.join("authority.pem");
        std::fs::write(&file, self.issuer.pem()).unwrap();
        file
    }

    /// A new certificate and its key.
    fn certify(&self) -> (rcgen::Certificate, KeyPair) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Writes a new certificate and its key as a server reads them; the paths of both.
    pub(crate) fn write_server(&self, folder: &Path) -> [PathBuf; 2] {
        let (certificate, key) = self.certify();
        let files = ["server.pem", "server.key"].map(|name| folder.join(name));
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        std::fs::write(&files[0], certificate.pem()).unwrap();
        files
    }

    /// What whoever trusts this authority trusts.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }

    /// A new certificate behind its key, as servers on the JVM read them.
    pub(crate) fn key_store(&self) -> String {
        let (certificate, key) = self.certify();
        key.serialize_pem() + &certificate.pem()
    }

    /// A listener on a free port that speaks TLS.
    pub(crate) async fn listen(&self) -> TlsListener {
        let (certificate, key) = self.certify();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        TlsListener { tcp, tls: TlsAcceptor::from(Arc::new(config)) }
    }
}

/// Connections whose handshake fails are dropped, as a server does.
pub(crate) struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.tcp.accept().await.unwrap();
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
