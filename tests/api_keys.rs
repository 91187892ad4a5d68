//! Keys of the API: who has none, a wrong one or the wrong scope gets nothing, and callers do not meet.

use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::parts::{Parts, tool};
use crate::support::{Client, Payment, Scene, eventually};

/// What was read of a key is taken for true for so long, which a test waits for.
const QUICK: &[(&str, &str)] = &[("PAYMENTS_HTTP__KEY_CACHE_MS", "200")];

const PAYMENTS: &str = "/api/v1/payments";

#[track_caller]
fn is_refused(answer: &Answer, status: u16, code: &str, challenge: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
    assert_eq!(answer.header("www-authenticate"), challenge, "{}", answer.text);
    assert_eq!(answer.body["trace_id"].as_str().unwrap().len(), 32, "{}", answer.text);
}

const INVALID: &str = r#"Bearer realm="payments", error="invalid_token""#;

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_or_a_wrong_one_gets_nothing() {
    let parts = Parts::start_guarded("keys-wrong", QUICK).await;
    let url = parts.api.url();
    let nobody = parts.client.get(PAYMENTS).await;
    is_refused(&nobody, 401, "unauthenticated", r#"Bearer realm="payments""#);
    let pay = parts.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    is_refused(&pay, 401, "unauthenticated", r#"Bearer realm="payments""#);
    is_refused(
        &parts.client.get("/api/v1/nothing").await,
        401,
        "unauthenticated",
        r#"Bearer realm="payments""#,
    );
    // Whoever watches the process needs none.
    assert_eq!(parts.client.get("/readyz").await.status, 200);

    let key = parts.key("shop", "read,write,operate");
    assert_eq!(Client::with_key(url, &key).get("/api/v1/events").await.status, 200);
    let (start, secret) = key.split_at(key.len() - 43);
    let other_secret: String = secret.chars().rev().collect();
    let other_id = start.replace(|c: char| c.is_ascii_digit(), "a");
    let mut said = vec![];
    for wrong in [
        format!("{start}{other_secret}"),
        format!("{other_id}{secret}"),
        format!("{key}A"),
        key[..key.len() - 1].to_owned(),
        key.to_uppercase(),
        "pk_".to_owned(),
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzaG9wIn0.".to_owned(),
    ] {
        let answer = Client::with_key(url, &wrong).get("/api/v1/events").await;
        is_refused(&answer, 401, "unauthenticated", INVALID);
        assert!(!answer.text.contains(secret));
        said.push(answer.body["detail"].clone());
    }
    // Which part of it was nearly right is not said.
    assert!(said.iter().all(|detail| *detail == said[0]), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_opens_what_it_names_and_nothing_else() {
    let parts = Parts::start_guarded("keys-scopes", QUICK).await;
    let _projector = parts.projector();
    let writer = parts.caller("shop", "write");
    let reader = parts.caller("shop", "read");
    let operator = parts.caller("desk", "operate");
    let account = writer.funded("alice", "100.00").await;
    let lacks =
        |scope: &str| format!(r#"Bearer realm="payments", error="insufficient_scope", scope="{scope}""#);
    let freeze = format!("/api/v1/accounts/{account}/freeze");
    let statement = format!("/api/v1/accounts/{account}/entries");

    let paid = reader.pay(&Payment::of("alice", "p1", "1.00")).await;
    is_refused(&paid, 403, "insufficient_scope", &lacks("write"));
    assert!(paid.body["detail"].as_str().unwrap().contains("`write`"));
    is_refused(&writer.get(&statement).await, 403, "insufficient_scope", &lacks("read"));
    is_refused(&operator.get(&statement).await, 403, "insufficient_scope", &lacks("read"));
    for client in [&reader, &writer] {
        for path in ["/api/v1/events", "/api/v1/webhooks", "/api/v1/deliveries"] {
            is_refused(&client.get(path).await, 403, "insufficient_scope", &lacks("operate"));
        }
        let frozen = client.post(&freeze, "f1", &json!({})).await;
        is_refused(&frozen, 403, "insufficient_scope", &lacks("operate"));
    }
    assert_eq!(operator.post(&freeze, "f1", &json!({})).await.status, 200);
    assert_eq!(reader.get(&statement).await.status, 200);
    assert_eq!(operator.get("/api/v1/events").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_revoked_or_has_expired_is_good_for_nothing() {
    let parts = Parts::start_guarded("keys-ended", QUICK).await;
    let (url, key) = (parts.api.url(), parts.key("shop", "operate"));
    let client = Client::with_key(url, &key);
    assert_eq!(client.get("/api/v1/events").await.status, 200);
    let id = &key[..19];
    let (status, told, _) = parts.tool(&["keys", "revoke", id, "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, &told["id"], &told["status"]), (Some(0), &json!(id), &json!("revoked")));
    eventually("it is revoked", async || client.get("/api/v1/events").await.status == 401).await;
    is_refused(&client.get("/api/v1/events").await, 401, "key_revoked", INVALID);
    // Who has not its secret is not told of it.
    let guessed = format!("{id}_{}", "A".repeat(43));
    is_refused(&Client::with_key(url, &guessed).get("/api/v1/events").await, 401, "unauthenticated", INVALID);

    let create = ["keys", "create", "--caller", "shop", "--scope", "operate", "--expires-in", "1s"];
    let short = Client::with_key(url, parts.tool(&create).1.trim());
    eventually("it has expired", async || short.get("/api/v1/events").await.status == 401).await;
    is_refused(&short.get("/api/v1/events").await, 401, "key_expired", INVALID);
    assert_eq!(parts.tool(&["keys", "revoke", "pk_0123456789abcdef"]).0, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_log_is_cut_off_when_its_key_is_revoked() {
    let parts = Parts::start_guarded("keys-followed", QUICK).await;
    let (writer, key) = (parts.caller("shop", "write"), parts.key("desk", "operate"));
    writer.funded("early", "1.00").await;
    let follow = reqwest::Client::new().get(format!("{}/api/v1/events", parts.api.url()));
    let follow = follow.header("Accept", "text/event-stream").bearer_auth(&key);
    let mut stream = follow.send().await.unwrap();
    let mut seen = String::new();
    while !seen.contains("FundsDeposited") {
        seen.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(parts.tool(&["keys", "revoke", &key[..19]]).0, Some(0));
    let desk = Client::with_key(parts.api.url(), &key);
    eventually("it is revoked", async || desk.get("/api/v1/events").await.status == 401).await;
    writer.funded("late", "1.00").await;
    // Ends, which is the assertion.
    while let Some(chunk) = stream.chunk().await.unwrap() {
        assert!(!String::from_utf8_lossy(&chunk).contains("late"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_do_not_meet() {
    let parts = Parts::start_guarded("keys-callers", QUICK).await;
    let _projector = parts.projector();
    let (shop, other) = (parts.caller("shop", "read,write"), parts.caller("other", "read,write"));
    let desk = parts.caller("desk", "read,operate");
    shop.funded("alice", "100.00").await;
    let payment = Payment::of("alice", "p1", "7.53");
    assert_eq!(shop.pay(&payment).await.status, 201);

    for path in ["", "/events", "/traces"] {
        let path = format!("{PAYMENTS}/p1{path}");
        assert_eq!(shop.get(&path).await.status, 200, "{path}");
        assert_eq!(desk.get(&path).await.status, 200, "{path}");
        let answer = other.get(&path).await;
        assert_eq!((answer.status, answer.code()), (404, "payment_not_found"), "{path}");
    }
    // The key of one caller is free for another: it is another request, and its payment another payment.
    let same_key = Payment { payment_id: "p2".to_owned(), ..payment.clone() };
    let paid = other.pay(&same_key).await;
    assert_eq!((paid.status, paid.replayed), (201, false), "{}", paid.text);
    assert!(shop.pay(&payment).await.replayed);
    let taken = other.pay(&Payment { key: "k3".to_owned(), ..payment }).await;
    assert_eq!((taken.status, taken.code()), (409, "payment_exists"), "{}", taken.text);

    let head = shop.head().await;
    let listed = async |client: &Client, query: &str| {
        let page = client.get(&format!("{PAYMENTS}?min_position={head}{query}")).await;
        let data = page.body["data"].as_array().unwrap().clone();
        data.into_iter().map(|payment| payment["payment_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for query in ["", "&user_id=alice", "&status=completed", "&user_id=alice&status=completed"] {
        assert_eq!(listed(&shop, query).await, ["p1"], "{query}");
        assert_eq!(listed(&other, query).await, ["p2"], "{query}");
        assert_eq!(listed(&desk, query).await, ["p2", "p1"], "{query}");
    }
    assert_eq!(listed(&shop, "&status=failed").await, Vec::<String>::new());
    let story = desk.get(&format!("{PAYMENTS}/p2/events")).await.body;
    assert!(story["data"].as_array().unwrap().iter().all(|event| event["actor"] == "other"), "{story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_which_keys_are_used_and_never_a_secret() {
    let parts = Parts::start_guarded("keys-listed", &[]).await;
    let (key, unused) = (parts.key("shop", "read,operate"), parts.key("other", "write"));
    assert_eq!(Client::with_key(parts.api.url(), &key).get("/api/v1/events").await.status, 200);
    let Parts { api, database, .. } = parts;
    // What was not written yet is written at the end.
    api.stop();
    let (status, told, _) = tool(&database.url(), &["keys", "list", "--json"]);
    assert_eq!(status, Some(0));
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 2);
    assert_eq!((&told[0]["id"], &told[0]["caller"]), (&json!(&key[..19]), &json!("shop")));
    assert_eq!((&told[0]["scopes"], &told[0]["status"]), (&json!(["read", "operate"]), &json!("active")));
    assert!(told[0]["last_used_at"].is_string() && told[1]["last_used_at"].is_null(), "{told:?}");
    let text = tool(&database.url(), &["keys", "list"]).1;
    for key in [&key, &unused] {
        assert!(text.contains(&key[..19]) && !text.contains(&key[20..]), "{text}");
    }
    for wrong in [
        ["keys", "create", "--caller", "a b", "--scope", "read"],
        ["keys", "create", "--caller", "anonymous", "--scope", "read"],
        ["keys", "create", "--caller", "shop", "--scope", "admin"],
    ] {
        assert_eq!(tool(&database.url(), &wrong).0, Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_needs_no_key_unless_it_is_asked_for() {
    let scene = Scene::start("keys-dev");
    scene.account("alice", "USD", "100.00").await;
    let paid = scene.client.pay(&Payment::of("alice", "p1", "1.00")).await;
    assert_eq!(paid.status, 201, "{}", paid.text);
    let scene = scene.started_again_with(&[("PAYMENTS_HTTP__AUTHENTICATION", "required")]);
    assert_eq!(scene.client.payment("p1").await.status, 401);
    let (status, key, _) =
        tool(&scene.database_url(), &["keys", "create", "--caller", "me", "--scope", "read,operate"]);
    assert_eq!(status, Some(0));
    let me = Client::with_key(scene.url(), key.trim());
    assert_eq!(me.payment("p1").await.status, 200);
    scene.stopped();
}
