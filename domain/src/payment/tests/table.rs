//! Every command in every status. The list of what is allowed stands here once more, written from
//! the outside: whatever is not in it must be refused and change nothing.

use std::iter::successors;

use super::*;

/// A payment that arrived at a status. It is a card payment, captured by hand where that matters.
fn arrived_at(status: PaymentStatus) -> Vec<PaymentEvent> {
    match status {
        PaymentStatus::New => vec![],
        PaymentStatus::Initiated => vec![initiated(manual())],
        PaymentStatus::Assessed => assessed(manual()),
        PaymentStatus::Rejected => then(assessed(manual()), [PaymentEvent::PaymentRejected { score: 99 }]),
        PaymentStatus::Reserved => reserved(manual()),
        PaymentStatus::OutcomeUnknown => unknown(manual()),
        PaymentStatus::Authorized => then(reserved(manual()), [authorized()]),
        PaymentStatus::Capturing => then(reserved(manual()), [authorized(), capture_started(usd("25.00"))]),
        PaymentStatus::Voiding => then(reserved(manual()), [authorized(), void_started()]),
        PaymentStatus::Completed => then(
            reserved(manual()),
            [
                authorized(),
                capture_started(usd("25.00")),
                completed(usd("25.00")),
                refund_started(REFUND, usd("5.00")),
            ],
        ),
        PaymentStatus::Failed => then(reserved(manual()), [failed(declined())]),
        PaymentStatus::Voided => then(reserved(manual()), [authorized(), void_started(), voided()]),
        PaymentStatus::NeedsReview => in_review(manual()),
    }
}

/// Walks through every status; a new one does not compile until it has its place.
fn statuses() -> impl Iterator<Item = PaymentStatus> {
    successors(Some(PaymentStatus::New), |status| match status {
        PaymentStatus::New => Some(PaymentStatus::Initiated),
        PaymentStatus::Initiated => Some(PaymentStatus::Assessed),
        PaymentStatus::Assessed => Some(PaymentStatus::Rejected),
        PaymentStatus::Rejected => Some(PaymentStatus::Reserved),
        PaymentStatus::Reserved => Some(PaymentStatus::OutcomeUnknown),
        PaymentStatus::OutcomeUnknown => Some(PaymentStatus::Authorized),
        PaymentStatus::Authorized => Some(PaymentStatus::Capturing),
        PaymentStatus::Capturing => Some(PaymentStatus::Voiding),
        PaymentStatus::Voiding => Some(PaymentStatus::Completed),
        PaymentStatus::Completed => Some(PaymentStatus::Failed),
        PaymentStatus::Failed => Some(PaymentStatus::Voided),
        PaymentStatus::Voided => Some(PaymentStatus::NeedsReview),
        PaymentStatus::NeedsReview => None,
    })
}

/// Walks through every command but `Initiate`; a new one does not compile until it has its place.
fn commands() -> impl Iterator<Item = PaymentCommand> {
    use PaymentCommand as C;
    successors(Some(assess_risk(low_risk())), |command| match command {
        C::Initiate(_) | C::AssessRisk(_) => Some(reserve_funds()),
        C::ReserveFunds => Some(fail(FailureReason::AccountNotFound)),
        C::Fail(_) => Some(confirm_paid(TXN)),
        C::ConfirmPaid { .. } => Some(confirm_declined("do_not_honor")),
        C::ConfirmDeclined { .. } => Some(record_outcome_unknown()),
        C::RecordOutcomeUnknown { .. } => Some(require_review()),
        C::RequireReview { .. } => Some(resolve_review(paid_review())),
        C::ResolveReview { .. } => Some(capture(usd("25.00"))),
        C::Capture { .. } => Some(confirm_captured()),
        C::ConfirmCaptured => Some(void()),
        C::Void { .. } => Some(confirm_voided()),
        C::ConfirmVoided => Some(start_refund(OTHER_REFUND, usd("5.00"))),
        C::StartRefund { .. } => Some(complete_refund(REFUND)),
        C::CompleteRefund { .. } => Some(fail_refund(REFUND)),
        C::FailRefund { .. } => Some(complete_transfer()),
        C::CompleteTransfer => None,
    })
}

