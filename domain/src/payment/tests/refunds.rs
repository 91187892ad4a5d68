//! Refunds: partial, too large, failed, repeated.

use super::*;

fn too_large(refundable: Money, requested: Money) -> PaymentError {
    PaymentError::RefundTooLarge { refundable, requested }
}

fn not_under_way(id: &str) -> PaymentError {
    PaymentError::RefundNotFound { refund_id: refund(id) }
}

fn refundable(history: Vec<PaymentEvent>) -> Option<Money> {
    payment(history).refundable()
}

#[test]
fn all_that_was_captured_can_be_refunded() {
    given(paid()).when(start_refund(REFUND, usd("25.00"))).then([refund_started(REFUND, usd("25.00"))]);
}

#[test]
fn several_refunds_share_what_was_captured() {
    let first = then(paid(), [refund_started(REFUND, usd("10.00")), refund_completed(REFUND, usd("10.00"))]);
    given(first.clone())
        .when(start_refund(OTHER_REFUND, usd("15.00")))
        .then([refund_started(OTHER_REFUND, usd("15.00"))]);
    given(first)
        .when(start_refund(OTHER_REFUND, usd("15.01")))
        .then_refused(too_large(usd("15.00"), usd("15.01")));
}

#[test]
fn a_refund_on_its_way_counts_as_given_back() {
    let history = then(paid(), [refund_started(REFUND, usd("24.00"))]);
    assert_eq!(refundable(history.clone()), Some(usd("1.00")));
    given(history)
        .when(start_refund(OTHER_REFUND, usd("1.01")))
        .then_refused(too_large(usd("1.00"), usd("1.01")));
}

#[test]
fn nothing_is_left_once_all_is_refunded() {
    let history = then(paid(), [refund_started(REFUND, usd("25.00"))]);
    let nothing = Money::new(0, Currency::USD);
    given(history)
        .when(start_refund(OTHER_REFUND, usd("0.01")))
        .then_refused(too_large(nothing, usd("0.01")));
}

#[test]
fn no_more_than_the_captured_part_can_be_refunded() {
    let history = then(reserved(manual()), [authorized(), completed(usd("10.00"))]);
    given(history)
        .when(start_refund(REFUND, usd("10.01")))
        .then_refused(too_large(usd("10.00"), usd("10.01")));
}

#[test]
fn only_an_amount_of_the_payment_can_be_refunded() {
    let wrong =
        [Money::new(0, Currency::USD), usd("1.00").negated(), Money::parse("1.00", Currency::EUR).unwrap()];
    for requested in wrong {
        given(paid())
            .when(start_refund(REFUND, requested))
            .then_refused(PaymentError::WrongAmount { requested });
    }
}

#[test]
fn starting_the_same_refund_twice_changes_nothing() {
    let started = then(paid(), [refund_started(REFUND, usd("10.00"))]);
    given(started.clone()).when(start_refund(REFUND, usd("10.00"))).then_nothing();
    let ended = then(started, [refund_completed(REFUND, usd("10.00"))]);
    given(ended).when(start_refund(REFUND, usd("10.00"))).then_nothing();
}

#[test]
fn the_id_of_a_refund_cannot_be_used_for_another_amount() {
    given(then(paid(), [refund_started(REFUND, usd("10.00"))]))
        .when(start_refund(REFUND, usd("10.01")))
        .then_refused(PaymentError::RefundExists { refund_id: refund(REFUND) });
}

#[test]
fn a_refund_completes_once() {
    let started = then(paid(), [refund_started(REFUND, usd("10.00"))]);
    given(started.clone()).when(complete_refund(REFUND)).then([refund_completed(REFUND, usd("10.00"))]);
    let done = then(started, [refund_completed(REFUND, usd("10.00"))]);
    given(done.clone()).when(complete_refund(REFUND)).then_nothing();
    given(done.clone()).when(fail_refund(REFUND)).then_refused(not_under_way(REFUND));
    let refunds = payment(done).refunds;
    assert_eq!(refunds[&refund(REFUND)].status, RefundStatus::Completed);
}

#[test]
fn a_failed_refund_gives_its_amount_back() {
    let started = then(paid(), [refund_started(REFUND, usd("25.00"))]);
    given(started.clone()).when(fail_refund(REFUND)).then([refund_failed(REFUND, usd("25.00"))]);
    let gone = then(started, [refund_failed(REFUND, usd("25.00"))]);
    assert_eq!(refundable(gone.clone()), Some(usd("25.00")));
    given(gone)
        .when(start_refund(OTHER_REFUND, usd("25.00")))
        .then([refund_started(OTHER_REFUND, usd("25.00"))]);
}

#[test]
fn a_refund_fails_once() {
    let gone = then(paid(), [refund_started(REFUND, usd("10.00")), refund_failed(REFUND, usd("10.00"))]);
    given(gone.clone()).when(fail_refund(REFUND)).then_nothing();
    given(gone).when(complete_refund(REFUND)).then_refused(not_under_way(REFUND));
}

#[test]
fn a_refund_that_was_never_started_cannot_end() {
    given(paid()).when(complete_refund(REFUND)).then_refused(not_under_way(REFUND));
    given(paid()).when(fail_refund(REFUND)).then_refused(not_under_way(REFUND));
}

#[test]
fn a_payment_stays_completed_while_it_is_refunded() {
    let history =
        then(paid(), [refund_started(REFUND, usd("25.00")), refund_completed(REFUND, usd("25.00"))]);
    assert_eq!(payment(history).status, PaymentStatus::Completed);
}

#[test]
fn a_transfer_is_not_refunded_through_the_channel() {
    let done = PaymentEvent::PaymentCompleted { transaction_id: None, captured: usd("25.00") };
    given(then(assessed(transfer()), [done]))
        .when(start_refund("R1", usd("1.00")))
        .then_refused(PaymentError::TransferNotRefundable);
}

#[test]
fn what_was_paid_out_is_not_refunded() {
    given(then(reserved(withdrawal()), [completed(usd("25.00"))]))
        .when(start_refund("R1", usd("1.00")))
        .then_refused(PaymentError::WithdrawalNotRefundable);
}

#[test]
fn the_id_of_a_refund_that_failed_is_not_used_again() {
    let history =
        [completed(usd("25.00")), refund_started("R1", usd("5.00")), refund_failed("R1", usd("5.00"))];
    given(then(reserved(automatic()), history))
        .when(start_refund("R1", usd("5.00")))
        .then_refused(PaymentError::RefundExists { refund_id: refund("R1") });
}

#[test]
fn a_payment_has_a_bounded_number_of_refunds() {
    let mut history = paid();
    for number in 0..MAX_REFUNDS {
        let id = format!("R{number}");
        history.extend([refund_started(&id, usd("0.01")), refund_failed(&id, usd("0.01"))]);
    }
    given(history)
        .when(start_refund("ONE_MORE", usd("0.01")))
        .then_refused(PaymentError::TooManyRefunds { limit: MAX_REFUNDS });
}
