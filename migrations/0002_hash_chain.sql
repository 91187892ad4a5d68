-- The hash chain: whoever changes, removes or adds an event behind the engine's back breaks it.

-- What an event says, hashed by the process that appends it: all but its position and its time.
alter table events add column hash bytea;
-- At the last event of each append statement: the chain up to it, which covers the hashes of the
-- statement's events, their positions and their time.
alter table events add column chain bytea;

-- The chain up to the last event. The row's lock orders the appends, and so the links.
alter table event_log_head
    add column chain bytea not null default decode(repeat('00', 32), 'hex');
