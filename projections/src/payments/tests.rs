use std::sync::Arc;

use domain::payment::{ReviewOutcome, RiskLevel};
use domain::{Currency, RefundId};

use super::*;
use crate::examples::{
    alice, alices, deposited, details, funding, initiated, jpy, payment, time, to_alice, to_payment, usd,
};

fn transaction(id: &str) -> TransactionId {
    TransactionId::parse(id).unwrap()
}

fn refund(id: &str) -> RefundId {
    RefundId::parse(id).unwrap()
}

fn assessed() -> PaymentEvent {
    PaymentEvent::RiskAssessed { assessment: low() }
}

fn low() -> RiskAssessment {
    RiskAssessment::Assessed { level: RiskLevel::Low, score: 3 }
}

fn reserved(amount: Money) -> PaymentEvent {
    PaymentEvent::FundsReserved { amount }
}

fn authorized() -> PaymentEvent {
    PaymentEvent::PaymentAuthorized { transaction_id: transaction("t") }
}

fn completed(captured: Money) -> PaymentEvent {
    PaymentEvent::PaymentCompleted { transaction_id: Some(transaction("t")), captured }
}

fn review_required() -> PaymentEvent {
    PaymentEvent::ReviewRequired { reason: "silence".to_owned() }
}

fn refund_started(amount: Money) -> PaymentEvent {
    PaymentEvent::RefundStarted { refund_id: refund("r"), amount, requester: None }
}

fn refund_completed(amount: Money) -> PaymentEvent {
    PaymentEvent::RefundCompleted { refund_id: refund("r"), amount, transaction_id: transaction("back") }
}

fn refund_failed(amount: Money) -> PaymentEvent {
    PaymentEvent::RefundFailed { refund_id: refund("r"), amount, reason: "account gone".to_owned() }
}

/// The row after events at positions 1, 2, ...
fn row(history: &[PaymentEvent]) -> PaymentRow {
    let mut state = None;
    for (position, event) in (1..).zip(history) {
        Payments::apply(&mut state, &to_payment(position, event.clone())).unwrap();
    }
    state.unwrap()
}

/// The next event changes the row in this way and in no other.
fn changes(history: &[PaymentEvent], event: &PaymentEvent, change: impl FnOnce(&mut PaymentRow)) {
    let after = row(&[history, std::slice::from_ref(event)].concat());
    let mut expected = row(history);
    change(&mut expected);
    expected.position += 1;
    expected.updated_at = time(expected.position);
    assert_eq!(after, expected, "{}", event.name());
}

/// Why the next event is refused. Fails the test when the row has changed.
fn refused(history: &[PaymentEvent], event: PaymentEvent) -> FoldError {
    let before = row(history);
    let mut state = Some(before.clone());
    let next = i64::try_from(history.len()).unwrap() + 1;
    let error = Payments::apply(&mut state, &to_payment(next, event)).unwrap_err();
    assert_eq!(state, Some(before), "{error}");
    error
}

#[test]
fn a_payment_begins_as_it_was_asked_for() {
    assert_eq!(
        row(&[initiated()]),
        PaymentRow {
            payment_id: payment("p"),
            user_id: alice(),
            payer: alices(),
            payee: None,
            amount: usd(1_000),
            payment_method: Some("card".to_owned()),
            capture: Some(CaptureMode::Manual),
            status: PaymentStatus::Initiated,
            risk: None,
            transaction_id: None,
            failure: None,
            review_reason: None,
            captured: None,
            refunded: None,
            metadata: details().metadata,
            initiated_position: 1,
            initiated_at: time(1),
            position: 1,
            updated_at: time(1),
        }
    );
}

#[test]
fn a_transfer_has_a_payee_and_no_method() {
    let transfer = PaymentDetails { route: Route::Transfer { payee: funding() }, ..details() };
    let row = row(&[PaymentEvent::PaymentInitiated(Arc::new(transfer))]);
    assert_eq!((row.payee, row.payment_method, row.capture), (Some(funding()), None, None));
}

#[test]
fn each_event_on_the_way_changes_what_its_name_says() {
    use PaymentStatus as S;
    let begun = [initiated()];
    changes(&begun, &assessed(), |row| (row.risk, row.status) = (Some(low()), S::Assessed));
    let begun = [initiated(), assessed()];
    changes(&begun, &PaymentEvent::PaymentRejected { score: 97 }, |row| row.status = S::Rejected);
    changes(&begun, &reserved(usd(1_000)), |row| row.status = S::Reserved);
    let begun = [initiated(), assessed(), reserved(usd(1_000))];
    let unknown = PaymentEvent::ChannelOutcomeUnknown { reason: "timeout".to_owned() };
    changes(&begun, &unknown, |row| row.status = S::OutcomeUnknown);
    changes(&begun, &authorized(), |row| {
        (row.transaction_id, row.status) = (Some(transaction("t")), S::Authorized);
    });
    let declined = FailureReason::ChannelDeclined { reason: "expired".to_owned() };
    changes(&begun, &PaymentEvent::PaymentFailed { reason: declined.clone() }, |row| {
        (row.failure, row.status) = (Some(declined), S::Failed);
    });
    let begun = [initiated(), assessed(), reserved(usd(1_000)), authorized()];
    changes(&begun, &completed(usd(600)), |row| (row.captured, row.status) = (Some(600), S::Completed));
    let requester = Requester { caller: "shop".to_owned(), idempotency_key: "k".to_owned() };
    let capturing = PaymentEvent::CaptureStarted { amount: usd(600), requester };
    changes(&begun, &capturing, |row| row.status = S::Capturing);
    let voiding = PaymentEvent::VoidStarted { reason: "expired".to_owned(), requester: None };
    changes(&begun, &voiding, |row| row.status = S::Voiding);
    let voided = PaymentEvent::PaymentVoided { reason: "requested".to_owned() };
    changes(&begun, &voided, |row| row.status = S::Voided);
}

