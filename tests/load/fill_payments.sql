-- Whole payments behind what `fill_accounts.sql` has made: each seven events in two appends, as the
-- engine writes them, 100 payments under way at a time. $1, $2: numbers of the first and the last
-- payment, from 0, a multiple of 100 of them; $3: users, a divisor of 100 or a multiple.
with first as (
    select 2 + 3 * $3::bigint as base
), payments as (
    select n, n / 100 as block, n % 100 as place, 'SEED_' || (1 + n % $3) as user_id,
           'acc_' || md5('USD/SEED_' || (1 + n % $3)) as account_id, 'FILL_' || n as payment_id,
           -- The payer's events before this payment: opened, deposited, two for each payment of theirs.
           2 + 2 * (n / $3) as payer_before, 1 + (n * 7919) % 1000 as minor
      from generate_series($1::bigint, $2::bigint) as n
), made as (
    select base + block * 700 + case when k < 4 then place * 4 + k else 400 + place * 3 + k - 4 end + 1
           as position, k, p.*
      from payments p, first, generate_series(0, 6) as k
), events_made as (
    select position, n, k, payment_id,
           case when k in (3, 5, 6) then 'account' else 'payment' end as aggregate_type,
           case k when 3 then account_id when 5 then account_id when 6 then 'settlement:card:USD:0'
                  else payment_id end as aggregate_id,
           case k when 0 then 1 when 1 then 2 when 2 then 3 when 4 then 4
                  when 3 then payer_before + 1 when 5 then payer_before + 2 else n + 2 end as sequence,
           case k when 0 then 'PaymentInitiated' when 1 then 'RiskAssessed' when 2 then 'FundsReserved'
                  when 3 then 'FundsHeld' when 4 then 'PaymentCompleted' when 5 then 'HoldCaptured'
                  else 'FundsCredited' end as event_type,
           case k
           when 0 then format('{"PaymentInitiated":{"payment_id":"%s","user_id":"%s","payer":"%s","amount":{"minor":%s,"currency":"USD"},"route":{"channel":{"payment_method":"credit_card","capture":"automatic"}},"requester":{"caller":"anonymous","idempotency_key":"FILL_KEY_%s"}}}',
                              payment_id, user_id, account_id, minor, n)
           when 1 then format('{"RiskAssessed":{"assessment":{"assessed":{"level":"low","score":%s}}}}', n % 30)
           when 2 then format('{"FundsReserved":{"amount":{"minor":%s,"currency":"USD"}}}', minor)
           when 3 then format('{"FundsHeld":{"payment_id":"%s","amount":{"minor":%s,"currency":"USD"}}}',
                              payment_id, minor)
           when 4 then format('{"PaymentCompleted":{"transaction_id":"txn_%s","captured":{"minor":%s,"currency":"USD"}}}',
                              md5(payment_id), minor)
           when 5 then format('{"HoldCaptured":{"payment_id":"%s","amount":{"minor":%s,"currency":"USD"},"released":{"minor":0,"currency":"USD"}}}',
                              payment_id, minor)
           else format('{"FundsCredited":{"posting_id":"%s","amount":{"minor":%s,"currency":"USD"}}}',
                       payment_id, minor)
           end as payload
      from made
), head as (
    update event_log_head set position = (select max(position) from made),
           recorded_at = timestamptz '2026-01-01 00:00:00Z' + ($2::bigint + 1) * interval '1 millisecond'
    returning 1
)
insert into events (position, sequence, recorded_at, event_id, aggregate_type, aggregate_id, event_type,
                    event_version, payload, correlation_id, causation_id, actor, traceparent)
select position, sequence,
       -- One time an append, and never back: the second appends of a hundred payments are behind the first.
       timestamptz '2026-01-01 00:00:00Z'
       + (n / 100 * 100 + case when k < 4 then 0 else 50 end + n % 100 / 2 + 1) * interval '1 millisecond',
       (lpad(to_hex(1767225600001 + n / 100 * 100), 12, '0') || '7000a' || lpad(to_hex(position), 15, '0'))::uuid,
       aggregate_type, aggregate_id, event_type, '1', payload::json, payment_id, 'fill', 'fill',
       '00-' || md5(payment_id) || '-' || left(md5(payment_id || k), 16) || '-01'
  from events_made, head order by position
