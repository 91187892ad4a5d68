//! The edge without a database: whatever is refused here must not get further.
//!
//! [`Untouched`] stands behind every port and panics when it is reached, so a request that slips
//! through is a 500 and no test can take it for a refusal.

mod answers;
mod bad_fields;
mod bad_requests;
mod contract;
mod sockets;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use commands::accounts::AccountCommands;
use commands::context::CommandContext;
use commands::idempotency::{Claim, IdempotencyKey, InFlight, Reply};
use commands::ports::{
    AccountAt, ChannelAnswer, ChannelOrder, EventReader, EventStore, LookUp, Moment, PaymentChannel,
    RecordedEvent, RiskRequest, RiskService, RiskUnavailable, RiskVerdict, SearchError, StoreError, Stored,
};
use commands::publishing::{OutboxMonitor, OutboxStatus};
use commands::saga::{PaymentSaga, SagaParts, SagaSettings};
use commands::system_accounts::SystemAccounts;
use commands::unit::{Receipt, Unit};
use commands::webhooks::ports::{
    Change, Deliveries, DeliveryCounts, EndpointChanges, Render, UrlGuard, UrlRefused, WebhookEndpoints,
    WebhookError,
};
use commands::webhooks::{Delivery, DeliveryFilter, DeliveryId, Endpoint};
use domain::{Account, AccountId, Payment, PaymentId};
use projections::ports::{AsOf, PaymentFilter, Projection, ProjectionStatus, ReadError, ReadModels};
use projections::{AccountBalance, AccountEntry, PaymentRow};
use serde_json::Value;
use tower::ServiceExt;

use crate::{Api, HttpSettings, JsonAnswers, Metrics, Webhooks, router};

const REACHED: &str = "SECRET: a request has come through to a port";

struct Untouched {
    runs: bool,
}

#[async_trait]
impl EventStore for Untouched {
    async fn execute(&self, _: Unit) -> Result<Receipt, StoreError> {
        panic!("{REACHED}")
    }
    async fn account(&self, _: &AccountId) -> Result<Stored<Account>, StoreError> {
        panic!("{REACHED}")
    }
    async fn payment(&self, _: &PaymentId) -> Result<Stored<Payment>, StoreError> {
        panic!("{REACHED}")
    }
    fn is_running(&self) -> bool {
        self.runs
    }
    async fn look_up(&self, _: &IdempotencyKey, _: Option<&PaymentId>) -> Result<LookUp, StoreError> {
        panic!("{REACHED}")
    }
}

#[async_trait]
impl RiskService for Untouched {
    async fn evaluate(&self, _: &RiskRequest, _: &CommandContext) -> Result<RiskVerdict, RiskUnavailable> {
        panic!("{REACHED}")
    }
}

#[async_trait]
impl PaymentChannel for Untouched {
    async fn carry_out(&self, _: &ChannelOrder, _: &CommandContext) -> ChannelAnswer {
        panic!("{REACHED}")
    }
    async fn inquire(&self, _: &ChannelOrder, _: &CommandContext) -> ChannelAnswer {
        panic!("{REACHED}")
    }
}

#[async_trait]
impl EventReader for Untouched {
    async fn story(&self, _: &PaymentId) -> Result<Vec<RecordedEvent>, StoreError> {
        panic!("{REACHED}")
    }
    async fn behind(&self, _: i64, _: u32) -> Result<Vec<RecordedEvent>, StoreError> {
        panic!("{REACHED}")
    }
    async fn event(&self, _: &str) -> Result<Option<RecordedEvent>, StoreError> {
        panic!("{REACHED}")
    }
    async fn of_trace(&self, _: &str, _: i64, _: u32) -> Result<Vec<RecordedEvent>, SearchError> {
        panic!("{REACHED}")
    }
    async fn account_at(&self, _: &AccountId, _: Moment) -> Result<Option<AccountAt>, StoreError> {
        panic!("{REACHED}")
    }
    async fn head(&self) -> Result<i64, StoreError> {
        panic!("{REACHED}")
    }
    async fn grown_beyond(&self, _: i64) {
        panic!("{REACHED}")
    }
    async fn is_up(&self) -> bool {
        !self.runs
    }
}

#[async_trait]
impl ReadModels for Untouched {
    async fn balance(&self, _: &AccountId) -> Result<AsOf<Option<AccountBalance>>, ReadError> {
        panic!("{REACHED}")
    }
    async fn entries(
        &self,
        _: &AccountId,
        _: Option<i64>,
        _: u32,
    ) -> Result<AsOf<Vec<AccountEntry>>, ReadError> {
        panic!("{REACHED}")
    }
    async fn payments(
        &self,
        _: &PaymentFilter,
        _: Option<i64>,
        _: u32,
    ) -> Result<AsOf<Vec<PaymentRow>>, ReadError> {
        panic!("{REACHED}")
    }
    async fn reached(&self, _: Projection, _: i64, _: Duration) -> Result<bool, ReadError> {
        panic!("{REACHED}")
    }
    async fn waiting_for_review(&self) -> Result<i64, ReadError> {
        panic!("{REACHED}")
    }
    async fn status(&self) -> Result<Vec<ProjectionStatus>, ReadError> {
        panic!("{REACHED}")
    }
}

