//! A client of the API, as an integrator would write one.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// An answer: status, headers of interest, body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    /// A header's text, empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The stable code of a problem, empty for what is none.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// Talks to one engine.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
}

/// A payment to ask for.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(crate) payment_id: String,
    pub(crate) user_id: String,
    pub(crate) amount: String,
    pub(crate) method: String,
    pub(crate) key: String,
}

impl Payment {
    pub(crate) fn of(user_id: &str, payment_id: &str, amount: &str) -> Self {
        Self {
            payment_id: payment_id.to_owned(),
            user_id: user_id.to_owned(),
            amount: amount.to_owned(),
            method: "credit_card".to_owned(),
            key: format!("key-{payment_id}"),
        }
    }

    pub(crate) fn by(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    pub(crate) fn body(&self) -> Value {
        json!({
            "payment_id": self.payment_id, "user_id": self.user_id, "amount": self.amount,
            "currency": "USD", "payment_method": self.method, "idempotency_key": self.key,
        })
    }
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        Self::patient_for(base, Duration::from_secs(20))
    }

    /// A client that hangs up after a while.
    pub(crate) fn patient_for(base: &str, patience: Duration) -> Self {
        let http = reqwest::Client::builder().timeout(patience).build().unwrap();
        Self { base: base.to_owned(), http }
    }

    pub(crate) async fn try_post(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.post(format!("{}{path}", self.base)).json(body);
        if !key.is_empty() {
            request = request.header("Idempotency-Key", key);
        }
        Self::answer(request.send().await?).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.try_post(path, key, body).await.unwrap()
    }

    /// Posts bytes as they are.
    pub(crate) async fn post_raw(
        &self,
        path: &str,
        content_type: Option<&str>,
        key: Option<&str>,
        body: Vec<u8>,
    ) -> Answer {
        let mut request = self.http.post(format!("{}{path}", self.base)).body(body);
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        Self::answer(request.send().await.unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Self::answer(self.http.get(format!("{}{path}", self.base)).send().await.unwrap()).await.unwrap()
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        let request = self.http.patch(format!("{}{path}", self.base)).json(body);
        Self::answer(request.send().await.unwrap()).await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Self::answer(self.http.delete(format!("{}{path}", self.base)).send().await.unwrap()).await.unwrap()
    }

    pub(crate) async fn try_pay(&self, payment: &Payment) -> Result<Answer, reqwest::Error> {
        self.try_post("/api/v1/payments", "", &payment.body()).await
    }

    /// Asks for an authorization: a payment to be captured by hand.
    pub(crate) async fn authorize(&self, payment: &Payment) -> Answer {
        let mut body = payment.body();
        body["capture"] = json!("manual");
        self.post("/api/v1/payments", "", &body).await
    }

    /// Asks for a change of a payment: `capture`, `void`, `refunds`, `review`.
    pub(crate) async fn change(&self, payment_id: &str, change: &str, key: &str, body: &Value) -> Answer {
        self.post(&format!("/api/v1/payments/{payment_id}/{change}"), key, body).await
    }

    pub(crate) async fn pay(&self, payment: &Payment) -> Answer {
        self.try_pay(payment).await.unwrap()
    }

    /// Opens an account in USD and fills it; returns its id.
    pub(crate) async fn funded(&self, user_id: &str, amount: &str) -> String {
        let opened = self
            .post(
                "/api/v1/accounts",
                &format!("open-{user_id}"),
                &json!({ "user_id": user_id, "currency": "USD" }),
            )
            .await;
        assert_eq!(opened.status, 201, "{}", opened.text);
        let id = opened.body["account_id"].as_str().unwrap().to_owned();
        let body = json!({ "amount": amount, "currency": "USD", "reference": "test" });
        let filled =
            self.post(&format!("/api/v1/accounts/{id}/deposits"), &format!("fill-{user_id}"), &body).await;
        assert_eq!(filled.status, 201, "{}", filled.text);
        id
    }

    /// Position of the last event, as the engine tells it.
    pub(crate) async fn head(&self) -> i64 {
        let ready = self.get("/readyz").await;
        let projection = &ready.body["projections"][0];
        projection["position"].as_i64().unwrap() + projection["lag"].as_i64().unwrap()
    }

    /// An account with all that has happened to it until now.
    pub(crate) async fn account(&self, account_id: &str) -> Answer {
        let head = self.head().await;
        self.get(&format!("/api/v1/accounts/{account_id}?min_position={head}")).await
    }

    pub(crate) async fn payment(&self, payment_id: &str) -> Answer {
        self.get(&format!("/api/v1/payments/{payment_id}")).await
    }

    /// Polls until the payment is settled; a payment that never is fails the test.
    pub(crate) async fn settled(&self, payment_id: &str, within: Duration) -> Value {
        let end = Instant::now() + within;
        loop {
            let payment = self.payment(payment_id).await;
            if payment.status == 200 && payment.body["status"] != "processing" {
                return payment.body;
            }
            assert!(Instant::now() < end, "payment {payment_id} is not settled: {}", payment.text);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Polls until the engine takes requests again.
    pub(crate) async fn ready(&self, within: Duration) {
        let end = Instant::now() + within;
        loop {
            if let Ok(response) = self.http.get(format!("{}/readyz", self.base)).send().await
                && response.status() == StatusCode::OK
            {
                return;
            }
            assert!(Instant::now() < end, "the engine does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn answer(response: reqwest::Response) -> Result<Answer, reqwest::Error> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let replayed = headers.contains_key("idempotency-replayed");
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, replayed, headers, text, body })
    }
}
