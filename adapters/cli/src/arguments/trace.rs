//! The arguments of `payments trace`.

use adapter_http::JaegerUi;
use clap::Args;
use domain::PaymentId;

use super::DatabaseArguments;

#[derive(Debug, Args)]
#[command(after_help = "\
The story comes from the log, with or without Jaeger. With --jaeger-url the spans of each trace that was kept are \
drawn around the events that they recorded, and what handled the events later below.\n\n\
Exit status: 0 told, also without spans; 1 it could not be done, 2 wrong usage.\n\n\
Examples:\n  payments trace --data-dir ./payments-data PAY_42\n  \
payments trace 0af7651916cd43dd8448eb211c80319c --jaeger-url http://127.0.0.1:16686\n  \
payments trace PAY_42 --json | jq '.stories[0].traces[].trace_id'")]
pub(crate) struct TraceArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    /// A payment, an event, or a trace by its 32 hexadecimal digits.
    #[arg(value_name = "ID", value_parser = id)]
    pub(crate) id: String,
    /// Jaeger's query API and pages, for instance http://127.0.0.1:16686.
    #[arg(long, env = "PAYMENTS_JAEGER_URL", value_parser = jaeger_url)]
    pub(crate) jaeger_url: Option<String>,
    /// Tell it as a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Ids of events and traces are made of the characters of payments' ids.
fn id(text: &str) -> Result<String, String> {
    PaymentId::parse(text).map(|id| id.as_str().to_owned()).map_err(|error| error.to_string())
}

fn jaeger_url(text: &str) -> Result<String, String> {
    JaegerUi::new(text, vec![]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
