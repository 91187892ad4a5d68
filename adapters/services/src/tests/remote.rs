//! What goes over the wire, how often, and what comes back in pieces.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::SetupError;

const PAID: &str = r#"{"status":"succeeded","transaction_id":"txn_1"}"#;

/// A request as the server saw it.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server that writes down what it is sent.
async fn recorder() -> (String, Seen, JoinSet<()>) {
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    let (url, server) = served(Router::new().fallback(
        move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let mut lines = vec![format!("{method} {uri}")];
            for name in ["traceparent", "tracestate", "baggage", "idempotency-key", "content-type"] {
                for value in headers.get_all(name) {
                    lines.push(format!("{name}: {}", value.to_str().unwrap()));
                }
            }
            lines.push(String::from_utf8(body.to_vec()).unwrap());
            record.lock().unwrap().push(lines.join("\n"));
            (StatusCode::CREATED, PAID)
        },
    ))
    .await;
    (url, seen, server)
}

#[tokio::test]
async fn a_charge_carries_its_key_and_its_trace() {
    let (url, seen, _server) = recorder().await;
    assert_eq!(pay(&channel(&format!("{url}/psp/"), PATIENCE), "PAY_42", "credit_card").await, "done");
    let expected = r#"POST /psp/v1/charges
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
tracestate: vendor=1
baggage: user_id=USER_7,request_id=REQ_1
idempotency-key: PAY_42
content-type: application/json
{"payment_id":"PAY_42","amount":"7.53","currency":"USD","payment_method":"credit_card"}"#;
    assert_eq!(*seen.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn an_inquiry_carries_its_trace() {
    let (url, seen, _server) = recorder().await;
    inquire(&channel(&url, PATIENCE), "PAY:4.2-x_Y").await;
    let expected = "GET /v1/charges/PAY:4.2-x_Y
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
tracestate: vendor=1
baggage: user_id=USER_7,request_id=REQ_1
";
    assert_eq!(*seen.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn an_evaluation_carries_its_trace_and_trace_headers_that_are_none_are_left_out() {
    let (url, seen, _server) = recorder().await;
    let context = CommandContext {
        trace: Arc::new(TraceContext {
            traceparent: context().trace.traceparent.clone(),
            tracestate: None,
            baggage: Some("user_id=\r\nx-forged: 1".to_owned()),
        }),
        ..context()
    };
    let yen = Money { minor: 1200, currency: Currency::JPY };
    let request = RiskRequest { amount: yen, ..evaluation("a \"quoted\" method") };
    risk(&url, PATIENCE).evaluate(&request, &context).await.unwrap_err();
    let expected = r#"POST /v1/risk/evaluations
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
content-type: application/json
{"payment_id":"PAY_42","user_id":"USER_7","amount":"1200","currency":"JPY","payment_method":"a \"quoted\" method"}"#;
    assert_eq!(*seen.lock().unwrap(), [expected]);
}

/// Serves connections by hand: `answers[i]` are the bytes for the i-th request over all of them,
/// whereupon the connection is closed if the answer is not whole. Counts the requests.
async fn by_hand(answers: &'static [&'static str]) -> (String, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let mut server = JoinSet::new();
    server.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            serve_by_hand(stream, answers, &counter).await;
        }
    });
    (url, requests, server)
}

async fn serve_by_hand(mut stream: TcpStream, answers: &[&str], requests: &AtomicUsize) {
    let mut received = Vec::new();
    loop {
        // A charge ends with its body's closing brace.
        while received.last() != Some(&b'}') {
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        }
        received.clear();
        let request = requests.fetch_add(1, Ordering::SeqCst);
        let answer = answers.get(request).copied().unwrap_or_default();
        stream.write_all(answer.as_bytes()).await.unwrap();
        if !answer.ends_with('}') {
            return;
        }
    }
}

const WHOLE: &str = "HTTP/1.1 201 Created\r\ncontent-length: 47\r\n\r\n{\"status\":\"succeeded\",\"transaction_id\":\"txn_1\"}";
const BROKEN_OFF: &str = "HTTP/1.1 201 Created\r\ncontent-length: 47\r\n\r\n{\"status\":\"succ";
const NO_HTTP: &str = "220 mail.example ESMTP\r\n\r\n";

#[tokio::test]
async fn a_charge_on_a_connection_that_breaks_is_not_sent_again() {
    // The second request goes over the first one's connection: the case in which a client may be
    // tempted to take the connection for stale and to try another.
    let (url, requests, _server) = by_hand(&[WHOLE, "", WHOLE]).await;
    let channel = channel(&url, PATIENCE);
    assert_eq!(pay(&channel, "PAY_1", "credit_card").await, "done");
    assert_eq!(pay(&channel, "PAY_2", "credit_card").await, "unknown: connection lost");
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    assert_eq!(pay(&channel, "PAY_2", "credit_card").await, "done");
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_no_http_is_unknown() {
    for answers in [&[BROKEN_OFF][..], &[NO_HTTP]] {
        let (url, requests, _server) = by_hand(answers).await;
        let paid = pay(&channel(&url, PATIENCE), "PAY_42", "credit_card").await;
        assert_eq!((paid.as_str(), requests.load(Ordering::SeqCst)), ("unknown: connection lost", 1));
    }
}

#[tokio::test]
async fn an_answer_is_read_up_to_64_kib() {
    for (length, expected) in [(64 * 1024, "done"), (64 * 1024 + 1, "unknown: answer too long")] {
        let body = format!("{}{PAID}", " ".repeat(length - PAID.len()));
        let (url, _server) = served(Router::new().fallback(|| async { (StatusCode::CREATED, body) })).await;
        assert_eq!(pay(&channel(&url, PATIENCE), "PAY_42", "credit_card").await, expected);
    }
}

#[tokio::test]
async fn tls_to_a_server_that_speaks_none_is_a_failed_connection() {
    let sandbox = sandbox().await;
    let url = sandbox.base_url().replace("http://", "https://");
    match HttpChannel::new(&ChannelSettings::at(url)) {
        Ok(channel) => {
            assert_eq!(pay(&channel, "PAY_42", "credit_card").await, "unknown: connection failed");
        }
        // A machine without certificate authorities says so when the client is made.
        Err(error) => assert!(matches!(error, SetupError::Authorities { .. }), "{error}"),
    }
}

#[test]
fn a_wrong_base_url_is_named_without_being_repeated() {
    let refusal = |url: &str| HttpRisk::new(&RiskSettings::at(url)).unwrap_err().to_string();
    let the_url = "the base URL of the risk service";
    for (url, problem) in [
        ("", "is not a URL: empty string"),
        ("risk:8080", "begins with neither http:// nor https://"),
        ("/risk", "begins with neither http:// nor https://"),
        ("ftp://risk:80", "begins with neither http:// nor https://"),
        ("http://me:secret@risk", "has a user name or password in it"),
        ("http://risk?key=secret", "has a query or fragment"),
        ("http://risk/#top", "has a query or fragment"),
    ] {
        assert_eq!(refusal(url), format!("{the_url} {problem}"));
    }
    for url in ["http://risk", "http://[::1]:8080/", "http://risk.internal/psp/"] {
        assert!(HttpRisk::new(&RiskSettings::at(url)).is_ok(), "{url}");
    }
}
