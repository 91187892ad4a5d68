//! The arguments of `payments keys`.

use std::time::Duration;

use clap::{Args, Subcommand};
use commands::access::{Scope, caller_name};

use super::DatabaseArguments;

#[derive(Debug, Args)]
#[command(after_help = "\
To change a key: create another for the same caller, let its programs use it, revoke the old one.\n\
Exit status: 0 done, 1 it could not be done, 2 wrong usage.\n\n\
Examples:\n  payments keys --data-dir ./payments-data create --caller shop --scope read,write --expires-in 90d\n  \
payments keys list --json | jq -r 'select(.last_used_at == null) | .id'\n  \
payments keys revoke pk_3f0a6c1e9b2d4857")]
pub(crate) struct KeysArguments {
    #[command(flatten)]
    pub(crate) database: DatabaseArguments,
    #[command(subcommand)]
    pub(crate) tool: KeysTool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysTool {
    /// Make a key. It is written to stdout, this once.
    Create(CreateArguments),
    /// All keys, the oldest first; never their secrets.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Make a key good for nothing, for ever; it goes on for some seconds (http.key_cache_ms).
    Revoke {
        /// The key's id, `pk_` and 16 digits; a whole key does as well.
        #[arg(value_parser = key_id)]
        id: String,
        /// Tell the result as a JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Scopes: read (accounts, the caller's payments), write (open accounts, move money), operate (freeze, close, \
review, webhooks, the whole log, all payments).\n\n\
Example:\n  KEY=$(payments keys create --caller shop --scope read,write)\n  \
curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:8080/api/v1/payments")]
pub(crate) struct CreateArguments {
    /// Whose key it is: events name the caller, and idempotency keys and payments are its own.
    #[arg(long, value_parser = caller_name)]
    pub(crate) caller: String,
    /// What it is good for: read, write, operate.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) scope: Vec<Scope>,
    /// When it ends by itself: a number and s, m, h or d.
    #[arg(long, value_parser = span)]
    pub(crate) expires_in: Option<Duration>,
    /// Tell it as a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The id in what a person has of a key.
fn key_id(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("pk_").unwrap_or(text).split('_').next().unwrap_or_default();
    let fits = id.len() == 16 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    // What was given may be a key, so it is not repeated.
    if fits { Ok(id.to_owned()) } else { Err("must be `pk_` and 16 hexadecimal digits".to_owned()) }
}

/// The longest life of a key, in days.
const MOST_DAYS: u64 = 3_650;

/// A time span such as `90d`.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("must be a number and s, m, h or d, such as 90d, of at most {MOST_DAYS}d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number =
        text.get(..text.len() - 1).and_then(|number| number.parse::<u64>().ok()).ok_or_else(wrong)?;
    let span = number.checked_mul(seconds).filter(|span| (1..=MOST_DAYS * 86_400).contains(span));
    span.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("2h", 7_200), ("90d", 7_776_000)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "d", "0d", "1", "-1d", "1.5h", "1w", "3651d", "99999999999999999999d", "1ä"] {
            assert!(span(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_id_is_found_in_whatever_a_person_has_of_a_key() {
        for text in ["0123456789abcdef", "pk_0123456789abcdef", "pk_0123456789abcdef_se_cret"] {
            assert_eq!(key_id(text).as_deref(), Ok("0123456789abcdef"));
        }
        for text in ["", "pk_", "pk_0123456789ABCDEF", "0123456789abcdef0"] {
            assert!(key_id(text).is_err(), "{text:?}");
        }
    }
}