/// What may be asked in a status, by the names of the commands above. A step that has already been
/// taken is among it: it is accepted, and nothing follows.
const fn allowed_in(status: PaymentStatus) -> &'static [&'static str] {
    match status {
        PaymentStatus::New => &[],
        PaymentStatus::Rejected => &["assess the risk of"],
        PaymentStatus::Initiated => &["assess the risk of", "fail"],
        PaymentStatus::Assessed => &["assess the risk of", "reserve funds for", "fail"],
        PaymentStatus::Reserved => {
            &["reserve funds for", "confirm", "decline", "record an unknown outcome of", "require review of"]
        }
        PaymentStatus::OutcomeUnknown => {
            &["confirm", "decline", "record an unknown outcome of", "require review of"]
        }
        PaymentStatus::NeedsReview => &["require review of", "resolve the review of"],
        PaymentStatus::Authorized => &["confirm", "resolve the review of", "capture", "void"],
        PaymentStatus::Capturing => &[
            "confirm",
            "decline",
            "require review of",
            "resolve the review of",
            "capture",
            "confirm the capture of",
        ],
        PaymentStatus::Voiding => {
            &["confirm", "require review of", "resolve the review of", "void", "confirm the void of"]
        }
        PaymentStatus::Completed => &[
            "confirm",
            "resolve the review of",
            "confirm the capture of",
            "refund",
            "complete a refund of",
            "fail a refund of",
        ],
        PaymentStatus::Failed => &["decline"],
        PaymentStatus::Voided => &["confirm", "resolve the review of", "confirm the void of"],
    }
}

#[test]
fn each_history_arrives_where_its_name_says() {
    for status in statuses() {
        assert_eq!(payment(arrived_at(status)).status, status);
    }
}

#[test]
fn whatever_is_not_allowed_is_refused_and_changes_nothing() {
    for status in statuses() {
        for command in commands() {
            let name = command.name();
            if !allowed_in(status).contains(&name) {
                given(arrived_at(status)).when(command).then_refused(wrong_status(name, status));
            }
        }
    }
}

#[test]
fn whatever_is_allowed_is_accepted() {
    for status in statuses() {
        for command in commands() {
            let name = command.name();
            if allowed_in(status).contains(&name) {
                let decided = payment(arrived_at(status)).decide(command);
                assert!(decided.is_ok(), "{name} in {}: {decided:?}", status.name());
            }
        }
    }
}

#[test]
fn the_allowed_list_names_commands_that_exist() {
    let names: Vec<&str> = commands().map(|command| command.name()).collect();
    for allowed in statuses().flat_map(allowed_in) {
        assert!(names.contains(allowed), "no command is called {allowed:?}");
    }
}

#[test]
fn only_a_transfer_completes_as_one() {
    let command = "complete the transfer of";
    for status in statuses() {
        given(arrived_at(status)).when(complete_transfer()).then_refused(wrong_status(command, status));
    }
}

#[test]
fn initiating_a_payment_again_changes_nothing_wherever_it_is() {
    for status in statuses().filter(|status| *status != PaymentStatus::New) {
        given(arrived_at(status)).when(initiate(manual())).then_nothing();
    }
}

#[test]
fn the_id_of_a_payment_cannot_be_used_for_another_wherever_it_is() {
    for status in statuses().filter(|status| *status != PaymentStatus::New) {
        given(arrived_at(status)).when(initiate(automatic())).then_refused(taken());
    }
}

#[test]
fn the_saga_rests_where_it_waits_for_somebody_or_nothing_is_left_to_do() {
    use PaymentStatus as S;
    let settled: Vec<S> = statuses().filter(|status| status.is_settled()).collect();
    assert_eq!(settled, [S::Rejected, S::Authorized, S::Completed, S::Failed, S::Voided, S::NeedsReview]);
}
