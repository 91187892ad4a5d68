//! The one statement of a batch.
//!
//! It advances the head row by n and inserts n events at `base + ordinal`: positions are gap-free
//! and in commit order by construction. Keys and answers ride in the same statement, so they are as
//! durable as the events.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::append::Queued;

/// The statement; parameters are the number of events, 13 columns of events, 4 of claims, 5 of answers,
/// and the hashes of the events, 32 bytes each. It advances the hash chain once for all its events.
///
/// The clock is read inside the row's new values: when the row was another append's meanwhile, the
/// server makes them anew, and the time is not that from before the wait. `offset 0` keeps the planner
/// from writing the time's expression out where it is used, which would read the clock twice.
pub const APPEND: &str = "
with head as (
    update event_log_head as h
       set (position, recorded_at, chain) = (
           select h.position + $1, batch.recorded_at,
                  case when $1 = 0 then h.chain
                       else sha256(h.chain || int8send(h.position)
                                   || timestamptz_send(batch.recorded_at) || $24) end
             from (select greatest(h.recorded_at, clock_timestamp()) as recorded_at offset 0) as batch)
    returning h.position - $1 as base, h.recorded_at, h.chain
), appended as (
    insert into events (position, sequence, recorded_at, event_id, aggregate_type, aggregate_id,
                        event_type, event_version, payload, correlation_id, causation_id, actor,
                        traceparent, tracestate, baggage, hash, chain)
    select head.base + e.ordinal, e.sequence, head.recorded_at, e.event_id, e.aggregate_type,
           e.aggregate_id, e.event_type, e.event_version, e.payload::json, e.correlation_id,
           e.causation_id, e.actor, e.traceparent, e.tracestate, e.baggage,
           substring($24 from (e.ordinal::int - 1) * 32 + 1 for 32),
           case when e.ordinal = $1 then head.chain end
      from head, unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                        $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
                        $14::text[]) with ordinality
           as e(event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                correlation_id, causation_id, actor, traceparent, tracestate, baggage, ordinal)
), claimed as (
    insert into idempotency_keys (caller, key, request_hash, trace_id, claimed_at)
    select k.caller, k.key, k.request_hash, k.trace_id, head.recorded_at
      from head, unnest($15::text[], $16::text[], $17::bytea[], $18::text[])
           as k(caller, key, request_hash, trace_id)
), answered as (
    insert into idempotency_answers (caller, key, status, body, position, answered_at)
    select a.caller, a.key, a.status, a.body, head.base + a.last_ordinal, head.recorded_at
      from head, unnest($19::text[], $20::text[], $21::smallint[], $22::text[], $23::bigint[])
           as a(caller, key, status, body, last_ordinal)
)
select base, recorded_at from head";

/// Where a batch landed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Landed {
    /// Position before its first event.
    pub(super) base: i64,
    pub(super) recorded_at: DateTime<Utc>,
}

/// A batch's columns.
#[derive(Default)]
struct Columns<'a> {
    event_ids: Vec<Uuid>,
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    sequences: Vec<i64>,
    event_types: Vec<&'a str>,
    event_versions: Vec<&'a str>,
    payloads: Vec<&'a str>,
    correlation_ids: Vec<&'a str>,
    causation_ids: Vec<&'a str>,
    actors: Vec<&'a str>,
    traceparents: Vec<&'a str>,
    tracestates: Vec<Option<&'a str>>,
    baggages: Vec<Option<&'a str>>,
    claim_callers: Vec<&'a str>,
    claim_keys: Vec<&'a str>,
    claim_hashes: Vec<&'a [u8]>,
    claim_traces: Vec<&'a str>,
    answer_callers: Vec<&'a str>,
    answer_keys: Vec<&'a str>,
    answer_statuses: Vec<i16>,
    answer_bodies: Vec<&'a str>,
    answer_ordinals: Vec<Option<i64>>,
    hashes: Vec<u8>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, queued: &'a Queued) {
        let append = &queued.append;
        self.hashes.extend_from_slice(queued.hashes.as_flattened());
        let context = &append.context;
        for event in &append.events {
            self.event_ids.push(event.event_id);
            self.aggregate_types.push(event.aggregate_type);
            self.aggregate_ids.push(&event.aggregate_id);
            self.sequences.push(event.sequence);
            self.event_types.push(event.event_type);
            self.event_versions.push(event.event_version);
            self.payloads.push(&event.payload);
            self.correlation_ids.push(&context.correlation_id);
            self.causation_ids.push(&context.causation_id);
            self.actors.push(&context.actor);
            self.traceparents.push(&context.trace.traceparent);
            self.tracestates.push(context.trace.tracestate.as_deref());
            self.baggages.push(context.trace.baggage.as_deref());
        }
        if let Some(claim) = &append.claim {
            self.claim_callers.push(&claim.key.caller);
            self.claim_keys.push(&claim.key.key);
            self.claim_hashes.push(&claim.request_hash);
            // The column is called `trace_id`, and older rows have no more than that.
            self.claim_traces.push(&claim.traceparent);
        }
        if let Some((key, answer)) = &append.answer {
            self.answer_callers.push(&key.caller);
            self.answer_keys.push(&key.key);
            self.answer_statuses.push(i16::try_from(answer.status).unwrap_or(i16::MAX));
            self.answer_bodies.push(&answer.body);
            let last = i64::try_from(self.event_ids.len()).unwrap_or(i64::MAX);
            self.answer_ordinals.push((!append.events.is_empty()).then_some(last));
        }
    }
}

