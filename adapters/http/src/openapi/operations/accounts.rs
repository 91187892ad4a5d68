//! Accounts.

use serde_json::{Value, json};

use crate::accounts::EntryView;
use crate::answers::{AccountBody, PaymentBody};
use crate::openapi::examples;
use crate::openapi::operation::{Body, Operation, Scope, get, post};
use crate::openapi::problems::{ACCOUNT, AMOUNT, FIELDS, ID_IN_PATH};
use crate::openapi::requests;
use crate::reading::Page;

use super::payments::under_way;

const TAG: &str = "Accounts";

fn close(account: &Body) -> Operation {
    let path = "/api/v1/accounts/{account_id}/close";
    post(path, "closeAccount", Scope::Operate, "Close an empty account for good")
        .of(TAG)
        .takes(&requests::NOTHING, &json!({}))
        .answers(200, "Nothing can be booked on it any more.", account, &examples::account())
        .problems(&[ID_IN_PATH, ACCOUNT, &["account_not_empty"]])
}

pub(super) fn all() -> Vec<Operation> {
    let account = Body::positioned_where_changed::<AccountBody<'_>>("Account");
    [movements(&account), states(&account)].into_iter().flatten().collect()
}

fn movements(account: &Body) -> Vec<Operation> {
    let entries = Body::named::<Page<EntryView<'_>>>("EntryPage").with::<EntryView<'_>>();
    let movement = json!({ "amount": "100.00", "currency": "USD", "reference": "wire 17" });
    vec![
        post("/api/v1/accounts", "openAccount", Scope::Write, "Open a user's account")
            .of(TAG)
            .takes(&requests::OPENING, &json!({ "user_id": "USER_7", "currency": "USD" }))
            .answers(201, "It is open.", account, &examples::account())
            .problems(&[FIELDS, &["account_already_open", "contended", "invalid_currency", "invalid_id"]]),
        get(
            "/api/v1/accounts/{account_id}",
            "readAccount",
            Scope::Read,
            "Read an account, now or in the past",
        )
        .of(TAG)
        .query(&["position", "as_of"])
        .waits()
        .answers(200, "Its balance.", account, &examples::account_read())
        .problems(&[ID_IN_PATH, &["account_not_found", "conflicting_parameters"]]),
        get(
            "/api/v1/accounts/{account_id}/entries",
            "listEntries",
            Scope::Read,
            "Read an account's statement",
        )
        .of(TAG)
        .says("Newest line first; each names its event, its posting and its payment.")
        .paged()
        .waits()
        .answers(200, "A page.", &entries, &examples::entries())
        .problems(&[ID_IN_PATH, &["account_not_found"]]),
        post("/api/v1/accounts/{account_id}/deposits", "deposit", Scope::Write, "Deposit to an account")
            .of(TAG)
            .takes(&requests::MOVEMENT, &movement)
            .answers(201, "The account behind it.", account, &examples::account())
            .problems(&[ID_IN_PATH, AMOUNT, FIELDS, ACCOUNT, &["balance_overflow", "currency_mismatch"]]),
        withdraw(&movement),
    ]
}

fn withdraw(movement: &Value) -> Operation {
    let path = "/api/v1/accounts/{account_id}/withdrawals";
    let made = Body::positioned::<PaymentBody<'_>>("PaymentMade");
    post(path, "withdraw", Scope::Write, "Withdraw from an account")
        .of(TAG)
        .says(
            "Paid out through the payment channel, to where the user has told it. It is a payment of the kind \
             `withdrawal`: it passes the risk service, its amount is held until the channel has answered, and it is \
             read, and reviewed where the channel never answers, as a payment. One that failed is a problem that names \
             it; nothing is held then.",
        )
        .takes(&requests::MOVEMENT, movement)
        .answers(201, "The amount is paid out.", &made, &examples::paid_out())
        .answers(
            202,
            "The outcome is not known yet; it goes on. Repeat the request, or read the payment.",
            &under_way(),
            &examples::processing(),
        )
        .problems(&[ID_IN_PATH, AMOUNT, FIELDS, ACCOUNT])
        .problems(&[&["account_frozen", "channel_declined", "channel_unavailable", "currency_mismatch"]])
        .problems(&[&["insufficient_funds", "reviewed_not_paid", "risk_rejected", "risk_unavailable"]])
}

fn states(account: &Body) -> Vec<Operation> {
    vec![
        post("/api/v1/accounts/{account_id}/freeze", "freezeAccount", Scope::Operate, "Freeze an account")
            .of(TAG)
            .says("Money may come in, and none leaves.")
            .takes(&requests::FREEZING, &json!({ "reason": "reported as stolen" }))
            .answers(200, "It is frozen.", account, &examples::account())
            .problems(&[ID_IN_PATH, FIELDS, ACCOUNT]),
        post(
            "/api/v1/accounts/{account_id}/unfreeze",
            "unfreezeAccount",
            Scope::Operate,
            "Unfreeze an account",
        )
        .of(TAG)
        .takes(&requests::NOTHING, &json!({}))
        .answers(200, "Money may leave again.", account, &examples::account())
        .problems(&[ID_IN_PATH, ACCOUNT]),
        close(account),
    ]
}
