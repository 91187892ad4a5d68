//! The bodies that clients send: the fields that the handlers read, and no others.
//!
//! A test compares each with the fields that its handler says it knows.

use serde_json::{Map, Value, json};

use super::operation::reference;
use super::values::PRINTABLE;

/// A JSON object.
pub(super) struct Request {
    /// Its name in the document.
    pub(super) name: &'static str,
    description: &'static str,
    fields: &'static [Field],
    /// There must be a body, though no field of it is required.
    must_be_sent: bool,
}

/// A field: its name, whether it must be given, what it is.
pub(super) struct Field(&'static str, Need, Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Required,
    /// Left out or `null`.
    Optional,
}

/// What a field is.
pub(super) enum Kind {
    /// A value of the document.
    Value(&'static str),
    /// A caller's own words, at most so many characters.
    Words(usize),
    /// A means of payment.
    Method,
    /// An idempotency key.
    Key,
    /// Where messages are sent to.
    Url,
    /// Names of events.
    Events,
    /// What an operator found out.
    Outcome,
}

use Kind::{Events, Key, Method, Outcome, Url, Value as Is, Words};
use Need::{Optional, Required};

pub(super) const PAYMENT: Request = Request {
    name: "PaymentRequest",
    description: "A payment to make. `idempotency_key` may stand here in place of the header.",
    fields: &[
        Field("payment_id", Optional, Is("PaymentId")),
        Field("user_id", Required, Is("UserId")),
        Field("amount", Required, Is("AmountToMove")),
        Field("currency", Required, Is("Currency")),
        Field("payment_method", Required, Method),
        Field("idempotency_key", Optional, Key),
        Field("capture", Optional, Is("Capture")),
        Field("metadata", Optional, Is("Metadata")),
    ],
    must_be_sent: false,
};

pub(super) const PART: Request = Request {
    name: "PaymentPart",
    description: "How much; all that is left where no amount is given. A currency must be the payment's.",
    fields: &[Field("amount", Optional, Is("AmountToMove")), Field("currency", Optional, Is("Currency"))],
    must_be_sent: false,
};

pub(super) const REVIEW: Request = Request {
    name: "Review",
    description: "What the payment channel did, and how you know. Its transaction, where it was paid and is known.",
    fields: &[
        Field("outcome", Required, Outcome),
        Field("transaction_id", Optional, Is("TransactionId")),
        Field("reason", Required, Words(256)),
    ],
    must_be_sent: false,
};

pub(super) const TRANSFER: Request = Request {
    name: "TransferRequest",
    description: "An amount from one user to another.",
    fields: &[
        Field("payment_id", Optional, Is("PaymentId")),
        Field("from_user_id", Required, Is("UserId")),
        Field("to_user_id", Required, Is("UserId")),
        Field("amount", Required, Is("AmountToMove")),
        Field("currency", Required, Is("Currency")),
        Field("metadata", Optional, Is("Metadata")),
    ],
    must_be_sent: false,
};

pub(super) const OPENING: Request = Request {
    name: "AccountOpening",
    description: "A user has one account per currency.",
    fields: &[Field("user_id", Required, Is("UserId")), Field("currency", Required, Is("Currency"))],
    must_be_sent: false,
};

pub(super) const MOVEMENT: Request = Request {
    name: "Movement",
    description: "Money that comes in or leaves.",
    fields: &[
        Field("amount", Required, Is("AmountToMove")),
        Field("currency", Required, Is("Currency")),
        Field("reference", Optional, Words(256)),
    ],
    must_be_sent: false,
};

pub(super) const FREEZING: Request = Request {
    name: "Freezing",
    description: "Why; the body may be left out.",
    fields: &[Field("reason", Optional, Words(256))],
    must_be_sent: false,
};

pub(super) const NOTHING: Request = Request {
    name: "Nothing",
    description: "No fields; the body may be left out.",
    fields: &[],
    must_be_sent: false,
};

pub(super) const REGISTRATION: Request = Request {
    name: "WebhookRegistration",
    description: "Where to send which events.",
    fields: &[
        Field("url", Required, Url),
        Field("event_types", Required, Events),
        Field("description", Optional, Words(256)),
    ],
    must_be_sent: false,
};

pub(super) const WEBHOOK_CHANGES: Request = Request {
    name: "WebhookChanges",
    description: "What is not given stays.",
    fields: &[
        Field("url", Optional, Url),
        Field("event_types", Optional, Events),
        Field("description", Optional, Words(256)),
        Field("status", Optional, Is("EndpointState")),
    ],
    must_be_sent: true,
};

impl Request {
    /// Whether there must be a body.
    pub(super) fn is_required(&self) -> bool {
        self.must_be_sent || self.fields.iter().any(|field| field.1 == Required)
    }

    /// As the document has it.
    pub(super) fn schema(&self) -> Value {
        let properties: Map<_, _> =
            self.fields.iter().map(|field| (field.0.to_owned(), field.schema())).collect();
        let required: Vec<_> =
            self.fields.iter().filter(|field| field.1 == Required).map(|field| field.0).collect();
        json!({
            "type": "object",
            "description": self.description,
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

impl Field {
    fn schema(&self) -> Value {
        let schema = self.2.schema();
        if self.1 == Required { schema } else { json!({ "anyOf": [schema, { "type": "null" }] }) }
    }
}

impl Kind {
    fn schema(&self) -> Value {
        match self {
            Is(name) => reference("schemas", name),
            Words(most) => json!({ "type": "string", "maxLength": most, "pattern": PRINTABLE }),
            Method => json!({
                "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9_.-]+$",
                "description": "A name or a token of the means of payment; never a card's number.",
                "examples": ["credit_card"],
            }),
            Key => json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$" }),
            Outcome => json!({ "type": "string", "enum": ["paid", "not_paid"] }),
            Url => json!({
                "type": "string", "format": "uri", "maxLength": 2048, "examples": ["https://shop.example/hooks"],
            }),
            Events => json!({
                "type": "array", "minItems": 1, "maxItems": 100,
                "items": { "anyOf": [reference("schemas", "EventType"), { "const": "*" }] },
                "description": "Names of events; `*` stands for all.",
            }),
        }
    }
}
