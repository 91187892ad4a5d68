//! The books: the whole log read from PostgreSQL and checked, and compared with the channel's record.

use std::collections::{BTreeMap, HashMap, HashSet};

use adapter_postgres::store::decode;
use domain::account::Owner;
use domain::{Account, AccountEvent, AccountId, Payment, PaymentEvent};
use projections::TrialBalance;
use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};

use super::process::SandboxProcess;
use super::scene::eventually;

/// What the log says at its end.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) events: i64,
    /// Payments by status: the name of their last event.
    pub(crate) payments: HashMap<String, String>,
    /// Amount captured for each completed payment, in minor units.
    pub(crate) completed: HashMap<String, i64>,
    /// The same for each transfer, which has no channel.
    pub(crate) transferred: HashMap<String, i64>,
    /// Amount given back by each completed refund, in minor units.
    pub(crate) refunded: HashMap<String, i64>,
    pub(crate) posted: HashMap<String, i64>,
    pub(crate) held: HashMap<String, i64>,
    trial_balance: TrialBalance,
    users: HashSet<String>,
    sequences: HashMap<String, i64>,
    /// Legs of postings that do not sum to zero yet, by posting.
    open: BTreeMap<String, i64>,
    last_in_unit: Option<(String, i64)>,
}

/// Waits until no payment is under way; one that stays so fails the test.
pub(crate) async fn settled(database_url: &str) {
    let mut connection = PgConnection::connect(database_url).await.unwrap();
    eventually("every payment is settled", async || {
        let open: i64 = sqlx::query_scalar(OPEN).fetch_one(&mut connection).await.unwrap();
        open == 0
    })
    .await;
}

const OPEN: &str = "
select count(*) from events as begun
 where aggregate_type = 'payment'
   and event_type in ('FundsReserved', 'CaptureStarted', 'VoidStarted', 'RefundStarted') and not exists (
       select from events as later
        where later.aggregate_type = 'payment' and later.aggregate_id = begun.aggregate_id
          and later.sequence > begun.sequence
          and case begun.event_type
              when 'FundsReserved' then later.event_type in
                   ('PaymentCompleted', 'PaymentFailed', 'PaymentAuthorized', 'ReviewRequired')
              when 'RefundStarted' then later.event_type in ('RefundCompleted', 'RefundFailed')
                   and later.payload -> later.event_type ->> 'refund_id'
                     = begun.payload -> 'RefundStarted' ->> 'refund_id'
              else later.event_type in
                   ('PaymentCompleted', 'PaymentFailed', 'PaymentVoided', 'ReviewRequired')
              end)";

/// Fails the test unless each of these payments is completed, says the log.
pub(crate) async fn are_completed(database_url: &str, payments: &[String]) {
    let mut connection = PgConnection::connect(database_url).await.unwrap();
    let lost: Vec<String> = sqlx::query_scalar(
        "select id from unnest($1::text[]) as asked(id)
          where not exists (select from events
                             where aggregate_type = 'payment' and aggregate_id = asked.id
                               and event_type = 'PaymentCompleted')",
    )
    .bind(payments)
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(lost, Vec::<String>::new(), "acknowledged, but not completed");
}

impl Books {
    /// Reads the log and fails the test on whatever must never be: a gap in the positions or in a
    /// stream, a posting that does not sum to zero within its append, a user below zero.
    pub(crate) async fn audit(database_url: &str) -> Self {
        let mut connection = PgConnection::connect(database_url).await.unwrap();
        let mut books = Self::default();
        loop {
            let rows = sqlx::query(
                "select position, aggregate_type, aggregate_id, sequence, event_type, event_version,
                        payload::text, correlation_id
                   from events where position > $1 order by position limit 20000",
            )
            .bind(books.events)
            .fetch_all(&mut connection)
            .await
            .unwrap();
            if rows.is_empty() {
                break;
            }
            for row in rows {
                books.event(&row);
            }
        }
        books.close_unit();
        let head: i64 = sqlx::query_scalar("select position from event_log_head")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(head, books.events, "the head is the position of the last event");
        // Wider than any balance: in whatever order the map is walked, the sum on the way fits.
        let sum: i128 = books.posted.values().map(|posted| i128::from(*posted)).sum();
        assert_eq!(sum, 0, "the sum over all accounts");
        // The read side's own fold, which reads the amounts by itself, comes to the same.
        assert!(books.trial_balance.sums().all(|(_, sum)| sum == 0), "the trial balance");
        assert_eq!(books.trial_balance.overdrawn(), Vec::<&AccountId>::new());
        books
    }

    fn event(&mut self, row: &sqlx::postgres::PgRow) {
        let position: i64 = row.get(0);
        assert_eq!(position, self.events + 1, "positions have no gap");
        self.events = position;
        let (kind, id, sequence): (String, String, i64) = (row.get(1), row.get(2), row.get(3));
        let last = self.sequences.entry(format!("{kind}/{id}")).or_default();
        assert_eq!(sequence, *last + 1, "the stream of {kind} {id} has no gap");
        *last = sequence;
        let correlation: String = row.get(7);
        if self
            .last_in_unit
            .as_ref()
            .is_some_and(|(story, last)| *story != correlation || *last + 1 != position)
        {
            self.close_unit();
        }
        self.last_in_unit = Some((correlation, position));
        let (event_type, version, payload): (String, String, String) = (row.get(4), row.get(5), row.get(6));
        if kind == "account" {
            let event = decode::<Account>(&event_type, &version, &payload).unwrap();
            self.trial_balance.apply(position, &AccountId::parse(&id).unwrap(), &event).unwrap();
            self.account(&id, &event);
        } else {
            self.trial_balance.skip(position).unwrap();
            self.payment(&id, &decode::<Payment>(&event_type, &version, &payload).unwrap());
        }
    }

