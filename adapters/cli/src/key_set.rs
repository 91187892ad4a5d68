//! Where the public keys are that tokens are signed by.

use std::path::PathBuf;
use std::sync::Arc;

use adapter_services::key_set::HttpKeySet;
use async_trait::async_trait;
use commands::access::KeySetSource;

use crate::Failure;
use crate::settings::Jwt;

/// By the settings; `None` where no tokens are taken.
pub(crate) fn key_set(settings: &Jwt) -> Result<Option<Arc<dyn KeySetSource>>, Failure> {
    Ok(match (&settings.jwks_url, &settings.jwks_file) {
        (Some(url), _) => {
            Some(Arc::new(HttpKeySet::new(url).map_err(|error| format!("http.jwt.jwks_url: {error}"))?))
        }
        (None, Some(file)) => Some(Arc::new(KeySetFile(file.clone()))),
        (None, None) => None,
    })
}

/// A JWK set in a file, read again as often as one at a URL.
struct KeySetFile(PathBuf);

#[async_trait]
impl KeySetSource for KeySetFile {
    async fn fetch(&self) -> Result<String, String> {
        tokio::fs::read_to_string(&self.0).await.map_err(|error| format!("{}: {error}", self.0.display()))
    }
}
