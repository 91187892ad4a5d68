//! Every problem that the API answers, by its code: when it comes, and what its caller does then.
//!
//! A test compares this table with the codes in the source, in both directions; `docs/api.md` shows it.

use serde_json::{Map, Value, json};

/// One kind of problem.
pub(crate) struct Kind {
    /// Its name in the document: the code, unless one code has several statuses.
    pub(crate) name: &'static str,
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    /// An example of its `detail`.
    pub(crate) detail: &'static str,
    /// An example of its `param`; empty where no field is at fault.
    pub(crate) param: &'static str,
    /// What its caller does.
    pub(crate) then: &'static str,
}

const fn kind(
    status: u16,
    code: &'static str,
    param: &'static str,
    detail: &'static str,
    then: &'static str,
) -> Kind {
    Kind { name: code, code, status, detail, param, then }
}

const AGAIN: &str = "Repeat it after `Retry-After` seconds, with the same idempotency key.";
const CORRECT: &str = "Correct the request; `param` names the field.";
const MEND: &str = "Mend the program that writes the request.";

/// All of them, by status.
pub(crate) const KINDS: &[Kind] = &[
    kind(
        400,
        "idempotency_key_missing",
        "idempotency_key",
        "Send a unique name for this request, for instance a UUID, in the header `Idempotency-Key`.",
        "Send a key; keep it for repeats of the same request.",
    ),
    kind(
        400,
        "idempotency_key_repeated",
        "idempotency_key",
        "The Idempotency-Key header is given more than once.",
        MEND,
    ),
    kind(400, "incomplete_body", "", "The body ended before it was complete.", "Send it again, whole."),
    kind(
        400,
        "invalid_trace_id",
        "trace_id",
        "`trace_id` must be 32 hexadecimal digits in lower case.",
        CORRECT,
    ),
    kind(400, "malformed_json", "", "The body is not valid JSON (line 1, column 12).", MEND),
    kind(400, "malformed_path", "", "The path is not UTF-8.", MEND),
    kind(400, "malformed_query", "", "The query cannot be read.", MEND),
    kind(400, "not_utf8", "", "The body is not UTF-8.", MEND),
    kind(
        400,
        "wrong_last_event_id",
        "",
        "`Last-Event-ID` must be the id of an event of this stream, a position.",
        "Send the `id` of the last event that you have seen.",
    ),
    kind(401, "token_expired", "", "This token has expired.", "Get a new token."),
    kind(
        401,
        "unauthenticated",
        "",
        "Send `Authorization: Bearer <API key>`.",
        "Send a key that is known, not revoked and not expired.",
    ),
    kind(401, "key_expired", "", "This key has expired.", "Ask the operator for a new key."),
    kind(401, "key_revoked", "", "This key was revoked.", "Ask the operator for a new key."),
    kind(
        403,
        "insufficient_scope",
        "",
        "This needs the scope `operate`.",
        "Ask with a key that has the scope.",
    ),
    kind(404, "account_not_found", "", "There is no such account.", "Open it, or correct the id."),
    kind(404, "delivery_not_found", "", "There is no such delivery.", "Correct the id."),
    kind(404, "event_not_found", "", "There is no such event.", "Correct the id."),
    kind(404, "not_found", "", "There is nothing at this path.", "Correct the path."),
    kind(
        404,
        "payment_not_found",
        "",
        "There is no such payment.",
        "Correct the id. A payment whose request was never answered can be repeated with its key.",
    ),
    kind(404, "refund_not_found", "", "The payment has no such refund.", "Correct the id."),
    kind(404, "webhook_not_found", "", "There is no such webhook.", "Correct the id, or register it."),
    kind(
        405,
        "method_not_allowed",
        "",
        "This path does not know this method; the Allow header names those that it knows.",
        "Use a method of the `Allow` header.",
    ),
    kind(
        408,
        "body_too_slow",
        "",
        "The body did not arrive within 10000 ms.",
        "Send it again, faster; nothing was changed.",
    ),
    kind(
        409,
        "account_already_open",
        "",
        "Account acc_176d7e65bad753718714f5f1ac90d25d is already open.",
        "Use the account that is there; `account_id` names it.",
    ),
    kind(
        409,
        "delivery_pending",
        "",
        "This delivery is pending: it is tried without being asked for.",
        "Wait.",
    ),
    kind(409, "hold_exists", "", "This payment holds another amount already.", "Read the payment."),
    kind(
        409,
        "payment_exists",
        "payment_id",
        "This payment id belongs to another payment.",
        "Choose another `payment_id`.",
    ),
    kind(
        409,
        "not_in_review",
        "",
        "The payment is completed: there is nothing to resolve.",
        "Read the payment.",
    ),
    kind(409, "refund_conflict", "", "There is such a refund already.", "Read the payment's refunds."),
    kind(
        409,
        "request_in_flight",
        "",
        "A request with this idempotency key is still being processed. Repeat it to get its answer.",
        AGAIN,
    ),
    kind(409, "review_conflict", "", "The payment has ended otherwise.", "Read the payment."),
    kind(
        409,
        "webhook_not_enabled",
        "",
        "The webhook of this delivery is disabled or deleted. Enable it by PATCH first.",
        "Enable the webhook, then send again.",
    ),
    kind(409, "wrong_payment_status", "", "Cannot capture a payment that is completed.", "Read the payment."),
    kind(413, "body_too_large", "", "The body is larger than 65536 bytes.", "Send less."),
    kind(
        414,
        "uri_too_long",
        "",
        "The path and its query have more than 8192 bytes.",
        "Ask for less at a time.",
    ),
    kind(
        415,
        "unsupported_media_type",
        "",
        "Send the body as `Content-Type: application/json`, in UTF-8.",
        MEND,
    ),
    kind(422, "account_closed", "", "The user's account is closed.", "Nothing can be booked on it any more."),
    kind(422, "account_frozen", "", "The user's account is frozen.", "An operator unfreezes the account."),
    kind(
        422,
        "account_not_empty",
        "",
        "The account is not empty.",
        "Pay out what is left, wait for what is held.",
    ),
    Kind {
        name: "payer_without_account",
        ..kind(
            422,
            "account_not_found",
            "",
            "The user has no account in this currency. Open one, and deposit to it.",
            "Open the account.",
        )
    },
    kind(
        422,
        "balance_overflow",
        "amount",
        "The balance would be larger than this engine can book.",
        "Book less.",
    ),
    kind(
        422,
        "capture_too_large",
        "amount",
        "More than is held cannot be captured.",
        "Capture at most what is authorized.",
    ),
    kind(
        422,
        "card_number",
        "payment_method",
        "`payment_method` must not be a card's number; send a token that stands for the card.",
        "Send a token.",
    ),
    kind(
        422,
        "channel_declined",
        "",
        "The payment channel declined: card_declined. The hold is released.",
        "Ask the payer for another means of payment; that is a new payment.",
    ),
    kind(422, "conflicting_parameters", "as_of", "Ask by `position` or by `as_of`, not by both.", CORRECT),
    kind(
        422,
        "currency_mismatch",
        "currency",
        "The account is kept in USD, not in EUR.",
        "Use the account's currency.",
    ),
    kind(422, "hold_not_found", "", "Nothing is held for this payment.", "Read the payment."),
    kind(
        422,
        "idempotency_key_mismatch",
        "idempotency_key",
        "The Idempotency-Key header and the field `idempotency_key` differ.",
        "Send one of them, or the same in both.",
    ),
    kind(
        422,
        "idempotency_key_reused",
        "idempotency_key",
        "This idempotency key was used for another request. Use a new key for a new request.",
        "Use a new key.",
    ),
    kind(
        422,
        "insufficient_funds",
        "",
        "USD 7.53 is needed, USD 5.00 is available. Nothing is held.",
        "Deposit first; the payment is a new one then.",
    ),
    kind(422, "invalid_amount", "amount", "`amount` has more decimals than USD allows (2).", CORRECT),
    kind(
        422,
        "invalid_currency",
        "currency",
        "`currency` is not an ISO 4217 currency that can be paid in.",
        CORRECT,
    ),
    kind(
        422,
        "invalid_cursor",
        "cursor",
        "`cursor` must be the `next_cursor` of the page before.",
        "Begin again without a cursor.",
    ),
    kind(
        422,
        "invalid_event_type",
        "event_types",
        "`event_types` has `PaymentCompletd`, which is no event.",
        CORRECT,
    ),
    kind(
        422,
        "invalid_id",
        "user_id",
        "`user_id` must consist of letters, digits and `_ . : -`; ' ' is not allowed.",
        CORRECT,
    ),
    kind(
        422,
        "invalid_idempotency_key",
        "idempotency_key",
        "`idempotency_key` must be 1 to 255 printable ASCII characters.",
        CORRECT,
    ),
    kind(
        422,
        "invalid_payment_method",
        "payment_method",
        "`payment_method` must be letters, digits and `_ . -`, at least one.",
        CORRECT,
    ),
    kind(422, "invalid_text", "reference", "`reference` must not have control characters.", CORRECT),
    kind(
        422,
        "invalid_url",
        "url",
        "`url` must be an https URL.",
        "Use a public https URL, or ask the operator to allow the network.",
    ),
    kind(422, "invalid_value", "capture", "`capture` must be `automatic` or `manual`.", CORRECT),
    kind(422, "missing_field", "currency", "The field `currency` is required.", CORRECT),
    kind(422, "out_of_range", "limit", "`limit` must be 1 to 1000.", CORRECT),
    kind(
        422,
        "payee_cannot_receive",
        "",
        "The account that the transfer is for cannot take the amount. Nothing was moved.",
        "Transfer less.",
    ),
    kind(
        422,
        "payee_closed",
        "",
        "The account that the transfer is for is closed. Nothing was moved.",
        "Ask whom it is for.",
    ),
    kind(
        422,
        "payee_not_found",
        "",
        "Whom the transfer is for has no account in this currency. Nothing was moved.",
        "Open the account.",
    ),
    kind(
        422,
        "position_not_reached",
        "min_position",
        "The log has not reached this position.",
        "Ask by a position that an answer of this engine named.",
    ),
    kind(
        422,
        "refund_declined",
        "",
        "The payment channel declined the refund; nothing was moved.",
        "Pay it back by another way.",
    ),
    kind(
        422,
        "refund_too_large",
        "amount",
        "Refund of USD 8.00 exceeds the USD 7.53 left to refund.",
        "Refund at most what is left.",
    ),
    kind(422, "repeated_parameter", "limit", "The parameter `limit` is given twice.", CORRECT),
    kind(
        422,
        "reviewed_not_paid",
        "",
        "A review found that the payment channel had not paid. The hold is released.",
        "Ask for a new payment.",
    ),
    kind(
        422,
        "risk_rejected",
        "",
        "The risk of this payment is too high. No money was touched.",
        "Do not repeat it.",
    ),
    kind(422, "too_long", "reference", "`reference` must be at most 256 characters.", CORRECT),
    kind(422, "same_user", "to_user_id", "`to_user_id` must be another user than `from_user_id`.", CORRECT),
    kind(422, "system_account", "", "The account is the engine's own.", "Use a user's account."),
    kind(422, "too_many_entries", "metadata", "`metadata` must have at most 20 entries.", CORRECT),
    kind(
        422,
        "too_many_refunds",
        "",
        "The payment has as many refunds as it can have.",
        "Refund what is left by another way.",
    ),
    kind(
        422,
        "too_many_webhooks",
        "",
        "There are 100 webhooks already; delete one that is not needed.",
        "Delete one.",
    ),
    kind(422, "transfer_not_refundable", "", "A transfer cannot be refunded.", "Transfer it back."),
    kind(
        422,
        "unknown_field",
        "ammount",
        "There is no field `ammount` here; the fields are `user_id`, `currency`.",
        CORRECT,
    ),
    kind(422, "unknown_parameter", "page", "There is no parameter `page` here.", CORRECT),
    kind(
        422,
        "withdrawal_not_refundable",
        "",
        "A withdrawal cannot be refunded.",
        "Deposit what comes back.",
    ),
    kind(422, "wrong_type", "amount", "`amount` must be a number, or a string such as \"12.34\".", CORRECT),
    kind(
        429,
        "rate_limited",
        "",
        "Too many requests.",
        "Wait `Retry-After` seconds; `RateLimit` tells what is left.",
    ),
    kind(
        500,
        "internal_error",
        "",
        "Something went wrong here. The trace id leads to the cause.",
        "Repeat it with the same idempotency key; tell the operator the `trace_id`.",
    ),
    kind(
        503,
        "contended",
        "",
        "Too many requests are changing the same account; nothing was changed. \
        Repeat the request with the same idempotency key.",
        AGAIN,
    ),
    kind(503, "not_ready", "", "The database does not answer.", "Send requests to another process."),
    kind(
        503,
        "outcome_unknown",
        "",
        "The outcome is not known yet. Repeat the request with the same idempotency key to find out; \
        it will not be carried out twice.",
        AGAIN,
    ),
    kind(503, "overloaded", "", "Too many requests at a time; nothing was changed.", AGAIN),
    kind(
        503,
        "read_model_behind",
        "",
        "The read model `account_balances` is behind this position. Repeat the request.",
        AGAIN,
    ),
    kind(
        503,
        "channel_unavailable",
        "",
        "The payment channel does not answer now; nothing was begun. Repeat the request with the same \
        idempotency key.",
        AGAIN,
    ),
    kind(
        503,
        "key_set_unavailable",
        "",
        "The keys that tokens are signed by cannot be read now, so nobody can tell whose this is.",
        AGAIN,
    ),
    kind(
        503,
        "risk_unavailable",
        "",
        "The risk service cannot answer, and the amount is too large to go on without it. Nothing \
        is held. Repeat the request with the same idempotency key.",
        AGAIN,
    ),
    kind(
        503,
        "search_took_too_long",
        "",
        "The trace's events were not found within 2000 ms: the log has grown faster than its \
        index of traces. Repeat the request later, or ask by payment.",
        "Ask by payment, or later.",
    ),
    kind(
        503,
        "store_unavailable",
        "",
        "The database cannot be reached or is too busy; nothing was changed. \
        Repeat the request with the same idempotency key.",
        AGAIN,
    ),
    kind(503, "timed_out", "", "The answer took too long. Repeat the request.", AGAIN),
];

