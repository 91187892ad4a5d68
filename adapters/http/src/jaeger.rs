//! Links into Jaeger's pages.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// How long after the last event whatever handled it is searched for: a webhook is retried for days.
const HANDLED_WITHIN: TimeDelta = TimeDelta::days(7);
/// Clocks differ.
const LEEWAY: TimeDelta = TimeDelta::minutes(1);

/// Where Jaeger shows traces to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JaegerUi {
    base: String,
    services: Vec<String>,
}

/// A search for what handled events of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HandlersLink {
    /// The service that is searched: Jaeger searches one at a time.
    pub service: String,
    /// Its page.
    pub url: String,
}

/// Why there are no links.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAJaeger {
    /// It is no base for links.
    #[error("must be an http or https URL without user, query and fragment, such as http://127.0.0.1:16686")]
    Url,
    /// A link cannot hold the name as it is.
    #[error("{0:?} must be 1 to 64 letters, digits, `.`, `_` or `-`")]
    Service(String),
}

impl JaegerUi {
    /// The pages below a URL; `services` are those that handle events after they were recorded.
    ///
    /// # Errors
    /// [`NotAJaeger`] says what cannot be part of a link.
    pub fn new(base: &str, services: Vec<String>) -> Result<Self, NotAJaeger> {
        let uri: axum::http::Uri = base.parse().map_err(|_| NotAJaeger::Url)?;
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !web || !plain || base.contains(['?', '#']) {
            return Err(NotAJaeger::Url);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_name = |name: &str| (1..=64).contains(&name.len()) && name.chars().all(fits);
        if let Some(wrong) = services.iter().find(|name| !is_name(name)) {
            return Err(NotAJaeger::Service(wrong.clone()));
        }
        Ok(Self { base: base.trim_end_matches('/').to_owned(), services })
    }

    /// The page of a trace.
    #[must_use]
    pub fn trace_url(&self, trace_id: &str) -> String {
        format!("{}/trace/{trace_id}", self.base)
    }

    /// Searches for what handled the events that a trace recorded between two times, one for each service.
    /// Each handler's span has the tag `origin.trace_id`.
    #[must_use]
    pub fn handlers(&self, trace_id: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<HandlersLink> {
        let (start, end) = ((from - LEEWAY).timestamp_micros(), (to + HANDLED_WITHIN).timestamp_micros());
        let base = &self.base;
        let link = |service: &String| HandlersLink {
            service: service.clone(),
            url: format!(
                "{base}/search?service={service}&tags=%7B%22origin.trace_id%22%3A%22{trace_id}%22%7D\
                 &lookback=custom&start={start}&end={end}&limit=50"
            ),
        };
        self.services.iter().map(link).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_a_trace_and_to_what_handled_its_events() {
        let jaeger = JaegerUi::new("https://jaeger.example/ui/", vec!["payments".to_owned()]).unwrap();
        let trace_id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(jaeger.trace_url(trace_id), format!("https://jaeger.example/ui/trace/{trace_id}"));
        let at = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
        assert_eq!(
            jaeger.handlers(trace_id, at, at),
            [HandlersLink {
                service: "payments".to_owned(),
                url: format!(
                    "https://jaeger.example/ui/search?service=payments&tags=%7B%22origin.trace_id%22%3A%22\
                     {trace_id}%22%7D&lookback=custom&start=1767225540000000&end=1767830400000000&limit=50"
                ),
            }]
        );
    }

    #[test]
    fn what_links_cannot_begin_with_is_refused() {
        for base in ["", "jaeger:16686", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h/#a"]
        {
            assert_eq!(JaegerUi::new(base, vec![]), Err(NotAJaeger::Url), "{base}");
        }
        for name in ["", "a b", "a&b"] {
            let refused = JaegerUi::new("http://h", vec![name.to_owned()]);
            assert_eq!(refused, Err(NotAJaeger::Service(name.to_owned())));
        }
    }
}
