//! `payments openapi`: the API's contract, without a database.

use std::io::Write;

use crate::Failure;

/// Writes the document to standard output.
pub(crate) fn run() -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&adapter_http::openapi::document())?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
