//! Payments in review, as an operator lists and resolves them.

use std::process::Command;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::parts::Parts;
use crate::support::process::program;
use crate::support::read_models::caught_up;
use crate::support::scene::PATIENCE;
use crate::support::{Payment, Scene, eventually};

/// What a run of `payments review ...` came to.
struct Run {
    status: Option<i32>,
    output: String,
    errors: String,
}

fn review(scene: &Scene, arguments: &[&str]) -> Run {
    let mut command = Command::new(program());
    command.arg("review").args(arguments).env("PAYMENTS_DATA_DIR", scene.path());
    let run = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { status: run.status.code(), output: text(run.stdout), errors: text(run.stderr) }
}

fn resolve(scene: &Scene, payment_id: &str, outcome: &[&str]) -> Run {
    let told = [&["resolve", payment_id, "--reason", "by the statement", "--operator", "olga"], outcome];
    review(scene, &told.concat())
}

fn start(name: &str) -> Scene {
    Scene::start_with(
        name,
        &[
            ("PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS", "1200"),
            ("PAYMENTS_SAGA__REVIEW_AFTER_MS", "1500"),
            ("PAYMENTS_SERVICES__CHANNEL_TIMEOUT_MS", "800"),
        ],
    )
}

/// Makes payments whose outcome nobody tells, and waits until they are in review.
async fn never_known(scene: &Scene, payments: &[Payment]) {
    join_all(payments.iter().map(|payment| scene.client.pay(payment))).await;
    for payment in payments {
        let settled = scene.client.settled(&payment.payment_id, PATIENCE).await;
        assert_eq!(settled["status"], "needs_review");
    }
}

fn unknown(user_id: &str, payment_id: &str) -> Payment {
    Payment::of(user_id, payment_id, "7.53").by("card_never_known")
}

/// What `payments review list` shows of all that has happened until now.
async fn listed(scene: &Scene, arguments: &[&str]) -> String {
    caught_up(&scene.database_url()).await;
    let run = review(scene, &[&["list"], arguments].concat());
    assert_eq!((run.status, run.errors.as_str()), (Some(0), ""));
    run.output
}

/// Makes a payment that the channel charges and then falls silent about; the channel's transaction.
async fn charged_unseen(scene: &Scene, payment_id: &str, request: &Value) -> String {
    let falls_silent = async {
        eventually("the channel has charged", async || scene.charge(payment_id).await.is_some()).await;
        scene.sandbox_behaves(&json!({ "stalled": true })).await;
    };
    tokio::join!(scene.client.post("/api/v1/payments", "", request), falls_silent);
    assert_eq!(scene.client.settled(payment_id, PATIENCE).await["status"], "needs_review");
    scene.sandbox_behaves(&json!({})).await;
    scene.charge(payment_id).await.unwrap()["transaction_id"].as_str().unwrap().to_owned()
}

/// Names and positions of a payment's last events.
async fn ending(scene: &Scene, payment_id: &str, count: usize) -> Vec<(String, i64)> {
    let story = scene.story(payment_id).await;
    story[story.len() - count..].to_vec()
}

