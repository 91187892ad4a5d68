//! From initiated to completed, failed or rejected, with the outcome known or not; and transfers.

use super::*;

#[test]
fn a_payment_begins_with_what_the_client_asked_for() {
    given([]).when(initiate(automatic())).then([initiated(automatic())]);
}

#[test]
fn any_other_detail_makes_it_another_payment() {
    let others = [
        PaymentDetails { amount: usd("25.01"), ..automatic() },
        PaymentDetails { user_id: UserId::parse("USER_8").unwrap(), ..automatic() },
        PaymentDetails {
            requester: Requester { idempotency_key: "KEY_43".to_owned(), ..automatic().requester },
            ..automatic()
        },
        PaymentDetails { metadata: BTreeMap::from([("order".to_owned(), "17".to_owned())]), ..automatic() },
        transfer(),
    ];
    for other in others {
        given([initiated(automatic())]).when(initiate(other)).then_refused(taken());
    }
}

#[test]
fn a_payment_goes_on_when_its_risk_is_acceptable() {
    for level in [RiskLevel::Low, RiskLevel::Medium] {
        let assessment = RiskAssessment::Assessed { level, score: 40 };
        given([initiated(automatic())])
            .when(assess_risk(assessment.clone()))
            .then([risk_assessed(assessment)]);
    }
}

#[test]
fn a_payment_goes_on_without_the_risk_service_and_says_so() {
    given([initiated(automatic())]).when(assess_risk(degraded())).then([risk_assessed(degraded())]);
    let state = payment([initiated(automatic()), risk_assessed(degraded())]);
    assert_eq!((state.status, state.risk), (PaymentStatus::Assessed, Some(degraded())));
}

#[test]
fn a_high_risk_rejects_the_payment() {
    let high = RiskAssessment::Assessed { level: RiskLevel::High, score: 99 };
    given([initiated(automatic())])
        .when(assess_risk(high.clone()))
        .then([risk_assessed(high), PaymentEvent::PaymentRejected { score: 99 }]);
}

#[test]
fn the_whole_amount_is_reserved() {
    given(assessed(automatic())).when(reserve_funds()).then([funds_reserved()]);
}

#[test]
fn reserving_twice_changes_nothing() {
    given(reserved(automatic())).when(reserve_funds()).then_nothing();
}

#[test]
fn a_payment_fails_when_the_funds_cannot_be_held() {
    for begun in [vec![initiated(automatic())], assessed(automatic())] {
        given(begun).when(fail(short_of_funds())).then([failed(short_of_funds())]);
    }
    let state = payment(then(assessed(automatic()), [failed(short_of_funds())]));
    assert_eq!((state.status, state.failure), (PaymentStatus::Failed, Some(short_of_funds())));
}

#[test]
fn a_payment_cannot_simply_fail_once_the_channel_may_have_been_asked() {
    for (asked, status) in [
        (reserved(automatic()), PaymentStatus::Reserved),
        (unknown(automatic()), PaymentStatus::OutcomeUnknown),
    ] {
        given(asked).when(fail(short_of_funds())).then_refused(wrong_status("fail", status));
    }
}

#[test]
fn a_payment_completes_when_the_channel_has_paid() {
    given(reserved(automatic())).when(confirm_paid(TXN)).then([completed(usd("25.00"))]);
    let state = payment(paid());
    assert_eq!(state.status, PaymentStatus::Completed);
    assert_eq!(state.transaction_id, Some(transaction(TXN)));
    assert_eq!(state.captured, Some(usd("25.00")));
}

#[test]
fn confirming_the_same_transaction_twice_changes_nothing() {
    given(paid()).when(confirm_paid(TXN)).then_nothing();
}

#[test]
fn a_payment_cannot_be_paid_by_a_second_transaction() {
    given(paid())
        .when(confirm_paid(OTHER_TXN))
        .then_refused(wrong_status("confirm", PaymentStatus::Completed));
}

#[test]
fn a_declined_payment_fails_with_the_channels_reason() {
    given(reserved(automatic())).when(confirm_declined("do_not_honor")).then([failed(declined())]);
}

