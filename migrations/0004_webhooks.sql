-- Webhooks: who is told of which events, and what became of telling them.

-- How far each handler of events is, per source: the log itself, or a partition of a broker's topic. Its
-- row changes in the transaction that keeps what the events caused, so each event counts once.
create table consumed (
    consumer   text        not null,
    topic      text        not null,
    partition  int         not null,
    position   bigint      not null,
    updated_at timestamptz not null default now(),
    constraint consumed_pkey primary key (consumer, topic, partition)
);
-- Nobody was registered until now, so nobody waits for what is in the log already.
insert into consumed (consumer, topic, partition, position)
    select 'webhooks', '(log)', 0, position from event_log_head;

-- Where events are sent to.
create table webhook_endpoints (
    id                  text        not null,
    caller              text        not null,
    url                 text        not null,
    -- Names of events; `*` is all of them.
    event_types         text[]      not null,
    description         text        not null,
    secret              text        not null,
    -- The secret before the last rotation, which signs as well until then.
    previous_secret     text,
    previous_until      timestamptz,
    -- A deleted one keeps its row: its deliveries are still told of.
    status              text        not null check (status in ('enabled', 'disabled', 'deleted')),
    disabled_reason     text,
    -- The log's head when it was registered or last enabled: what is behind it is sent.
    after_position      bigint      not null,
    -- Attempts that failed since the last one that did not. While there are any, one is made at a time.
    failures            int         not null default 0,
    -- Nothing is sent before: the receiver has said how long it wants to be left alone.
    held_until          timestamptz,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    constraint webhook_endpoints_pkey primary key (id)
);
create index webhook_endpoints_by_caller on webhook_endpoints (caller, created_at);

-- One event for one endpoint.
create table webhook_deliveries (
    -- Clients see `whd_` in front of it.
    number          bigint      generated always as identity,
    endpoint_id     text        not null references webhook_endpoints (id),
    event_id        uuid        not null,
    position        bigint      not null,
    event_type      text        not null,
    payment_id      text,
    -- What is sent, byte for byte the same at each attempt.
    body            text        not null,
    traceparent     text        not null,
    tracestate      text,
    baggage         text,
    status          text        not null default 'pending' check (status in ('pending', 'delivered', 'dead')),
    attempts        int         not null default 0,
    -- Attempts before it was last sent again by hand: the schedule counts from there.
    schedule_from   int         not null default 0,
    -- While an attempt is made, when it may be taken up by another process.
    next_attempt_at timestamptz not null default now(),
    -- Somebody makes an attempt until then.
    claimed_until   timestamptz,
    last_attempt_at timestamptz,
    -- HTTP status of the last answer, and why it was none that counts.
    last_status     smallint,
    last_error      text,
    created_at      timestamptz not null default now(),
    ended_at        timestamptz,
    constraint webhook_deliveries_pkey primary key (number),
    -- An event that is told of twice, by another source for instance, is sent once.
    constraint webhook_deliveries_endpoint_event_key unique (endpoint_id, event_id)
);
create index webhook_deliveries_due on webhook_deliveries (endpoint_id, next_attempt_at)
    where status = 'pending';
create index webhook_deliveries_claimed on webhook_deliveries (endpoint_id) where claimed_until is not null;
create index webhook_deliveries_by_endpoint on webhook_deliveries (endpoint_id, number);
create index webhook_deliveries_by_payment on webhook_deliveries (payment_id, number)
    where payment_id is not null;
create index webhook_deliveries_dead on webhook_deliveries (number) where status = 'dead';
create index webhook_deliveries_delivered on webhook_deliveries (ended_at) where status = 'delivered';
