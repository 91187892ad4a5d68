//! The client of the payment channel.
//!
//! | call | comes back | means |
//! | --- | --- | --- |
//! | `POST /v1/charges` | 201 `succeeded` with a `transaction_id` | Paid |
//! | | 402 `declined` | Declined |
//! | `GET /v1/charges/{payment_id}` | 200 `succeeded` with a `transaction_id` | Paid |
//! | | 200 `declined` | Declined |
//! | | 404 `not_found` | NotFound |
//! | either | anything else, or nothing | Unknown |
//!
//! **Invariant:** both the status and the body must say so before money is taken for moved or not
//! moved. A proxy's 404 page is not the channel's "not found", and a body without a status is no
//! decline. The payment's id is the `Idempotency-Key`, so the same payment is charged at most once
//! however often it is asked for.
//!
//! While the breaker is open, nothing is sent and both calls answer Unknown at once. For `pay` that
//! leaves a hold and an inquiry for a request that was never sent: correct, since the inquiry says
//! not found and the payment is tried again, but slow. The port has no better answer at that point,
//! which is why the gateway is to turn payments away before they begin, by
//! [`Breaker::would_admit`] (not by its state: were payments refused while it is half open, none
//! would be left to be the probe). A connection that was refused is Unknown for the same reason.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use commands::context::CommandContext;
use commands::meters;
use commands::ports::{ChannelAnswer, Charge, PaymentChannel};
use domain::{Money, PaymentId, TransactionId};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use crate::breaker::{Breaker, BreakerSettings};
use crate::remote::{self, NoReply, Remote, Reply, SetupError};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest reason of a decline that is kept, in bytes.
const REASON_LIMIT: usize = 64;

/// Where the channel is and how long it is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSettings {
    /// `http://HOST:PORT` or `https://HOST:PORT`, with a path prefix if need be.
    pub base_url: String,
    /// The longest wait for the answer to a charge or an inquiry, connecting included.
    pub timeout: Duration,
    /// When the channel is given a rest.
    pub breaker: BreakerSettings,
}

impl ChannelSettings {
    /// The defaults: 3 s, and those of the breaker.
    #[must_use]
    pub fn at(base_url: impl Into<String>) -> Self {
        let (timeout, breaker) = (Duration::from_secs(3), BreakerSettings::default());
        Self { base_url: base_url.into(), timeout, breaker }
    }
}

/// The payment channel, asked over HTTP.
#[derive(Debug)]
pub struct HttpChannel {
    remote: Remote,
    charges: Uri,
}

impl HttpChannel {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When the base URL is none, or is `https` on a machine without certificate authorities.
    pub fn new(settings: &ChannelSettings) -> Result<Self, SetupError> {
        let service = "channel";
        let remote = Remote::new(service, &settings.base_url, settings.timeout, settings.breaker)?;
        let charges = remote.uri("/v1/charges").map_err(|source| SetupError::NotAUrl { service, source })?;
        Ok(Self { remote, charges })
    }

    /// Its breaker, which charges and inquiries share.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        self.remote.breaker()
    }

    async fn ask_to_pay(&self, charge: &Charge, context: &CommandContext) -> Result<Reply, NoReply> {
        let payment_id = charge.payment_id.as_str();
        let body = Order {
            payment_id,
            amount: charge.amount,
            currency: charge.amount.currency.code(),
            payment_method: &charge.payment_method,
        };
        let mut request = remote::post(self.charges.clone(), &body, context)?;
        // Never without its key: a charge that cannot be inquired after is not sent.
        let key = HeaderValue::from_str(payment_id).map_err(|_| NoReply::Unwritable)?;
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        self.remote.ask(request).await
    }

    async fn ask_after(&self, payment_id: &PaymentId, context: &CommandContext) -> Result<Reply, NoReply> {
        // The alphabet of an id needs no escaping in a path.
        let path = ["/v1/charges/", payment_id.as_str()].concat();
        let uri = self.remote.uri(&path).map_err(|_| NoReply::Unwritable)?;
        self.remote.ask(remote::get(uri, context)).await
    }
}

