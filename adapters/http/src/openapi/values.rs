//! The values that bodies are made of: each has one name and one schema in the document.
//!
//! The types here are never made. They stand in `value_type` beside a field whose own type belongs to an inner
//! crate, which knows nothing of OpenAPI.

use std::borrow::Cow;

use commands::webhooks::{DeliveryStatus, EndpointStatus, known_events};
use domain::account::AccountStatus;
use domain::id::MAX_ID_LENGTH;
use domain::money::parse_currency;
use domain::payment::{CaptureMode, PaymentKind, PaymentStatus, RiskLevel};
use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, OneOfBuilder};
use utoipa::openapi::{KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::problems::KINDS;
use crate::answers::{Decimal, client_status};

/// Text without control characters.
pub(super) const PRINTABLE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// What an identifier consists of.
const ID: &str = "^[A-Za-z0-9_.:-]+$";

/// Declares values: a name and a function that has its schema.
macro_rules! values {
    ($($name:ident = $schema:expr;)*) => {
        $(
            pub(crate) enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema.into()
                }
            }

            impl ToSchema for $name {}
        )*

        /// All of them, by name.
        pub(super) fn all() -> Vec<(Cow<'static, str>, RefOr<Schema>)> {
            vec![
                (Decimal::name(), Decimal::schema()),
                $(($name::name(), $name::schema()),)*
            ]
        }
    };
}

values! {
    UserId = id("A user of yours, by your own name.", "USER_7");
    AccountId = matching("A user's account in one currency: `acc_` and 32 hexadecimal digits.",
        "^acc_[0-9a-f]{32}$", "acc_176d7e65bad753718714f5f1ac90d25d");
    AnyId = id("As it was asked for, or as the log has it: also `settlement:card:USD:3`, the engine's own.", "acc_176d7e65bad753718714f5f1ac90d25d");
    PaymentId = id("A payment. Choose it yourself, or leave it out and get `pay_` and 32 hexadecimal digits.", "PAY_42");
    PostingId = id("One movement of money: `dep_...`, `wd_...`, or the payment's own id.",
        "dep_019ab3c4d5e67f8091a2b3c4d5e6f708");
    TransactionId = id("The charge at the payment channel.", "txn_7c9e6679");
    RefundId = id("A refund: `ref_` and 32 hexadecimal digits.", "ref_019ab3c4d5e67f8091a2b3c4d5e6f708");
    EndpointId = matching("A webhook: `whe_` and 32 hexadecimal digits.",
        "^whe_[0-9a-f]{32}$", "whe_019ab3c4d5e67f8091a2b3c4d5e6f708");
    DeliveryId = matching("One event for one webhook: `whd_` and a number.", "^whd_[1-9][0-9]*$", "whd_17");
    EventId = matching("An event, a UUIDv7.", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "019ab3c4-d5e6-7f80-91a2-b3c4d5e6f708");
    TraceId = matching("A trace of W3C Trace Context.", "^[0-9a-f]{32}$", "0af7651916cd43dd8448eb211c80319c");
    SpanId = matching("A span of W3C Trace Context.", "^[0-9a-f]{16}$", "b7ad6b7169203331");
    Traceparent = matching("The span that recorded it, as W3C Trace Context writes it.",
        "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    Cursor = matching("Where a list goes on. Opaque: pass it on as it is.", "^c[0-9a-f]{1,16}$", "c2a");
    Position = ObjectBuilder::new().schema_type(Type::Integer).format(int64()).minimum(Some(1))
        .description(Some("A place in the log: 1, 2, 3, ... without gaps, in the order of commits."))
        .examples([42]).build();
    Reached = ObjectBuilder::new().schema_type(Type::Integer).format(int64()).minimum(Some(0))
        .description(Some("The position up to which the log is read; 0 before there is an event."))
        .examples([42]).build();
    Time = ObjectBuilder::new().schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .pattern(Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$"))
        .description(Some("RFC 3339, UTC, microseconds.")).examples(["2026-11-25T08:30:00.123456Z"]).build();
    Currency = one_of("An ISO 4217 currency that can be paid in.", &currencies());
    AmountToMove = amount_to_move();
    PaymentForm = one_of("Collected through the channel, moved from one user to another, or paid out.",
        &[PaymentKind::Payment, PaymentKind::Transfer, PaymentKind::Withdrawal].map(PaymentKind::name));
    PaymentState = one_of("`processing` until the outcome is known.", &client_statuses());
    RefundState = one_of("`processing` until the channel has answered.", &["processing", "completed", "failed"]);
    PaymentStep = one_of("Where the engine is with the payment. Depend on `status`.",
        &PaymentStatus::ALL.map(PaymentStatus::name));
    AccountState = one_of("Whether money may leave (`active`), only come in (`frozen`), or neither (`closed`).",
        &[AccountStatus::Active, AccountStatus::Frozen, AccountStatus::Closed].map(AccountStatus::name));
    Capture = one_of("`automatic`: the amount is taken at once. `manual`: it is authorized, and taken by a capture.",
        &[CaptureMode::Automatic, CaptureMode::Manual].map(CaptureMode::name));
    RiskLevelName = one_of("How the risk service sees a payment.",
        &[RiskLevel::Low, RiskLevel::Medium, RiskLevel::High].map(RiskLevel::name));
    EventType = one_of("The name of an event.", &known_events());
    AggregateType = one_of("Whose stream an event is in.", &["account", "payment"]);
    EndpointState = one_of("Whether events are sent to a webhook.",
        &[EndpointStatus::Enabled, EndpointStatus::Disabled].map(EndpointStatus::name));
    DeliveryState = one_of("What became of a delivery.", &DeliveryStatus::ALL.map(DeliveryStatus::name));
    Metadata = metadata();
    ProblemCode = one_of("What is wrong, for a program.", &problem_codes());
}

/// As `answers` writes an amount.
impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        let description =
            "An exact decimal with the decimals of its currency (JPY 0, USD 2, KWD 3). Never a float.";
        matching(description, r"^-?(0|[1-9][0-9]*)(\.[0-9]{1,4})?$", "7.53").into()
    }
}

