use super::*;
use domain::{Money, PaymentId, UserId};

const PAYMENT: &str = "PAY_42";

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

fn posting(id: &str) -> PostingId {
    PostingId::parse(id).unwrap()
}

fn payment() -> PaymentId {
    PaymentId::parse(PAYMENT).unwrap()
}

fn owner() -> Owner {
    Owner::User { user_id: UserId::parse("USER_7").unwrap() }
}

fn users() -> AccountId {
    AccountId::of_user(&UserId::parse("USER_7").unwrap(), Currency::USD)
}

fn system(purpose: &str) -> AccountId {
    AccountId::of_system(purpose, Currency::USD, 0).unwrap()
}

fn users_opened() -> AccountEvent {
    AccountEvent::AccountOpened(Opening { account_id: users(), owner: owner(), currency: Currency::USD })
}

fn system_opened(purpose: &str) -> AccountEvent {
    AccountEvent::AccountOpened(Opening {
        account_id: system(purpose),
        owner: Owner::System { purpose: purpose.to_owned() },
        currency: Currency::USD,
    })
}

fn deposited(id: &str, amount: Money) -> AccountEvent {
    AccountEvent::FundsDeposited { posting_id: posting(id), amount, reference: "salary".to_owned() }
}

fn withdrawn(id: &str, amount: Money) -> AccountEvent {
    AccountEvent::FundsWithdrawn {
        posting_id: posting(id),
        amount,
        reference: "rent".to_owned(),
        payment_id: None,
    }
}

fn credited(id: &str, amount: Money) -> AccountEvent {
    AccountEvent::FundsCredited { posting_id: posting(id), amount, payment_id: None }
}

fn debited(id: &str, amount: Money) -> AccountEvent {
    AccountEvent::FundsDebited { posting_id: posting(id), amount, payment_id: None }
}

fn held(amount: Money) -> AccountEvent {
    AccountEvent::FundsHeld { payment_id: payment(), amount }
}

fn captured(amount: Money, released: Money) -> AccountEvent {
    AccountEvent::HoldCaptured { payment_id: payment(), amount, released }
}

fn released(amount: Money) -> AccountEvent {
    AccountEvent::HoldReleased { payment_id: payment(), amount }
}

/// Three accounts, and 100.00 deposited: positions 1 to 5.
fn funded() -> TrialBalance {
    folded([
        (users(), users_opened()),
        (system("funding"), system_opened("funding")),
        (system("settlement"), system_opened("settlement")),
        (users(), deposited("DEP_1", usd(10_000))),
        (system("funding"), debited("DEP_1", usd(10_000))),
    ])
}

fn folded(events: impl IntoIterator<Item = (AccountId, AccountEvent)>) -> TrialBalance {
    then(TrialBalance::default(), events)
}

/// What follows, each event at the next position.
fn then(
    mut balance: TrialBalance,
    events: impl IntoIterator<Item = (AccountId, AccountEvent)>,
) -> TrialBalance {
    for (account_id, event) in events {
        balance.apply(balance.as_of() + 1, &account_id, &event).unwrap();
    }
    balance
}

#[track_caller]
fn has(balance: &TrialBalance, account_id: &AccountId, posted: i128, held: i128) {
    let totals = balance.account(account_id).unwrap();
    assert_eq!((totals.posted, totals.held), (posted, held), "{account_id}");
    assert_eq!(totals.available(), posted - held);
}

#[track_caller]
fn balances(balance: &TrialBalance) {
    assert_eq!(balance.unbalanced().collect::<Vec<_>>(), []);
    assert_eq!(balance.open_postings(), 0);
    assert!(balance.sums().all(|(_, sum)| sum == 0));
    assert!(balance.overdrawn().is_empty());
}

#[test]
fn nothing_balances() {
    let nothing = TrialBalance::default();
    balances(&nothing);
    assert_eq!((nothing.as_of(), nothing.sum(Currency::USD)), (0, 0));
    assert_eq!(nothing.account(&users()), None);
}

