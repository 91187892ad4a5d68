//! Payments.

use crate::answers::{PaymentBody, ProcessingBody};
use crate::openapi::examples;
use crate::openapi::operation::{Body, Operation, Scope, get, post};
use crate::openapi::problems::{AMOUNT, FIELDS, ID_IN_PATH};
use crate::openapi::requests;
use crate::payments::PaymentView;
use crate::reading::Page;

const TAG: &str = "Payments";

/// What making a payment can come to, besides what every keyed request can.
const MAKING: &[&str] = &[
    "account_closed",
    "account_frozen",
    "card_number",
    "channel_declined",
    "channel_unavailable",
    "contended",
    "idempotency_key_mismatch",
    "insufficient_funds",
    "invalid_id",
    "invalid_payment_method",
    "invalid_value",
    "payer_without_account",
    "payment_exists",
    "reviewed_not_paid",
    "risk_rejected",
    "risk_unavailable",
    "too_many_entries",
];

pub(super) fn all() -> Vec<Operation> {
    vec![
        make("/api/v1/payments", "makePayment", "Make a payment"),
        make("/api/v1/payment", "makePaymentAlso", "Make a payment (another name of the path)"),
        get("/api/v1/payments", "listPayments", Scope::Read, "Find payments by user, state and time")
            .of(TAG)
            .says("Newest first.")
            .query(&["user_id", "status", "from", "to"])
            .paged()
            .waits()
            .answers(
                200,
                "A page.",
                &Body::named::<Page<PaymentView<'_>>>("PaymentPage").with::<PaymentView<'_>>(),
                &examples::payments(),
            )
            .problems(&[&["invalid_id", "invalid_value", "too_long"]]),
        get("/api/v1/payments/{payment_id}", "readPayment", Scope::Read, "Read a payment")
            .of(TAG)
            .says("As the log has it now, never behind.")
            .query(&["min_position"])
            .answers(
                200,
                "The payment.",
                &Body::positioned::<PaymentView<'_>>("PaymentRead"),
                &examples::payment(),
            )
            .problems(&[ID_IN_PATH, &["payment_not_found"]]),
    ]
}

/// A payment of which it is not known yet what becomes of it.
pub(super) fn under_way() -> Body {
    Body::any_of(
        "PaymentUnderWay",
        [
            Body::positioned::<PaymentBody<'_>>("PaymentMade"),
            Body::positioned::<ProcessingBody<'_>>("PaymentProcessing"),
        ],
    )
}

fn make(path: &'static str, id: &str, summary: &str) -> Operation {
    let made = Body::positioned::<PaymentBody<'_>>("PaymentMade");
    post(path, id, Scope::Write, summary)
        .of(TAG)
        .says(
            "Risk, funds, the payment channel, books: it answers when all is done, or after some seconds that it goes on. \
             The key may be in the header or in the body. A payment that failed is a problem that names it; nothing is \
             held then.",
        )
        .key_in_body_too()
        .takes(&requests::PAYMENT, &examples::payment_request())
        .answers(201, "Completed or, with manual capture, authorized.", &made, &examples::payment_made())
        .answers(
            202,
            "The outcome is not known yet; it goes on. Repeat the request, or read the payment.",
            &under_way(),
            &examples::processing(),
        )
        .problems(&[AMOUNT, FIELDS, MAKING])
}
