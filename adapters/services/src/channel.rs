//! The client of the payment channel.
//!
//! | call | comes back | means |
//! | --- | --- | --- |
//! | `POST /v1/charges`, `/v1/payouts`; below a charge: `/capture`, `/void`, `/refunds` | 201 `succeeded` with a `transaction_id` | Done |
//! | | 402 `declined` | Declined |
//! | `GET /v1/charges/{payment_id}`, `/v1/payouts/{payment_id}`; below a charge: `/capture`, `/void`, `/refunds/{refund_id}` | 200 `succeeded` with a `transaction_id` | Done |
//! | | 200 `declined` | Declined |
//! | | 404 `not_found` | NotFound |
//! | either | anything else, or nothing | Unknown |
//!
//! **Invariant:** both the status and the body must say so before money is taken for moved or not
//! moved. A proxy's 404 page is not the channel's "not found", and a body without a status is no
//! decline. The `Idempotency-Key` is made of the ids in the order, the payment's for a charge, so that each
//! is carried out at most once however often it is asked for.
//!
//! While the breaker is open, nothing is sent and both calls answer Unknown at once. For an order that
//! leaves a hold and an inquiry for a request that was never sent: correct, since the inquiry says
//! not found and the order is given again, but slow. The port has no better answer at that point,
//! which is why the saga turns payments away before they begin, by `admits` (not by the breaker's state:
//! were payments refused while it is half open, none would be left to be the probe). A connection that was
//! refused is Unknown for the same reason.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use commands::context::CommandContext;
use commands::meters;
use commands::ports::{ChannelAnswer, ChannelOrder, PaymentChannel};
use domain::payment::CaptureMode;
use domain::{Money, TransactionId};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::Semaphore;

use crate::breaker::Breaker;
use crate::remote::{self, Limits, NoReply, Remote, Reply, SetupError};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Where charges and payouts are.
const CHARGES: &str = "/v1/charges";
const PAYOUTS: &str = "/v1/payouts";

/// The longest reason of a decline that is kept, in bytes.
const REASON_LIMIT: usize = 64;

/// Where the channel is and how long it is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSettings {
    /// `http://HOST:PORT` or `https://HOST:PORT`, with a path prefix if need be.
    pub base_url: String,
    /// How long it is waited for, and how much it may take up.
    pub limits: Limits,
    /// Most inquiries that are under way at a time; one more waits. When the channel comes back, all whose
    /// outcome is unknown ask at once, and it is new payments that it is to have its strength for.
    pub max_inquiries: usize,
}

impl ChannelSettings {
    /// The defaults: 3 s, those of the breaker, 64 inquiries at a time.
    #[must_use]
    pub fn at(base_url: impl Into<String>) -> Self {
        let limits = Limits::waiting(Duration::from_secs(3));
        Self { base_url: base_url.into(), limits, max_inquiries: 64 }
    }
}

/// The payment channel, asked over HTTP.
#[derive(Debug)]
pub struct HttpChannel {
    remote: Remote,
    charges: Uri,
    payouts: Uri,
    inquiries: Semaphore,
}

impl HttpChannel {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When the base URL is none, or is `https` on a machine without certificate authorities.
    pub fn new(settings: &ChannelSettings) -> Result<Self, SetupError> {
        let service = "channel";
        let remote = Remote::new(service, &settings.base_url, settings.limits)?;
        let uri = |path| remote.uri(path).map_err(|source| SetupError::NotAUrl { service, source });
        let (charges, payouts) = (uri(CHARGES)?, uri(PAYOUTS)?);
        let inquiries = Semaphore::new(settings.max_inquiries.clamp(1, Semaphore::MAX_PERMITS));
        Ok(Self { remote, charges, payouts, inquiries })
    }

