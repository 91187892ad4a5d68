-- The read models: folds of the log, by which the API answers. Each can be built anew from it.

-- The tables that are read, those that a rebuild is making, and those that the last one replaced. The
-- names in them are the same, so a statement says nothing about which it works on; moving a table
-- from one schema to another is a rebuild's swap.
create schema read_models;
create schema read_models_next;
create schema read_models_old;

-- How far each has folded the log. Its row changes in the transaction that changes the model's rows.
create table projections (
    name         text        primary key,
    position     bigint      not null,
    -- When the event at that position was recorded.
    recorded_at  timestamptz,
    -- The fold that made the rows.
    fold_hash    bytea       not null,
    -- Raised when a rebuild replaces the rows: whoever remembers rows has to forget them.
    generation   bigint      not null default 0,
    -- The event that cannot be folded, when there is one.
    failed_position    bigint,
    failed_event_id    uuid,
    failed_traceparent text,
    failed_reason      text,
    failed_at          timestamptz,
    updated_at   timestamptz not null default now()
);

-- Rebuilds that are not finished: they go on from here.
create table projection_builds (
    name       text        primary key,
    position   bigint      not null,
    fold_hash  bytea       not null,
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- What every account has now, in minor units of its currency.
create table read_models.account_balances (
    account_id  text collate "C" not null,
    user_id     text,
    currency    text        not null,
    status      text        not null,
    posted      bigint      not null,
    held        bigint      not null,
    -- Of the account's last event.
    position    bigint      not null,
    event_id    uuid        not null,
    recorded_at timestamptz not null,
    constraint account_balances_pkey primary key (account_id)
) with (fillfactor = 50);

-- The statement: each leg of a posting, with what it left the account with.
create table read_models.account_entries (
    account_id  text collate "C" not null,
    position    bigint      not null,
    event_id    uuid        not null,
    event_type  text        not null,
    posting_id  text        not null,
    payment_id  text,
    currency    text        not null,
    -- Less than zero where money left.
    amount      bigint      not null,
    balance     bigint      not null,
    reference   text,
    recorded_at timestamptz not null,
    constraint account_entries_pkey primary key (account_id, position)
);

-- Every payment as it stands.
create table read_models.payments (
    payment_id         text collate "C" not null,
    user_id            text collate "C" not null,
    payer              text        not null,
    payee              text,
    currency           text        not null,
    amount             bigint      not null,
    payment_method     text,
    capture            text,
    status             text        not null,
    risk               json,
    transaction_id     text,
    failure            json,
    review_reason      text,
    captured           bigint,
    refunded           bigint,
    metadata           json,
    -- Of its first event: payments are listed in this order.
    initiated_position bigint      not null,
    initiated_at       timestamptz not null,
    -- Of its last event.
    position           bigint      not null,
    updated_at         timestamptz not null,
    constraint payments_pkey primary key (payment_id)
) with (fillfactor = 80);
create index payments_by_time on read_models.payments (initiated_position);
create index payments_by_user on read_models.payments (user_id, initiated_position);
-- The rare ones; whoever asks for completed payments finds them by time.
create index payments_by_status on read_models.payments (status, initiated_position)
    where status <> 'completed';
