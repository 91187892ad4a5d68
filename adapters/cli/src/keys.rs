//! `payments keys`: who may call the API, for an operator.

use std::io::{self, Write};
use std::process::ExitCode;

use adapter_http::NewKey;
use adapter_postgres::api_keys::PostgresApiKeys;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use commands::access::ApiKey;
use serde_json::json;

use crate::Failure;
use crate::arguments::{CreateArguments, KeysArguments, KeysTool};
use crate::connect::connect;
use crate::output::nobody_reads;

pub(crate) async fn run(options: KeysArguments) -> Result<ExitCode, Failure> {
    let keys = PostgresApiKeys::new(&connect(&options.database).await?);
    let done = match options.tool {
        KeysTool::Create(create) => create_one(&keys, create).await,
        KeysTool::List { json } => list(&keys.list().await?, json),
        KeysTool::Revoke { id, json } => revoked(&keys.revoke(&id).await?, json),
    };
    match done {
        Err(failure) if nobody_reads(&failure) => Ok(ExitCode::SUCCESS),
        done => done.map(|()| ExitCode::SUCCESS),
    }
}

async fn create_one(keys: &PostgresApiKeys, options: CreateArguments) -> Result<(), Failure> {
    let expires_at = match options.expires_in {
        Some(span) => Some(now() + TimeDelta::from_std(span)?),
        None => None,
    };
    let new = NewKey::draw()?;
    let scopes = options.scope.into_iter().collect();
    let key = keys.create(&new.id, &options.caller, &new.secret_hash, scopes, expires_at).await?;
    if options.json {
        let mut told = as_json(&key);
        told["key"] = new.expose().into();
        writeln!(io::stdout(), "{told}")?;
    } else {
        // Alone on stdout, so that a script can take it.
        writeln!(io::stdout(), "{}", new.expose())?;
        writeln!(io::stderr(), "{}\nkeep it: it is not shown again", line(&key))?;
    }
    Ok(())
}

fn list(keys: &[ApiKey], json: bool) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    for key in keys {
        writeln!(output, "{}", if json { as_json(key).to_string() } else { line(key) })?;
    }
    if keys.is_empty() && !json {
        writeln!(output, "there is no key; make one: payments keys create --caller NAME --scope read,write")?;
    }
    Ok(())
}

fn revoked(key: &ApiKey, json: bool) -> Result<(), Failure> {
    let told = if json { as_json(key).to_string() } else { line(key) };
    writeln!(io::stdout(), "{told}")?;
    Ok(())
}

fn as_json(key: &ApiKey) -> serde_json::Value {
    json!({
        "id": shown_id(key), "caller": key.caller, "scopes": key.scopes.names(), "status": status(key),
        "created_at": time(key.created_at), "expires_at": key.expires_at.map(time),
        "revoked_at": key.revoked_at.map(time), "last_used_at": key.last_used_at.map(time),
    })
}

fn line(key: &ApiKey) -> String {
    let (id, scopes, status) = (shown_id(key), key.scopes.names().join(","), status(key));
    let expires = key.expires_at.map_or("never".to_owned(), time);
    let used = key.last_used_at.map_or("never".to_owned(), time);
    let caller = &key.caller;
    format!("{id}  {status:<8} {caller:<20} {scopes:<20} expires {expires}  last used {used}")
}

fn shown_id(key: &ApiKey) -> String {
    format!("pk_{}", key.id)
}

fn status(key: &ApiKey) -> &'static str {
    match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= now() => "expired",
        (None, _) => "active",
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[expect(clippy::disallowed_methods, reason = "a tool for people tells what is so now")]
fn now() -> DateTime<Utc> {
    Utc::now()
}
