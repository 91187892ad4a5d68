//! Parameters and headers that several operations share, and how callers say who they are.

use serde_json::{Value, json};

use super::operation::reference;

/// `components/parameters`.
pub(super) fn parameters() -> Value {
    json!({
        "payment_id": in_path("payment_id", "PaymentId"),
        "refund_id": in_path("refund_id", "RefundId"),
        "account_id": in_path("account_id", "AccountId"),
        "endpoint_id": in_path("endpoint_id", "EndpointId"),
        "delivery_id": in_path("delivery_id", "DeliveryId"),
        "event_id": in_path("event_id", "EventId"),
        "trace_id": in_path("trace_id", "TraceId"),
        "IdempotencyKey": key(true),
        "IdempotencyKeyOrField": key(false),
        "traceparent": header("traceparent", "W3C Trace Context: the request goes on in this trace, in a span of its own. \
            What is not valid is as good as absent.", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        "tracestate": header("tracestate", "W3C Trace Context: passed on, and kept with each event, up to 512 characters.", "vendor=1"),
        "baggage": header("baggage", "W3C Baggage: kept with each event, up to 4,096 characters.", "user_id=USER_7,session_id=s1"),
        "LastEventId": header("Last-Event-ID", "Of an event stream: the last id that was seen; it goes on behind it.", "42"),
        "cursor": in_query("cursor", "Where the page before ended: its `next_cursor`.", reference("schemas", "Cursor")),
        "limit": in_query("limit", "Most entries of the page.",
            json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 })),
        "after": in_query("after", "Begin behind this position.", whole(0)),
        "min_position": in_query("min_position", "Wait until the read model has this position, for instance that of the \
            last answer: read your own writes. At most 3 s, then 503.", whole(0)),
        "position": in_query("position", "The state at this position. Not with `as_of`.", whole(0)),
        "as_of": in_query("as_of", "The state at this time. Not with `position`.",
            json!({ "type": "string", "format": "date-time" })),
        "user_id": in_query("user_id", "Payments of this user.", reference("schemas", "UserId")),
        "status": in_query("status", "Payments in this state.", reference("schemas", "PaymentState")),
        "from": in_query("from", "Payments begun at this time or later.", json!({ "type": "string", "format": "date-time" })),
        "to": in_query("to", "Payments begun before this time.", json!({ "type": "string", "format": "date-time" })),
        "delivery_status": in_query("status", "Deliveries in this state.", reference("schemas", "DeliveryState")),
    })
}

/// `components/headers`.
pub(super) fn headers() -> Value {
    json!({
        "trace-id": {
            "description": "The trace that carried the request out; of a repeat, the first one's.",
            "required": true, "schema": reference("schemas", "TraceId"),
        },
        "Idempotency-Replayed": {
            "description": "There where this is the recorded answer to an earlier request with the same key.",
            "schema": { "type": "string", "const": "true" },
        },
        "Retry-After": {
            "description": "Ask again after so many seconds.", "required": true,
            "schema": { "type": "integer", "minimum": 0 },
        },
        "Retry-Later": {
            "description": "There where it is worth asking again: after so many seconds.",
            "schema": { "type": "integer", "minimum": 0 },
        },
        "WWW-Authenticate": { "description": "How to say who you are.", "schema": { "type": "string" }, "example": "Bearer" },
        "RateLimit": {
            "description": "Where limits are on: what is left of them, and the seconds until there is more \
                (draft-ietf-httpapi-ratelimit-headers).",
            "schema": { "type": "string" }, "example": "\"caller\";r=99;t=1",
        },
        "RateLimit-Policy": {
            "description": "Where limits are on: what they are.",
            "schema": { "type": "string" }, "example": "\"caller\";q=100;w=1",
        },
    })
}

/// `components/securitySchemes`.
pub(super) fn security_schemes() -> Value {
    json!({ "bearer": {
        "type": "http", "scheme": "bearer", "bearerFormat": "pk_... or JWT",
        "description": "`Authorization: Bearer pk_...`, an API key that the operator made for you, or a JWT of an issuer that \
            the operator trusts. Each has scopes: `read`, `write`, `operate`; each operation names the one that it \
            needs. `payments dev` asks for no key unless it is told to.",
    } })
}

fn in_path(name: &str, schema: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": reference("schemas", schema) })
}

fn in_query(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn header(name: &str, description: &str, example: &str) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" }, "example": example })
}

fn key(required: bool) -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": required,
        "description": "A unique name for this request, for instance a UUID. The same key with the same request: the first \
            answer again, byte for byte. With another request: 422. While the first still runs: 409. Kept for at least \
            24 hours.",
        "schema": { "type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$" },
    })
}

fn whole(least: u64) -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": least, "maximum": i64::MAX })
}