fn names(events: &[(String, i64)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_not_paid_fails_and_gives_its_hold_back() {
    let scene = start("review-not-paid");
    let account = scene.account("alice", "USD", "100.00").await;
    let payment = unknown("alice", "p1");
    never_known(&scene, std::slice::from_ref(&payment)).await;
    let first = scene.client.pay(&payment).await;

    let done = resolve(&scene, "p1", &["--not-paid"]);
    assert_eq!(done.status, Some(0), "{}", done.errors);
    assert!(done.output.starts_with("payment p1 is failed now"), "{}", done.output);
    let end = ending(&scene, "p1", 4).await;
    assert_eq!(names(&end), ["ReviewRequired", "ReviewResolved", "PaymentFailed", "HoldReleased"]);
    assert_eq!((end[2].1, end[3].1), (end[1].1 + 1, end[1].1 + 2), "one append");
    assert_eq!(scene.balance(&account).await, ["100.00", "0.00", "100.00"]);
    let read = scene.client.payment("p1").await.body;
    assert_eq!((&read["status"], &read["failure"]["code"]), (&json!("failed"), &json!("reviewed_not_paid")));

    // It is recorded who said so, and how they know.
    let story = scene.client.get("/api/v1/payments/p1/events").await.body;
    let resolved = story["data"].as_array().unwrap().iter().find(|event| event["type"] == "ReviewResolved");
    let resolved = resolved.unwrap();
    let expected = json!({ "outcome": "not_paid", "operator": "olga", "reason": "by the statement" });
    assert_eq!((&resolved["payload"], &resolved["actor"]), (&expected, &json!("operator:olga")));
    let required = story["data"].as_array().unwrap().iter().find(|event| event["type"] == "ReviewRequired");
    assert_eq!(resolved["causation_id"], required.unwrap()["event_id"]);

    // Said again it is fine; said otherwise it is refused; the request keeps its answer.
    let head = scene.books().await.events;
    let again = resolve(&scene, "p1", &["--not-paid", "--json"]);
    let told: Value = serde_json::from_str(&again.output).unwrap();
    assert_eq!(
        (again.status, &told["resolved_now"], &told["status"]),
        (Some(0), &json!(false), &json!("failed"))
    );
    let otherwise = resolve(&scene, "p1", &["--paid", "--transaction-id", "txn_1"]);
    assert_eq!(otherwise.status, Some(1));
    let refusal = "payment p1 has ended otherwise: failed, reviewed_not_paid";
    assert!(otherwise.errors.contains(refusal), "{}", otherwise.errors);
    let repeat = scene.client.pay(&payment).await;
    assert_eq!((repeat.text, repeat.replayed), (first.text, true), "byte for byte");
    assert_eq!(scene.books().await.events, head, "none of this is an event");
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_paid_completes_with_the_channels_transaction() {
    let scene = start("review-paid");
    let account = scene.account("alice", "USD", "100.00").await;
    let payment = Payment::of("alice", "p1", "7.53").by("card_lost_answer");
    let transaction_id = charged_unseen(&scene, "p1", &payment.body()).await;
    assert_eq!(scene.balance(&account).await, ["100.00", "7.53", "92.47"]);

    let paid = ["--paid", "--transaction-id", &transaction_id];
    let done = resolve(&scene, "p1", &paid);
    assert_eq!(done.status, Some(0), "{}", done.errors);
    assert!(done.output.starts_with("payment p1 is completed now"), "{}", done.output);
    let end = ending(&scene, "p1", 4).await;
    assert_eq!(names(&end), ["ReviewResolved", "PaymentCompleted", "HoldCaptured", "FundsCredited"]);
    assert_eq!(end[3].1, end[0].1 + 3, "one append");
    assert_eq!(scene.balance(&account).await, ["92.47", "0.00", "92.47"]);
    let read = scene.client.payment("p1").await.body;
    assert_eq!((&read["status"], &read["transaction_id"]), (&json!("completed"), &json!(transaction_id)));

    let again = resolve(&scene, "p1", &paid);
    assert_eq!(again.status, Some(0), "{}", again.errors);
    assert!(again.output.contains("it had ended so before, nothing was changed"), "{}", again.output);
    for otherwise in [&["--not-paid"][..], &["--paid", "--transaction-id", "another"]] {
        let refused = resolve(&scene, "p1", otherwise);
        assert_eq!(refused.status, Some(1), "{}", refused.output);
        let refusal = format!("has ended otherwise: completed, transaction {transaction_id}");
        assert!(refused.errors.contains(&refusal), "{}", refused.errors);
    }
    assert_eq!(scene.balance(&account).await, ["92.47", "0.00", "92.47"]);
    // The channel has charged once, with the amount that the books have: it was never asked again.
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_captured_by_hand_is_authorized_and_keeps_its_hold() {
    let scene = start("review-manual");
    let account = scene.account("alice", "USD", "100.00").await;
    let request = json!({ "payment_id": "p1", "user_id": "alice", "amount": "7.53", "currency": "USD",
        "payment_method": "card_lost_answer", "idempotency_key": "k", "capture": "manual" });
    let transaction_id = charged_unseen(&scene, "p1", &request).await;
    let done = resolve(&scene, "p1", &["--paid", "--transaction-id", &transaction_id]);
    assert_eq!(done.status, Some(0), "{}", done.errors);
    assert!(done.output.starts_with("payment p1 is authorized now"), "{}", done.output);
    assert_eq!(names(&ending(&scene, "p1", 2).await), ["ReviewResolved", "PaymentAuthorized"]);
    assert_eq!(scene.balance(&account).await, ["100.00", "7.53", "92.47"]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_in_review_are_listed_until_they_are_resolved() {
    let scene = start("review-list");
    scene.account("alice", "USD", "100.00").await;
    scene.account("bob", "USD", "100.00").await;
    let head = scene.client.head().await;
    assert_eq!(listed(&scene, &[]).await, format!("no payment is in review as of position {head}\n"));
    assert_eq!(listed(&scene, &["--json"]).await, "");

    scene.client.pay(&Payment::of("alice", "paid", "1.00")).await;
    never_known(&scene, &[unknown("bob", "first")]).await;
    never_known(&scene, &[unknown("alice", "second")]).await;
    let found = listed(&scene, &["--json"]).await;
    let found: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = found.iter().map(|line| line["payment_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["first", "second"], "who waits longest comes first");
    let first = &found[0];
    assert_eq!(
        (&first["user_id"], &first["amount"], &first["currency"]),
        (&json!("bob"), &json!("7.53"), &json!("USD"))
    );
    assert_eq!(first["reason"], "the channel has not said whether it paid");
    let story = scene.client.get("/api/v1/payments/first/events").await.body;
    let required = story["data"].as_array().unwrap().iter().find(|event| event["type"] == "ReviewRequired");
    assert_eq!(first["required_at"], required.unwrap()["recorded_at"]);
    let ages = [&found[0], &found[1]].map(|line| line["age_seconds"].as_i64().unwrap());
    assert!(ages[0] > ages[1] && ages[1] >= 0 && ages[0] < 60, "{ages:?}");
    let lines = listed(&scene, &[]).await;
    let line = lines.lines().next().unwrap();
    assert!(["first", "bob", "7.53 USD", "has not said"].iter().all(|part| line.contains(part)), "{line}");
    let head = scene.client.head().await;
    assert_eq!(lines.lines().last(), Some(format!("2 in review as of position {head}").as_str()));

    // Whoever does not give a name has the system's.
    let done = review(&scene, &["resolve", "first", "--not-paid", "--reason", "no record of it"]);
    assert_eq!(done.status, Some(0), "{}", done.errors);
    let me = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let story =
        Command::new(program()).args(["events", "list"]).env("PAYMENTS_DATA_DIR", scene.path()).output();
    let story = String::from_utf8(story.unwrap().stdout).unwrap();
    assert!(story.contains(&format!("by {}: no record of it", me.trim())), "{story}");
    let left = listed(&scene, &[]).await;
    assert!(left.starts_with("second ") && left.contains("\n1 in review as of position "), "{left}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_may_not_be_all_says_why() {
    let parts = Parts::start("review-doubt").await;
    parts.client.funded("alice", "10.00").await;
    parts.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    let head = parts.client.head().await;
    // Not a word of it is for machines.
    let list = || {
        let (status, output, errors) = parts.tool(&["review", "list", "--json"]);
        assert_eq!((status, output.as_str()), (Some(0), ""), "{errors}");
        errors
    };
    // Nobody has ever projected.
    let behind = format!("the projection payments is at position 0, {head} events and ");
    eventually("it is behind by more than a little", async || list().contains(&behind)).await;
    let (_, output, _) = parts.tool(&["review", "list"]);
    assert_eq!(output, "no payment is in review as of position 0\n");

    let projector = parts.projector();
    caught_up(&parts.database.url()).await;
    assert_eq!(list(), "");
    projector.stop();
    // As an older program would have left it, and as an event would that cannot be folded.
    let mut connection = parts.database.connect().await;
    for (change, said) in [
        (
            "update projections set fold_hash = '\\x00' where name = 'payments'",
            "this may not be all: the projection payments was made by another version",
        ),
        (
            "update projections set failed_position = 7, failed_event_id = gen_random_uuid(),
                    failed_reason = 'no such event', failed_at = now() where name = 'payments'",
            "the projection payments stopped at position 7, which it cannot fold: no such event; look at",
        ),
    ] {
        sqlx::query(change).execute(&mut connection).await.unwrap();
        let told = list();
        assert!(told.contains(said) && told.lines().count() == 1, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_resolved_is_refused_by_name() {
    let scene = start("review-refused");
    scene.account("alice", "USD", "100.00").await;
    scene.client.pay(&Payment::of("alice", "paid", "1.00")).await;
    scene.client.pay(&Payment::of("alice", "declined", "1.00").by("card_declined")).await;
    let head = scene.books().await.events;
    for (payment_id, said) in [
        ("nobody", "there is no payment nobody"),
        ("paid", "payment paid has ended otherwise: completed, transaction"),
        ("declined", "payment declined has ended otherwise: failed, channel_declined"),
    ] {
        let refused = resolve(&scene, payment_id, &["--not-paid"]);
        assert_eq!(refused.status, Some(1), "{}", refused.output);
        assert!(refused.errors.contains(said), "{}", refused.errors);
    }
    assert_eq!(scene.books().await.events, head, "a refusal records nothing");

    // Under way, it is the engine's.
    scene.sandbox_behaves(&json!({ "stalled": true })).await;
    let pay = async { scene.client.pay(&Payment::of("alice", "open", "1.00")).await };
    let (_, refused) = tokio::join!(pay, async {
        eventually("it is reserved", async || scene.client.payment("open").await.status == 200).await;
        resolve(&scene, "open", &["--not-paid"])
    });
    assert_eq!(refused.status, Some(1), "{}", refused.output);
    assert!(refused.errors.contains("payment open is not in review but"), "{}", refused.errors);
    scene.sandbox_behaves(&json!({})).await;
    scene.settled().await;
    scene.end().await;
}

#[test]
fn wrong_usage_is_status_2_and_names_what_is_wrong() {
    let because = ["--reason", "r"];
    let long = "x".repeat(257);
    for (arguments, named) in [
        (&["p1", "--reason", "r"][..], "--paid"),
        (&[&["p1", "--paid"], &because[..]].concat(), "--transaction-id"),
        (&[&["p1", "--not-paid", "--transaction-id", "t"], &because[..]].concat(), "--transaction-id"),
        (&[&["p1", "--paid", "--not-paid", "--transaction-id", "t"], &because[..]].concat(), "--not-paid"),
        (&["p1", "--not-paid"], "--reason"),
        (&["p1", "--not-paid", "--reason", " "], "--reason"),
        (&["p1", "--not-paid", "--reason", &long], "at most 256"),
        (&["p1", "--not-paid", "--reason", "a\nb"], "--reason"),
        (&[&["p1", "--not-paid", "--operator", ""], &because[..]].concat(), "--operator"),
        (&[&["p 1", "--not-paid"], &because[..]].concat(), "PAYMENT_ID"),
        (&[&["p1", "--paid", "--transaction-id", "t/1"], &because[..]].concat(), "--transaction-id"),
    ] {
        let run = Command::new(program()).args(["review", "resolve"]).args(arguments).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(named), "{arguments:?}: {said}");
    }
    let nowhere = Command::new(program())
        .args(["review", "list"])
        .env_remove("DATABASE_URL")
        .env_remove("PAYMENTS_DATA_DIR")
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8(nowhere.stderr).unwrap().contains("which database?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_who_differ_one_is_refused() {
    let scene = start("review-race");
    let account = scene.account("alice", "USD", "100.00").await;
    let payments: Vec<Payment> = (0..6).map(|number| unknown("alice", &format!("p{number}"))).collect();
    never_known(&scene, &payments).await;
    for Payment { payment_id, .. } in &payments {
        let (paid, not_paid) = std::thread::scope(|scope| {
            let paid =
                scope.spawn(|| resolve(&scene, payment_id, &["--paid", "--transaction-id", "txn_said"]));
            let not_paid = resolve(&scene, payment_id, &["--not-paid"]);
            (paid.join().unwrap(), not_paid)
        });
        let statuses = [paid.status, not_paid.status];
        assert!(statuses == [Some(0), Some(1)] || statuses == [Some(1), Some(0)], "{statuses:?}");
        let refused = if paid.status == Some(1) { paid } else { not_paid };
        assert!(refused.errors.contains("has ended otherwise"), "{}", refused.errors);
    }
    assert_eq!(scene.balance(&account).await[1], "0.00", "nothing is held any more");
    // What the operators say here is not what the channel did, so only the books are looked at.
    scene.books().await.all_settled();
}