#[async_trait]
impl PaymentChannel for HttpChannel {
    async fn pay(&self, charge: &Charge, context: &CommandContext) -> ChannelAnswer {
        let began = Instant::now();
        let answer = match self.ask_to_pay(charge, context).await {
            Ok(reply) => answer_to_charge(&reply),
            Err(no_reply) => ChannelAnswer::Unknown { reason: no_reply.to_string() },
        };
        measure("pay", &answer, began);
        answer
    }

    async fn inquire(&self, payment_id: &PaymentId, context: &CommandContext) -> ChannelAnswer {
        let began = Instant::now();
        let answer = match self.ask_after(payment_id, context).await {
            Ok(reply) => answer_to_inquiry(&reply),
            Err(no_reply) => ChannelAnswer::Unknown { reason: no_reply.to_string() },
        };
        measure("inquire", &answer, began);
        answer
    }
}

fn measure(operation: &'static str, answer: &ChannelAnswer, began: Instant) {
    let outcome = match answer {
        ChannelAnswer::Paid { .. } => "paid",
        ChannelAnswer::Declined { .. } => "declined",
        ChannelAnswer::NotFound => "not_found",
        ChannelAnswer::Unknown { .. } => {
            meters::failed("channel");
            "unknown"
        }
    };
    meters::channel_answered(operation, outcome, began.elapsed());
}

fn answer_to_charge(reply: &Reply) -> ChannelAnswer {
    match (reply.status, Outcome::of(reply)) {
        (StatusCode::CREATED, Some(Outcome::Paid(transaction_id))) => ChannelAnswer::Paid { transaction_id },
        (StatusCode::PAYMENT_REQUIRED, Some(Outcome::Declined(reason))) => ChannelAnswer::Declined { reason },
        (_, outcome) => unknown(reply, outcome.as_ref()),
    }
}

fn answer_to_inquiry(reply: &Reply) -> ChannelAnswer {
    match (reply.status, Outcome::of(reply)) {
        (StatusCode::OK, Some(Outcome::Paid(transaction_id))) => ChannelAnswer::Paid { transaction_id },
        (StatusCode::OK, Some(Outcome::Declined(reason))) => ChannelAnswer::Declined { reason },
        (StatusCode::NOT_FOUND, Some(Outcome::NotFound)) => ChannelAnswer::NotFound,
        (_, outcome) => unknown(reply, outcome.as_ref()),
    }
}

fn unknown(reply: &Reply, outcome: Option<&Outcome>) -> ChannelAnswer {
    let status = reply.status.as_u16();
    let reason = match outcome {
        Some(Outcome::Processing) => "processing".to_owned(),
        // The status would have told, had the body agreed with it.
        None if reply.status.is_success() => format!("status {status} without an outcome"),
        _ => format!("status {status}"),
    };
    ChannelAnswer::Unknown { reason }
}

/// What the body of an answer says.
#[derive(Debug)]
enum Outcome {
    Paid(TransactionId),
    Declined(String),
    Processing,
    NotFound,
}

impl Outcome {
    fn of(reply: &Reply) -> Option<Self> {
        let body: Body<'_> = serde_json::from_slice(&reply.body).ok()?;
        match &*body.status {
            "succeeded" => {
                let transaction_id = TransactionId::parse(&body.transaction_id?.0).ok()?;
                Some(Self::Paid(transaction_id))
            }
            "declined" => Some(Self::Declined(decline_reason(body.reason.as_ref()))),
            "processing" => Some(Self::Processing),
            "not_found" => Some(Self::NotFound),
            _ => None,
        }
    }
}

/// The channel's reason where it is a short plain text: it is stored in an event and shown to the
/// client.
fn decline_reason(given: Option<&Text<'_>>) -> String {
    let plain = |text: &str| {
        (1..=REASON_LIMIT).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    };
    match given {
        Some(Text(reason)) if plain(reason) => reason.clone().into_owned(),
        _ => "declined".to_owned(),
    }
}

#[derive(Serialize)]
struct Order<'a> {
    payment_id: &'a str,
    #[serde(serialize_with = "remote::decimal")]
    amount: Money,
    currency: &'static str,
    payment_method: &'a str,
}

/// The body of every answer; which fields it has depends on the status in it.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    transaction_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

/// A text that is borrowed even where it is optional, which serde does not do by itself.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
