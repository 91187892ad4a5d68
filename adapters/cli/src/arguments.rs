//! The command line.

mod config;
mod database;
mod doctor;
mod keys;
mod trace;
mod transfer;
mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use domain::{PaymentId, TransactionId};

pub(crate) use self::config::{ConfigArguments, ConfigTool};
pub(crate) use self::database::{DatabaseArguments, DatabaseUrl, MigrateArguments};
pub(crate) use self::doctor::DoctorArguments;
pub(crate) use self::keys::{CreateArguments, KeysArguments, KeysTool};
pub(crate) use self::trace::TraceArguments;
pub(crate) use self::transfer::{ExportArguments, ImportArguments, ReplayArguments, StretchArguments};
pub(crate) use self::webhooks::{ResendArguments, WebhooksArguments, WebhooksTool};

/// A payment engine: every cent can be traced to the event that moved it.
#[derive(Debug, Parser)]
#[command(
    name = "payments",
    version,
    about,
    after_help = "\
Settings come from the environment (PAYMENTS_SAGA__PAYMENT_TIMEOUT_MS=5000) and from a TOML file\n\
(--config). Start with:\n\n  payments dev --port 8080 --data-dir ./payments-data\n  payments demo"
)]
pub(crate) struct Arguments {
    /// A TOML file with settings.
    #[arg(long, global = true, env = "PAYMENTS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything in one process, with a private PostgreSQL and simulated risk and channel services.
    Dev(DevArguments),
    /// Production: the roles asked for, on a PostgreSQL of yours.
    Serve(ServeArguments),
    /// The simulated risk service and payment channel alone.
    Sandbox(SandboxArguments),
    /// Make real payments on a fresh `payments dev` and tell the story of each.
    Demo(DemoArguments),
    /// Look into the event log: list, show, follow, verify; carry it to a file and into a new database.
    Events(EventsArguments),
    /// Tell events of the log again, in order, to whoever reads standard output.
    Replay(ReplayArguments),
    /// The read models: how far they are, rebuild them, compare them with the log.
    Projections(ProjectionsArguments),
    /// Who may call the API: create, list, revoke keys.
    Keys(KeysArguments),
    /// The log as it is published to Kafka: how far that is, and whether anybody is at it.
    Relay(RelayArguments),
    /// Payments whose outcome the channel has not told: list them, say what became of one.
    Review(ReviewArguments),
    /// The whole story of a payment, an event or a trace, across traces.
    Trace(TraceArguments),
    /// Receivers of events: who is registered, what became of sending; send again.
    Webhooks(WebhooksArguments),
    /// The settings: which are wrong, which are in force, and where each comes from.
    Config(ConfigArguments),
    /// Look at everything that is configured, and say what to do about what is not well.
    Doctor(DoctorArguments),
    /// Bring the database's schema up to date, and end.
    Migrate(MigrateArguments),
    /// The API's contract, OpenAPI 3.1 as JSON; a running engine shows it at /docs.
    Openapi,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 all is well, 1 it could not be done, 2 wrong usage, 3 `verify` found something wrong.\n\n\
Examples:\n  payments events --data-dir ./payments-data list --after 100\n  \
payments events tail --json | jq .type\n  payments events verify")]
pub(crate) struct EventsArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(subcommand)]
    pub(crate) tool: EventsTool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsTool {
    /// Events in the order of the log, a line each.
    List {
        /// Begin behind this position.
        #[arg(long, default_value_t = 0)]
        after: i64,
        /// Most events.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// One JSON object a line, as the API shows an event.
        #[arg(long)]
        json: bool,
    },
    /// One event with its payload and its trace, as JSON.
    Show {
        /// Its id, a UUID.
        event_id: String,
    },
    /// Follow the log until Ctrl-C.
    Tail {
        /// Begin behind this position instead of at the end.
        #[arg(long)]
        after: Option<i64>,
        /// One JSON object a line, as the API shows an event.
        #[arg(long)]
        json: bool,
    },
    /// Write the log, or a stretch of it, to a file.
    Export(ExportArguments),
    /// Load an exported log into a database whose log is empty.
    Import(ImportArguments),
    /// Read the whole log and prove that it is in order: no gap, every stream dense, every posting in
    /// balance, no user below zero. Names the first event that is wrong.
    Verify {
        /// End with one JSON object on a line of its own.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
A name is account_balances, account_entries, payments, or `all`.\n\
Exit status: 0 all is well, 1 it could not be done, 2 wrong usage, 3 `verify` found a difference.\n\n\
Examples:\n  payments projections --data-dir ./payments-data list\n  \
payments projections rebuild all\n  payments projections verify account_balances --json")]
pub(crate) struct ProjectionsArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(subcommand)]
    pub(crate) tool: ProjectionsTool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectionsTool {
    /// How far each is, how far behind, and which event stops it.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Build it anew from the log, beside what is read, and swap. Reads go on; interrupted, repeat it:
    /// it goes on where it was.
    Rebuild {
        /// Which.
        name: String,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Fold the log anew and compare; names each row that differs and the event where they part.
    Verify {
        /// Which.
        name: String,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Drop the tables that the last rebuild replaced.
    DropOld {
        /// Which.
        name: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 all is well, 1 it could not be done, 2 wrong usage, 3 nobody publishes the log.\n\n\
Examples:\n  payments relay --data-dir ./payments-data status\n  payments relay status --json | jq .lag")]
pub(crate) struct RelayArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(subcommand)]
    pub(crate) tool: RelayTool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RelayTool {
    /// How far the log is published, how far behind that is, and whether a process is at it.
    Status {
        /// Tell it as a JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Prints `ready http://HOST:PORT` on stdout when it serves; logs go to stderr.\n\n\
Example:\n  payments dev --port 8080 --data-dir ./payments-data\n\
The data survives a restart. To begin anew, delete the folder.")]
pub(crate) struct DevArguments {
    /// TCP port of the API on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// Where PostgreSQL and the sandbox keep their data.
    #[arg(long, env = "PAYMENTS_DATA_DIR", default_value = "payments-data")]
    pub(crate) data_dir: PathBuf,
    /// TCP port of the sandbox on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub(crate) sandbox_port: u16,
    /// Use this risk and channel service instead of starting the sandbox, for instance
    /// http://127.0.0.1:9090.
    #[arg(long)]
    pub(crate) sandbox_url: Option<String>,
    /// Folder with PostgreSQL's programs; found by itself where it is installed as usual.
    #[arg(long, env = "PAYMENTS_PG_BIN_DIR")]
    pub(crate) pg_bin_dir: Option<PathBuf>,
    /// When started as root: the user that PostgreSQL runs as.
    #[arg(long, env = "PAYMENTS_PG_USER")]
    pub(crate) pg_user: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:\n  DATABASE_URL=postgres://payments@db/payments payments serve --roles api,saga,projector,notifier \\\n    \
--risk-url https://risk.example --channel-url https://channel.example")]
pub(crate) struct ServeArguments {
    /// What this process does: `api` answers requests and drives their payments, `saga` takes up
    /// payments that another process left, `projector` keeps the read models up with the log, `notifier`
    /// sends webhooks, `relay` publishes the log to Kafka.
    #[arg(long, value_delimiter = ',', default_value = "api,saga,projector,notifier")]
    pub(crate) roles: Vec<Role>,
    /// Where the API listens; without the role `api` only /healthz, /readyz and /metrics are there.
    #[arg(long, env = "PAYMENTS_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) database: DatabaseUrl,
    /// Base URL of the risk service.
    #[arg(long, env = "PAYMENTS_RISK_URL")]
    pub(crate) risk_url: String,
    /// Base URL of the payment channel.
    #[arg(long, env = "PAYMENTS_CHANNEL_URL")]
    pub(crate) channel_url: String,
}

/// A part of the engine that a process may play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// The HTTP API.
    Api,
    /// Recovery of payments that nobody drives.
    Saga,
    /// Balances, statements and payments as they are read.
    Projector,
    /// Webhooks to whoever has registered for events.
    Notifier,
    /// The log published to Kafka.
    Relay,
}

#[derive(Debug, Args)]
pub(crate) struct SandboxArguments {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub(crate) listen: SocketAddr,
    /// Where the record of charges is kept; without it the record ends with the process.
    #[arg(long)]
    pub(crate) record_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Stop after the stories instead of serving on.
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) dev: DevArguments,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 done, 1 it could not be done, 2 wrong usage.\n\n\
Examples:\n  payments review --data-dir ./payments-data list\n  \
payments review resolve PAY_42 --paid --transaction-id txn_7dde7b01 --reason \"on the channel's statement\"\n  \
payments review resolve PAY_43 --not-paid --reason \"the channel has no record, ticket 1234\"")]
pub(crate) struct ReviewArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(subcommand)]
    pub(crate) tool: ReviewTool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReviewTool {
    /// Payments in review with their age, user, amount and reason; who waits longest comes first.
    ///
    /// The list is as of the position that it names. When that may be too long ago, stderr says why.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Say what the channel did: the payment ends so. Giving the same command again is safe.
    Resolve(ResolveArguments),
}

#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("outcome").required(true).args(["paid", "not_paid"]),
    after_help = "\
With --paid the hold is captured and the payment completed (authorized, where the client captures by \
itself); with --not-paid the hold is released and the payment fails. The other way round is refused \
afterwards.\n\n\
Examples:\n  \
payments review resolve PAY_42 --paid --transaction-id txn_7dde7b01 --reason \"on the channel's statement\"\n  \
payments review resolve PAY_43 --not-paid --reason \"the channel has no record, ticket 1234\""
)]
pub(crate) struct ResolveArguments {
    /// The payment.
    #[arg(value_parser = PaymentId::parse)]
    pub(crate) payment_id: PaymentId,
    /// The channel has the money.
    #[arg(long, requires = "transaction_id")]
    pub(crate) paid: bool,
    /// The channel does not have it and will not take it.
    #[arg(long)]
    pub(crate) not_paid: bool,
    /// The channel's transaction, as its records name it.
    #[arg(long, requires = "paid", conflicts_with = "not_paid", value_parser = TransactionId::parse)]
    pub(crate) transaction_id: Option<TransactionId>,
    /// How you know; it is recorded with the payment.
    #[arg(long, value_parser = words)]
    pub(crate) reason: String,
    /// Who you are, recorded with the payment; the system's user when not given.
    #[arg(long, value_parser = words)]
    pub(crate) operator: Option<String>,
    /// Tell the result as a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Most characters of a reason or a name.
const MAX_WORDS: usize = 256;

/// Words of a person, fit to be recorded.
fn words(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text.chars().count() > MAX_WORDS {
        return Err(format!("must have at most {MAX_WORDS} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("must be one line of printable characters".to_owned());
    }
    Ok(text.to_owned())
}
