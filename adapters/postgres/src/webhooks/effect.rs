//! Makes deliveries of events: one for each endpoint that asked for it.

use async_trait::async_trait;
use commands::ports::RecordedEvent;
use commands::webhooks::EventFilter;
use commands::webhooks::message::Message;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::inbox::{Effect, EffectError};

/// The handler's name: its row in `consumed`, and its consumer group.
pub(super) const NAME: &str = "webhooks";

/// Makes deliveries of events.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebhookEffect;

/// The columns of the deliveries that a batch may become.
#[derive(Default)]
struct Columns<'a> {
    event_ids: Vec<Uuid>,
    positions: Vec<i64>,
    event_types: Vec<&'a str>,
    payment_ids: Vec<Option<String>>,
    bodies: Vec<String>,
    traceparents: Vec<&'a str>,
    tracestates: Vec<Option<&'a str>>,
    baggages: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, event: &'a RecordedEvent) -> Result<(), EffectError> {
        let poisoned = |reason: String| EffectError::Poisoned { position: event.position, reason };
        let event_id = Uuid::parse_str(&event.event_id).map_err(|error| poisoned(error.to_string()))?;
        let message = Message::of(event).map_err(|error| poisoned(format!("its payload: {error}")))?;
        self.event_ids.push(event_id);
        self.positions.push(event.position);
        self.event_types.push(&event.event_type);
        self.payment_ids.push(message.payment_id);
        self.bodies.push(message.body);
        self.traceparents.push(&event.traceparent);
        self.tracestates.push(event.tracestate.as_deref());
        self.baggages.push(event.baggage.as_deref());
        Ok(())
    }
}

#[async_trait]
impl Effect for WebhookEffect {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        events: &[RecordedEvent],
    ) -> Result<(), EffectError> {
        let query = sqlx::query_scalar(
            "select distinct unnest(event_types) from webhook_endpoints where status = 'enabled'",
        );
        let wanted: Vec<String> = query.fetch_all(&mut *connection).await?;
        let all = wanted.iter().any(|name| name == EventFilter::ALL);
        let mut columns = Columns::default();
        // Bodies are made only of what somebody may want.
        for event in events.iter().filter(|event| all || wanted.contains(&event.event_type)) {
            columns.push(event)?;
        }
        if columns.event_ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into webhook_deliveries (endpoint_id, event_id, position, event_type, payment_id, body,
                                             traceparent, tracestate, baggage)
             select e.id, v.event_id, v.position, v.event_type, v.payment_id, v.body, v.traceparent,
                    v.tracestate, v.baggage
               from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                           $7::text[], $8::text[])
                    as v(event_id, position, event_type, payment_id, body, traceparent, tracestate, baggage)
               join webhook_endpoints e
                 on e.status = 'enabled' and e.after_position < v.position
                and (v.event_type = any (e.event_types) or '*' = any (e.event_types))
              order by v.position
             on conflict (endpoint_id, event_id) do nothing",
        )
        .bind(columns.event_ids)
        .bind(columns.positions)
        .bind(columns.event_types)
        .bind(columns.payment_ids)
        .bind(columns.bodies)
        .bind(columns.traceparents)
        .bind(columns.tracestates)
        .bind(columns.baggages)
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn is_idle(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let query = "select not exists (select from webhook_endpoints where status = 'enabled')";
        sqlx::query_scalar(query).fetch_one(connection).await
    }
}
