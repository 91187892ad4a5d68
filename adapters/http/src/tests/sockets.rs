//! What only a real connection shows: bodies in chunks, time limits, the drain.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::api;
use crate::{Drained, HttpSettings, serve};

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

impl Served {
    #[expect(clippy::disallowed_methods, reason = "the test awaits the server's end")]
    async fn start(settings: HttpSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(serve(listener, api(settings), async {
            let _ = stopped.await;
        }));
        Self { address, stop, ended }
    }

    async fn stop(self) -> Drained {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap()
    }

    /// Sends bytes, and reads until the server closes.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn head(more: &str) -> String {
    format!(
        "POST /api/v1/payment HTTP/1.1\r\nhost: x\r\nconnection: close\r\nidempotency-key: K\r\n\
         content-type: application/json\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn a_body_in_chunks_has_the_same_limit() {
    let served = Served::start(HttpSettings::default()).await;
    let chunk = format!("2000\r\n{}\r\n", " ".repeat(0x2000));
    let huge = format!("{}{}0\r\n\r\n", head("transfer-encoding: chunked\r\n"), chunk.repeat(12));
    let answer = served.exchange(huge.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"code\":\"body_too_large\""), "{answer}");
    let two_chunks = "2\r\n{\"\r\n4\r\nx\":1\r\n1\r\n}\r\n0\r\n\r\n";
    let answer =
        served.exchange(format!("{}{two_chunks}", head("transfer-encoding: chunked\r\n")).as_bytes()).await;
    assert!(answer.contains("\"code\":\"unknown_field\""), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn a_panic_keeps_the_connection() {
    let served = Served::start(HttpSettings::default()).await;
    let mut bytes = "GET /api/v1/payments/P HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
    bytes.push_str("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = served.exchange(bytes.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 500 ").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1, "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let settings = HttpSettings { request_timeout: Duration::from_millis(50), ..HttpSettings::default() };
    let served = Served::start(settings).await;
    let answer = served.exchange(head("content-length: 10\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("retry-after: 1"), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn headers_that_never_come_are_given_up() {
    let settings = HttpSettings { header_timeout: Duration::from_millis(50), ..HttpSettings::default() };
    let served = Served::start(settings).await;
    // Returns, which is the assertion.
    served.exchange(b"POST /api/v1/payment HTTP/1.1\r\n").await;
    served.stop().await;
}

#[tokio::test]
async fn a_drain_closes_what_is_idle_and_waits_for_no_one_else_forever() {
    let served = Served::start(HttpSettings::default()).await;
    let _idle = TcpStream::connect(served.address).await.unwrap();
    let address = served.address;
    assert_eq!(served.stop().await, Drained { open_connections: 0, running_commands: 0 });
    assert!(TcpStream::connect(address).await.is_err());

    let settings = HttpSettings { drain_timeout: Duration::from_millis(50), ..HttpSettings::default() };
    let served = Served::start(settings).await;
    let mut stuck = TcpStream::connect(served.address).await.unwrap();
    stuck.write_all(head("content-length: 10\r\nexpect: 100-continue\r\n").as_bytes()).await.unwrap();
    // The server asks for the body once the request is being served.
    let mut asked = [0; 12];
    stuck.read_exact(&mut asked).await.unwrap();
    assert_eq!(served.stop().await, Drained { open_connections: 1, running_commands: 0 });
}
