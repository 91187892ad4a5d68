//! W3C trace context: what a client sent is continued, otherwise a trace begins here.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use commands::context::TraceContext;

use crate::ids;
use crate::problem::Problem;

/// W3C's limit on what has to be passed on.
const MAX_TRACESTATE: usize = 512;
/// A bound on what every event of a request carries.
const MAX_BAGGAGE: usize = 4_096;

/// The context that a client sent. Anything that is not valid is as good as absent.
pub(crate) fn sent(headers: &HeaderMap) -> Option<TraceContext> {
    let traceparent = headers.get("traceparent")?.to_str().ok()?;
    trace_id_of(traceparent)?;
    Some(TraceContext { traceparent: traceparent.to_owned(), tracestate: None, baggage: None })
}

/// The context of a request, where no traces are kept, or before its span has begun.
pub(crate) fn context(headers: &HeaderMap, sampled: bool) -> TraceContext {
    let parent = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(trace_id_of);
    let own;
    let (trace_id, tracestate) = match parent {
        Some(trace_id) => (trace_id, list(headers, "tracestate", MAX_TRACESTATE)),
        None => {
            own = ids::trace();
            (own.as_str(), None)
        }
    };
    // Whether a trace is kept is this engine's decision: it pays for keeping it.
    let flags = if sampled { "01" } else { "00" };
    TraceContext {
        traceparent: format!("00-{trace_id}-{}-{flags}", ids::span()),
        tracestate,
        baggage: list(headers, "baggage", MAX_BAGGAGE),
    }
}

/// The context that the edge has put into the request.
pub(crate) fn of(parts: &Parts) -> Result<Arc<TraceContext>, Problem> {
    parts
        .extensions
        .get::<Arc<TraceContext>>()
        .cloned()
        .ok_or_else(|| Problem::internal("a request has come past the edge"))
}

/// The trace id of a valid `traceparent`. A later version than 00 may have more behind the flags.
fn trace_id_of(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let version = fields.next().filter(|version| is_hex(version, 2) && *version != "ff")?;
    let trace_id = fields.next().filter(|id| is_hex(id, 32) && !is_zero(id))?;
    fields.next().filter(|id| is_hex(id, 16) && !is_zero(id))?;
    fields.next().filter(|flags| is_hex(flags, 2))?;
    (version != "00" || fields.next().is_none()).then_some(trace_id)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|b| b == b'0')
}

/// A header that is a list: several lines mean the same as one line with commas.
fn list(headers: &HeaderMap, name: &str, limit: usize) -> Option<String> {
    let mut joined = String::new();
    for value in headers.get_all(name) {
        // Refuses what is not printable ASCII; a tab is allowed as white space.
        let text = value.to_str().ok()?;
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(text);
        if joined.len() > limit {
            return None;
        }
    }
    (!joined.is_empty()).then_some(joined)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_valid_trace_is_continued_in_a_span_of_its_own() {
        let sent = headers(&[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        let context = context(&sent, true);
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(context.traceparent.ends_with("-01"), "{}", context.traceparent);
        assert!(!context.traceparent.contains("b7ad6b7169203331"));
        assert_eq!(context.traceparent.len(), PARENT.len());
        assert_eq!(context.tracestate.as_deref(), Some("a=1,b=2"));
    }

    #[test]
    fn what_is_not_valid_begins_a_new_trace() {
        for parent in [
            "",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert_eq!(trace_id_of(parent), None, "{parent}");
            let context = context(&headers(&[("traceparent", parent), ("tracestate", "a=1")]), false);
            assert!(trace_id_of(&context.traceparent).is_some());
            assert!(context.traceparent.ends_with("-00"));
            assert_eq!(context.tracestate, None);
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert_eq!(trace_id_of(later), Some("0af7651916cd43dd8448eb211c80319c"));
    }

    #[test]
    fn baggage_is_kept_within_its_bound() {
        assert_eq!(
            context(&headers(&[("baggage", "user_id=7")]), true).baggage.as_deref(),
            Some("user_id=7")
        );
        assert_eq!(context(&headers(&[("baggage", &"x".repeat(4_097))]), true).baggage, None);
    }
}