#[test]
fn the_legs_of_a_posting_sum_to_zero() {
    let balance = funded();
    balances(&balance);
    has(&balance, &users(), 10_000, 0);
    has(&balance, &system("funding"), -10_000, 0);
    assert_eq!(balance.accounts().count(), 3);
}

#[test]
fn between_two_legs_a_posting_is_open() {
    let balance = then(funded(), [(users(), deposited("DEP_2", usd(500)))]);
    assert_eq!(balance.open_postings(), 1);
    assert_eq!(balance.sum(Currency::USD), 500);
    let open = OpenPosting { posting_id: posting("DEP_2"), currency: Currency::USD, sum: 500, since: 6 };
    assert_eq!(balance.unbalanced().collect::<Vec<_>>(), [open]);
    balances(&then(balance, [(system("funding"), debited("DEP_2", usd(500)))]));
}

#[test]
fn a_posting_that_lost_a_leg_is_named_whatever_follows() {
    let balance = then(
        funded(),
        [
            (users(), withdrawn("WD_1", usd(300))),
            (users(), withdrawn("WD_2", usd(200))),
            (system("funding"), credited("WD_2", usd(200))),
        ],
    );
    let open = OpenPosting { posting_id: posting("WD_1"), currency: Currency::USD, sum: -300, since: 6 };
    assert_eq!(balance.unbalanced().collect::<Vec<_>>(), [open]);
    assert_eq!(balance.sums().collect::<Vec<_>>(), [(Currency::USD, -300)]);
}

#[test]
fn two_wrong_postings_do_not_hide_each_other() {
    let balance = then(
        funded(),
        [(users(), deposited("DEP_2", usd(500))), (system("funding"), debited("DEP_3", usd(500)))],
    );
    assert_eq!(balance.sum(Currency::USD), 0);
    assert_eq!(balance.open_postings(), 2);
}

#[test]
fn a_posting_may_have_more_than_two_legs() {
    let balance = then(
        funded(),
        [
            (users(), debited("FEE_1", usd(500))),
            (system("settlement"), credited("FEE_1", usd(450))),
            (system("funding"), credited("FEE_1", usd(50))),
        ],
    );
    balances(&balance);
}

#[test]
fn a_captured_hold_is_a_leg_of_its_payments_posting() {
    let balance = then(funded(), [(users(), held(usd(2_500)))]);
    balances(&balance);
    has(&balance, &users(), 10_000, 2_500);
    let balance = then(
        balance,
        [(users(), captured(usd(2_000), usd(500))), (system("settlement"), credited(PAYMENT, usd(2_000)))],
    );
    balances(&balance);
    has(&balance, &users(), 8_000, 0);
    has(&balance, &system("settlement"), 2_000, 0);
}

#[test]
fn a_released_hold_moves_no_money() {
    let balance = then(funded(), [(users(), held(usd(2_500))), (users(), released(usd(2_500)))]);
    balances(&balance);
    has(&balance, &users(), 10_000, 0);
}

#[test]
fn freezing_and_closing_change_no_balance() {
    let frozen = AccountEvent::AccountFrozen { reason: "reported stolen".to_owned() };
    let balance = then(
        funded(),
        [(users(), frozen), (users(), AccountEvent::AccountUnfrozen), (users(), AccountEvent::AccountClosed)],
    );
    balances(&balance);
    has(&balance, &users(), 10_000, 0);
    assert_eq!(balance.as_of(), 8);
}

#[test]
fn a_user_below_zero_is_named_until_the_account_recovers() {
    let balance = then(funded(), [(users(), held(usd(10_000)))]);
    assert!(balance.overdrawn().is_empty(), "nothing available is not below zero");
    let balance = then(balance, [(users(), withdrawn("WD_1", usd(1)))]);
    assert_eq!(balance.overdrawn(), [&users()]);
    let balance = then(balance, [(users(), credited("CR_1", usd(1)))]);
    assert!(balance.overdrawn().is_empty());
}

