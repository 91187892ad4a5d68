-- Who may call the API: keys of callers, of which only hashes are kept.
create table api_keys (
    -- In the key's text between `pk_` and the secret: by it the row is found.
    id           text        not null,
    -- Whose key it is. A caller may have several: a new one comes before the old one goes.
    caller       text        not null,
    -- SHA-256 of the secret, which is 256 random bits and so needs no slow hash.
    secret_hash  bytea       not null check (octet_length(secret_hash) = 32),
    scopes       text[]      not null check (cardinality(scopes) > 0 and scopes <@ array['read', 'write', 'operate']),
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    -- To the minute, and later than the use by some seconds.
    last_used_at timestamptz,
    constraint api_keys_pkey primary key (id)
);
create index api_keys_by_caller on api_keys (caller, created_at);

-- Whose payment it is. Until now there was one caller.
alter table read_models.payments add column caller text collate "C" not null default 'anonymous';
create index payments_by_caller on read_models.payments (caller, initiated_position);
