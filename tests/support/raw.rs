//! Bytes to a server as they are, for what no client library would send.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scene::PATIENCE;

/// Opens a connection to where a URL leads.
pub(crate) async fn connect(url: &str) -> TcpStream {
    let address = url.split_once("://").unwrap().1;
    TcpStream::connect(address).await.unwrap()
}

/// Sends bytes and reads until the server closes; what has come by then, a reset included.
pub(crate) async fn exchange(url: &str, bytes: &[u8]) -> String {
    let mut stream = connect(url).await;
    // A server that refuses need not read to the end.
    let _ = stream.write_all(bytes).await;
    until_closed(&mut stream).await
}

/// Reads until the server closes. One that does not fails the test.
pub(crate) async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = vec![];
    let read = async {
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server closes");
    String::from_utf8(answer).unwrap()
}

/// Sends a byte at a time, with pauses, until the server closes; what it has said.
pub(crate) async fn drip(url: &str, head: &str, bytes: &str) -> String {
    let stream = connect(url).await;
    let (mut from, mut to) = stream.into_split();
    to.write_all(head.as_bytes()).await.unwrap();
    let dripping = async {
        for byte in bytes.bytes().cycle() {
            if to.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! { answer = until_closed(&mut from) => answer, () = dripping => unreachable!() }
}
