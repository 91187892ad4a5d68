//! What traces say of projections: each batch leads back to the spans that recorded its events.

use std::time::SystemTime;

use commands::spans::{self, Array, Handling, KeyValue, LinkKind, MOST_LINKS, Origin, SpanKind, Value};
use sqlx::{PgConnection, Row};

/// Events of a stretch whose traces are kept: the last digit of a `traceparent` says so by its lowest bit.
const KEPT: &str = "
select traceparent, event_id::text, correlation_id from events
 where position > $1 and position <= $2 and right(traceparent, 1) in ('1', '3', '5', '7', '9', 'b', 'd', 'f')
 order by position limit $3";

/// When work begins that a span tells of.
#[expect(clippy::disallowed_methods, reason = "when something was done is an adapter's to say")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// Tells that a stretch of the log (behind the first position, up to the second) is in the rows.
pub(super) async fn applied(
    connection: &mut PgConnection,
    projections: Vec<&'static str>,
    stretch: (i64, i64),
    began: SystemTime,
) -> Result<(), sqlx::Error> {
    if !spans::are_kept() || stretch.1 <= stretch.0 {
        return Ok(());
    }
    let origins = kept(connection, stretch, i64::MAX).await?;
    let names = projections.into_iter().map(Into::into).collect();
    let attributes = vec![
        KeyValue::new("projection.names", Value::Array(Array::String(names))),
        KeyValue::new("projection.position", stretch.1),
        KeyValue::new("projection.batch.events", stretch.1 - stretch.0),
    ];
    let handling = Handling {
        name: "projection.apply".to_owned(),
        kind: SpanKind::Internal,
        began,
        link: LinkKind::CausedBy,
        attributes,
    };
    spans::handled(&handling, origins);
    Ok(())
}

/// Tells that read models were built anew from the log up to a position.
pub(super) async fn rebuilt(
    connection: &mut PgConnection,
    projections: Vec<&'static str>,
    position: i64,
    began: SystemTime,
) -> Result<(), sqlx::Error> {
    if !spans::are_kept() {
        return Ok(());
    }
    let origins = kept(connection, (0, position), i64::try_from(MOST_LINKS).unwrap_or(i64::MAX)).await?;
    let names = projections.into_iter().map(Into::into).collect();
    let attributes = vec![
        KeyValue::new("projection.names", Value::Array(Array::String(names))),
        KeyValue::new("projection.position", position),
    ];
    let handling = Handling {
        name: "projection.rebuild".to_owned(),
        kind: SpanKind::Internal,
        began,
        link: LinkKind::ReplayOf,
        attributes,
    };
    spans::worked_through(&handling, origins);
    Ok(())
}

/// The events of a stretch whose traces are kept, at most so many.
pub(super) async fn kept(
    connection: &mut PgConnection,
    (after, through): (i64, i64),
    limit: i64,
) -> Result<Vec<Origin>, sqlx::Error> {
    let query = sqlx::query(KEPT).bind(after).bind(through).bind(limit);
    let rows = query.fetch_all(connection).await?;
    let origin = |row: &sqlx::postgres::PgRow| -> Result<Origin, sqlx::Error> {
        Ok(Origin {
            traceparent: row.try_get(0)?,
            event_id: row.try_get(1)?,
            correlation_id: row.try_get(2)?,
        })
    };
    rows.iter().map(origin).collect()
}
