-- A log as the engine would have written it, made fast: the system's accounts, then users that are
-- opened and given 1,000,000.00 each. $1: users. Three events a user, behind the first two.
with head as (
    update event_log_head set position = 2 + 3 * $1::bigint, recorded_at = timestamptz '2026-01-01 00:00:00Z'
     where position = 0 returning 1
), users as (
    select n, 'SEED_' || n as user_id, 'acc_' || md5('USD/SEED_' || n) as account_id
      from head, generate_series(1, $1::bigint) as n
), made as (
    select 1::bigint as position, 1::bigint as sequence, 'funding:USD:0' as aggregate_id,
           'AccountOpened' as event_type, 'open' as story,
           '{"AccountOpened":{"account_id":"funding:USD:0","owner":{"system":{"purpose":"funding"}},"currency":"USD"}}'
           as payload from head
    union all
    select 2, 1, 'settlement:card:USD:0', 'AccountOpened', 'open',
           '{"AccountOpened":{"account_id":"settlement:card:USD:0","owner":{"system":{"purpose":"settlement:card"}},"currency":"USD"}}'
      from head
    union all
    select 3 * n, 1, account_id, 'AccountOpened', 'open-' || n,
           format('{"AccountOpened":{"account_id":"%s","owner":{"user":{"user_id":"%s"}},"currency":"USD"}}',
                  account_id, user_id)
      from users
    union all
    select 3 * n + 1, 2, account_id, 'FundsDeposited', 'dep_' || n,
           format('{"FundsDeposited":{"posting_id":"dep_%s","amount":{"minor":100000000,"currency":"USD"},"reference":""}}', n)
      from users
    union all
    select 3 * n + 2, n + 1, 'funding:USD:0', 'FundsDebited', 'dep_' || n,
           format('{"FundsDebited":{"posting_id":"dep_%s","amount":{"minor":100000000,"currency":"USD"}}}', n)
      from users
)
insert into events (position, sequence, recorded_at, event_id, aggregate_type, aggregate_id, event_type,
                    event_version, payload, correlation_id, causation_id, actor, traceparent)
select position, sequence, timestamptz '2026-01-01 00:00:00Z',
       (lpad(to_hex(1767225600000), 12, '0') || '7000a' || lpad(to_hex(position), 15, '0'))::uuid,
       'account', aggregate_id, event_type, '1', payload::json, story, 'fill', 'fill',
       '00-' || md5(story) || '-' || left(md5('span' || story), 16) || '-01'
  from made order by position
