//! The arguments of `payments webhooks`.

use clap::{Args, Subcommand, ValueEnum};
use commands::webhooks::{DeliveryId, DeliveryStatus};

use super::DatabaseArguments;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 done, 1 it could not be done, 2 wrong usage.\n\n\
Examples:\n  payments webhooks --data-dir ./payments-data list\n  \
payments webhooks deliveries --status dead\n  payments webhooks resend whd_42\n  \
payments webhooks resend --all-dead --endpoint whe_0190c1d2e3f4")]
pub(crate) struct WebhooksArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(subcommand)]
    pub(crate) tool: WebhooksTool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksTool {
    /// The registered endpoints, the oldest first.
    List {
        /// One JSON object a line, as the API shows an endpoint.
        #[arg(long)]
        json: bool,
    },
    /// One endpoint; never its secret.
    Show {
        /// Its id, `whe_...`.
        endpoint_id: String,
        /// As a JSON object, as the API shows it.
        #[arg(long)]
        json: bool,
    },
    /// What became of sending events, the newest first.
    Deliveries {
        /// Only those of which this has become.
        #[arg(long)]
        status: Option<Status>,
        /// Only those to this endpoint.
        #[arg(long)]
        endpoint: Option<String>,
        /// Only those of this payment's events.
        #[arg(long)]
        payment: Option<String>,
        /// Most deliveries.
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// One JSON object a line, as the API shows a delivery.
        #[arg(long)]
        json: bool,
    },
    /// Try deliveries that have ended again, from the beginning of the schedule.
    Resend(ResendArguments),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The receiver gets the message under the id that it had, so it can tell a repeat.\n\n\
Examples:\n  payments webhooks resend whd_42\n  \
payments webhooks resend --all-dead --endpoint whe_0190c1d2e3f4")]
pub(crate) struct ResendArguments {
    /// The delivery, `whd_...`.
    #[arg(required_unless_present = "all_dead", conflicts_with = "all_dead")]
    pub(crate) delivery_id: Option<DeliveryId>,
    /// All that are dead of an endpoint.
    #[arg(long, requires = "endpoint")]
    pub(crate) all_dead: bool,
    /// The endpoint, `whe_...`.
    #[arg(long, requires = "all_dead")]
    pub(crate) endpoint: Option<String>,
    /// Tell the result as a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What has become of a delivery.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Status {
    /// It is tried, now or later.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It is not tried any more.
    Dead,
}

impl From<Status> for DeliveryStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Delivered => Self::Delivered,
            Status::Dead => Self::Dead,
        }
    }
}