/// Sends a batch. Returns when the server has committed it: `fetch_all` reads up to the server's
/// "ready for query", which a single-row fetch would not, and only that follows the commit.
pub(super) async fn append(connection: &mut PgConnection, batch: &[Queued]) -> Result<Landed, sqlx::Error> {
    let mut columns = Columns::default();
    for queued in batch {
        columns.push(queued);
    }
    let rows = sqlx::query(APPEND)
        .bind(i64::try_from(columns.event_ids.len()).unwrap_or(i64::MAX))
        .bind(columns.event_ids)
        .bind(columns.aggregate_types)
        .bind(columns.aggregate_ids)
        .bind(columns.sequences)
        .bind(columns.event_types)
        .bind(columns.event_versions)
        .bind(columns.payloads)
        .bind(columns.correlation_ids)
        .bind(columns.causation_ids)
        .bind(columns.actors)
        .bind(columns.traceparents)
        .bind(columns.tracestates)
        .bind(columns.baggages)
        .bind(columns.claim_callers)
        .bind(columns.claim_keys)
        .bind(columns.claim_hashes)
        .bind(columns.claim_traces)
        .bind(columns.answer_callers)
        .bind(columns.answer_keys)
        .bind(columns.answer_statuses)
        .bind(columns.answer_bodies)
        .bind(columns.answer_ordinals)
        .bind(columns.hashes)
        .fetch_all(connection)
        .await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(Landed { base: row.try_get(0)?, recorded_at: row.try_get(1)? })
}

/// Where a batch landed whose commit was not answered, told by its first event. A batch without
/// events is told by its first key, and by the trace of its claim from another request's claim.
pub(super) async fn find(
    connection: &mut PgConnection,
    batch: &[Queued],
) -> Result<Option<Landed>, sqlx::Error> {
    let event = batch.iter().find_map(|queued| queued.append.events.first());
    let claim = batch.iter().find_map(|queued| queued.append.claim.as_ref());
    let query = match (event, claim) {
        (Some(event), _) => sqlx::query(
            "select position - 1, recorded_at from events
              where aggregate_type = $1 and aggregate_id = $2 and sequence = $3 and event_id = $4",
        )
        .bind(event.aggregate_type)
        .bind(event.aggregate_id.as_ref())
        .bind(event.sequence)
        .bind(event.event_id),
        (None, Some(claim)) => sqlx::query(
            "select 0::bigint, claimed_at from idempotency_keys
              where caller = $1 and key = $2 and request_hash = $3 and trace_id = $4",
        )
        .bind(claim.key.caller.as_ref())
        .bind(claim.key.key.as_ref())
        .bind(claim.request_hash.as_slice())
        .bind(&claim.traceparent),
        // Nothing that could be there twice.
        (None, None) => return Ok(None),
    };
    let row = query.fetch_optional(connection).await?;
    row.map(|row| Ok(Landed { base: row.try_get(0)?, recorded_at: row.try_get(1)? })).transpose()
}

/// Indexes of the appends that others have outrun, each with the aggregates on which they did.
pub(super) async fn outrun(
    connection: &mut PgConnection,
    batch: &[Queued],
) -> Result<HashMap<usize, Vec<String>>, sqlx::Error> {
    let (mut owners, mut types, mut ids, mut sequences) = (vec![], vec![], vec![], vec![]);
    for (owner, queued) in batch.iter().enumerate() {
        for event in &queued.append.events {
            owners.push(i64::try_from(owner).unwrap_or(i64::MAX));
            types.push(event.aggregate_type);
            ids.push(event.aggregate_id.as_ref());
            sequences.push(event.sequence);
        }
    }
    let rows = sqlx::query(
        "select distinct k.owner, k.id
           from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[]) as k(owner, type, id, sequence),
                lateral (select from events e
                          where e.aggregate_type = k.type and e.aggregate_id = k.id
                            and e.sequence = k.sequence limit 1) as found",
    )
    .bind(owners)
    .bind(types)
    .bind(ids)
    .bind(sequences)
    .fetch_all(connection)
    .await?;
    let mut outrun: HashMap<usize, Vec<String>> = HashMap::new();
    for row in &rows {
        outrun.entry(owner_of(row)?).or_default().push(row.try_get(1)?);
    }
    Ok(outrun)
}

/// Indexes of the appends whose idempotency keys others have claimed already.
pub(super) async fn claimed(
    connection: &mut PgConnection,
    batch: &[Queued],
) -> Result<HashSet<usize>, sqlx::Error> {
    let (mut owners, mut callers, mut keys) = (vec![], vec![], vec![]);
    for (owner, queued) in batch.iter().enumerate() {
        if let Some(claim) = &queued.append.claim {
            owners.push(i64::try_from(owner).unwrap_or(i64::MAX));
            callers.push(claim.key.caller.as_ref());
            keys.push(claim.key.key.as_ref());
        }
    }
    let rows = sqlx::query(
        "select distinct k.owner
           from unnest($1::bigint[], $2::text[], $3::text[]) as k(owner, caller, key),
                lateral (select from idempotency_keys i
                          where i.caller = k.caller and i.key = k.key limit 1) as found",
    )
    .bind(owners)
    .bind(callers)
    .bind(keys)
    .fetch_all(connection)
    .await?;
    rows.iter().map(owner_of).collect()
}

fn owner_of(row: &PgRow) -> Result<usize, sqlx::Error> {
    Ok(usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX))
}
