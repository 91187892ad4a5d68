//! Payments that are captured by hand: authorize, capture, void, review.

use super::*;

fn waiting() -> Vec<PaymentEvent> {
    then(reserved(manual()), [authorized()])
}

fn capturing(amount: Money) -> Vec<PaymentEvent> {
    then(waiting(), [capture_started(amount)])
}

fn captured(amount: Money) -> Vec<PaymentEvent> {
    then(capturing(amount), [completed(amount)])
}

fn voiding() -> Vec<PaymentEvent> {
    then(waiting(), [void_started()])
}

#[test]
fn a_paid_payment_waits_for_its_capture() {
    given(reserved(manual())).when(confirm_paid(TXN)).then([authorized()]);
    let state = payment(waiting());
    assert_eq!(state.status, PaymentStatus::Authorized);
    assert_eq!((state.captured, state.refundable()), (None, None), "nothing has been taken yet");
}

#[test]
fn an_unknown_outcome_turns_out_authorized() {
    given(unknown(manual())).when(confirm_paid(TXN)).then([authorized()]);
}

#[test]
fn authorizing_by_the_same_transaction_twice_changes_nothing() {
    given(waiting()).when(confirm_paid(TXN)).then_nothing();
    given(captured(usd("25.00"))).when(confirm_paid(TXN)).then_nothing();
}

#[test]
fn a_payment_cannot_be_authorized_by_a_second_transaction() {
    given(waiting())
        .when(confirm_paid(OTHER_TXN))
        .then_refused(wrong_status("confirm", PaymentStatus::Authorized));
}

#[test]
fn all_of_an_authorization_can_be_captured() {
    given(waiting()).when(capture(usd("25.00"))).then([capture_started(usd("25.00"))]);
    given(capturing(usd("25.00"))).when(confirm_captured()).then([completed(usd("25.00"))]);
}

#[test]
fn a_part_of_an_authorization_can_be_captured_once() {
    given(waiting()).when(capture(usd("10.00"))).then([capture_started(usd("10.00"))]);
    given(capturing(usd("10.00"))).when(confirm_captured()).then([completed(usd("10.00"))]);
    let partly = captured(usd("10.00"));
    assert_eq!(payment(partly.clone()).captured, Some(usd("10.00")));
    given(partly).when(capture(usd("15.00"))).then_refused(wrong_status("capture", PaymentStatus::Completed));
}

#[test]
fn no_more_than_the_authorization_can_be_captured() {
    given(waiting())
        .when(capture(usd("25.01")))
        .then_refused(PaymentError::CaptureTooLarge { authorized: usd("25.00"), requested: usd("25.01") });
}

#[test]
fn only_an_amount_of_the_payment_can_be_captured() {
    let wrong =
        [Money::new(0, Currency::USD), usd("1.00").negated(), Money::parse("1.00", Currency::EUR).unwrap()];
    for requested in wrong {
        given(waiting()).when(capture(requested)).then_refused(PaymentError::WrongAmount { requested });
    }
}

#[test]
fn an_authorization_can_be_given_up() {
    given(waiting()).when(void()).then([void_started()]);
    given(voiding()).when(confirm_voided()).then([voided()]);
}

#[test]
fn an_authorization_expires_by_being_given_up_for_nobody() {
    let started = PaymentEvent::VoidStarted { reason: "expired".to_owned(), requester: None };
    given(waiting()).when(expire()).then([started.clone()]);
    let expired = PaymentEvent::PaymentVoided { reason: "expired".to_owned() };
    given(then(waiting(), [started])).when(confirm_voided()).then([expired]);
}

#[test]
fn what_has_begun_to_end_cannot_be_ended_in_another_way() {
    given(voiding())
        .when(capture(usd("25.00")))
        .then_refused(wrong_status("capture", PaymentStatus::Voiding));
    given(voiding()).when(expire()).then_refused(wrong_status("void", PaymentStatus::Voiding));
    given(capturing(usd("25.00"))).when(void()).then_refused(wrong_status("void", PaymentStatus::Capturing));
    given(capturing(usd("25.00")))
        .when(capture(usd("10.00")))
        .then_refused(wrong_status("capture", PaymentStatus::Capturing));
    given(then(voiding(), [voided()]))
        .when(capture(usd("25.00")))
        .then_refused(wrong_status("capture", PaymentStatus::Voided));
    given(captured(usd("25.00"))).when(void()).then_refused(wrong_status("void", PaymentStatus::Completed));
}

#[test]
fn the_same_request_begins_an_end_once() {
    given(capturing(usd("25.00"))).when(capture(usd("25.00"))).then_nothing();
    given(voiding()).when(void()).then_nothing();
    let another = Requester { caller: "shop".to_owned(), idempotency_key: "KEY_44".to_owned() };
    given(capturing(usd("25.00")))
        .when(PaymentCommand::Capture { amount: usd("25.00"), requester: another })
        .then_refused(wrong_status("capture", PaymentStatus::Capturing));
}

#[test]
fn what_the_channel_has_done_is_confirmed_once() {
    given(captured(usd("25.00"))).when(confirm_captured()).then_nothing();
    given(then(voiding(), [voided()])).when(confirm_voided()).then_nothing();
}

#[test]
fn a_capture_that_the_channel_declines_fails_the_payment() {
    given(capturing(usd("25.00"))).when(confirm_declined("do_not_honor")).then([failed(declined())]);
}

#[test]
fn a_capture_whose_outcome_stays_unknown_is_reviewed() {
    given(capturing(usd("10.00"))).when(require_review()).then([review_required()]);
    let reviewing = || then(capturing(usd("10.00")), [review_required()]);
    given(reviewing())
        .when(resolve_review(paid_review()))
        .then([review_resolved(paid_review()), completed(usd("10.00"))]);
    given(reviewing())
        .when(resolve_review(ReviewOutcome::NotPaid))
        .then([review_resolved(ReviewOutcome::NotPaid), failed(FailureReason::ReviewedNotPaid)]);
}

#[test]
fn an_automatic_payment_has_nothing_to_capture_or_void() {
    given(paid()).when(capture(usd("25.00"))).then_refused(wrong_status("capture", PaymentStatus::Completed));
    given(paid()).when(void()).then_refused(wrong_status("void", PaymentStatus::Completed));
}

#[test]
fn a_payment_reviewed_as_paid_waits_for_its_capture() {
    given(in_review(manual()))
        .when(resolve_review(paid_review()))
        .then([review_resolved(paid_review()), authorized()]);
}

#[test]
fn a_payment_reviewed_as_not_paid_fails() {
    given(in_review(manual()))
        .when(resolve_review(ReviewOutcome::NotPaid))
        .then([review_resolved(ReviewOutcome::NotPaid), failed(FailureReason::ReviewedNotPaid)]);
}

#[test]
fn resolving_a_review_twice_in_the_same_way_changes_nothing() {
    let paid = then(in_review(manual()), [review_resolved(paid_review()), authorized()]);
    given(paid.clone()).when(resolve_review(paid_review())).then_nothing();
    given(then(paid.clone(), [void_started(), voided()])).when(resolve_review(paid_review())).then_nothing();
    given(paid)
        .when(resolve_review(ReviewOutcome::NotPaid))
        .then_refused(wrong_status("resolve the review of", PaymentStatus::Authorized));
    let not_paid = then(
        in_review(manual()),
        [review_resolved(ReviewOutcome::NotPaid), failed(FailureReason::ReviewedNotPaid)],
    );
    given(not_paid).when(resolve_review(ReviewOutcome::NotPaid)).then_nothing();
}
