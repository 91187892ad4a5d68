//! The API's contract: OpenAPI 3.1, made from the types that the handlers answer with.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `operations` | each operation in a few lines: what it takes, answers and refuses |
//! | `operation` | how those lines become an operation of the document |
//! | `values`, `requests`, `parts` | values, bodies that are sent, parameters and headers |
//! | `payloads` | what each event says |
//! | `problems` | every problem by its code |
//! | `examples` | bodies as the engine answers them |
//! | `docs` | the page that shows the document to people |
//!
//! **Add an operation:** its lines in `operations/`, with `ToSchema` derived for what it answers; then
//! `payments openapi > docs/openapi.json`. Tests name what is forgotten: a route without lines, lines without a
//! route, a field of a request, a problem's code.

pub(crate) mod docs;
mod examples;
mod operation;
mod operations;
mod parts;
mod payloads;
pub(crate) mod problems;
mod requests;
pub(crate) mod values;

use std::sync::OnceLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use commands::webhooks::known_events;
use serde_json::{Map, Value, json};

use self::operation::{Schemas, plain, schema_of};
use crate::problem::Members;

const ABOUT: &str = "\
A payment engine: every cent can be traced to the event that moved it.

- **Amounts** are exact decimal strings (`\"7.53\"`); a request may also send a JSON number, which is read from its own characters.
- **Every POST has an `Idempotency-Key`**: a repeat gets the first answer, byte for byte, with `Idempotency-Replayed: true`.
- **Lists** go on with `next_cursor`, which is opaque. **`position`** in an answer is the place in the log of the last event that it \
comes from; `?min_position=` of a read waits until the read model has it.
- **Problems** are RFC 9457 with a stable `code`. Each answer names its trace in `trace-id`; send `traceparent` to go on in yours.
- Fields may be added to answers. Fields of requests are known: another one is refused.
- A path or a method that is not here is answered with the problem `not_found` (404) or `method_not_allowed` (405).";

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut schemas: Schemas =
        values::all().iter().map(|(name, schema)| (name.to_string(), plain(schema))).collect();
    let (name, problem) = schema_of::<Members<'_>>();
    schemas.insert(name.to_string(), problem);
    let mut paths: Map<String, Value> = Map::new();
    for mut operation in operations::all() {
        schemas.append(&mut operation.schemas);
        let (path, method) = (operation.path, operation.method);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation.finish();
    }
    payloads::describe(&mut schemas, &known_events());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Payments", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "Payments", "description": "Money that a user pays." },
            { "name": "Accounts", "description": "A user has one account per currency." },
            { "name": "Events and traces", "description": "What happened, and what caused it." },
            { "name": "Webhooks", "description": "Being told of events." },
            { "name": "Process", "description": "For whoever runs the engine. No key is asked for." },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": parts::parameters(),
            "responses": operation::shared_responses(),
            "headers": parts::headers(),
            "examples": problems::examples(),
            "securitySchemes": parts::security_schemes(),
        },
    })
}

/// `GET /openapi.json`
pub(crate) async fn json() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    ([(CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}
