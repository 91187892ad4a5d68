//! An engine in parts: PostgreSQL, the sandbox, and a process for each role.

use std::process::Command;

use sqlx::PgConnection;

use super::process::{SandboxProcess, Server, program};
use super::{Client, TestDatabase};

/// The parts of one engine. They end with it, whatever becomes of the test.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) api: Server,
    pub(crate) sandbox: SandboxProcess,
    pub(crate) database: TestDatabase,
}

impl Parts {
    /// Everything but a projector.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    /// The same with these settings.
    pub(crate) async fn start_with(name: &str, settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::start(name).await;
        let sandbox = SandboxProcess::start(database.folder());
        let log = database.folder().join("api.log");
        let api = Server::start_with("api,saga", &database.url(), &sandbox, &log, settings);
        Self { client: Client::new(api.url()), api, sandbox, database }
    }

    /// Everything but a projector, where callers have to say who they are.
    pub(crate) async fn start_guarded(name: &str, settings: &[(&str, &str)]) -> Self {
        let database = TestDatabase::start(name).await;
        let sandbox = SandboxProcess::start(database.folder());
        let log = database.folder().join("api.log");
        let api = Server::start_guarded("api,saga", &database.url(), &sandbox, &log, settings);
        Self { client: Client::new(api.url()), api, sandbox, database }
    }

    /// A new key of a caller, by `payments keys create`.
    pub(crate) fn key(&self, caller: &str, scopes: &str) -> String {
        let (status, key, said) = self.tool(&["keys", "create", "--caller", caller, "--scope", scopes]);
        assert_eq!(status, Some(0), "{said}");
        key.trim().to_owned()
    }

    /// A client with a new key of a caller.
    pub(crate) fn caller(&self, caller: &str, scopes: &str) -> Client {
        Client::with_key(self.api.url(), &self.key(caller, scopes))
    }

    /// A process that projects.
    pub(crate) fn projector(&self) -> Server {
        let log = self.database.folder().join("projector.log");
        Server::start_as("projector", &self.database.url(), &self.sandbox, &log)
    }

    /// What the projectors have logged.
    pub(crate) fn projector_log(&self) -> String {
        std::fs::read_to_string(self.database.folder().join("projector.log")).unwrap()
    }

    /// A connection that may change history, once the trigger that refuses it is off.
    pub(crate) async fn forger(&self) -> PgConnection {
        let mut connection = self.database.connect().await;
        let off = "alter table events disable trigger events_are_never_changed";
        sqlx::query(off).execute(&mut connection).await.unwrap();
        connection
    }

    /// Runs `payments ...` on the database; the exit status, stdout, stderr.
    pub(crate) fn tool(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        tool(&self.database.url(), arguments)
    }
}

/// Runs `payments ...` on a database; the exit status, stdout, stderr.
pub(crate) fn tool(database_url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program()).args(arguments).env("DATABASE_URL", database_url).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
