//! What every request passes on its way in and out.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use commands::context::TraceContext;
use commands::meters::{self, Serving};
use commands::spans;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::gate::Standings;
use crate::problem::{self, Problem};
use crate::shared::{Shared, overloaded};
use crate::{headers, slow_body, trace};

/// Names the trace that carried a request out; for a repeat that is the first one.
pub(crate) const TRACE_ID: &str = "trace-id";

/// Gives the request its trace and its limits, and the response its trace id and its problem.
pub(crate) async fn pass(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let span = span(&request, if shared.api.settings.tls.is_some() { "https" } else { "http" });
    let trace = trace::context(request.headers(), shared.api.settings.sampled);
    let trace = Arc::new(spans::context_of(&span, &trace).unwrap_or(trace));
    request.extensions_mut().insert::<Arc<TraceContext>>(Arc::clone(&trace));
    let measured = Measured::begin(&request);
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = within_limits(&shared, request, next).instrument(span.clone()).await;
    record(&span, &response);
    if let Some(measured) = measured {
        measured.end(&response);
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        problem.write_into(&mut response, trace.trace_id());
    }
    headers::protect(response.headers_mut(), is_api, shared.api.settings.tls.is_some());
    if !response.headers().contains_key(TRACE_ID)
        && let Ok(trace_id) = HeaderValue::from_str(trace.trace_id())
    {
        response.headers_mut().insert(TRACE_ID, trace_id);
    }
    response
}

/// A request to the API that is measured; not those of whoever looks whether this process is well.
struct Measured {
    method: &'static str,
    route: Option<MatchedPath>,
    began: Instant,
    _serving: Serving,
}

impl Measured {
    fn begin(request: &Request) -> Option<Self> {
        if !request.uri().path().starts_with("/api/") {
            return None;
        }
        let route = request.extensions().get::<MatchedPath>().cloned();
        let (method, began) = (method_name(request.method()), Instant::now());
        Some(Self { method, route, began, _serving: meters::http_serving() })
    }

    fn end(self, response: &Response) {
        let route = self.route.as_ref().map(MatchedPath::as_str);
        meters::http_served(self.method, route, response.status().as_u16(), self.began.elapsed());
    }
}

/// A method by HTTP's own names; a caller can make up others.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "PUT" => "PUT",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// The span of a request to the API, in the trace that the client sent. Nobody asks why it was looked at
/// whether this process is well.
fn span(request: &Request, scheme: &str) -> Span {
    let path = request.uri().path();
    if !path.starts_with("/api/") {
        return Span::none();
    }
    let (method, route) = (request.method().as_str(), request.extensions().get::<MatchedPath>());
    let route = route.map(MatchedPath::as_str);
    // By the conventions for HTTP: what does not lead to a route has no name but its method's.
    let name = route.map_or_else(|| method.to_owned(), |route| [method, " ", route].concat());
    let span = tracing::info_span!(
        parent: None,
        "request",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        url.path = path,
        url.scheme = scheme,
        http.response.status_code = Empty,
        error.type = Empty,
    );
    if let Some(sent) = trace::sent(request.headers()) {
        spans::continue_trace(&span, &sent);
    }
    span
}

/// What became of a request. An error of the client's is none of ours.
fn record(span: &Span, response: &Response) {
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    let late = response.extensions().get().map(|TimedOut(limit)| *limit);
    if let Some(kind) = late.or(status.is_server_error().then(|| status.as_str())) {
        span.record("error.type", kind);
    }
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Which time limit of ours was over before the answer was there; an extension of the response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimedOut(pub(crate) &'static str);

impl TimedOut {
    /// The same response, of which the span tells the limit.
    pub(crate) fn tell(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}

async fn within_limits(shared: &Shared, request: Request, next: Next) -> Response {
    // Whoever watches this process must get an answer while it is overloaded, too.
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let Some(_admitted) = shared.admission.enter() else {
        return overloaded().into_response();
    };
    let settings = &shared.api.settings;
    if request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > settings.max_uri_bytes) {
        return uri_too_long(settings.max_uri_bytes).into_response();
    }
    let request_timeout = settings.request_timeout;
    let mut request = request.map(|body| slow_body::within(settings.body_timeout, body));
    let changes = request.method() == Method::POST;
    let served = async {
        let mut standings = Standings::default();
        let mut response = match shared.gate.admit(&mut request, &mut standings).await {
            Ok(()) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
        shared.gate.tell(standings, response.headers_mut());
        response
    };
    match tokio::time::timeout(request_timeout, served).await {
        Ok(response) => response,
        Err(_) => {
            let problem = if changes {
                problem::outcome_unknown()
            } else {
                Problem::unavailable("timed_out", "The answer took too long. Repeat the request.", 1)
            };
            TimedOut("request_timeout").tell(problem.into_response())
        }
    }
}

fn uri_too_long(limit: usize) -> Problem {
    let detail = format!("The path and its query have more than {limit} bytes.");
    Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail)
}
