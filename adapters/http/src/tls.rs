//! TLS by a certificate that may change while it is shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{name} ({}) cannot be read: {source}", path.display())]
    File {
        /// `certificate_file` or `key_file`.
        name: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{name} ({}) {problem}", path.display())]
    Content {
        /// `certificate_file` or `key_file`.
        name: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// They do not fit each other, or are of a kind that is not known here.
    #[error("the certificate and the key cannot be used together: {0}")]
    Unfit(rustls::Error),
}

/// TLS 1.2 and 1.3 with a certificate and its key from files.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    shown: Arc<Shown>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.shown.certificate).finish_non_exhaustive()
    }
}

/// The certificate that is shown now, and where the next one is found.
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    now: RwLock<Read>,
}

/// What was read from the files, and what was made of it.
#[derive(Clone)]
struct Read {
    texts: [Vec<u8>; 2],
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(..)")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).certified))
    }
}

impl Tls {
    /// Reads the files, in PEM: the certificate with what leads to its authority behind it, and its key.
    ///
    /// # Errors
    /// [`TlsError`] says which of them is wrong.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let texts = [read("certificate_file", &certificate)?, read("key_file", &key)?];
        let certified = certified(&texts, &certificate, &key)?;
        let shown = Arc::new(Shown {
            certificate,
            key,
            now: RwLock::new(Read { texts, certified: Arc::new(certified) }),
        });
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unfit)?
            .with_no_client_auth();
        let mut config = config.with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), shown })
    }

    /// Shows what is in the files from then on, again and again. What cannot be used is told, and the one before
    /// stays.
    pub(crate) async fn follow_files(&self) {
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let shown = Arc::clone(&self.shown);
            let Ok(looked) = tokio::task::spawn_blocking(move || shown.look()).await else { continue };
            match looked {
                Ok(false) => told = None,
                Ok(true) => {
                    told = None;
                    tracing::info!("a new TLS certificate is shown");
                }
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::error!(
                            error,
                            "the TLS certificate cannot be renewed; the one before is shown"
                        );
                    }
                    told = Some(error);
                }
            }
        }
    }
}

impl Shown {
    /// Takes over what is in the files. Returns whether it is new.
    fn look(&self) -> Result<bool, TlsError> {
        let texts = [read("certificate_file", &self.certificate)?, read("key_file", &self.key)?];
        if self.now.read().unwrap_or_else(PoisonError::into_inner).texts == texts {
            return Ok(false);
        }
        let certified = Arc::new(certified(&texts, &self.certificate, &self.key)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Read { texts, certified };
        Ok(true)
    }
}

fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File { name, path: path.to_owned(), source })
}

fn certified(
    [chain, private]: &[Vec<u8>; 2],
    certificate: &Path,
    key: &Path,
) -> Result<CertifiedKey, TlsError> {
    let unfit = |name, path: &Path, problem| TlsError::Content { name, path: path.to_owned(), problem };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| unfit("certificate_file", certificate, "is not PEM"))?;
    if chain.is_empty() {
        return Err(unfit("certificate_file", certificate, "has no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_slice(private)
        .map_err(|_| unfit("key_file", key, "has no private key in PEM in it"))?;
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(TlsError::Unfit)
}
