//! What becomes of a payment after it is made: capture, void, refunds, review. And transfers.

use serde_json::json;

use crate::answers::changes::{ChangedBody, RefundBody};
use crate::answers::{PaymentBody, ProcessingBody};
use crate::openapi::examples;
use crate::openapi::operation::{Body, Operation, Scope, get, post};
use crate::openapi::problems::{AMOUNT, FIELDS, ID_IN_PATH};
use crate::openapi::requests;
use crate::payments::refunds;

const TAG: &str = "Payments";

/// What changing a payment can come to.
const CHANGING: &[&str] = &["contended", "payment_not_found", "wrong_payment_status"];
/// What the amount of a change can be.
const PART: &[&str] = &["currency_mismatch", "invalid_amount", "invalid_currency"];
/// What the channel, or a review of what it did, can say to the end of an authorization.
const ENDING: &[&str] = &["channel_declined", "reviewed_not_paid"];

pub(super) fn all() -> Vec<Operation> {
    vec![capture(), void(), refund(), list_refunds(), read_refund(), review(), transfer()]
}

fn changed() -> Body {
    Body::positioned_where_changed::<ChangedBody<'_>>("PaymentChanged")
}

fn under_way() -> Body {
    let processing = Body::positioned_where_changed::<ProcessingBody<'_>>("PaymentChanging");
    Body::any_of("PaymentChangeUnderWay", [changed(), processing])
}

fn capture() -> Operation {
    let path = "/api/v1/payments/{payment_id}/capture";
    post(path, "capturePayment", Scope::Write, "Capture an authorized payment")
        .of(TAG)
        .says("Once, all of it or a part; the rest of the hold is given back.")
        .takes(&requests::PART, &json!({ "amount": "5.00" }))
        .answers(200, "The money has moved.", &changed(), &examples::captured())
        .answers(202, "The outcome is not known yet; it goes on.", &under_way(), &examples::processing())
        .problems(&[ID_IN_PATH, CHANGING, PART, ENDING, &["capture_too_large", "channel_unavailable"]])
}

fn void() -> Operation {
    let path = "/api/v1/payments/{payment_id}/void";
    post(path, "voidPayment", Scope::Write, "Give an authorization up")
        .of(TAG)
        .says("The hold is given back.")
        .takes(&requests::NOTHING, &json!({}))
        .answers(200, "Nothing was taken.", &changed(), &examples::voided())
        .answers(202, "The outcome is not known yet; it goes on.", &under_way(), &examples::processing())
        .problems(&[ID_IN_PATH, CHANGING, ENDING, &["channel_unavailable"]])
}

fn refund() -> Operation {
    let refunded = Body::positioned::<RefundBody<'_>>("RefundMade");
    let processing = Body::of::<refunds::ProcessingBody<'_>>();
    let path = "/api/v1/payments/{payment_id}/refunds";
    post(path, "refundPayment", Scope::Write, "Refund a payment, or a part of it")
        .of(TAG)
        .says("Several refunds may be made, never more than was captured.")
        .takes(&requests::PART, &json!({ "amount": "3.00" }))
        .answers(201, "The amount is back.", &refunded, &examples::refund_made())
        .answers(
            202,
            "The outcome is not known yet; it goes on.",
            &processing,
            &examples::refund_processing(),
        )
        .problems(&[
            ID_IN_PATH,
            CHANGING,
            PART,
            &["account_closed", "balance_overflow", "channel_unavailable"],
        ])
        .problems(&[&["refund_declined", "refund_too_large", "too_many_refunds", "transfer_not_refundable"]])
        .problems(&[&["withdrawal_not_refundable"]])
}

fn list_refunds() -> Operation {
    let page = Body::of::<refunds::RefundsBody<'_>>();
    get("/api/v1/payments/{payment_id}/refunds", "listRefunds", Scope::Read, "List a payment's refunds")
        .of(TAG)
        .query(&["min_position"])
        .answers(200, "All of them, as the log has them now.", &page, &examples::refunds())
        .problems(&[ID_IN_PATH, &["payment_not_found"]])
}

fn read_refund() -> Operation {
    let read = Body::of::<refunds::RefundView<'_>>();
    get("/api/v1/payments/{payment_id}/refunds/{refund_id}", "readRefund", Scope::Read, "Read a refund")
        .of(TAG)
        .query(&["min_position"])
        .answers(200, "As the log has it now.", &read, &examples::refund())
        .problems(&[ID_IN_PATH, &["payment_not_found", "refund_not_found"]])
}

fn review() -> Operation {
    let path = "/api/v1/payments/{payment_id}/review";
    let asked =
        json!({ "outcome": "paid", "transaction_id": "txn_7c9e6679", "reason": "the channel's report" });
    post(path, "reviewPayment", Scope::Operate, "Say what became of a payment in review")
        .of(TAG)
        .says("For an operator who has asked whoever runs the payment channel.")
        .takes(&requests::REVIEW, &asked)
        .answers(200, "It is resolved.", &changed(), &examples::reviewed())
        .problems(&[ID_IN_PATH, FIELDS, CHANGING, &["invalid_value", "not_in_review", "review_conflict"]])
}

fn transfer() -> Operation {
    let made = Body::positioned::<PaymentBody<'_>>("PaymentMade");
    let asked =
        json!({ "from_user_id": "USER_7", "to_user_id": "USER_8", "amount": "1.00", "currency": "USD" });
    post("/api/v1/transfers", "transfer", Scope::Write, "Transfer from one user to another")
        .of(TAG)
        .says("At once or not at all. It is read as a payment.")
        .takes(&requests::TRANSFER, &asked)
        .answers(201, "The amount has moved.", &made, &examples::transferred())
        .problems(&[AMOUNT, FIELDS, &["contended", "invalid_id", "payment_exists", "same_user"]])
        .problems(&[&["account_closed", "account_frozen", "insufficient_funds", "payer_without_account"]])
        .problems(&[&["payee_cannot_receive", "payee_closed", "payee_not_found", "too_many_entries"]])
}
