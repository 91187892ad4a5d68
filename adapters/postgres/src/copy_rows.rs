//! Rows in PostgreSQL's binary COPY format: the cheapest way to add many.
//!
//! The format is in PostgreSQL's manual, "COPY", "Binary Format": a header, then for each row the
//! number of columns and for each column its length and its bytes, then a trailer.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
const NULL: i32 = -1;
/// Microseconds from 1970 to 2000, where PostgreSQL's times begin.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Rows to add.
#[derive(Debug)]
pub(crate) struct CopyRows {
    bytes: Vec<u8>,
}

impl CopyRows {
    /// No rows yet; `expected` bytes are put aside for them.
    pub(crate) fn with_capacity(expected: usize) -> Self {
        let mut bytes = Vec::with_capacity(expected + HEADER.len() + 2);
        bytes.extend_from_slice(HEADER);
        Self { bytes }
    }

    /// Begins a row of so many columns.
    pub(crate) fn row(&mut self, columns: i16) -> &mut Self {
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        self
    }

    /// A column of text, or of JSON.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.column(text.as_bytes())
    }

    /// A column of text that may be null.
    pub(crate) fn optional_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// A column of the type bigint.
    pub(crate) fn bigint(&mut self, number: i64) -> &mut Self {
        self.column(&number.to_be_bytes())
    }

    /// A column of the type bigint that may be null.
    pub(crate) fn optional_bigint(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.bigint(number),
            None => self.null(),
        }
    }

    /// A column of the type uuid.
    pub(crate) fn uuid(&mut self, uuid: Uuid) -> &mut Self {
        self.column(uuid.as_bytes())
    }

    /// A column of the type timestamptz.
    pub(crate) fn time(&mut self, time: DateTime<Utc>) -> &mut Self {
        self.bigint(time.timestamp_micros() - EPOCH_US)
    }

    /// A column of the type bytea that may be null.
    pub(crate) fn optional_bytes(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.column(bytes),
            None => self.null(),
        }
    }

    fn null(&mut self) -> &mut Self {
        self.bytes.extend_from_slice(&NULL.to_be_bytes());
        self
    }

    fn column(&mut self, bytes: &[u8]) -> &mut Self {
        // Longer than 2 GiB is refused by the server as a column that the row does not hold.
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Sends them by a statement `copy ... from stdin (format binary)`.
    pub(crate) async fn send(
        mut self,
        connection: &mut PgConnection,
        statement: &str,
    ) -> Result<(), sqlx::Error> {
        self.bytes.extend_from_slice(&TRAILER.to_be_bytes());
        let mut copy = connection.copy_in_raw(statement).await?;
        copy.send(self.bytes).await?;
        copy.finish().await.map(|_| ())
    }
}
