//! Balances of the past: at every position, and at every time, what the log says up to it.

use std::collections::HashMap;

use adapter_postgres::store::decode;
use domain::{Account, Currency, Money};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::support::{Chance, Payment, Scene};

/// Everybody's posted and held, in minor units.
type Balances = HashMap<String, (i64, i64)>;

/// The log folded anew: at each position the time and what every account has.
async fn history(scene: &Scene) -> Vec<(String, Balances)> {
    let rows: Vec<(String, String, String, String, String, String)> = sqlx::query_as(
        r#"select aggregate_type, aggregate_id, event_type, event_version, payload::text,
                  to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
             from events order by position"#,
    )
    .fetch_all(&mut PgConnection::connect(&scene.database_url()).await.unwrap())
    .await
    .unwrap();
    let mut balances = Balances::new();
    let mut history = vec![];
    for (aggregate_type, id, event_type, version, payload, recorded_at) in rows {
        if aggregate_type == "account" {
            let event = decode::<Account>(&event_type, &version, &payload).unwrap();
            let (posted, held) = balances.entry(id).or_default();
            *posted += event.posted_minor();
            *held += event.held_minor();
        }
        history.push((recorded_at, balances.clone()));
    }
    history
}

/// A random life of two users.
async fn live(scene: &Scene, accounts: &[String; 2]) {
    let mut chance = Chance::new("point-in-time");
    for step in 0..60 {
        let user = chance.between(0, 2);
        let account = &accounts[usize::try_from(user).unwrap()];
        let amount = format!("{}.{:02}", chance.between(0, 9), chance.between(1, 100));
        let money = json!({ "amount": amount, "currency": "USD" });
        let key = format!("step-{step}");
        match chance.between(0, 6) {
            0 => drop(scene.client.post(&format!("/api/v1/accounts/{account}/deposits"), &key, &money).await),
            1 => drop(
                scene.client.post(&format!("/api/v1/accounts/{account}/withdrawals"), &key, &money).await,
            ),
            2 => {
                let payment = Payment::of(&format!("user{user}"), &key, &amount).by("card_declined");
                drop(scene.client.pay(&payment).await);
            }
            _ => drop(scene.client.pay(&Payment::of(&format!("user{user}"), &key, &amount)).await),
        }
    }
}

fn shown(minor: i64) -> String {
    Money::new(minor, Currency::USD).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_of_the_past_is_the_fold_of_the_log_up_to_it() {
    let scene = Scene::start("point-in-time");
    let accounts =
        [scene.account("user0", "USD", "50.00").await, scene.account("user1", "USD", "20.00").await];
    live(&scene, &accounts).await;
    scene.settled().await;
    let history = history(&scene).await;
    assert!(history.len() > 150, "{}", history.len());

    for (index, (recorded_at, balances)) in history.iter().enumerate() {
        let position = i64::try_from(index).unwrap() + 1;
        // Events of one batch share their time: the last of them is what was by then.
        let (last, by_then) = history.iter().enumerate().rfind(|(_, (time, _))| time <= recorded_at).unwrap();
        for account in &accounts {
            let asked = [
                (format!("position={position}"), balances, position),
                (format!("as_of={recorded_at}"), &by_then.1, i64::try_from(last).unwrap() + 1),
            ];
            for (query, balances, at) in asked {
                let past = scene.client.get(&format!("/api/v1/accounts/{account}?{query}")).await;
                let Some((posted, held)) = balances.get(account) else {
                    assert_eq!((past.status, past.code()), (404, "account_not_found"), "{query}");
                    continue;
                };
                assert_eq!(past.status, 200, "{query}: {}", past.text);
                assert_eq!(past.body["posted"], shown(*posted), "{query}");
                assert_eq!(past.body["held"], shown(*held), "{query}");
                assert_eq!(past.body["available"], shown(posted - held), "{query}");
                assert_eq!(past.body["position"], at, "{query}");
                assert_eq!(past.body["as_of"], *recorded_at, "{query}");
            }
        }
    }
    let account = &accounts[0];
    let now = scene.client.account(account).await;
    let again = format!("/api/v1/accounts/{account}?as_of={}", now.body["as_of"].as_str().unwrap());
    assert_eq!(scene.client.get(&again).await.body["posted"], now.body["posted"]);
    scene.end_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_that_cannot_be_asked_for_is_refused_by_name() {
    let scene = Scene::start("no-such-moment");
    let account = scene.account("alice", "USD", "50.00").await;
    for (query, status, code, param) in [
        ("position=1000000", 422, "position_not_reached", Some("position")),
        ("position=x", 422, "wrong_type", Some("position")),
        ("as_of=yesterday", 422, "wrong_type", Some("as_of")),
        ("as_of=2026-11-25T08:00:00Z&position=1", 422, "conflicting_parameters", Some("as_of")),
        ("as_of=1999-01-01T00:00:00Z", 404, "account_not_found", None),
        ("position=0", 404, "account_not_found", None),
    ] {
        let refused = scene.client.get(&format!("/api/v1/accounts/{account}?{query}")).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{query}: {}", refused.text);
        assert_eq!(refused.body["param"].as_str(), param, "{query}");
    }
    // A time with an offset, its plus sign escaped; and a time to come is now.
    for time in ["2999-01-01T00%3A00%3A00%2B02%3A00", "2999-01-01T00:00:00Z"] {
        let now = scene.client.get(&format!("/api/v1/accounts/{account}?as_of={time}")).await;
        assert_eq!((now.status, &now.body["posted"]), (200, &json!("50.00")), "{}", now.text);
    }
    scene.end_settled().await;
}
