//! From a request's body to JSON text.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;

use crate::problem::Problem;
use crate::slow_body::TooSlow;

/// How much more than the limit is read and thrown away, so that the client has sent its body and
/// reads the refusal; a connection that is closed on unread bytes is reset, and the refusal lost.
const DISCARDED_BODIES: usize = 16;

/// Reads a body of at most `limit` bytes, with or without a content length.
pub(crate) async fn read(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut first = Bytes::new();
    let mut joined = Vec::new();
    let mut length: usize = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > limit.saturating_mul(DISCARDED_BODIES) {
            break;
        }
        if length > limit {
            joined = Vec::new();
        } else if first.is_empty() {
            // Nearly every body arrives in one piece, which is then used as it is.
            first = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
    }
    if length > limit {
        let detail = format!("The body is larger than {limit} bytes.");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
    }
    Ok(if joined.is_empty() { first } else { Bytes::from(joined) })
}

fn broken(error: axum::Error) -> Problem {
    if error.into_inner().is::<TooSlow>() {
        let detail = "The body did not come in time; nothing was changed.";
        return Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail);
    }
    Problem::bad_request("incomplete_body", "The body ended before it was complete.")
}

/// The text of a body that must be JSON.
pub(crate) fn json<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<&'a str, Problem> {
    if body.is_empty() {
        return Err(Problem::bad_request("malformed_json", "The body is empty; a JSON object is expected."));
    }
    if !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send the body as `Content-Type: application/json`, in UTF-8.",
        ));
    }
    std::str::from_utf8(body).map_err(|_| Problem::bad_request("not_utf8", "The body is not UTF-8."))
}

/// The text of a body that may be left out; `{}` then.
pub(crate) fn optional_json<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<&'a str, Problem> {
    if body.is_empty() { Ok("{}") } else { json(headers, body) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let named = media_type.eq_ignore_ascii_case("application/json")
        || media_type.split_once('/').is_some_and(|(kind, name)| {
            kind.eq_ignore_ascii_case("application") && name.to_ascii_lowercase().ends_with("+json")
        });
    named && parts.filter_map(|part| part.split_once('=')).all(utf8_if_charset)
}

fn utf8_if_charset((name, value): (&str, &str)) -> bool {
    !name.trim().eq_ignore_ascii_case("charset")
        || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn json_is_known_by_its_content_type() {
        let sent =
            |value: &'static str| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        for value in ["application/json", "Application/JSON; charset=\"UTF-8\"", "application/vnd.x+json"] {
            assert!(is_json(&sent(value)), "{value}");
        }
        for value in
            ["", "text/plain", "application/json; charset=latin1", "application/x-www-form-urlencoded"]
        {
            assert!(!is_json(&sent(value)), "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
