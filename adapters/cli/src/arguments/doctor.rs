//! The command line of `payments doctor`.

use clap::Args;

use super::DatabaseArguments;

#[derive(Debug, Args)]
#[command(after_help = "\
Looks at everything that is configured: the database and its schema, Kafka, the collector, risk and channel, \
the clocks, and this machine. Nothing is changed. Give it the settings and the environment of the process that \
is to run.\n\n\
Exit status: 0 all is well, or there are warnings alone, 1 something failed, 2 wrong usage.\n\n\
Examples:\n  DATABASE_URL=postgres://payments@db/payments payments doctor --risk-url https://risk.example\n  \
payments doctor --data-dir ./payments-data\n  payments doctor --json | jq '.checks[] | select(.status != \"ok\")'")]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// Base URL of the risk service.
    #[arg(long, env = "PAYMENTS_RISK_URL")]
    pub(crate) risk_url: Option<String>,
    /// Base URL of the payment channel.
    #[arg(long, env = "PAYMENTS_CHANNEL_URL")]
    pub(crate) channel_url: Option<String>,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}