#[test]
fn a_transfer_completes_without_the_channel() {
    let event = PaymentEvent::PaymentCompleted { transaction_id: None, captured: usd(1_000) };
    changes(&[initiated()], &event, |row| {
        (row.captured, row.status) = (Some(1_000), PaymentStatus::Completed);
    });
}

#[test]
fn a_review_is_told_and_its_reason_stays() {
    let begun = [initiated(), assessed(), reserved(usd(1_000))];
    changes(&begun, &review_required(), |row| {
        row.review_reason = Some("silence".to_owned());
        row.status = PaymentStatus::NeedsReview;
    });
    let begun = [&begun[..], &[review_required()]].concat();
    let resolved = PaymentEvent::ReviewResolved {
        outcome: ReviewOutcome::NotPaid,
        operator: "olga".to_owned(),
        reason: "no record".to_owned(),
    };
    changes(&begun, &resolved, |_| {});
    let failed = PaymentEvent::PaymentFailed { reason: FailureReason::ReviewedNotPaid };
    changes(&[&begun[..], &[resolved]].concat(), &failed, |row| {
        row.failure = Some(FailureReason::ReviewedNotPaid);
        row.status = PaymentStatus::Failed;
    });
}

#[test]
fn what_has_gone_back_is_the_sum_of_refunds_that_are_completed() {
    let mut history = vec![initiated(), completed(usd(1_000))];
    for (event, refunded) in [
        (refund_started(usd(300)), 0),
        (refund_failed(usd(300)), 0),
        (refund_started(usd(200)), 0),
        (refund_completed(usd(200)), 200),
        (refund_started(usd(100)), 200),
        (refund_completed(usd(100)), 300),
        (refund_failed(usd(50)), 300),
    ] {
        changes(&history, &event, |row| row.refunded = Some(refunded));
        history.push(event);
    }
}

#[test]
fn another_currency_is_refused() {
    let wrong = FoldError::WrongCurrency { kept: Currency::USD, moved: Currency::JPY };
    for event in [
        reserved(jpy(1_000)),
        completed(jpy(1_000)),
        refund_started(jpy(1)),
        refund_completed(jpy(1)),
        refund_failed(jpy(1)),
    ] {
        assert_eq!(refused(&[initiated(), completed(usd(1_000))], event), wrong);
    }
}

#[test]
fn what_cannot_have_been_taken_or_gone_back_is_refused() {
    let begun = [initiated(), completed(usd(1_000)), refund_completed(usd(i64::MAX))];
    assert_eq!(refused(&begun, refund_completed(usd(1))), FoldError::Overflow);
    assert_eq!(refused(&begun, refund_completed(usd(-1))), FoldError::Negative);
    assert_eq!(refused(&[initiated()], completed(usd(-1))), FoldError::Negative);
}

#[test]
fn a_payment_begins_once() {
    let twice = refused(&[initiated(), assessed()], initiated());
    assert_eq!(twice, FoldError::BegunTwice("payment p".to_owned()));
}

#[test]
fn nothing_happens_to_a_payment_before_it_begins() {
    for event in [assessed(), completed(usd(1)), review_required()] {
        let mut state = None;
        let error = Payments::apply(&mut state, &to_payment(1, event)).unwrap_err();
        assert_eq!((error, state), (FoldError::NotBegun("payment p".to_owned()), None));
    }
}

#[test]
fn what_was_counted_is_not_counted_again() {
    let history = [initiated(), completed(usd(1_000)), refund_completed(usd(200)), refund_started(usd(100))];
    let row = row(&history);
    let mut state = Some(row.clone());
    for (position, event) in (1..).zip(history) {
        Payments::apply(&mut state, &to_payment(position, event)).unwrap();
        assert_eq!(state.as_ref(), Some(&row), "the event at {position} again");
    }
}

#[test]
fn an_account_is_no_matter_of_payments() {
    let event = to_alice(2, deposited(usd(1)));
    assert_eq!(Payments::key(&event.fact), None);
    let before = Some(row(&[initiated()]));
    let mut state = before.clone();
    Payments::apply(&mut state, &event).unwrap();
    assert_eq!(state, before);
}