    fn account(&mut self, id: &str, event: &AccountEvent) {
        if let AccountEvent::AccountOpened(opening) = event
            && matches!(opening.owner, Owner::User { .. })
        {
            self.users.insert(id.to_owned());
        }
        let posted = self.posted.entry(id.to_owned()).or_default();
        let held = self.held.entry(id.to_owned()).or_default();
        *posted += event.posted_minor();
        *held += event.held_minor();
        assert!(*held >= 0, "account {id} holds {held}");
        if self.users.contains(id) {
            assert!(*posted - *held >= 0, "user account {id} is below zero: posted {posted}, held {held}");
        }
        let posting = match event {
            AccountEvent::FundsDeposited { posting_id, .. }
            | AccountEvent::FundsWithdrawn { posting_id, .. }
            | AccountEvent::FundsCredited { posting_id, .. }
            | AccountEvent::FundsDebited { posting_id, .. } => posting_id.to_string(),
            AccountEvent::HoldCaptured { payment_id, .. } => payment_id.to_string(),
            _ => return,
        };
        *self.open.entry(posting).or_default() += event.posted_minor();
        self.open.retain(|_, sum| *sum != 0);
    }

    fn payment(&mut self, id: &str, event: &PaymentEvent) {
        self.payments.insert(id.to_owned(), event.name().to_owned());
        if let PaymentEvent::PaymentCompleted { transaction_id, captured } = event {
            let completed =
                if transaction_id.is_some() { &mut self.completed } else { &mut self.transferred };
            let before = completed.insert(id.to_owned(), captured.minor);
            assert_eq!(before, None, "payment {id} completes once");
        }
        if let PaymentEvent::RefundCompleted { refund_id, amount, .. } = event {
            let before = self.refunded.insert(refund_id.to_string(), amount.minor);
            assert_eq!(before, None, "refund {refund_id} of {id} completes once");
        }
    }

    /// At the end of each append every posting sums to zero, and so do all accounts.
    fn close_unit(&mut self) {
        assert!(self.open.is_empty(), "postings out of balance at position {}: {:?}", self.events, self.open);
    }

    /// Fails the test unless the channel's own record agrees: each completed payment was charged
    /// exactly once with its amount, and no failed payment was charged. `settled` says that nothing
    /// is under way any more, so that every charge must belong to a completed payment.
    pub(crate) async fn agree_with_channel(&self, sandbox: &SandboxProcess, settled: bool) {
        let text = reqwest::get(format!("{}/v1/charges", sandbox.url())).await.unwrap().text().await.unwrap();
        let mut charged: HashMap<String, Value> = HashMap::new();
        let mut given_back: HashMap<String, i64> = HashMap::new();
        for line in text.lines() {
            let charge: Value = serde_json::from_str(line).unwrap();
            for change in charge["changes"].as_array().into_iter().flatten() {
                let times = change["done_times"].as_u64().unwrap();
                assert!(times <= 1, "done {times} times: {change}");
                if change["kind"] == "refund" && times == 1 {
                    given_back.insert(change["id"].as_str().unwrap().to_owned(), minor(&change["amount"]));
                }
            }
            let times = charge["charged_times"].as_u64().unwrap();
            assert!(times <= 1, "charged {times} times: {charge}");
            if times == 1 {
                let payment_id = charge["payment_id"].as_str().unwrap().to_owned();
                let before = charged.insert(payment_id, charge);
                assert!(before.is_none(), "one payment was charged under two keys: {before:?}");
            }
        }
        for (payment_id, captured) in &self.completed {
            let charge =
                charged.get(payment_id).unwrap_or_else(|| panic!("{payment_id} completed without a charge"));
            assert_eq!(minor(&charge["captured"]), *captured, "{payment_id}");
        }
        for (refund_id, amount) in &self.refunded {
            assert_eq!(given_back.get(refund_id), Some(amount), "{refund_id} is given back");
        }
        if settled {
            assert_eq!(given_back, self.refunded, "each refund of the channel is booked");
        }
        for payment_id in charged.keys() {
            let last = self.payments.get(payment_id).map(String::as_str);
            let completed = self.completed.contains_key(payment_id);
            assert!(
                completed || (!settled && last != Some("PaymentFailed")),
                "{payment_id} was charged, but is {last:?}"
            );
        }
    }

    /// Fails the test while a payment is under way.
    pub(crate) fn all_settled(&self) {
        let open: Vec<_> = self
            .payments
            .iter()
            .filter(|(_, last)| {
                matches!(
                    last.as_str(),
                    "FundsReserved"
                        | "ChannelOutcomeUnknown"
                        | "RiskAssessed"
                        | "PaymentInitiated"
                        | "CaptureStarted"
                        | "VoidStarted"
                        | "RefundStarted"
                )
            })
            .collect();
        assert!(open.is_empty(), "payments that are not settled: {open:?}");
        assert!(self.held.values().all(|held| *held == 0), "nothing is held when nothing is under way");
    }
}

/// A decimal of two places in minor units.
fn minor(decimal: &Value) -> i64 {
    decimal.as_str().unwrap().replace('.', "").parse().unwrap()
}
