//! The thinnest whole path: an account, a payment, its story.

use std::time::Duration;

use adapter_postgres::embedded::EmbeddedPostgres;

use crate::support::process::folder;
use crate::support::{Books, Client, Engine, Payment, SandboxProcess};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_completes_and_the_books_agree_with_the_channel() {
    let folder = folder("smoke");
    let sandbox = SandboxProcess::start(folder.path());
    let engine = Engine::start(folder.path(), &sandbox);
    let client = Client::new(engine.url());
    client.funded("alice", "100.00").await;

    let paid = client.pay(&Payment::of("alice", "p1", "7.53")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    assert_eq!(paid.body["status"], "completed");
    assert_eq!(paid.body["balance"]["available"], "92.47");
    let declined = client.pay(&Payment::of("alice", "p2", "1.00").by("card_declined")).await;
    assert_eq!((declined.status, declined.body["code"].as_str()), (422, Some("channel_declined")));
    assert_eq!(client.settled("p2", Duration::from_secs(5)).await["status"], "failed");

    let story = client.get("/api/v1/payments/p1/events").await;
    let types: Vec<_> =
        story.body["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "PaymentInitiated",
            "RiskAssessed",
            "FundsReserved",
            "FundsHeld",
            "PaymentCompleted",
            "HoldCaptured",
            "FundsCredited"
        ]
    );
    let books = Books::audit(&EmbeddedPostgres::database_url_for(folder.path()).unwrap()).await;
    books.all_settled();
    books.agree_with_channel(&sandbox, true).await;
    engine.stop();
}
