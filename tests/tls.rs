//! The API by TLS: who trusts the authority is served, and the certificate changes while the engine runs.

use std::process::Command;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, SupportedProtocolVersion};

use crate::support::authority::Authority;
use crate::support::folder::Folder;
use crate::support::process::program;
use crate::support::raw::{connect, exchange, until_closed};
use crate::support::{Scene, eventually};

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

async fn handshake(
    url: &str,
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let stream = connect(url).await;
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

/// The certificate that is shown now.
async fn shown(url: &str, authority: &Authority) -> Vec<u8> {
    let stream = handshake(url, authority, &TLS13).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_served_by_tls_and_its_certificate_is_renewed() {
    let (folder, authority) = (Folder::new("tls-files"), Authority::new());
    let [certificate, key] = authority.write_server(folder.path());
    let scene = Scene::start_with(
        "tls",
        &[
            ("PAYMENTS_HTTP__TLS__CERTIFICATE_FILE", certificate.to_str().unwrap().to_owned().leak()),
            ("PAYMENTS_HTTP__TLS__KEY_FILE", key.to_str().unwrap().to_owned().leak()),
            ("PAYMENTS_HTTP__HEADER_TIMEOUT_MS", "1000"),
        ],
    );
    let url = scene.url();
    assert!(url.starts_with("https://"), "{url}");
    for version in [&TLS12, &TLS13] {
        let mut stream = handshake(url, &authority, version).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        let answer = until_closed(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age="), "{answer}");
    }
    assert!(handshake(url, &Authority::new(), &TLS13).await.is_err(), "a stranger does not trust it");
    // Plain HTTP is not served; who connects and says nothing is given up.
    assert!(!exchange(url, ASK).await.contains("HTTP/1.1 200"));
    assert_eq!(until_closed(&mut connect(url).await).await, "");

    let first = shown(url, &authority).await;
    std::fs::write(&certificate, "no certificate").unwrap();
    eventually("the engine says so", async || {
        let log = std::fs::read_to_string(scene.path().join("engine.log")).unwrap();
        log.contains("the TLS certificate cannot be renewed")
    })
    .await;
    assert_eq!(shown(url, &authority).await, first, "the one before is shown");
    authority.write_server(folder.path());
    eventually("the new one is shown", async || shown(url, &authority).await != first).await;
    scene.stopped();
}

#[test]
fn a_file_that_is_wrong_is_named_at_start() {
    let (folder, authority) = (Folder::new("tls-wrong"), Authority::new());
    let [certificate, key] = authority.write_server(folder.path());
    let nowhere = folder.path().join("nowhere.pem");
    for (certificate_file, key_file, said) in [
        (&nowhere, &key, "settings: http.tls.certificate_file ("),
        (&key, &key, "settings: http.tls.certificate_file ("),
        (&certificate, &certificate, "settings: http.tls.key_file ("),
    ] {
        let started = Command::new(program())
            .args(["dev", "--port", "0", "--data-dir", folder.path().join("data").to_str().unwrap()])
            .env("PAYMENTS_HTTP__TLS__CERTIFICATE_FILE", certificate_file)
            .env("PAYMENTS_HTTP__TLS__KEY_FILE", key_file)
            .output()
            .unwrap();
        let told = String::from_utf8(started.stderr).unwrap();
        assert!(!started.status.success() && told.contains(said), "{told}");
    }
}
