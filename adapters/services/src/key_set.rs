//! Fetches the public keys that tokens are signed by.

use std::time::Duration;

use async_trait::async_trait;
use commands::access::KeySetSource;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::remote::{self, SetupError};

const SERVICE: &str = "JWKS";
/// Longest time of one call.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most bytes of a set; a key has some 400.
const ANSWER_LIMIT: usize = 256 * 1024;

/// A JWK set at a URL.
#[derive(Debug)]
pub struct HttpKeySet {
    uri: Uri,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpKeySet {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`SetupError`] when the URL is none, or there is no TLS for `https`.
    pub fn new(url: &str) -> Result<Self, SetupError> {
        let uri: Uri = url.parse().map_err(|source| SetupError::NotAUrl { service: SERVICE, source })?;
        let https = uri.scheme_str() == Some("https");
        let tls =
            if https { remote::trusting_the_machines(SERVICE)? } else { remote::trusting_nobody(SERVICE)? };
        let connector = remote::secured(HttpConnector::new(), tls, https, TIMEOUT);
        Ok(Self { uri, http: Client::builder(TokioExecutor::new()).build(connector) })
    }

    async fn read(&self) -> Result<String, String> {
        let response = self.http.get(self.uri.clone()).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        String::from_utf8(body.to_bytes().into()).map_err(|error| error.to_string())
    }
}

#[async_trait]
impl KeySetSource for HttpKeySet {
    async fn fetch(&self) -> Result<String, String> {
        match tokio::time::timeout(TIMEOUT, self.read()).await {
            Ok(read) => read,
            Err(_) => Err(format!("no answer within {} ms", TIMEOUT.as_millis())),
        }
    }
}
