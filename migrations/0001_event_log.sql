-- The event log and what becomes durable with it.

-- One row. A batch advances it by its number of events and so takes its positions: gap-free and in
-- commit order, because the row is locked until the batch commits.
create table event_log_head (
    only_row    boolean primary key default true check (only_row),
    position    bigint      not null,
    recorded_at timestamptz not null
) with (fillfactor = 10);
insert into event_log_head (position, recorded_at) values (0, '-infinity');

create table events (
    position       bigint      not null,
    sequence       bigint      not null check (sequence > 0),
    recorded_at    timestamptz not null,
    event_id       uuid        not null,
    aggregate_type text        not null,
    aggregate_id   text        not null,
    event_type     text        not null,
    event_version  text        not null,
    -- What happened; json, not jsonb: it is written once, read whole, and kept byte for byte.
    payload        json        not null,
    -- What cqrs-es calls metadata; the facts that every event must have are columns.
    metadata       json        not null default '{}',
    correlation_id text        not null,
    causation_id   text        not null,
    actor          text        not null,
    traceparent    text        not null,
    tracestate     text,
    baggage        text,
    constraint events_pkey primary key (position),
    -- Decides every race: whoever appends a sequence first wins, on one node or on several.
    -- The id comes first because it tells most streams apart: every insert walks this index.
    constraint events_aggregate_sequence_key unique (aggregate_id, aggregate_type, sequence)
);

-- Finds an event by its id. The ids are ordered by time, as the rows are, so a summary of each range of
-- pages tells where to look; a tree of all ids would cost a third of what every append does to indexes.
create index events_event_id on events
    using brin (event_id) with (pages_per_range = 32, autosummarize = on);

create function refuse_change_of_history() returns trigger language plpgsql as $$
begin
    raise exception 'events are never changed: % on % refused', tg_op, tg_table_name;
end
$$;
create trigger events_are_never_changed
    before update or delete or truncate on events
    for each statement execute function refuse_change_of_history();

-- A request's key, claimed in the append that first changes something for it.
create table idempotency_keys (
    caller       text        not null,
    key          text        not null,
    request_hash bytea       not null,
    trace_id     text        not null,
    claimed_at   timestamptz not null,
    constraint idempotency_keys_pkey primary key (key, caller)
);

-- The request's answer, recorded in the append that ends it.
create table idempotency_answers (
    caller      text        not null,
    key         text        not null,
    status      smallint    not null,
    body        text        not null,
    position    bigint,
    answered_at timestamptz not null,
    constraint idempotency_answers_pkey primary key (key, caller)
);

-- Finds the answers that are old enough to be forgotten. They are written in the order of time, so a
-- summary of each range of pages is index enough and costs next to nothing.
create index idempotency_answers_answered_at on idempotency_answers
    using brin (answered_at) with (pages_per_range = 32, autosummarize = on);

-- States of long streams, so that loading one does not read all of it. Never a source of truth: one
-- made by another fold is ignored.
create table snapshots (
    aggregate_type text        not null,
    aggregate_id   text        not null,
    sequence       bigint      not null,
    fold_hash      bytea       not null,
    state          json        not null,
    taken_at       timestamptz not null default now(),
    constraint snapshots_pkey primary key (aggregate_type, aggregate_id)
);

-- How far each reader of the log has come.
create table checkpoints (
    name       text        primary key,
    position   bigint      not null,
    updated_at timestamptz not null default now()
);
