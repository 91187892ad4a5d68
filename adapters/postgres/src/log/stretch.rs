//! A stretch of the log, decoded for folding.

use projections::LogEvent;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::fact::Said;

/// The events behind a position, up to and with another. Positions have no gap, so both ends bound
/// how much is read.
pub(crate) async fn stretch(
    connection: &mut PgConnection,
    after: i64,
    through: i64,
) -> Result<Vec<LogEvent>, sqlx::Error> {
    let rows = sqlx::query(STRETCH).bind(after).bind(through).fetch_all(connection).await?;
    rows.iter().map(log_event).collect()
}

/// The first position behind another that is not among these events, which are in order: at the end of
/// them it is missing only when there are none at all.
pub(crate) fn first_missing(events: &[LogEvent], after: i64) -> Option<i64> {
    if events.is_empty() {
        return Some(after + 1);
    }
    let expected = (after + 1..).zip(events).find(|(expected, event)| event.position != *expected);
    expected.map(|(expected, _)| expected)
}

/// The events of one aggregate up to and with a position.
pub(crate) async fn of_aggregate(
    connection: &mut PgConnection,
    aggregate_type: &str,
    aggregate_id: &str,
    through: i64,
) -> Result<Vec<LogEvent>, sqlx::Error> {
    let query = sqlx::query(
        "select position, sequence, event_id, recorded_at, aggregate_type, aggregate_id, event_type,
                event_version, payload
           from events where aggregate_type = $1 and aggregate_id = $2 and position <= $3 order by sequence",
    );
    let rows = query.bind(aggregate_type).bind(aggregate_id).bind(through).fetch_all(connection).await?;
    rows.iter().map(log_event).collect()
}

/// What a fold needs of each event, in the order of the log.
const STRETCH: &str = "
select position, sequence, event_id, recorded_at, aggregate_type, aggregate_id, event_type, event_version,
       payload
  from events where position > $1 and position <= $2 order by position";

/// An event of [`STRETCH`].
fn log_event(row: &PgRow) -> Result<LogEvent, sqlx::Error> {
    // Unchecked: what the columns hold was decided by the statement, and asking it for each of a hundred
    // million values takes a twentieth of a rebuild. A value that cannot be read is an error all the same.
    // As the server keeps it: JSON text, which is parsed once, into the event.
    let payload = row.try_get_raw(8)?;
    let payload = payload.as_str().map_err(sqlx::Error::Decode)?;
    let said = Said {
        aggregate_type: row.try_get_unchecked(4)?,
        aggregate_id: row.try_get_unchecked(5)?,
        event_type: row.try_get_unchecked(6)?,
        event_version: row.try_get_unchecked(7)?,
        payload,
    };
    Ok(LogEvent {
        position: row.try_get_unchecked(0)?,
        sequence: row.try_get_unchecked(1)?,
        event_id: row.try_get_unchecked(2)?,
        recorded_at: row.try_get_unchecked(3)?,
        fact: said.fact(),
    })
}