impl ToSchema for Decimal {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Amount")
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn matching(description: &str, pattern: &str, example: &str) -> Object {
    text().description(Some(description)).pattern(Some(pattern)).examples([example]).build()
}

fn id(description: &str, example: &str) -> Object {
    let text = text().description(Some(description)).pattern(Some(ID)).examples([example]);
    text.min_length(Some(1)).max_length(Some(MAX_ID_LENGTH)).build()
}

fn one_of(description: &str, names: &[&str]) -> Object {
    text().description(Some(description)).enum_values(Some(names.iter().copied())).build()
}

fn int64() -> Option<SchemaFormat> {
    Some(SchemaFormat::KnownFormat(KnownFormat::Int64))
}

/// Every code of three letters that can be paid in.
fn currencies() -> Vec<&'static str> {
    let letters = || 'A'..='Z';
    let codes = letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])));
    codes
        .filter_map(|code| parse_currency(&code.iter().collect::<String>()).ok())
        .map(|currency| currency.code())
        .collect()
}

fn problem_codes() -> Vec<&'static str> {
    let mut codes: Vec<_> = KINDS.iter().map(|kind| kind.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn client_statuses() -> Vec<&'static str> {
    let mut names: Vec<_> = PaymentStatus::ALL.into_iter().map(client_status).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn amount_to_move() -> Schema {
    let number = r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$";
    let text = text().pattern(Some(number)).max_length(Some(64)).examples(["7.53"]).build();
    let number = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0)).build();
    let described = "An amount above zero, with at most the decimals of its currency, best as a string. A number is \
                     read from its own characters, never through a float.";
    OneOfBuilder::new().item(text).item(number).description(Some(described)).build().into()
}

fn metadata() -> Object {
    let note = text().max_length(Some(500)).pattern(Some(PRINTABLE)).build();
    let name = text().min_length(Some(1)).max_length(Some(40)).pattern(Some(PRINTABLE)).build();
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(name))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::Object(note)))))
        .max_properties(Some(20))
        .description(Some("Your own notes; the engine keeps them and gives them back."))
        .examples([Value::from_iter([("order", "A-1001")])])
        .build()
}
