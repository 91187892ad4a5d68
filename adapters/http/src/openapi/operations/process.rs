//! The process itself: whether it is well, what it measures, and this document.

use serde_json::json;

use crate::health::Ready;
use crate::openapi::examples;
use crate::openapi::operation::{Body, Operation, Scope, get};

const TAG: &str = "Process";

pub(super) fn all() -> Vec<Operation> {
    let text = || json!({ "type": "string" });
    let alive = json!({
        "type": "object", "properties": { "status": { "const": "ok" } }, "required": ["status"],
    });
    vec![
        get("/healthz", "isAlive", Scope::None, "Whether the process runs").of(TAG).answers_with(
            200,
            "It runs.",
            "application/json",
            alive,
            &json!({ "status": "ok" }),
        ),
        get("/readyz", "isReady", Scope::None, "Whether the process can serve")
            .of(TAG)
            .answers(200, "It can.", &Body::of::<Ready>(), &examples::ready())
            .problems(&[&["not_ready"]]),
        get("/metrics", "readMetrics", Scope::None, "What is measured").of(TAG).answers_with(
            200,
            "Prometheus' text format.",
            "text/plain",
            text(),
            &json!("# TYPE payment_requests_total counter\npayment_requests_total{status=\"success\"} 42\n"),
        ),
        get("/openapi.json", "readDocument", Scope::None, "This document").of(TAG).answers_with(
            200,
            "OpenAPI 3.1.",
            "application/json",
            json!({ "type": "object" }),
            &json!({ "openapi": "3.1.0" }),
        ),
        get("/docs", "readDocs", Scope::None, "This document for people").of(TAG).answers_with(
            200,
            "A page that asks no other host for anything.",
            "text/html",
            text(),
            &json!("<!doctype html>"),
        ),
        get("/docs/redoc.js", "readDocsProgram", Scope::None, "The program of that page")
            .of(TAG)
            .answers_with(200, "Redoc.", "text/javascript", text(), &json!("/*! Redoc */")),
    ]
}
