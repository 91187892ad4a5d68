//! The clients against the real sandbox, and against servers that misbehave as no sandbox does.

mod breaker;
mod channel;
mod remote;
mod risk;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use commands::context::{CommandContext, TraceContext};
use commands::ports::{ChannelAnswer, ChannelOrder, Charge, PaymentChannel, RiskRequest, RiskService};
use domain::payment::CaptureMode;
use domain::{Currency, Money, PaymentId, RefundId, UserId};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::breaker::BreakerSettings;
use crate::channel::{ChannelSettings, HttpChannel};
use crate::risk::{HttpRisk, RiskSettings};
use crate::sandbox::{Behaviour, Sandbox, SandboxSettings};

/// How long a test waits where it expects an answer, and where it expects none.
const PATIENCE: Duration = Duration::from_secs(20);
const HASTE: Duration = Duration::from_millis(150);

async fn sandbox() -> Sandbox {
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    let settings = SandboxSettings { address, record_dir: None, behaviour: Behaviour::default() };
    Sandbox::start(settings).await.unwrap()
}

fn channel(base_url: &str, timeout: Duration) -> HttpChannel {
    HttpChannel::new(&ChannelSettings { timeout, ..ChannelSettings::at(base_url) }).unwrap()
}

fn risk(base_url: &str, timeout: Duration) -> HttpRisk {
    HttpRisk::new(&RiskSettings { timeout, ..RiskSettings::at(base_url) }).unwrap()
}

/// Serves a router for as long as the set lives.
async fn served(router: Router) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, server)
}

/// The address of a port that nothing listens on.
async fn nowhere() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn context() -> CommandContext {
    CommandContext {
        correlation_id: Arc::from("PAY_42"),
        causation_id: Arc::from("REQ_1"),
        actor: Arc::from("client"),
        trace: Arc::new(TraceContext {
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned(),
            tracestate: Some("vendor=1".to_owned()),
            baggage: Some("user_id=USER_7,request_id=REQ_1".to_owned()),
        }),
    }
}

fn payment(id: &str) -> PaymentId {
    PaymentId::parse(id).unwrap()
}

fn amount() -> Money {
    Money { minor: 753, currency: Currency::USD }
}

fn charge(id: &str, payment_method: &str) -> Charge {
    Charge {
        payment_id: payment(id),
        amount: amount(),
        payment_method: payment_method.to_owned(),
        capture: CaptureMode::Automatic,
    }
}

fn evaluation(payment_method: &str) -> RiskRequest {
    RiskRequest {
        payment_id: payment("PAY_42"),
        user_id: UserId::parse("USER_7").unwrap(),
        amount: amount(),
        payment_method: payment_method.to_owned(),
    }
}

/// An answer in one line.
fn said(answer: ChannelAnswer) -> String {
    match answer {
        ChannelAnswer::Done { transaction_id } => {
            assert!(transaction_id.as_str().starts_with("txn_"), "{transaction_id}");
            "done".to_owned()
        }
        ChannelAnswer::Declined { reason } => format!("declined: {reason}"),
        ChannelAnswer::NotFound => "not found".to_owned(),
        ChannelAnswer::Unknown { reason } => format!("unknown: {reason}"),
    }
}

async fn pay(channel: &HttpChannel, id: &str, payment_method: &str) -> String {
    said(channel.carry_out(&ChannelOrder::Pay(charge(id, payment_method)), &context()).await)
}

async fn inquire(channel: &HttpChannel, id: &str) -> String {
    said(channel.inquire(&ChannelOrder::Pay(charge(id, "credit_card")), &context()).await)
}

/// The verdict or its absence in one line.
async fn evaluate(risk: &HttpRisk, payment_method: &str) -> String {
    match risk.evaluate(&evaluation(payment_method), &context()).await {
        Ok(verdict) => format!("{} {}", verdict.level.name(), verdict.score),
        Err(unavailable) => format!("unavailable: {}", unavailable.reason),
    }
}
