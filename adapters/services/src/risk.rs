//! The client of the risk service.
//!
//! `POST {base_url}/v1/risk/evaluations` with `{"payment_id", "user_id", "amount", "currency",
//! "payment_method"}` answers 200 `{"level": "low" | "medium" | "high", "score": 0 to 100}`.
//! Whatever else comes is [`RiskUnavailable`]: the saga then decides by the amount.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use commands::context::CommandContext;
use commands::ports::{RiskRequest, RiskService, RiskUnavailable, RiskVerdict};
use domain::Money;
use domain::payment::RiskLevel;
use hyper::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use crate::breaker::Breaker;
use crate::remote::{self, Limits, NoReply, Remote, Reply, SetupError};

/// Where the risk service is and how long it is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskSettings {
    /// `http://HOST:PORT` or `https://HOST:PORT`, with a path prefix if need be.
    pub base_url: String,
    /// How long it is waited for, and how much it may take up.
    pub limits: Limits,
}

impl RiskSettings {
    /// The defaults: 1 s, and those of the breaker.
    #[must_use]
    pub fn at(base_url: impl Into<String>) -> Self {
        Self { base_url: base_url.into(), limits: Limits::waiting(Duration::from_secs(1)) }
    }
}

/// The risk service, asked over HTTP.
#[derive(Debug)]
pub struct HttpRisk {
    remote: Remote,
    evaluations: Uri,
}

impl HttpRisk {
    /// Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// When the base URL is none, or is `https` on a machine without certificate authorities.
    pub fn new(settings: &RiskSettings) -> Result<Self, SetupError> {
        let service = "risk";
        let remote = Remote::new(service, &settings.base_url, settings.limits)?;
        let evaluations =
            remote.uri("/v1/risk/evaluations").map_err(|source| SetupError::NotAUrl { service, source })?;
        Ok(Self { remote, evaluations })
    }

    /// Its breaker. While that is open every evaluation is refused at once with `breaker open`.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        self.remote.breaker()
    }

    async fn ask(&self, request: &RiskRequest, context: &CommandContext) -> Result<Reply, NoReply> {
        let body = Evaluation {
            payment_id: request.payment_id.as_str(),
            user_id: request.user_id.as_str(),
            amount: request.amount,
            currency: request.amount.currency.code(),
            payment_method: &request.payment_method,
        };
        self.remote.ask(remote::post(self.evaluations.clone(), &body, context)?).await
    }
}

#[async_trait]
impl RiskService for HttpRisk {
    async fn evaluate(
        &self,
        request: &RiskRequest,
        context: &CommandContext,
    ) -> Result<RiskVerdict, RiskUnavailable> {
        let verdict = match self.ask(request, context).await {
            Ok(reply) => verdict(&reply),
            Err(no_reply) => Err(no_reply.to_string()),
        };
        verdict.map_err(|reason| RiskUnavailable { reason })
    }
}

fn verdict(reply: &Reply) -> Result<RiskVerdict, String> {
    if reply.status != StatusCode::OK {
        return Err(format!("status {}", reply.status.as_u16()));
    }
    serde_json::from_slice::<Verdict<'_>>(&reply.body)
        .ok()
        .and_then(|verdict| verdict.check())
        .ok_or_else(|| "status 200 without a verdict".to_owned())
}

#[derive(Serialize)]
struct Evaluation<'a> {
    payment_id: &'a str,
    user_id: &'a str,
    #[serde(serialize_with = "remote::decimal")]
    amount: Money,
    currency: &'static str,
    payment_method: &'a str,
}

#[derive(Deserialize)]
struct Verdict<'a> {
    #[serde(borrow)]
    level: Cow<'a, str>,
    score: u8,
}

impl Verdict<'_> {
    fn check(&self) -> Option<RiskVerdict> {
        let level = match &*self.level {
            "low" => RiskLevel::Low,
            "medium" => RiskLevel::Medium,
            "high" => RiskLevel::High,
            // A level we do not know may be the highest of all.
            _ => return None,
        };
        (self.score <= 100).then_some(RiskVerdict { level, score: self.score })
    }
}