    /// Its breaker, which charges and inquiries share.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        self.remote.breaker()
    }

    async fn ask(&self, order: &ChannelOrder, context: &CommandContext) -> Result<Reply, NoReply> {
        let payment_id = order.payment_id().as_str();
        let (uri, key, body) = match order {
            ChannelOrder::Pay(charge) => {
                let body = Body {
                    payment_id: Some(payment_id),
                    payment_method: Some(&charge.payment_method),
                    capture: (charge.capture == CaptureMode::Manual).then_some("manual"),
                    ..Body::of(charge.amount)
                };
                (self.charges.clone(), payment_id.to_owned(), body)
            }
            ChannelOrder::PayOut { amount, reference, .. } => {
                let body =
                    Body { payment_id: Some(payment_id), reference: Some(reference), ..Body::of(*amount) };
                (self.payouts.clone(), payment_id.to_owned(), body)
            }
            ChannelOrder::Capture { amount, .. } => {
                let uri = self.below(CHARGES, payment_id, "/capture")?;
                (uri, [payment_id, ":capture"].concat(), Body::of(*amount))
            }
            ChannelOrder::Void { .. } => {
                let uri = self.below(CHARGES, payment_id, "/void")?;
                (uri, [payment_id, ":void"].concat(), Body::default())
            }
            ChannelOrder::Refund { refund_id, amount, .. } => {
                let body = Body { refund_id: Some(refund_id.as_str()), ..Body::of(*amount) };
                let uri = self.below(CHARGES, payment_id, "/refunds")?;
                (uri, refund_id.as_str().to_owned(), body)
            }
        };
        let mut request = remote::post(uri, &body, context)?;
        // Never without its key: what cannot be inquired after is not sent.
        let key = HeaderValue::from_str(&key).map_err(|_| NoReply::Unwritable)?;
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        self.remote.ask(request).await
    }

    async fn ask_after(&self, order: &ChannelOrder, context: &CommandContext) -> Result<Reply, NoReply> {
        let payment_id = order.payment_id().as_str();
        let uri = match order {
            ChannelOrder::Pay(_) => self.below(CHARGES, payment_id, "")?,
            ChannelOrder::PayOut { .. } => self.below(PAYOUTS, payment_id, "")?,
            ChannelOrder::Capture { .. } => self.below(CHARGES, payment_id, "/capture")?,
            ChannelOrder::Void { .. } => self.below(CHARGES, payment_id, "/void")?,
            ChannelOrder::Refund { refund_id, .. } => {
                self.below(CHARGES, payment_id, &["/refunds/", refund_id.as_str()].concat())?
            }
        };
        self.remote.ask(remote::get(uri, context)).await
    }

    fn below(&self, kind: &str, payment_id: &str, path: &str) -> Result<Uri, NoReply> {
        // The alphabet of an id needs no escaping in a path.
        let path = [kind, "/", payment_id, path].concat();
        self.remote.uri(&path).map_err(|_| NoReply::Unwritable)
    }
}

#[async_trait]
impl PaymentChannel for HttpChannel {
    fn admits(&self) -> bool {
        self.remote.admits()
    }

    async fn carry_out(&self, order: &ChannelOrder, context: &CommandContext) -> ChannelAnswer {
        let began = Instant::now();
        let answer = match self.ask(order, context).await {
            Ok(reply) => answer_to_order(&reply),
            Err(no_reply) => ChannelAnswer::Unknown { reason: no_reply.to_string() },
        };
        measure(order.name(), &answer, began);
        answer
    }

    async fn inquire(&self, order: &ChannelOrder, context: &CommandContext) -> ChannelAnswer {
        // Never closed, so there is always a permit in the end.
        let _turn = self.inquiries.acquire().await;
        let began = Instant::now();
        let answer = match self.ask_after(order, context).await {
            Ok(reply) => answer_to_inquiry(&reply),
            Err(no_reply) => ChannelAnswer::Unknown { reason: no_reply.to_string() },
        };
        measure("inquire", &answer, began);
        answer
    }
}

fn measure(operation: &'static str, answer: &ChannelAnswer, began: Instant) {
    let outcome = match answer {
        ChannelAnswer::Done { .. } => "done",
        ChannelAnswer::Declined { .. } => "declined",
        ChannelAnswer::NotFound => "not_found",
        ChannelAnswer::Unknown { .. } => {
            meters::failed("channel");
            "unknown"
        }
    };
    meters::channel_answered(operation, outcome, began.elapsed());
}

fn answer_to_order(reply: &Reply) -> ChannelAnswer {
    match (reply.status, Outcome::of(reply)) {
        (StatusCode::CREATED, Some(Outcome::Done(transaction_id))) => ChannelAnswer::Done { transaction_id },
        (StatusCode::PAYMENT_REQUIRED, Some(Outcome::Declined(reason))) => ChannelAnswer::Declined { reason },
        (_, outcome) => unknown(reply, outcome.as_ref()),
    }
}

fn answer_to_inquiry(reply: &Reply) -> ChannelAnswer {
    match (reply.status, Outcome::of(reply)) {
        (StatusCode::OK, Some(Outcome::Done(transaction_id))) => ChannelAnswer::Done { transaction_id },
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
    Done(TransactionId),
    Declined(String),
    Processing,
    NotFound,
}

impl Outcome {
    fn of(reply: &Reply) -> Option<Self> {
        let body: Said<'_> = serde_json::from_slice(&reply.body).ok()?;
        match &*body.status {
            "succeeded" => {
                let transaction_id = TransactionId::parse(&body.transaction_id?.0).ok()?;
                Some(Self::Done(transaction_id))
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

/// The body of every order; which fields it has depends on what is ordered.
#[derive(Default, Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "decimal")]
    amount: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
}

impl Body<'_> {
    fn of(amount: Money) -> Self {
        Self { amount: Some(amount), currency: Some(amount.currency.code()), ..Self::default() }
    }
}

#[expect(clippy::ref_option, reason = "the shape that serde asks for")]
fn decimal<S: Serializer>(amount: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => remote::decimal(amount, serializer),
        None => serializer.serialize_none(),
    }
}

/// The body of every answer; which fields it has depends on the status in it.
#[derive(Deserialize)]
struct Said<'a> {
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
