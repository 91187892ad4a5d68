//! One operation of the API, described in a few lines.
//!
//! ```text
//! post("/api/v1/accounts/{account_id}/close", "closeAccount", Scope::Operate, "Close an account")
//!     .takes(requests::CLOSING, json!({}))
//!     .answers(200, "It is closed.", &account(), &examples::account())
//!     .problems(&[problems::ID_IN_PATH, problems::ACCOUNT, &["account_not_empty"]])
//! ```
//!
//! Parameters of the path, the headers that every operation has, and the problems that every operation can answer
//! are added here, so that none is forgotten.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problems;
use super::requests::Request;

/// What a caller's key must be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Read,
    Write,
    Operate,
    /// No key is asked for: it is no part of the API.
    None,
}

/// Schemas of the document, by name.
pub(super) type Schemas = BTreeMap<String, Value>;

/// A body of answers: a schema with a name, and those that it refers to.
pub(super) struct Body {
    name: String,
    schemas: Schemas,
}

/// One operation, and the schemas that it brings along.
pub(super) struct Operation {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    pub(super) schemas: Schemas,
    scope: Scope,
    tag: &'static str,
    value: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
    problems: BTreeSet<&'static str>,
}

impl Body {
    /// A type under its own name.
    pub(super) fn of<T: ToSchema>() -> Self {
        Self::named::<T>(&T::name())
    }

    /// A type under another name, for instance a page of something.
    pub(super) fn named<T: ToSchema>(name: &str) -> Self {
        let mut more = Vec::new();
        T::schemas(&mut more);
        let mut schemas: Schemas = more.into_iter().map(|(name, schema)| (name, plain(&schema))).collect();
        schemas.insert(name.to_owned(), plain(&T::schema()));
        Self { name: name.to_owned(), schemas }
    }

    /// Brings another type along, that a generic one is made of.
    pub(super) fn with<T: ToSchema>(mut self) -> Self {
        self.schemas.extend(Self::of::<T>().schemas);
        self
    }

    /// A type whose answer ends in the position of the last event that it comes from.
    pub(super) fn positioned<T: ToSchema>(name: &str) -> Self {
        let mut body = Self::positioned_where_changed::<T>(name);
        if let Some(required) =
            body.schemas.get_mut(name).and_then(|schema| schema["required"].as_array_mut())
        {
            required.push("position".into());
        }
        body
    }

    /// The same, but for a command that found nothing to do: its answer has no position.
    pub(super) fn positioned_where_changed<T: ToSchema>(name: &str) -> Self {
        let mut body = Self::named::<T>(name);
        if let Some(schema) = body.schemas.get_mut(name) {
            schema["properties"]["position"] = reference("schemas", "Position");
        }
        body
    }

    /// One of several, under a name.
    pub(super) fn any_of(name: &str, bodies: impl IntoIterator<Item = Self>) -> Self {
        let mut schemas = Schemas::new();
        let mut items = Vec::new();
        for body in bodies {
            items.push(reference("schemas", &body.name));
            schemas.extend(body.schemas);
        }
        schemas.insert(name.to_owned(), json!({ "anyOf": items }));
        Self { name: name.to_owned(), schemas }
    }
}

pub(super) fn get(path: &'static str, id: &str, scope: Scope, summary: &str) -> Operation {
    Operation::new("get", path, id, scope, summary).reads()
}

pub(super) fn delete(path: &'static str, id: &str, scope: Scope, summary: &str) -> Operation {
    Operation::new("delete", path, id, scope, summary).reads()
}

pub(super) fn patch(path: &'static str, id: &str, scope: Scope, summary: &str) -> Operation {
    Operation::new("patch", path, id, scope, summary).problems(&[&["store_unavailable", "timed_out"]])
}

pub(super) fn post(path: &'static str, id: &str, scope: Scope, summary: &str) -> Operation {
    Operation::new("post", path, id, scope, summary).parameter("IdempotencyKey").problems(&[problems::KEYED])
}