/// What every operation of the API can answer.
pub(super) const ANY: &[&str] = &[
    "insufficient_scope",
    "internal_error",
    "key_expired",
    "key_revoked",
    "key_set_unavailable",
    "overloaded",
    "rate_limited",
    "token_expired",
    "unauthenticated",
    "uri_too_long",
];
/// What every operation with an `Idempotency-Key` can answer.
pub(super) const KEYED: &[&str] = &[
    "idempotency_key_missing",
    "idempotency_key_repeated",
    "idempotency_key_reused",
    "invalid_idempotency_key",
    "outcome_unknown",
    "request_in_flight",
    "store_unavailable",
    "too_long",
];
/// What every operation with a JSON object as its body can answer.
pub(super) const JSON: &[&str] = &[
    "body_too_slow",
    "body_too_large",
    "incomplete_body",
    "malformed_json",
    "not_utf8",
    "unknown_field",
    "unsupported_media_type",
    "wrong_type",
];
/// What becomes of fields.
pub(super) const FIELDS: &[&str] = &["missing_field", "invalid_text", "too_long"];
/// What a command to an account can come to.
pub(super) const ACCOUNT: &[&str] = &["account_closed", "account_not_found", "contended"];
/// What an amount in a body can be.
pub(super) const AMOUNT: &[&str] = &["invalid_amount", "invalid_currency", "missing_field"];
/// What an identifier in a path can be.
pub(super) const ID_IN_PATH: &[&str] = &["invalid_id", "malformed_path", "too_long"];
/// What every reading can come to.
pub(super) const READ: &[&str] = &[
    "malformed_query",
    "repeated_parameter",
    "store_unavailable",
    "timed_out",
    "unknown_parameter",
    "wrong_type",
];
/// What a page can be asked for wrongly.
pub(super) const PAGE: &[&str] = &["invalid_cursor", "out_of_range"];
/// What a reading at a position can come to.
pub(super) const MIN_POSITION: &[&str] = &["position_not_reached", "read_model_behind"];

/// The kind of a name.
pub(super) fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl Kind {
    /// The body, as `crate::problem` writes it.
    fn example(&self) -> Value {
        let problem = crate::problem::Problem::new(
            axum::http::StatusCode::from_u16(self.status).unwrap_or_default(),
            self.code,
            self.detail,
        );
        let problem = if self.param.is_empty() { problem } else { problem.param(self.param) };
        let body = problem.body("0af7651916cd43dd8448eb211c80319c");
        serde_json::from_str(&body).unwrap_or_default()
    }
}

/// An example of each, by name.
pub(super) fn examples() -> Map<String, Value> {
    let example =
        |kind: &Kind| (kind.name.to_owned(), json!({ "summary": kind.then, "value": kind.example() }));
    KINDS.iter().map(example).collect()
}
