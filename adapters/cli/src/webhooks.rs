//! `payments webhooks`: endpoints and deliveries for an operator, of all callers.

use std::io::{self, Write};
use std::process::ExitCode;

use adapter_http::{delivery_json, endpoint_json};
use adapter_postgres::webhooks::PostgresWebhooks;
use commands::webhooks::ports::{Deliveries, WebhookEndpoints, WebhookError};
use commands::webhooks::{Delivery, DeliveryFilter, DeliveryStatus, Endpoint};
use serde_json::json;

use crate::Failure;
use crate::arguments::{ResendArguments, WebhooksArguments, WebhooksTool};
use crate::connect::connect;
use crate::output::nobody_reads;

pub(crate) async fn run(options: WebhooksArguments) -> Result<ExitCode, Failure> {
    let webhooks = PostgresWebhooks::new(&connect(&options.database).await?);
    let done = match options.tool {
        WebhooksTool::List { json } => {
            let endpoints = webhooks.endpoints(None).await?;
            lines(&endpoints, json, endpoint_json, endpoint_line, "no endpoint is registered")
        }
        WebhooksTool::Show { endpoint_id, json } => {
            let endpoint = webhooks.endpoint(None, &endpoint_id).await?;
            lines(&[endpoint], json, endpoint_json, endpoint_story, "")
        }
        WebhooksTool::Deliveries { status, endpoint, payment, limit, json } => {
            let filter = DeliveryFilter {
                caller: None,
                endpoint_id: endpoint,
                payment_id: payment,
                status: status.map(DeliveryStatus::from),
            };
            let deliveries = webhooks.deliveries(&filter, None, limit).await?;
            lines(&deliveries, json, delivery_json, delivery_line, "there is no such delivery")
        }
        WebhooksTool::Resend(resend) => resend_some(&webhooks, resend).await,
    };
    match done {
        Err(failure) if nobody_reads(&failure) => Ok(ExitCode::SUCCESS),
        done => done.map(|()| ExitCode::SUCCESS),
    }
}

/// Writes a line for each, or that there is none.
fn lines<T>(
    found: &[T],
    json: bool,
    as_json: fn(&T) -> String,
    as_text: fn(&T) -> String,
    none: &str,
) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    for one in found {
        writeln!(output, "{}", if json { as_json(one) } else { as_text(one) })?;
    }
    if found.is_empty() && !json {
        writeln!(output, "{none}")?;
    }
    Ok(())
}

fn endpoint_line(endpoint: &Endpoint) -> String {
    let Endpoint { id, url, filter, failures, .. } = endpoint;
    let (status, names) = (endpoint.status.name(), filter.names().join(","));
    let failing = if *failures > 0 { format!("  failed {failures} times in a row") } else { String::new() };
    format!("{id:<36} {status:<8}  {url}  {names}{failing}")
}

fn endpoint_story(endpoint: &Endpoint) -> String {
    let mut story = vec![
        format!("endpoint     {}", endpoint.id),
        format!("url          {}", endpoint.url),
        format!("events       {}", endpoint.filter.names().join(", ")),
        format!("status       {}", endpoint.status.name()),
        format!("registered   {}", endpoint.created_at),
        format!("sent         what is behind position {}", endpoint.after_position),
        format!("failures     {} in a row", endpoint.failures),
    ];
    let optional = [
        ("description  ", (!endpoint.description.is_empty()).then(|| endpoint.description.clone())),
        ("disabled     ", endpoint.disabled_reason.clone()),
        ("held until   ", endpoint.held_until.map(|time| time.to_string())),
        ("old secret   ", endpoint.previous_until.map(|time| format!("signs until {time}"))),
    ];
    story.extend(optional.into_iter().filter_map(|(name, text)| Some(format!("{name}{}", text?))));
    story.join("\n")
}

fn delivery_line(delivery: &Delivery) -> String {
    let Delivery { id, endpoint_id, event_type, position, attempts, .. } = delivery;
    let (id, status) = (id.to_string(), delivery.status.name());
    let payment = delivery.payment_id.as_deref().unwrap_or("-");
    let error = delivery.last_error.as_deref().unwrap_or_default();
    format!(
        "{id:<14} {status:<9} {attempts:>3} attempts  #{position:<8} {event_type:<22} {payment:<24} {endpoint_id}  {error}"
    )
}

async fn resend_some(webhooks: &PostgresWebhooks, options: ResendArguments) -> Result<(), Failure> {
    let ResendArguments { delivery_id, endpoint, json, .. } = options;
    let told = match (delivery_id, endpoint) {
        (Some(id), _) => {
            let delivery = webhooks.resend(id).await.map_err(advised)?;
            if json { delivery_json(&delivery) } else { format!("{id} is pending again") }
        }
        (None, Some(endpoint)) => {
            let count = webhooks.resend_dead(&endpoint).await.map_err(advised)?;
            match json {
                true => json!({ "endpoint_id": endpoint, "resent": count }).to_string(),
                false => format!("{count} deliveries are pending again"),
            }
        }
        // The command line lets neither through.
        (None, None) => return Ok(()),
    };
    writeln!(io::stdout(), "{told}")?;
    Ok(())
}

/// What to do next, where the error itself does not say it.
fn advised(error: WebhookError) -> Failure {
    match error {
        WebhookError::NotEnabled => format!(
            "{error}: its owner can enable it by PATCH /api/v1/webhooks/ID {{\"status\":\"enabled\"}}"
        )
        .into(),
        error => error.into(),
    }
}