impl Operation {
    fn new(method: &'static str, path: &'static str, id: &str, scope: Scope, summary: &str) -> Self {
        let mut operation = Self {
            path,
            method,
            schemas: Schemas::new(),
            scope,
            tag: "",
            value: Map::new(),
            parameters: Vec::new(),
            responses: Map::new(),
            problems: BTreeSet::new(),
        };
        operation.value.insert("operationId".to_owned(), id.into());
        operation.value.insert("summary".to_owned(), summary.into());
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            operation = operation.parameter(name).problems(&[&["malformed_path"]]);
        }
        if scope == Scope::None {
            return operation;
        }
        let security = match scope {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Operate | Scope::None => "operate",
        };
        operation.value.insert("security".to_owned(), json!([{ "bearer": [security] }]));
        operation.problems.extend(problems::ANY);
        operation.parameter("traceparent").parameter("tracestate").parameter("baggage")
    }

    fn reads(self) -> Self {
        if self.scope == Scope::None { self } else { self.problems(&[problems::READ]) }
    }

    /// Which chapter it is in.
    pub(super) fn of(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self.value.insert("tags".to_owned(), json!([tag]));
        self
    }

    /// What its summary does not say.
    pub(super) fn says(mut self, description: &str) -> Self {
        self.value.insert("description".to_owned(), description.into());
        self
    }

    /// A parameter of `components/parameters`.
    pub(super) fn parameter(mut self, name: &str) -> Self {
        self.parameters.push(reference("parameters", name));
        self
    }

    /// Several of them.
    pub(super) fn query(mut self, names: &[&str]) -> Self {
        self.parameters.extend(names.iter().map(|name| reference("parameters", name)));
        self
    }

    /// The key may be a field of the body instead.
    pub(super) fn key_in_body_too(mut self) -> Self {
        let header = reference("parameters", "IdempotencyKey");
        self.parameters.retain(|parameter| *parameter != header);
        self.parameter("IdempotencyKeyOrField")
    }

    /// A page of a list may be asked for.
    pub(super) fn paged(self) -> Self {
        self.query(&["cursor", "limit"]).problems(&[problems::PAGE])
    }

    /// A reader may wait for a position.
    pub(super) fn waits(self) -> Self {
        self.query(&["min_position"]).problems(&[problems::MIN_POSITION])
    }

    /// The body that is sent.
    pub(super) fn takes(mut self, request: &Request, example: &Value) -> Self {
        let content = json!({ "schema": reference("schemas", request.name), "example": example });
        let body = json!({ "required": request.is_required(), "content": { "application/json": content } });
        self.value.insert("requestBody".to_owned(), body);
        self.schemas.insert(request.name.to_owned(), request.schema());
        self.problems(&[problems::JSON])
    }

    /// A body of JSON that is answered.
    pub(super) fn answers(self, status: u16, description: &str, body: &Body, example: &Value) -> Self {
        let schema = reference("schemas", &body.name);
        let mut answering = self.answers_with(status, description, "application/json", schema, example);
        answering.schemas.extend(body.schemas.clone());
        answering
    }

    /// A body of another kind that is answered, or one of several kinds.
    pub(super) fn answers_with(
        mut self,
        status: u16,
        description: &str,
        media_type: &str,
        schema: Value,
        example: &Value,
    ) -> Self {
        let mut headers = self.headers();
        if self.method == "post" {
            headers.insert("Idempotency-Replayed".to_owned(), reference("headers", "Idempotency-Replayed"));
        }
        if status == 202 {
            headers.insert("Retry-After".to_owned(), reference("headers", "Retry-Later"));
        }
        let response = self
            .responses
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": description, "headers": headers, "content": {} }));
        response["content"][media_type] = json!({ "schema": schema, "example": example });
        self
    }

    /// An answer without a body.
    pub(super) fn answers_nothing(mut self, status: u16, description: &str) -> Self {
        let response = json!({ "description": description, "headers": self.headers() });
        self.responses.insert(status.to_string(), response);
        self
    }

    /// Problems that it can answer, by name.
    pub(super) fn problems(mut self, groups: &[&[&'static str]]) -> Self {
        self.problems.extend(groups.iter().copied().flatten());
        self
    }

    fn headers(&self) -> Map<String, Value> {
        let limits: &[&str] =
            if self.scope == Scope::None { &[] } else { &["RateLimit", "RateLimit-Policy"] };
        let names = ["trace-id"].iter().chain(limits);
        names.map(|name| ((*name).to_owned(), reference("headers", name))).collect()
    }

    /// As the document has it.
    pub(super) fn finish(mut self) -> Value {
        for (status, kinds) in by_status(&self.problems) {
            let response = if SHARED.contains(&status) {
                reference("responses", &format!("Problem{status}"))
            } else {
                self.problem(status, &kinds)
            };
            self.responses.insert(status.to_string(), response);
        }
        self.value.insert("parameters".to_owned(), self.parameters.into());
        self.value.insert("responses".to_owned(), self.responses.into());
        self.value.into()
    }

    fn problem(&self, status: u16, kinds: &[&problems::Kind]) -> Value {
        let mut headers = self.headers();
        if matches!(status, 409 | 429 | 503) {
            let name = if status == 409 { "Retry-Later" } else { "Retry-After" };
            headers.insert("Retry-After".to_owned(), reference("headers", name));
        }
        if status == 401 {
            headers.insert("WWW-Authenticate".to_owned(), reference("headers", "WWW-Authenticate"));
        }
        let mut codes: Vec<_> = kinds.iter().map(|kind| kind.code).collect();
        codes.dedup();
        let said = json!({ "properties": { "code": { "enum": codes }, "status": { "const": status } } });
        let examples: Map<_, _> =
            kinds.iter().map(|kind| (kind.name.to_owned(), reference("examples", kind.name))).collect();
        json!({
            "description": kinds.iter().map(|kind| format!("`{}`", kind.code)).collect::<Vec<_>>().join(", "),
            "headers": headers,
            "content": { "application/problem+json": {
                "schema": { "allOf": [reference("schemas", "Problem"), said] },
                "examples": examples,
            } },
        })
    }
}

/// Statuses that every operation of the API answers with the same problems.
const SHARED: [u16; 8] = [401, 403, 408, 413, 414, 415, 429, 500];

/// `components/responses`: what answers with those statuses are.
pub(super) fn shared_responses() -> Map<String, Value> {
    let any = Operation::new("get", "/", "", Scope::Read, "");
    let names = problems::KINDS.iter().filter(|kind| SHARED.contains(&kind.status)).map(|kind| kind.name);
    let response = |(status, kinds): (u16, Vec<&problems::Kind>)| {
        (format!("Problem{status}"), any.problem(status, &kinds))
    };
    by_status(&names.collect()).into_iter().map(response).collect()
}

fn by_status(names: &BTreeSet<&'static str>) -> BTreeMap<u16, Vec<&'static problems::Kind>> {
    let mut by_status: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for kind in names.iter().filter_map(|name| problems::named(name)) {
        by_status.entry(kind.status).or_default().push(kind);
    }
    by_status
}

/// A reference to a component.
pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// A schema as JSON.
pub(super) fn plain(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}

/// The schema of a type that brings none along.
pub(super) fn schema_of<T: PartialSchema + ToSchema>() -> (Cow<'static, str>, Value) {
    (T::name(), plain(&T::schema()))
}