#[test]
fn more_given_back_than_was_held_is_named_too() {
    let balance = then(funded(), [(users(), released(usd(1)))]);
    assert_eq!(balance.overdrawn(), [&users()]);
}

#[test]
fn a_system_account_may_be_below_zero() {
    has(&funded(), &system("funding"), -10_000, 0);
    assert!(funded().overdrawn().is_empty());
}

#[test]
fn a_position_seen_before_counts_once() {
    let mut balance = funded();
    let before = balance.clone();
    balance.apply(4, &users(), &deposited("DEP_1", usd(10_000))).unwrap();
    balance.apply(5, &system("funding"), &debited("DEP_1", usd(10_000))).unwrap();
    balance.skip(5).unwrap();
    assert_eq!(balance, before);
}

#[test]
fn a_missing_position_is_an_error_and_changes_nothing() {
    let mut balance = funded();
    let before = balance.clone();
    let gap = TrialBalanceError::Gap { expected: 6, found: 7 };
    assert_eq!(balance.apply(7, &users(), &held(usd(1))), Err(gap.clone()));
    assert_eq!(balance.skip(7), Err(gap));
    assert_eq!(balance, before);
}

#[test]
fn positions_of_other_aggregates_are_passed() {
    let mut balance = funded();
    balance.skip(6).unwrap();
    balance.apply(7, &users(), &held(usd(1))).unwrap();
    assert_eq!(balance.as_of(), 7);
}

#[test]
fn an_account_that_nobody_opened_is_an_error() {
    let mut balance = TrialBalance::default();
    let error = Err(TrialBalanceError::NotOpened { position: 1, account_id: users() });
    assert_eq!(balance.apply(1, &users(), &deposited("DEP_1", usd(1))), error);
    assert_eq!(balance.apply(1, &users(), &AccountEvent::AccountUnfrozen), error);
    assert_eq!(balance, TrialBalance::default());
}

#[test]
fn an_account_opened_twice_is_an_error() {
    let mut balance = funded();
    let error = TrialBalanceError::OpenedTwice { position: 6, account_id: users() };
    assert_eq!(balance.apply(6, &users(), &users_opened()), Err(error));
    assert_eq!(balance, funded());
}

#[test]
fn an_amount_in_another_currency_is_an_error() {
    let mut balance = funded();
    let error = TrialBalanceError::WrongCurrency {
        position: 6,
        account_id: users(),
        account: Currency::USD,
        moved: Currency::EUR,
    };
    let event = deposited("DEP_2", Money::new(1, Currency::EUR));
    assert_eq!(balance.apply(6, &users(), &event), Err(error.clone()));
    assert_eq!(error.to_string(), format!("position 6 moves EUR on account {}, which is in USD", users()),);
    assert_eq!(balance, funded());
}

#[test]
fn currencies_balance_each_on_its_own() {
    let user_id = UserId::parse("USER_7").unwrap();
    let yen = AccountId::of_user(&user_id, Currency::JPY);
    let opening = Opening { account_id: yen.clone(), owner: owner(), currency: Currency::JPY };
    let balance = then(
        funded(),
        [
            (yen.clone(), AccountEvent::AccountOpened(opening)),
            (yen, credited("FX_1", Money::new(100, Currency::JPY))),
            (users(), debited("FX_1", usd(100))),
        ],
    );
    assert_eq!(balance.sum(Currency::JPY), 100);
    assert_eq!(balance.sum(Currency::USD), -100);
    assert_eq!(balance.open_postings(), 2, "one posting, open in both currencies");
}

#[test]
fn sums_do_not_overflow_where_an_account_would() {
    let most = usd(i64::MAX);
    let balance = then(
        funded(),
        [(system("settlement"), credited("CR_1", most)), (system("settlement"), credited("CR_2", most))],
    );
    assert_eq!(balance.sum(Currency::USD), 2 * i128::from(i64::MAX));
}
