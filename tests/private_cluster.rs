//! The private PostgreSQL itself, through every state that a folder can be found in.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use adapter_postgres::embedded::{ClusterError, ClusterSettings, EmbeddedPostgres};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor, Row};
use tokio::task::JoinSet;

use crate::support::eventually;
use crate::support::folder::{Folder, alive, is_root};
use crate::support::process::signal;

fn settings(data_dir: &Path) -> ClusterSettings {
    ClusterSettings { data_dir: data_dir.into(), bin_dir: None, run_as: None }
}

async fn start(data_dir: &Path) -> EmbeddedPostgres {
    EmbeddedPostgres::start(settings(data_dir)).await.unwrap()
}

async fn refused(data_dir: &Path) -> ClusterError {
    EmbeddedPostgres::start(settings(data_dir)).await.unwrap_err()
}

async fn try_connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    url.parse::<PgConnectOptions>()?.connect().await
}

/// Leaves a row behind, by which data is recognised later.
async fn keep_a_row(url: &str) {
    let mut connection = try_connect(url).await.unwrap();
    let rows = "CREATE TABLE IF NOT EXISTS kept (id int); INSERT INTO kept VALUES (1)";
    connection.execute(rows).await.unwrap();
}

async fn rows_kept(url: &str) -> i64 {
    let mut connection = try_connect(url).await.unwrap();
    let row = connection.fetch_one("SELECT count(*) FROM kept").await.unwrap();
    connection.close().await.unwrap();
    row.get(0)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn a_first_start_makes_a_cluster_that_is_durable_and_private() {
    let folder = Folder::new("first");
    let postgres = start(&folder.data()).await;
    let url = postgres.database_url();
    assert_eq!(EmbeddedPostgres::database_url_for(&folder.data()).unwrap(), url);
    let mut connection = try_connect(&url).await.unwrap();
    for (name, value) in [
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("timezone", "UTC"),
        ("password_encryption", "scram-sha-256"),
        ("unix_socket_permissions", "0700"),
        ("server_encoding", "UTF8"),
        ("is_superuser", "off"),
    ] {
        let row = connection.fetch_one(format!("SHOW {name}").as_str()).await.unwrap();
        assert_eq!(row.get::<String, _>(0), value, "{name}");
    }
    let powers = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication FROM pg_roles
                   WHERE rolname = current_user";
    assert!(!connection.fetch_one(powers).await.unwrap().get::<bool, _>(0));
    drop(connection);
    let wrong = url.parse::<PgConnectOptions>().unwrap().password("guess");
    assert!(wrong.connect().await.is_err());

    assert_eq!(mode(&folder.data()), if is_root() { 0o711 } else { 0o700 });
    for (path, expected) in [
        ("postgres", 0o700),
        ("run", 0o700),
        ("postgres.password", 0o600),
        ("admin.password", 0o600),
        ("lock", 0o600),
        ("postgres.log", 0o600),
    ] {
        assert_eq!(mode(&folder.data().join(path)), expected, "{path}");
    }
    let log = fs::read_to_string(folder.data().join("postgres.log")).unwrap();
    for secret in ["postgres.password", "admin.password"] {
        let secret = fs::read_to_string(folder.data().join(secret)).unwrap();
        assert!(!log.contains(secret.trim()) && !format!("{postgres:?}").contains(secret.trim()));
    }
    postgres.stop().await.unwrap();
    assert_eq!(postgres.postmaster_pid(), None);
    postgres.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postmaster_comes_back_under_supervision() {
    let folder = Folder::new("killed");
    let postgres = start(&folder.data()).await;
    let url = postgres.database_url();
    keep_a_row(&url).await;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let killer = async {
        let mut backends = JoinSet::new();
        for busy in [false, true] {
            if busy {
                // A backend in the middle of this does not notice that its postmaster is gone.
                let mut connection = try_connect(&url).await.unwrap();
                backends.spawn(async move {
                    let endless = "SELECT count(*) FROM generate_series(1, 100000000000) a";
                    connection.execute(endless).await
                });
                let mut connection = try_connect(&url).await.unwrap();
                eventually("the backend is busy", async || {
                    let query = "SELECT count(*) FROM pg_stat_activity
                                  WHERE state = 'active' AND query LIKE '%generate_series(1%'
                                    AND pid <> pg_backend_pid()";
                    connection.fetch_one(query).await.unwrap().get::<i64, _>(0) == 1
                })
                .await;
            }
            let before = postgres.postmaster_pid().unwrap();
            signal("KILL", before);
            eventually("PostgreSQL is up again", async || {
                postgres.postmaster_pid().is_some_and(|pid| pid != before) && try_connect(&url).await.is_ok()
            })
            .await;
            assert_eq!(rows_kept(&url).await, 1);
        }
        end.send(()).unwrap();
    };
    tokio::join!(postgres.supervise(async { ended.await.unwrap() }), killer);
    postgres.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn supervision_tries_again_until_the_server_starts_and_ends_with_a_stop() {
    let folder = Folder::new("again");
    let postgres = start(&folder.data()).await;
    let url = postgres.database_url();
    keep_a_row(&url).await;
    let driver = async {
        let auto = folder.data().join("postgres/postgresql.auto.conf");
        let kept = fs::read(&auto).unwrap();
        fs::write(&auto, "shared_buffers = 'much'\n").unwrap();
        signal("KILL", postgres.postmaster_pid().unwrap());
        let log = folder.data().join("postgres.log");
        eventually("a start has failed", async || fs::read_to_string(&log).unwrap().contains("much")).await;
        assert_eq!(postgres.postmaster_pid(), None);
        fs::write(&auto, kept).unwrap();
        eventually("PostgreSQL is up again", async || try_connect(&url).await.is_ok()).await;
        assert_eq!(rows_kept(&url).await, 1);
        postgres.stop().await.unwrap();
    };
    // Supervision that fought the stop would never end, and start the server again.
    tokio::join!(postgres.supervise(std::future::pending()), driver);
    assert_eq!(postgres.postmaster_pid(), None);
}

#[tokio::test]
async fn a_cluster_without_its_role_and_database_gets_them_again() {
    let folder = Folder::new("roleless");
    let postgres = start(&folder.data()).await;
    // As if killed between initdb and the role, and before the include line was written.
    let admin = fs::read_to_string(folder.data().join("admin.password")).unwrap();
    let options: PgConnectOptions = postgres.database_url().parse().unwrap();
    let options = options.username("postgres_admin").password(admin.trim()).database("postgres");
    let mut connection = options.connect().await.unwrap();
    connection.execute("DROP DATABASE payments WITH (FORCE)").await.unwrap();
    connection.execute("DROP ROLE payments").await.unwrap();
    drop(connection);
    postgres.stop().await.unwrap();
    drop(postgres);
    let main = folder.data().join("postgres/postgresql.conf");
    let text = fs::read_to_string(&main).unwrap().replace("include = 'payments.conf'", "");
    fs::write(&main, text).unwrap();
    fs::remove_file(folder.data().join("postgres.password")).unwrap();

    let postgres = start(&folder.data()).await;
    keep_a_row(&postgres.database_url()).await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn stale_pid_files_do_not_stop_a_start() {
    let folder = Folder::new("stale");
    let postgres = start(&folder.data()).await;
    let url = postgres.database_url();
    keep_a_row(&url).await;
    postgres.stop().await.unwrap();
    drop(postgres);
    // Its number now belongs to a process of the very user that runs the server, which is what
    // PostgreSQL itself takes for a running server.
    let owner = fs::metadata(folder.data().join("postgres")).unwrap();
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000").current_dir("/");
    if is_root() {
        sleeper.uid(owner.uid()).gid(owner.gid());
    }
    let mut sleeper = sleeper.spawn().unwrap();
    for pid in [sleeper.id(), 4_000_000] {
        let lines = format!(
            "{pid}\n{}\n1\n5432\n{}\n\n  1 2\nready   \n",
            folder.data().join("postgres").display(),
            folder.data().join("run").display()
        );
        fs::write(folder.data().join("postgres/postmaster.pid"), &lines).unwrap();
        fs::write(folder.data().join("run/.s.PGSQL.5432.lock"), &lines).unwrap();
        let postgres = start(&folder.data()).await;
        assert_eq!(rows_kept(&url).await, 1);
        postgres.stop().await.unwrap();
    }
    assert!(alive(sleeper.id()), "the innocent process was left alone");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

#[tokio::test]
async fn a_closed_parent_is_named_and_left_alone() {
    if !is_root() {
        // Who runs PostgreSQL as themselves may enter their own folders.
        return;
    }
    let folder = Folder::new("closed");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let error = refused(&folder.path().join("a/data")).await;
    assert!(
        matches!(&error, ClusterError::ParentClosed { parent, .. } if parent == folder.path()),
        "{error}"
    );
    assert!(error.to_string().contains(folder.path().to_str().unwrap()));
    assert_eq!(mode(folder.path()), 0o700);
    assert!(!folder.path().join("a").exists());

    // The data folder itself is ours to open.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let data = folder.made();
    fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
    let postgres = start(&data).await;
    assert_eq!(mode(&data), 0o701);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_path_and_odd_characters_work() {
    let folder = Folder::new("long, with o'clock & ünicode %41");
    let data = folder.path().join("x".repeat(120)).join("data");
    let postgres = start(&data).await;
    let url = postgres.database_url();
    assert_eq!(EmbeddedPostgres::database_url_for(&data).unwrap(), url);
    keep_a_row(&url).await;
    let socket_dir = fs::read_to_string(data.join("postgres.socket-dir")).unwrap();
    let socket_dir = Path::new(socket_dir.trim());
    assert!(!socket_dir.starts_with(folder.path()), "a socket's path is short: {}", socket_dir.display());
    assert_eq!(mode(socket_dir), 0o700);
    postgres.stop().await.unwrap();
    assert!(!socket_dir.exists());
    drop(postgres);

    let postgres = start(&folder.data()).await;
    keep_a_row(&postgres.database_url()).await;
    postgres.stop().await.unwrap();

    let error = refused(&folder.path().join("a$(b)")).await;
    assert!(matches!(error, ClusterError::UnusableName { .. }), "{error}");
}

#[tokio::test]
async fn each_refusal_says_what_to_do() {
    let folder = Folder::new("refusals");
    let data = folder.data();
    let error = EmbeddedPostgres::database_url_for(&data).unwrap_err();
    assert!(matches!(error, ClusterError::NeverStarted { .. }), "{error}");
    let foreign = folder.path().join("foreign");
    fs::create_dir_all(foreign.join("postgres")).unwrap();
    let error = refused(&foreign).await;
    assert!(matches!(error, ClusterError::NotACluster { .. }), "{error}");

    let postgres = start(&data).await;
    let error = refused(&data).await;
    assert!(matches!(error, ClusterError::InUse { .. }), "{error}");
    assert!(postgres.postmaster_pid().is_some());
    postgres.stop().await.unwrap();
    drop(postgres);

    // The server does not start: the end of its log is in the error.
    let auto = data.join("postgres/postgresql.auto.conf");
    let kept = fs::read(&auto).unwrap();
    fs::write(&auto, "shared_buffers = 'much'\n").unwrap();
    let error = refused(&data).await;
    assert!(matches!(error, ClusterError::NotStarted { .. }), "{error}");
    let log = data.join("postgres.log");
    assert!(
        error.to_string().contains("much") && error.to_string().contains(log.to_str().unwrap()),
        "{error}"
    );
    fs::write(&auto, kept).unwrap();

    let version = data.join("postgres/PG_VERSION");
    let kept = fs::read(&version).unwrap();
    fs::write(&version, "12\n").unwrap();
    let error = refused(&data).await;
    assert!(matches!(error, ClusterError::VersionMismatch { cluster: 12, .. }), "{error}");
    fs::write(&version, kept).unwrap();

    let mut elsewhere = settings(&data);
    elsewhere.bin_dir = Some(folder.path().to_owned());
    let error = EmbeddedPostgres::start(elsewhere).await.unwrap_err();
    assert!(matches!(error, ClusterError::IncompleteBinaries { .. }), "{error}");

    let admin = data.join("admin.password");
    let kept = fs::read(&admin).unwrap();
    fs::write(&admin, format!("{}\n", "0".repeat(64))).unwrap();
    let error = refused(&data).await;
    assert!(matches!(error, ClusterError::NotPrepared { .. }), "{error}");
    assert!(!data.join("postgres/postmaster.pid").exists(), "a start that failed leaves nothing running");
    fs::remove_file(&admin).unwrap();
    let error = refused(&data).await;
    assert!(matches!(error, ClusterError::AdminPasswordLost { .. }), "{error}");
    fs::write(&admin, kept).unwrap();
    start(&data).await.stop().await.unwrap();
}

#[tokio::test]
async fn a_user_who_cannot_run_the_server_is_refused() {
    if !is_root() {
        // Only root hands the server to somebody else.
        return;
    }
    let folder = Folder::new("users");
    let data = folder.data();
    start(&data).await.stop().await.unwrap();
    for (name, fits) in [("no-such-user", false), ("root", false), ("nobody", true)] {
        let mut other = settings(&data);
        other.run_as = Some(name.to_owned());
        let error = EmbeddedPostgres::start(other).await.unwrap_err();
        assert_eq!(matches!(error, ClusterError::WrongOwner { .. }), fits, "{name}: {error}");
        assert_eq!(matches!(error, ClusterError::ServiceUser { .. }), !fits, "{name}: {error}");
    }
}
