//! Statements that name the tables of a read model: PostgreSQL takes no parameter for a name, and a
//! statement that is put together from strings is one that nobody has read.

use projections::ports::Projection;

/// Empty tables for a build, with the key that it needs itself; what an older build has left goes.
/// The storage parameters are those of `migrations/0003_read_models.sql`: `like` does not copy them.
pub(super) const fn begin(projection: Projection) -> &'static [&'static str] {
    match projection {
        Projection::AccountBalances => &[
            "drop table if exists read_models_next.account_balances",
            "create table read_models_next.account_balances
                (like read_models.account_balances including all) with (fillfactor = 50)",
        ],
        Projection::AccountEntries => &[
            "drop table if exists read_models_next.account_entries",
            "create table read_models_next.account_entries (like read_models.account_entries including all)",
        ],
        Projection::Payments => &[
            "drop table if exists read_models_next.payments",
            "create table read_models_next.payments
                (like read_models.payments including all excluding indexes) with (fillfactor = 80)",
            "alter table read_models_next.payments add constraint payments_pkey primary key (payment_id)",
        ],
    }
}

/// Indexes that only readers need: sorting all rows once costs less than keeping them in order.
pub(super) const fn finish(projection: Projection) -> &'static [&'static str] {
    match projection {
        Projection::AccountBalances | Projection::AccountEntries => &[],
        Projection::Payments => &[
            "create index if not exists payments_by_time on read_models_next.payments (initiated_position)",
            "create index if not exists payments_by_caller
                on read_models_next.payments (caller, initiated_position)",
            "create index if not exists payments_by_user
                on read_models_next.payments (user_id, initiated_position)",
            "create index if not exists payments_by_status
                on read_models_next.payments (status, initiated_position) where status <> 'completed'",
        ],
    }
}

/// An empty table that ends with the transaction.
pub(super) const fn temporary(projection: Projection) -> &'static str {
    match projection {
        Projection::AccountBalances => {
            "create temporary table account_balances (like read_models.account_balances including all)
                on commit drop"
        }
        Projection::AccountEntries => {
            "create temporary table account_entries (like read_models.account_entries including all)
                on commit drop"
        }
        Projection::Payments => {
            "create temporary table payments (like read_models.payments including all) on commit drop"
        }
    }
}

/// The built table takes the place of the one that is read, which is kept.
pub(super) const fn swap(projection: Projection) -> [&'static str; 3] {
    match projection {
        Projection::AccountBalances => [
            "drop table if exists read_models_old.account_balances",
            "alter table read_models.account_balances set schema read_models_old",
            "alter table read_models_next.account_balances set schema read_models",
        ],
        Projection::AccountEntries => [
            "drop table if exists read_models_old.account_entries",
            "alter table read_models.account_entries set schema read_models_old",
            "alter table read_models_next.account_entries set schema read_models",
        ],
        Projection::Payments => [
            "drop table if exists read_models_old.payments",
            "alter table read_models.payments set schema read_models_old",
            "alter table read_models_next.payments set schema read_models",
        ],
    }
}

/// The table that the last swap replaced goes.
pub(super) const fn drop_old(projection: Projection) -> &'static str {
    match projection {
        Projection::AccountBalances => "drop table if exists read_models_old.account_balances",
        Projection::AccountEntries => "drop table if exists read_models_old.account_entries",
        Projection::Payments => "drop table if exists read_models_old.payments",
    }
}

/// How many rows the live and the built table have, and a digest of all rows of each, whatever their
/// order: the hashes of the rows by a seed, one over the other. `json` is hashed as its text.
pub(super) const fn digest(projection: Projection) -> &'static str {
    match projection {
        Projection::AccountBalances => {
            "select * from
                (select count(*), bit_xor(hash_record_extended(l, $1)) from read_models.account_balances l) as live,
                (select count(*), bit_xor(hash_record_extended(b, $1)) from account_balances b) as built"
        }
        Projection::AccountEntries => {
            "select * from
                (select count(*), bit_xor(hash_record_extended(l, $1)) from read_models.account_entries l) as live,
                (select count(*), bit_xor(hash_record_extended(b, $1)) from account_entries b) as built"
        }
        Projection::Payments => {
            "select * from
                (select count(*), bit_xor(hash_record_extended(
                    row(payment_id, user_id, payer, payee, currency, amount, payment_method, capture, status,
                        risk::text, transaction_id, failure::text, review_reason, captured, refunded,
                        metadata::text, initiated_position, initiated_at, position, updated_at, caller), $1))
                   from read_models.payments) as live,
                (select count(*), bit_xor(hash_record_extended(
                    row(payment_id, user_id, payer, payee, currency, amount, payment_method, capture, status,
                        risk::text, transaction_id, failure::text, review_reason, captured, refunded,
                        metadata::text, initiated_position, initiated_at, position, updated_at, caller), $1))
                   from payments) as built"
        }
    }
}

/// Rows of the live table that are not those of the built one, which the search path finds: key,
/// position of the live row, of the built row, both rows as JSON, and how many differ in all. Rows are
/// compared by their bytes, since `json` knows no equality.
pub(super) const fn compare(projection: Projection) -> &'static str {
    match projection {
        Projection::AccountBalances => {
            "select key, live.position, built.position, to_json(live.l)::text, to_json(built.b)::text,
                    count(*) over ()
               from (select account_id as key, position, l from read_models.account_balances l) as live
               full join (select account_id as key, position, b from account_balances b) as built using (key)
              where live.l is null or built.b is null or live.l::record *<> built.b::record
              order by key limit $1"
        }
        Projection::AccountEntries => {
            "select key, (live.l).position, (built.b).position, to_json(live.l)::text, to_json(built.b)::text,
                    count(*) over ()
               from (select account_id as key, position, l from read_models.account_entries l) as live
               full join (select account_id as key, position, b from account_entries b) as built
                 using (key, position)
              where live.l is null or built.b is null or live.l::record *<> built.b::record
              order by key, coalesce((live.l).position, (built.b).position) limit $1"
        }
        Projection::Payments => {
            "select key, live.position, built.position, to_json(live.l)::text, to_json(built.b)::text,
                    count(*) over ()
               from (select payment_id as key, position, l from read_models.payments l) as live
               full join (select payment_id as key, position, b from payments b) as built using (key)
              where live.l is null or built.b is null or live.l::record *<> built.b::record
              order by key limit $1"
        }
    }
}
