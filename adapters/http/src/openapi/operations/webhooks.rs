//! Webhooks and their deliveries.

use serde_json::json;

use crate::openapi::examples;
use crate::openapi::operation::{Body, Operation, Scope, delete, get, patch, post};
use crate::openapi::problems::{FIELDS, ID_IN_PATH};
use crate::openapi::requests;
use crate::webhooks::view::{DeliveryView, EndpointView, Page};

const TAG: &str = "Webhooks";

/// What can be wrong with an endpoint's fields.
const ENDPOINT: &[&str] = &["invalid_event_type", "invalid_url", "too_many_entries"];

pub(super) fn all() -> Vec<Operation> {
    [endpoints(), deliveries()].into_iter().flatten().collect()
}

fn endpoints() -> Vec<Operation> {
    let webhook = Body::of::<EndpointView<'_>>();
    let page = Body::named::<Page<EndpointView<'_>>>("WebhookPage").with::<EndpointView<'_>>();
    vec![
        post("/api/v1/webhooks", "registerWebhook", Scope::Operate, "Register a webhook")
            .of(TAG)
            .says("From now on events are sent to it, signed as Standard Webhooks asks. The secret is in this answer alone.")
            .takes(&requests::REGISTRATION, &examples::registration())
            .answers(201, "It is registered.", &webhook, &examples::webhook_with_secret())
            .problems(&[FIELDS, ENDPOINT, &["too_many_webhooks"]]),
        get("/api/v1/webhooks", "listWebhooks", Scope::Operate, "List the webhooks")
            .of(TAG)
            .query(&["min_position"])
            .answers(200, "All of them, the oldest first.", &page, &examples::webhooks()),
        get("/api/v1/webhooks/{endpoint_id}", "readWebhook", Scope::Operate, "Read a webhook")
            .of(TAG)
            .query(&["min_position"])
            .answers(200, "The webhook.", &webhook, &examples::webhook())
            .problems(&[&["webhook_not_found"]]),
        patch("/api/v1/webhooks/{endpoint_id}", "changeWebhook", Scope::Operate, "Change a webhook")
            .of(TAG)
            .says("What is not given stays. Enabling one begins its count of failures anew.")
            .takes(&requests::WEBHOOK_CHANGES, &json!({ "status": "disabled" }))
            .answers(200, "The webhook as it is now.", &webhook, &examples::webhook())
            .problems(&[ENDPOINT, &["invalid_text", "invalid_value", "too_long", "webhook_not_found"]]),
        delete("/api/v1/webhooks/{endpoint_id}", "deleteWebhook", Scope::Operate, "Delete a webhook")
            .of(TAG)
            .query(&["min_position"])
            .answers_nothing(204, "Nothing is sent to it any more.")
            .problems(&[&["webhook_not_found"]]),
        post("/api/v1/webhooks/{endpoint_id}/rotate-secret", "rotateSecret", Scope::Operate, "Rotate a webhook's secret")
            .of(TAG)
            .says("The old secret signs as well for a while. The new one is in this answer alone.")
            .takes(&requests::NOTHING, &json!({}))
            .answers(200, "The webhook with its new secret.", &webhook, &examples::webhook_with_secret())
            .problems(&[&["webhook_not_found"]]),
    ]
}

fn deliveries() -> Vec<Operation> {
    let page = Body::named::<Page<DeliveryView<'_>>>("DeliveryPage").with::<DeliveryView<'_>>();
    let invalid = &["invalid_value"];
    vec![
        get("/api/v1/deliveries", "listDeliveries", Scope::Operate, "List deliveries")
            .of(TAG)
            .says("Newest first.")
            .query(&["delivery_status"])
            .paged()
            .answers(200, "A page.", &page, &examples::deliveries())
            .problems(&[invalid]),
        get(
            "/api/v1/webhooks/{endpoint_id}/deliveries",
            "listDeliveriesOfWebhook",
            Scope::Operate,
            "List a webhook's deliveries",
        )
        .of(TAG)
        .query(&["delivery_status"])
        .paged()
        .answers(200, "A page.", &page, &examples::deliveries())
        .problems(&[invalid, &["webhook_not_found"]]),
        get(
            "/api/v1/payments/{payment_id}/deliveries",
            "listDeliveriesOfPayment",
            Scope::Operate,
            "List the deliveries of a payment's events",
        )
        .of(TAG)
        .query(&["delivery_status"])
        .paged()
        .answers(200, "A page.", &page, &examples::deliveries())
        .problems(&[ID_IN_PATH, invalid, &["payment_not_found"]]),
        post(
            "/api/v1/deliveries/{delivery_id}/resend",
            "resendDelivery",
            Scope::Operate,
            "Send a delivery again",
        )
        .of(TAG)
        .says("One that has ended, delivered or dead.")
        .takes(&requests::NOTHING, &json!({}))
        .answers(202, "It is tried again.", &Body::of::<DeliveryView<'_>>(), &examples::delivery())
        .problems(&[&["delivery_not_found", "delivery_pending", "webhook_not_enabled"]]),
    ]
}
