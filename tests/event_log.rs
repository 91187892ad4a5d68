//! The log as clients and operators read it: page by page, one event, live, and verified.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::support::process::program;
use crate::support::{Payment, Scene};

/// Runs `payments events ...` on a scene's database; the exit status and what it printed.
fn events(scene: &Scene, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program())
        .arg("events")
        .args(arguments)
        .env("PAYMENTS_DATA_DIR", scene.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

/// Pages through the log over HTTP.
async fn whole_log(scene: &Scene, limit: u32) -> Vec<Value> {
    let (mut events, mut after) = (vec![], "0".to_owned());
    loop {
        let page = scene.client.get(&format!("/api/v1/events?after={after}&limit={limit}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let data = page.body["data"].as_array().unwrap();
        assert!(data.len() <= usize::try_from(limit).unwrap());
        events.extend(data.iter().cloned());
        if page.body["has_more"] == false {
            return events;
        }
        after = page.body["next_cursor"].as_str().unwrap().to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_paged_and_each_event_is_found_by_its_id() {
    let scene = Scene::start("log-pages");
    scene.account("alice", "USD", "100.00").await;
    for number in 0..5 {
        let paid = scene.client.pay(&Payment::of("alice", &format!("p{number}"), "1.00")).await;
        assert_eq!(paid.status, 201, "{}", paid.text);
    }
    let log = whole_log(&scene, 7).await;
    let positions: Vec<i64> = log.iter().map(|event| event["position"].as_i64().unwrap()).collect();
    let head = i64::try_from(log.len()).unwrap();
    assert_eq!(positions, (1..=head).collect::<Vec<_>>(), "every event once, in order");
    assert_eq!(whole_log(&scene, 1_000).await, log);
    for event in &log {
        let id = event["event_id"].as_str().unwrap();
        let found = scene.client.get(&format!("/api/v1/events/{id}")).await;
        assert_eq!((found.status, &found.body), (200, event));
        assert_eq!(event["trace_id"].as_str().unwrap().len(), 32);
    }
    for unknown in ["00000000-0000-7000-8000-000000000000", "no-uuid"] {
        let refused = scene.client.get(&format!("/api/v1/events/{unknown}")).await;
        assert_eq!((refused.status, refused.code()), (404, "event_not_found"));
    }
    for (query, param) in [
        ("after=-1", "after"),
        ("after=x", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("x=1", "x"),
    ] {
        let refused = scene.client.get(&format!("/api/v1/events?{query}")).await;
        assert_eq!((refused.status, refused.body["param"].as_str()), (422, Some(param)), "{query}");
    }
    scene.end_settled().await;
}

/// Reads a stream until it has so many events; their positions and types.
async fn follow(scene: &Scene, last_event_id: Option<i64>, count: usize) -> Vec<(i64, String)> {
    let mut request = reqwest::Client::new()
        .get(format!("{}/api/v1/events?after=0&limit=3", scene.url()))
        .header("accept", "text/event-stream");
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id.to_string());
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut text, mut events) = (String::new(), vec![]);
    while events.len() < count {
        let chunk = tokio::time::timeout(Duration::from_secs(20), response.chunk()).await.unwrap();
        text.push_str(std::str::from_utf8(&chunk.unwrap().expect("the stream goes on")).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(kind), Some(data)) = (field("id: "), field("event: "), field("data: ")) {
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["position"].to_string(), id);
                events.push((id.parse().unwrap(), kind.to_owned()));
            }
            text = rest.to_owned();
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_followed_live_and_taken_up_where_it_was_left() {
    let scene = Scene::start("log-follow");
    scene.account("alice", "USD", "100.00").await;
    let before = whole_log(&scene, 1_000).await.len();
    let (followed, paid) = tokio::join!(follow(&scene, None, before + 7), async {
        tokio::time::timeout(Duration::from_secs(20), async {
            scene.client.pay(&Payment::of("alice", "p1", "1.00")).await
        })
        .await
        .unwrap()
    });
    assert_eq!(paid.status, 201, "{}", paid.text);
    let log: Vec<(i64, String)> = whole_log(&scene, 1_000)
        .await
        .iter()
        .map(|event| (event["position"].as_i64().unwrap(), event["type"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(followed, log[..before + 7]);
    let taken_up = follow(&scene, Some(log[before].0), 3).await;
    assert_eq!(taken_up, log[before + 1..before + 4]);

    let wrong = reqwest::Client::new()
        .get(format!("{}/api/v1/events", scene.url()))
        .header("accept", "text/event-stream")
        .header("last-event-id", "x");
    assert_eq!(wrong.send().await.unwrap().status(), 400);

    // Who follows the log does not hold up the end of the engine.
    let mut open = reqwest::Client::new()
        .get(format!("{}/api/v1/events?after={}", scene.url(), log.len()))
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    let log = scene.stopped();
    assert!(log.contains("stopped serving") && !log.contains("ran out of time"), "{log}");
    while let Ok(Some(_)) = open.chunk().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_shows_and_verifies_the_log() {
    let scene = Scene::start("log-tools");
    scene.account("alice", "USD", "100.00").await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "7.53")).await.status, 201);
    let log = whole_log(&scene, 1_000).await;

    let (status, listed) = events(&scene, &["list", "--after", "2", "--limit", "3", "--json"]);
    assert_eq!(status, Some(0), "{listed}");
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed, log[2..5], "the tool and the API show the same");
    let (_, lines) = events(&scene, &["list"]);
    assert!(lines.contains("FundsHeld") && lines.contains("7.53 USD"), "{lines}");
    let id = log[0]["event_id"].as_str().unwrap();
    let (status, shown) = events(&scene, &["show", id]);
    assert_eq!((status, serde_json::from_str::<Value>(&shown).unwrap()), (Some(0), log[0].clone()));
    assert_eq!(events(&scene, &["show", "nothing"]).0, Some(1));

    let (status, verified) = events(&scene, &["verify"]);
    assert_eq!(status, Some(0), "{verified}");
    assert!(verified.starts_with(&format!("{} events: no gap", log.len())), "{verified}");
    scene.end_settled().await;
}

/// A connection that may change history, as only a superuser can, who may switch triggers off. What it
/// finds is kept, so that it can be put back.
async fn forger(scene: &Scene) -> PgConnection {
    let password = std::fs::read_to_string(scene.path().join("admin.password")).unwrap();
    let options: sqlx::postgres::PgConnectOptions = scene.database_url().parse().unwrap();
    let options = options.username("postgres_admin").password(password.trim());
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    sqlx::query("set session_replication_role = replica").execute(&mut connection).await.unwrap();
    sqlx::query("create temporary table kept as select * from events")
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}

async fn change(forger: &mut PgConnection, statement: &str) -> u64 {
    sqlx::query(statement).execute(forger).await.unwrap().rows_affected()
}

/// What `verify --json` says.
fn verdict(scene: &Scene) -> (Option<i32>, Value) {
    let (status, said) = events(scene, &["verify", "--json"]);
    let json = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{said}"));
    (status, serde_json::from_str(json).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_as_it_was_recorded_is_named_by_its_position() {
    let scene = Scene::start("log-tampered");
    scene.account("alice", "USD", "100.00").await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "7.53")).await.status, 201);
    let (status, whole) = verdict(&scene);
    assert_eq!((status, &whole["wrong"], &whole["sealed_from"]), (Some(0), &Value::Null, &Value::from(1)));
    let story = scene.story("p1").await;
    let of = |name: &str| story.iter().find(|(found, _)| found == name).unwrap().1;
    let head = whole["head"].as_i64().unwrap();
    let (held, captured, completed) = (of("FundsHeld"), of("HoldCaptured"), of("PaymentCompleted"));
    let mut forger = forger(&scene).await;
    for (statement, position, reason) in [
        ("delete from events where position = 4", 4, "missing"),
        ("delete from events where position = (select max(position) from events)", head, "missing"),
        (
            "update events set payload = replace(payload::text, '753', '752')::json
              where event_type = 'HoldCaptured'",
            captured,
            "its hash differs",
        ),
        ("update events set payload = '{}' where position = 2", 2, "its hash differs"),
        (
            "update events set sequence = sequence + 9 where event_type = 'PaymentCompleted'",
            completed,
            "its hash",
        ),
        (
            "update events set traceparent = overlay(traceparent placing 'f' from 9) || 'f'
              where event_type = 'FundsHeld'",
            held,
            "its hash differs",
        ),
        ("update events set baggage = '' where event_type = 'FundsHeld'", held, "its hash differs"),
        (
            "update events set recorded_at = recorded_at + interval '1 microsecond'
              where event_type = 'HoldCaptured'",
            captured,
            "another time",
        ),
        ("update events set hash = null where event_type = 'HoldCaptured'", captured, "has no hash"),
    ] {
        assert_eq!(change(&mut forger, statement).await, 1, "{statement}");
        let (status, verdict) = verdict(&scene);
        assert_eq!((status, verdict["wrong"]["position"].as_i64()), (Some(3), Some(position)), "{statement}");
        assert!(verdict["wrong"]["reason"].as_str().unwrap().contains(reason), "{verdict}");
        change(&mut forger, "delete from events").await;
        change(&mut forger, "insert into events select * from kept").await;
        assert_eq!(self::verdict(&scene).0, Some(0), "put back after {statement}");
    }
    let (status, said) = events(&scene, &["verify"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains(whole["hash"].as_str().unwrap()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forger_who_knows_the_hashes_breaks_the_chain_or_is_found_by_the_hash_that_was_kept() {
    let scene = Scene::start("log-forged");
    scene.account("alice", "USD", "100.00").await;
    assert_eq!(scene.client.pay(&Payment::of("alice", "p1", "7.53")).await.status, 201);
    let (_, whole) = verdict(&scene);
    let mut forger = forger(&scene).await;
    // An event in another's place with its own valid hash: the chain knows which came first.
    let both = "event_type in ('HoldCaptured', 'FundsCredited')";
    for statement in [
        format!("create temporary table swapped as select * from kept where {both}"),
        "update swapped s set position = (select sum(position) from kept k
            where k.event_type in ('HoldCaptured', 'FundsCredited')) - position"
            .to_owned(),
        "update swapped s set chain = (select chain from kept k where k.position = s.position)".to_owned(),
        format!("delete from events where {both}"),
        "insert into events select * from swapped".to_owned(),
    ] {
        assert_eq!(change(&mut forger, &statement).await, 2, "{statement}");
    }
    let (status, found) = verdict(&scene);
    assert_eq!(status, Some(3), "{found}");
    assert!(found["wrong"]["reason"].as_str().unwrap().contains("hash chain breaks between"), "{found}");
    change(&mut forger, "delete from events").await;
    change(&mut forger, "insert into events select * from kept").await;
    // The last append cut off, and the head made to fit: in itself that is a whole log.
    for statement in [
        "delete from events where position > (select max(position) from kept
           where chain is not null and position < (select max(position) from kept))",
        "update event_log_head h set position = e.position, chain = e.chain from events e
          where e.position = (select max(position) from events)",
    ] {
        assert!(change(&mut forger, statement).await > 0);
    }
    let (status, shorter) = verdict(&scene);
    assert_eq!(status, Some(0), "{shorter}");
    assert_ne!(shorter["hash"], whole["hash"], "the hash that was kept tells");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_says_which_schema_it_needs() {
    let scene = Scene::start("log-schema");
    let mut connection = PgConnection::connect(&scene.database_url()).await.unwrap();
    let query = "select max(version) from _sqlx_migrations";
    let ours: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
    for (statement, words) in [
        (
            "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)",
            format!("is at migration {}, this program needs {ours}", ours - 1),
        ),
        (
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (999, 'later', true, '', 0)",
            format!("is at migration 999, this program knows {ours}"),
        ),
    ] {
        change(&mut connection, statement).await;
        let (status, said) = events(&scene, &["list"]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(&words), "{said}");
    }
}
