//! The bodies that are recorded under keys, on real states of the domain.

use std::collections::BTreeMap;

use commands::idempotency::{Answer, Reply};
use commands::ports::AnswerFormat;
use cqrs_es::Aggregate;
use domain::account::{AccountCommand, AccountError, Opening, Owner};
use domain::payment::{
    CaptureMode, FailureReason, PaymentCommand, PaymentDetails, Requester, RiskAssessment, RiskLevel, Route,
};
use domain::{Account, AccountId, Currency, Money, Payment, PaymentId, PostingId, TransactionId, UserId};
use serde_json::{Value, json};

use crate::answers::{JsonAnswers, processing, respond};
use crate::payments::payment_body;

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

fn user() -> UserId {
    UserId::parse("USER_7").unwrap()
}

fn account() -> Account {
    let account_id = AccountId::of_user(&user(), Currency::USD);
    let opening = Opening { account_id, owner: Owner::User { user_id: user() }, currency: Currency::USD };
    let posting_id = PostingId::parse("dep_1").unwrap();
    let mut account = Account::default();
    for command in [
        AccountCommand::Open(opening),
        AccountCommand::Deposit { posting_id, amount: usd(10_000), reference: String::new() },
    ] {
        account.decide(command).unwrap().into_iter().for_each(|event| account.apply(event));
    }
    account
}

fn payment(commands: impl IntoIterator<Item = PaymentCommand>) -> Payment {
    let details = PaymentDetails {
        payment_id: PaymentId::parse("PAY_42").unwrap(),
        user_id: user(),
        payer: AccountId::of_user(&user(), Currency::USD),
        amount: usd(753),
        route: Route::Channel { payment_method: "credit_card".to_owned(), capture: CaptureMode::Automatic },
        requester: Requester { caller: "anonymous".to_owned(), idempotency_key: "KEY_42".to_owned() },
        metadata: BTreeMap::new(),
    };
    let mut payment = Payment::default();
    for command in std::iter::once(PaymentCommand::Initiate(details.into())).chain(commands) {
        payment.decide(command).unwrap().into_iter().for_each(|event| payment.apply(event));
    }
    payment
}

fn low() -> PaymentCommand {
    PaymentCommand::AssessRisk(RiskAssessment::Assessed { level: RiskLevel::Low, score: 1 })
}

fn paid() -> PaymentCommand {
    PaymentCommand::ConfirmPaid { transaction_id: TransactionId::parse("TX_1").unwrap() }
}