#[async_trait]
impl WebhookEndpoints for Untouched {
    async fn change(&self, _: &Claim, _: &Change, _: &Render) -> Result<Reply, WebhookError> {
        panic!("{REACHED}")
    }
    async fn endpoints(&self, _: Option<&str>) -> Result<Vec<Endpoint>, WebhookError> {
        panic!("{REACHED}")
    }
    async fn endpoint(&self, _: Option<&str>, _: &str) -> Result<Endpoint, WebhookError> {
        panic!("{REACHED}")
    }
    async fn update(&self, _: &str, _: &str, _: &EndpointChanges) -> Result<Endpoint, WebhookError> {
        panic!("{REACHED}")
    }
    async fn delete(&self, _: &str, _: &str) -> Result<(), WebhookError> {
        panic!("{REACHED}")
    }
}

#[async_trait]
impl Deliveries for Untouched {
    async fn deliveries(
        &self,
        _: &DeliveryFilter,
        _: Option<i64>,
        _: u32,
    ) -> Result<Vec<Delivery>, WebhookError> {
        panic!("{REACHED}")
    }
    async fn resend(&self, _: DeliveryId) -> Result<Delivery, WebhookError> {
        panic!("{REACHED}")
    }
    async fn resend_dead(&self, _: &str) -> Result<u64, WebhookError> {
        panic!("{REACHED}")
    }
    async fn counts(&self) -> Result<DeliveryCounts, WebhookError> {
        panic!("{REACHED}")
    }
}

#[async_trait]
impl OutboxMonitor for Untouched {
    async fn status(&self) -> Result<Option<OutboxStatus>, StoreError> {
        panic!("{REACHED}")
    }
}

/// Refuses what begins with `http://`, and knows of nothing else to refuse.
struct OnlyTls;

#[async_trait]
impl UrlGuard for OnlyTls {
    async fn check(&self, url: &str) -> Result<(), UrlRefused> {
        if url.starts_with("http://") { Err(UrlRefused("is refused".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Metrics for Untouched {
    async fn render(&self) -> String {
        panic!("{REACHED}")
    }
}

fn api_on(settings: HttpSettings, runs: bool) -> Api {
    let store: Arc<dyn EventStore> = Arc::new(Untouched { runs });
    let system = Arc::new(SystemAccounts::starting_at(0));
    let in_flight = InFlight::default();
    let saga = PaymentSaga::new(SagaParts {
        store: Arc::clone(&store),
        risk: Arc::new(Untouched { runs }),
        channel: Arc::new(Untouched { runs }),
        format: Arc::new(JsonAnswers),
        system: Arc::clone(&system),
        settings: SagaSettings::default(),
        in_flight: in_flight.clone(),
    });
    let accounts = AccountCommands::new(Arc::clone(&store), Arc::new(JsonAnswers), system, in_flight);
    Api {
        accounts: Arc::new(accounts),
        saga: Arc::new(saga),
        store,
        reader: Arc::new(Untouched { runs }),
        read_models: Arc::new(Untouched { runs }),
        outbox: Arc::new(Untouched { runs }),
        webhooks: Webhooks {
            endpoints: Arc::new(Untouched { runs }),
            deliveries: Arc::new(Untouched { runs }),
            guard: Arc::new(OnlyTls),
            keep_old_secret: Duration::from_secs(60),
        },
        metrics: Arc::new(Untouched { runs }),
        settings,
    }
}

fn api(settings: HttpSettings) -> Api {
    api_on(settings, true)
}

fn service() -> Router {
    router(api(HttpSettings::default()))
}

/// A response that has been read.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Is this problem, complete and with nothing internal in it.
    #[track_caller]
    fn is_problem(&self, status: u16, code: &str, param: Option<&str>) -> &Self {
        let shown = format!("{} {}", self.status, self.body);
        assert_eq!(self.status.as_u16(), status, "{shown}");
        assert_eq!(self.body["code"], code, "{shown}");
        assert_eq!(self.body["param"].as_str(), param, "{shown}");
        assert_eq!(self.body["status"], status, "{shown}");
        assert_eq!(self.body["type"], format!("/problems/{code}"), "{shown}");
        assert!(!self.body["title"].as_str().unwrap().is_empty(), "{shown}");
        assert!(self.body["detail"].as_str().unwrap().ends_with('.'), "{shown}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{shown}");
        assert_eq!(self.body["trace_id"], self.header("trace-id"), "{shown}");
        assert_eq!(self.header("trace-id").len(), 32, "{shown}");
        assert_eq!(self.headers.contains_key("retry-after"), matches!(status, 429 | 503), "{shown}");
        assert!(!shown.contains("SECRET"), "{shown}");
        self
    }
}

async fn send_to(service: Router, request: Request<Body>) -> Got {
    let response = service.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Got { status: parts.status, headers: parts.headers, body }
}

async fn send(request: Request<Body>) -> Got {
    send_to(service(), request).await
}

fn request(method: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request
        .header("content-type", "application/json")
        .header("idempotency-key", "KEY")
        .body(body.into())
        .unwrap()
}

async fn post(path: &str, body: impl Into<Body>) -> Got {
    send(request(Method::POST, path, body)).await
}

async fn get(path: &str) -> Got {
    send(Request::builder().uri(path).body(Body::empty()).unwrap()).await
}

/// The seeded payment with one field replaced; `""` leaves it out.
fn payment_with(name: &str, raw: &str) -> String {
    let mut fields = vec![
        ("payment_id", "\"PAY_42\""),
        ("user_id", "\"USER_7\""),
        ("amount", "7.53"),
        ("currency", "\"USD\""),
        ("payment_method", "\"credit_card\""),
    ];
    fields.retain(|(known, _)| *known != name);
    if !raw.is_empty() {
        fields.push((name, raw));
    }
    let members: Vec<String> = fields.iter().map(|(name, raw)| format!("\"{name}\":{raw}")).collect();
    format!("{{{}}}", members.join(","))
}
