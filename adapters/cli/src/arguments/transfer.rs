//! The command line of what carries events elsewhere: export, import, replay.

use std::path::PathBuf;

use clap::Args;

use super::DatabaseArguments;

/// A stretch of the log.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct StretchArguments {
    /// First position.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) from: i64,
    /// Last position; where the log ends now when not given.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) to: Option<i64>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each line is an event as a CloudEvent 1.0 with the payload as it was recorded, byte for byte. The last line \
is of the type payments.LogExported: it has the number of events and the SHA-256 of all lines before it. A \
file without it was cut.\n\n\
The file appears under its name when it is whole and on disk, and only its owner may read it. A file of that \
name is replaced. With `-` for FILE the lines go to standard output and what is told goes to standard error.\n\n\
Exit status: 0 all is well, 1 it could not be done, 2 wrong usage.\n\n\
Examples:\n  payments events --data-dir ./payments-data export log.ndjson.gz\n  \
payments events export - | head -1 | jq .\n  \
payments events export --from 1000 --to 1999 part.ndjson --json")]
pub(crate) struct ExportArguments {
    /// Where to; `-` is standard output.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) stretch: StretchArguments,
    /// Compress by gzip, as for a FILE that ends in .gz.
    #[arg(long)]
    pub(crate) gzip: bool,
    /// Tell the result as a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
FILE is what `payments events export` wrote, from position 1, compressed or not. Everything is checked while \
it is read: that nothing is missing and nothing came twice, hashes and the hash chain, and that this program \
knows each event. The first thing that is wrong is named by its line, and nothing is imported then.\n\n\
The database is brought up to date first. Its log must be empty: make a new database. An engine that runs \
on it waits with its appends until the import has ended. Stop the engine of the database that the log comes \
from for good before one starts on the new one, or give the new one a sandbox: payments under way are taken \
up by every engine that finds them, and each asks its channel.\n\n\
Not brought by an import: idempotency keys and recorded answers, so that a repeat of a request from before is \
not known by its key (a payment is still refused by its payment_id, but a deposit or withdrawal would be made \
again: let clients end their repeats first); snapshots (made again when needed); read models (the projector \
of `payments serve` or `payments dev` builds them).\n\n\
Exit status: 0 all is well, 1 it could not be done, 2 wrong usage.\n\n\
Examples:\n  DATABASE_URL=postgres://payments@db/restored payments events import log.ndjson.gz\n  \
payments events import - < log.ndjson\n  payments events verify")]
pub(crate) struct ImportArguments {
    /// Where from; `-` is standard input.
    pub(crate) file: PathBuf,
    /// Tell the result as a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each line is an event as a CloudEvent 1.0, marked \"replay\":true. Nothing but standard output, or the topic, is \
written to: a replay cannot reach a risk service, a payment channel, a webhook or the log.\n\n\
With --to-kafka the events are messages of CloudEvents' binary mode with the header ce_replay: true, in the \
order of the log. The topic is made where it is missing. The cluster is that of the settings \
(PAYMENTS_KAFKA__BROKERS). The topics that the log is published to are refused unless forced: consumers of \
ours let a replay pass, others see events twice.\n\n\
Exit status: 0 all is well, 1 it could not be done, 2 wrong usage.\n\n\
Examples:\n  payments replay --dry-run\n  \
payments replay --from 1000 --type PaymentCompleted --type PaymentFailed | my-consumer\n  \
payments replay --data-dir ./payments-data --aggregate PAY_42 | jq .type\n  \
payments replay --from 1 --to-kafka payments.rebuild-2026")]
pub(crate) struct ReplayArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(flatten)]
    pub(crate) stretch: StretchArguments,
    /// Only events of this name, for instance PaymentCompleted; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events of this account or payment.
    #[arg(long, value_name = "ID")]
    pub(crate) aggregate: Option<String>,
    /// Send them to this topic of Kafka instead of standard output.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) to_kafka: Option<String>,
    /// Send them even to a topic that the log is published to.
    #[arg(long, requires = "to_kafka")]
    pub(crate) force: bool,
    /// Count what would be sent and send nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Tell the counts as a JSON object: on standard output with --dry-run, else on standard error.
    #[arg(long)]
    pub(crate) json: bool,
}