/// The body as the client gets it, at position 9.
fn rendered(answer: &Answer) -> Value {
    let text = Answer { position: Some(9), ..answer.clone() }.render();
    assert!(text.ends_with(",\"position\":9}"), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_completed_payment_is_created() {
    let payment = payment([low(), PaymentCommand::ReserveFunds, paid()]);
    let answer = JsonAnswers.payment(&payment, Some(&account()), "t");
    assert_eq!(answer.status, 201);
    let account_id = AccountId::of_user(&user(), Currency::USD);
    let expected = json!({
        "payment_id": "PAY_42", "status": "completed", "transaction_id": "TX_1", "amount": "7.53",
        "currency": "USD", "message": "The payment is completed.", "position": 9,
        "balance": {
            "account_id": account_id, "posted": "100.00", "held": "0.00", "available": "100.00",
            "currency": "USD",
        },
    });
    assert_eq!(rendered(&answer), expected);
}

#[test]
fn a_degraded_payment_says_so() {
    let degraded = PaymentCommand::AssessRisk(RiskAssessment::Degraded { reason: "timeout".to_owned() });
    let payment = payment([degraded, PaymentCommand::ReserveFunds, paid()]);
    assert_eq!(rendered(&JsonAnswers.payment(&payment, None, "t"))["degraded"], true);
}

#[test]
fn a_payment_in_review_is_accepted_only() {
    let review = PaymentCommand::RequireReview { reason: "silence".to_owned() };
    let payment = payment([low(), PaymentCommand::ReserveFunds, review]);
    let answer = JsonAnswers.payment(&payment, None, "t");
    assert_eq!((answer.status, &rendered(&answer)["status"]), (202, &json!("needs_review")));
}

#[test]
fn a_payment_that_failed_is_a_problem_that_names_it() {
    for (reason, code) in [
        (FailureReason::InsufficientFunds { available: usd(100) }, "insufficient_funds"),
        (FailureReason::AccountNotFound, "account_not_found"),
        (FailureReason::AccountFrozen, "account_frozen"),
        (FailureReason::AccountClosed, "account_closed"),
    ] {
        let answer = JsonAnswers.payment(&payment([low(), PaymentCommand::Fail(reason)]), None, "t");
        let body = rendered(&answer);
        assert_eq!(answer.status, 422);
        assert_eq!((&body["code"], &body["payment_id"]), (&json!(code), &json!("PAY_42")));
        assert_eq!((&body["trace_id"], &body["status"]), (&json!("t"), &json!(422)));
    }
    let declined = PaymentCommand::ConfirmDeclined { reason: "expired card".to_owned() };
    let declined = payment([low(), PaymentCommand::ReserveFunds, declined]);
    let body = rendered(&JsonAnswers.payment(&declined, None, "t"));
    assert_eq!(body["code"], "channel_declined");
    assert!(body["detail"].as_str().unwrap().contains("expired card"));
    let high = PaymentCommand::AssessRisk(RiskAssessment::Assessed { level: RiskLevel::High, score: 99 });
    assert_eq!(rendered(&JsonAnswers.payment(&payment([high]), None, "t"))["code"], "risk_rejected");
}

#[test]
fn a_payment_under_way_is_processing_whatever_its_step() {
    let under_way = payment([low(), PaymentCommand::ReserveFunds]);
    let body: Value = serde_json::from_str(&payment_body(&under_way).unwrap()).unwrap();
    let expected = json!({
        "payment_id": "PAY_42", "user_id": "USER_7", "kind": "payment", "status": "processing",
        "step": "reserved",
        "amount": "7.53", "currency": "USD", "payment_method": "credit_card", "capture": "automatic",
        "captured": null, "transaction_id": null, "failure": null,
        "risk": {"level": "low", "score": 1, "degraded": false}, "metadata": {},
    });
    assert_eq!(body, expected);
    assert_eq!(payment_body(&Payment::default()), None);
    let answer = processing(&PaymentId::parse("PAY_42").unwrap(), None);
    assert_eq!((answer.status, &rendered(&answer)["status"]), (202, &json!("processing")));
}

#[test]
fn a_payment_that_failed_says_why_when_it_is_read() {
    let failed = PaymentCommand::Fail(FailureReason::InsufficientFunds { available: usd(100) });
    let body = payment_body(&payment([low(), failed])).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let detail = "7.53 USD is needed, 1.00 USD is available. Nothing is held.";
    assert_eq!(body["status"], "failed");
    assert_eq!(body["failure"], json!({"code": "insufficient_funds", "detail": detail}));
}

#[test]
fn an_account_answers_with_its_balance() {
    let answer = JsonAnswers.account(&account(), true);
    let expected = json!({
        "account_id": AccountId::of_user(&user(), Currency::USD), "user_id": "USER_7", "currency": "USD",
        "posted": "100.00", "held": "0.00", "available": "100.00", "status": "active", "position": 9,
    });
    assert_eq!((answer.status, rendered(&answer)), (201, expected));
    assert_eq!(JsonAnswers.account(&account(), false).status, 200);
}

#[test]
fn a_refusal_of_an_account_is_a_problem_that_names_it() {
    let account_id = AccountId::of_user(&user(), Currency::USD);
    for (refusal, status, code, param) in [
        (AccountError::NotFound, 404, "account_not_found", None),
        (AccountError::AlreadyOpen { account_id: account_id.clone() }, 409, "account_already_open", None),
        (
            AccountError::InsufficientFunds { available: usd(1), requested: usd(2) },
            422,
            "insufficient_funds",
            Some("amount"),
        ),
        (AccountError::Frozen, 422, "account_frozen", None),
        (AccountError::Closed, 422, "account_closed", None),
        (
            AccountError::CurrencyMismatch { account: "USD", amount: "EUR" },
            422,
            "currency_mismatch",
            Some("currency"),
        ),
        (AccountError::BalanceOverflow, 422, "balance_overflow", Some("amount")),
    ] {
        let answer = JsonAnswers.account_refused(&account_id, &refusal, "t");
        let body = rendered(&answer);
        assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)));
        assert_eq!(body["param"].as_str(), param, "{code}");
        assert_eq!(body["account_id"], json!(account_id), "{code}");
    }
}

#[test]
fn a_repeat_is_marked_and_leads_to_the_first_trace() {
    let answer =
        JsonAnswers.account_refused(&AccountId::parse("acc_1").unwrap(), &AccountError::Frozen, "f1");
    let reply = Reply { answer, replayed: true, trace_id: "f1".to_owned() };
    let response = respond(&reply);
    assert_eq!(response.status(), 422);
    assert_eq!(response.headers()["idempotency-replayed"], "true");
    assert_eq!(response.headers()["trace-id"], "f1");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let first = respond(&Reply { replayed: false, ..reply });
    assert!(!first.headers().contains_key("idempotency-replayed"));
}