#[test]
fn declining_twice_for_the_same_reason_changes_nothing() {
    let history = then(reserved(automatic()), [failed(declined())]);
    given(history).when(confirm_declined("do_not_honor")).then_nothing();
}

#[test]
fn what_has_failed_cannot_be_declined_for_another_reason() {
    let refusal = wrong_status("decline", PaymentStatus::Failed);
    let by_channel = then(reserved(automatic()), [failed(declined())]);
    given(by_channel).when(confirm_declined("expired_card")).then_refused(refusal.clone());
    let by_account = then(assessed(automatic()), [failed(short_of_funds())]);
    given(by_account).when(confirm_declined("do_not_honor")).then_refused(refusal);
}

#[test]
fn a_declined_payment_cannot_be_paid_any_more() {
    given(then(reserved(automatic()), [failed(declined())]))
        .when(confirm_paid(TXN))
        .then_refused(wrong_status("confirm", PaymentStatus::Failed));
}

#[test]
fn an_unknown_outcome_is_recorded_once() {
    given(reserved(automatic())).when(record_outcome_unknown()).then([outcome_unknown()]);
    given(unknown(automatic())).when(record_outcome_unknown()).then_nothing();
}

#[test]
fn an_unknown_outcome_turns_out_paid() {
    given(unknown(automatic())).when(confirm_paid(TXN)).then([completed(usd("25.00"))]);
}

#[test]
fn an_unknown_outcome_turns_out_declined() {
    given(unknown(automatic())).when(confirm_declined("do_not_honor")).then([failed(declined())]);
}

#[test]
fn a_payment_whose_outcome_stays_unknown_is_reviewed() {
    given(reserved(automatic())).when(require_review()).then([review_required()]);
    given(unknown(automatic())).when(require_review()).then([review_required()]);
    given(in_review(automatic())).when(require_review()).then_nothing();
}

#[test]
fn a_payment_reviewed_as_paid_completes() {
    given(in_review(automatic()))
        .when(resolve_review(paid_review()))
        .then([review_resolved(paid_review()), completed(usd("25.00"))]);
}

#[test]
fn a_payment_reviewed_as_not_paid_fails() {
    given(in_review(automatic()))
        .when(resolve_review(ReviewOutcome::NotPaid))
        .then([review_resolved(ReviewOutcome::NotPaid), failed(FailureReason::ReviewedNotPaid)]);
}

#[test]
fn the_channels_late_answer_to_a_reviewed_payment_changes_nothing() {
    let history = then(in_review(automatic()), [review_resolved(paid_review()), completed(usd("25.00"))]);
    given(history).when(confirm_paid(TXN)).then_nothing();
}

#[test]
fn a_transfer_completes_at_once_and_without_a_channel() {
    let done = PaymentEvent::PaymentCompleted { transaction_id: None, captured: usd("25.00") };
    given([initiated(transfer())]).when(complete_transfer()).then([done.clone()]);
    given(assessed(transfer())).when(complete_transfer()).then([done]);
}

#[test]
fn a_transfer_completes_once() {
    let done = PaymentEvent::PaymentCompleted { transaction_id: None, captured: usd("25.00") };
    given(then(assessed(transfer()), [done]))
        .when(complete_transfer())
        .then_refused(wrong_status("complete the transfer of", PaymentStatus::Completed));
}

#[test]
fn a_transfer_fails_when_its_payer_is_short_of_funds() {
    given([initiated(transfer())]).when(fail(short_of_funds())).then([failed(short_of_funds())]);
}

#[test]
fn a_transfer_never_meets_the_channel() {
    given(assessed(transfer()))
        .when(PaymentCommand::ReserveFunds)
        .then_refused(wrong_status("reserve funds for", PaymentStatus::Assessed));
}

#[test]
fn assessing_the_same_risk_twice_changes_nothing() {
    given(assessed(automatic())).when(assess_risk(low_risk())).then_nothing();
    given(assessed(automatic()))
        .when(assess_risk(degraded()))
        .then_refused(wrong_status("assess the risk of", PaymentStatus::Assessed));
}
