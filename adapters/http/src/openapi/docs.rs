//! The page that shows the document to people.
//!
//! The page, its program and the document come from this engine, and its Content-Security-Policy lets it ask nobody
//! else. `assets/redoc/README.md` says where the program is from.

use std::io::Read;

use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

use crate::problem::Problem;

/// Redoc, compressed.
const PROGRAM: &[u8] = include_bytes!("../../assets/redoc/redoc.standalone.js.gz");

const PAGE: &str = "\
<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Payments: the API</title>
<style>body{margin:0}</style>
<link rel=\"icon\" href=\"data:,\">
</head>
<body>
<redoc spec-url=\"/openapi.json\" hide-download-button=\"false\" sort-required-props-first=\"true\" expand-responses=\"200,201\"></redoc>
<script src=\"/docs/redoc.js\"></script>
</body>
</html>
";

/// The hashes are of the styles that there are: the empty one to which Redoc adds its rules by script, that of its
/// scroll bar (a new version may have another: the browser's console names it), and the page's own. Redoc searches
/// in a worker that it makes from its own text. There is no inline script, no evaluated text and no other host.
const POLICY: &str = "default-src 'none'; script-src 'self'; \
    style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' \
    'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc=' 'sha256-IAdwN3biDCQ3brrgp1m8kBEsPQYyqfREKOEfeoREopc='; img-src 'self' data:; connect-src 'self'; \
    worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /docs`
pub(crate) async fn page() -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE).into_response()
}

/// `GET /docs/redoc.js`: compressed for whoever accepts that.
pub(crate) async fn program(headers: HeaderMap) -> Result<Response, Problem> {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let accepts = accepted.flat_map(|value| value.split(',')).any(accepts_gzip);
    let mut response = if accepts {
        let mut response = PROGRAM.into_response();
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        let mut text = Vec::new();
        let read = GzDecoder::new(PROGRAM).read_to_end(&mut text);
        read.map_err(|error| Problem::internal(format!("the program of /docs is damaged: {error}")))?;
        text.into_response()
    };
    let more = [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (VARY, "accept-encoding"),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    for (name, value) in more {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// `gzip`, unless its weight is 0.
fn accepts_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
    named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
}
