//! Whether a service can be reached at all, for who looks after it. It is asked for nothing that it does.

use std::time::{Duration, SystemTime};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::DATE;

use crate::SetupError;
use crate::remote::{Limits, Remote};

/// A service as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The status that it answered `GET /` with; any is an answer.
    pub status: u16,
    /// What time it is there, in whole seconds, where it tells.
    pub date: Option<SystemTime>,
}

/// Why it is not. The URL is not repeated: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The URL cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No connection, or no HTTP on it.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// Nothing came in time.
    #[error("it has not answered within {0:?}")]
    Late(Duration),
}

/// Asks a service for its root, by the same kind of connection as the engine's own.
///
/// # Errors
/// [`ReachError`] says why there was no answer.
pub async fn reach(service: &'static str, url: &str, patience: Duration) -> Result<Reached, ReachError> {
    let remote = Remote::new(service, url, Limits::waiting(patience))?;
    let uri = remote.uri("/").map_err(|source| SetupError::NotAUrl { service, source })?;
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.uri_mut() = uri;
    match tokio::time::timeout(patience, remote.sent(request)).await {
        Err(_) => Err(ReachError::Late(patience)),
        Ok(Err(error)) => Err(ReachError::Unreachable(innermost(&error))),
        Ok(Ok(response)) => {
            let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
            let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
            Ok(Reached { status: response.status().as_u16(), date })
        }
    }
}

/// What the operating system or the TLS library said, below what the client wraps around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
