//! Files that are not what was exported: refused by name, and nothing of them is imported.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::TestDatabase;
use crate::support::parts::tool;
use crate::support::process::program;
use crate::transfer::{connect, exported, is_empty, rows, run, text};

/// An export that was spoilt, and what must be said of it.
struct Spoilt {
    what: &'static str,
    file: Vec<u8>,
    words: String,
}

/// Everything that can become of a good file.
fn spoilt(good: &str, compressed: &[u8]) -> Vec<Spoilt> {
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let last = lines.len();
    let spoilt =
        |what, lines: Vec<&str>, words: String| Spoilt { what, file: lines.concat().into_bytes(), words };
    let at = lines.iter().position(|line| line.contains("payments.HoldCaptured")).unwrap();
    let changed = lines[at].replacen(r#"{"minor":753,"#, r#"{"minor":752,"#, 1);
    let mut twice = lines.clone();
    twice.insert(4, lines[3]);
    let end = lines[last - 1].replacen(&format!(r#""events":{}"#, last - 1), r#""events":3"#, 1);
    vec![
        spoilt("no last line", lines[..last - 1].to_vec(), format!("line {last}: the file ends here")),
        spoilt("cut in a line", vec![&good[..good.len() - 10]], format!("line {last}: the file ends within")),
        spoilt(
            "a payload changed",
            [&lines[..at], &[changed.as_str()], &lines[at + 1..]].concat(),
            format!("line {0}: the event at position {0} is not the one that was recorded", at + 1),
        ),
        spoilt(
            "a line missing",
            [&lines[..4], &lines[5..]].concat(),
            "line 5: position 6 came where 5 had to come".to_owned(),
        ),
        spoilt("a line twice", twice, "line 5: position 4 came where 5 had to come".to_owned()),
        spoilt("another end", [&lines[..last - 1], &[&end]].concat(), format!("line {last}: 3 events were")),
        spoilt("lines behind", vec![good, "{}\n"], format!("line {}: something follows", last + 1)),
        spoilt(
            "an attribute missing",
            vec![&good.replacen(r#""actor""#, r#""author""#, 1)],
            "line 1: ".to_owned(),
        ),
        spoilt("no export", vec!["hello\n"], "line 1: expected value".to_owned()),
        spoilt("nothing", vec![], "line 1: the file ends here".to_owned()),
        Spoilt {
            what: "compressed and cut",
            file: compressed[..compressed.len() / 2].to_vec(),
            words: "the compressed file ends here: it was cut".to_owned(),
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_was_exported_is_refused_by_name_and_nothing_is_imported() {
    let (scene, file) = exported("transfer-spoilt", 3).await;
    let (url, origin) = (scene.database_url(), rows(&scene.database_url()).await);
    let compressed = scene.path().join("log.gz");
    run(&url, &["events", "export", text(&compressed)]);
    let good = fs::read_to_string(&file).unwrap();
    let database = TestDatabase::start("transfer-refused").await;
    let there = database.url();
    let bad = scene.path().join("bad.ndjson");
    for Spoilt { what, file, words } in spoilt(&good, &fs::read(&compressed).unwrap()) {
        fs::write(&bad, file).unwrap();
        refused(&there, &bad, what, &words).await;
    }
    // In a log from before the chain no hash tells: the ids and the streams do.
    let mut forger = connect(&url).await;
    let head = origin.0.len();
    for (what, statements, words) in [
        (
            "two events with one id",
            FORGED_ID,
            format!("line {head}: position {head} has the id of position 1;"),
        ),
        (
            "an event of a stream missing",
            FORGED_SEQUENCE,
            format!("line {head}: position {head} is event 99 of"),
        ),
    ] {
        for statement in [&UNSEALED[..], statements].concat() {
            assert!(sqlx::query(statement).execute(&mut forger).await.is_ok(), "{statement}");
        }
        run(&url, &["events", "export", text(&bad)]);
        refused(&there, &bad, what, &words).await;
    }
    for statement in PUT_BACK {
        sqlx::query(statement).execute(&mut forger).await.unwrap();
    }
    run(&url, &["events", "export", text(&bad)]);
    let unsealed = fs::read_to_string(&bad).unwrap();
    fs::write(&bad, unsealed.replacen(r#"{"minor":753,"#, r#"{"minor":752,"#, 1)).unwrap();
    refused(&there, &bad, "a payload without a hash changed", "their SHA-256 differs").await;
    let (status, _, said) = tool(&there, &["events", "import", "/nowhere/log.ndjson"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("cannot read /nowhere/log.ndjson"), "{said}");

    // The same database takes a log from before the chain, by standard input.
    let mut import = Command::new(program())
        .args(["events", "import", "-"])
        .env("DATABASE_URL", &there)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    import.stdin.take().unwrap().write_all(unsealed.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    assert_eq!(rows(&there).await, rows(&url).await);
    assert!(run(&there, &["events", "verify"]).contains("older than it"));
}

async fn refused(url: &str, file: &Path, what: &str, words: &str) {
    let (status, stdout, stderr) = tool(url, &["events", "import", text(file)]);
    assert_eq!(status, Some(1), "{what}: {stdout}{stderr}");
    assert!(stderr.contains(words) && stderr.contains("nothing was imported"), "{what}: {stderr}");
    is_empty(url, what).await;
}

/// Takes the hash chain away, and keeps what is changed next.
const UNSEALED: [&str; 4] = [
    "alter table events disable trigger events_are_never_changed",
    "update events set hash = null, chain = null",
    "update event_log_head set chain = decode(repeat('00', 32), 'hex')",
    "create temporary table if not exists kept as select position, event_id, sequence from events",
];
const FORGED_ID: &[&str] = &["update events set event_id = (select event_id from events where position = 1)
                              where position = (select max(position) from events)"];
const FORGED_SEQUENCE: &[&str] =
    &[PUT_BACK[0], "update events set sequence = 99 where position = (select max(position) from events)"];
const PUT_BACK: &[&str] = &["update events e set event_id = k.event_id, sequence = k.sequence
                             from kept k where k.position = e.position"];
