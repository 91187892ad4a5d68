//! `payments trace`: a payment's whole story, across the traces that recorded it.
//!
//! The log alone tells it: each event names its trace and span. Jaeger adds the spans around the events, and what
//! handled the events later. Without it, or where it has dropped a trace, the story is told all the same.
//!
//! Start at [`run`]. `story` tells events apart, `draw` and `json` show them; neither reads anything.

mod draw;
mod json;
mod story;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use adapter_http::JaegerUi;
use adapter_postgres::log::EventLog;
use adapter_services::jaeger::{JaegerError, JaegerQuery};
use chrono::TimeDelta;
use commands::ports::{EventReader, RecordedEvent, SearchError};
use commands::shown;
use domain::PaymentId;

use self::story::{Part, Story};
use crate::Failure;
use crate::arguments::TraceArguments;
use crate::connect::connect;
use crate::output::nobody_reads;

/// Most events of a trace that are looked at.
const MOST_EVENTS: u32 = 1_000;
/// Most payments of one trace whose stories are told.
const MOST_STORIES: usize = 10;
/// Longest time that Jaeger is asked, all questions together.
const JAEGER_PATIENCE: Duration = Duration::from_secs(15);
/// How long after a trace's last event its handlers are looked for: a webhook is retried for days.
const HANDLED_WITHIN: TimeDelta = TimeDelta::days(7);
/// Clocks differ.
const LEEWAY: TimeDelta = TimeDelta::minutes(1);

/// Everything that is told.
#[derive(Debug)]
struct Told {
    stories: Vec<Story>,
    /// Payments of the trace whose stories are not told.
    more_payments: usize,
    /// Why there are no spans, where there should be some.
    spans_missing: Option<String>,
    jaeger: Option<JaegerUi>,
}

impl Told {
    /// The page of a trace that was kept.
    fn url(&self, part: &Part) -> Option<String> {
        self.jaeger.as_ref().filter(|_| part.sampled).map(|jaeger| jaeger.trace_url(&part.trace_id))
    }
}

pub(crate) async fn run(options: TraceArguments) -> Result<ExitCode, Failure> {
    let log = EventLog::new(&connect(&options.database).await?);
    let mut told = found(&log, &options.id).await?;
    if let Some(url) = &options.jaeger_url {
        told.jaeger = Some(JaegerUi::new(url, vec![])?);
        let jaeger = JaegerQuery::new(url)?;
        let asked = tokio::time::timeout(JAEGER_PATIENCE, ask(&jaeger, &mut told.stories)).await;
        told.spans_missing = match asked {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("Jaeger: {error}")),
            Err(_) => Some(format!("Jaeger has not told all within {} s", JAEGER_PATIENCE.as_secs())),
        };
    }
    match show(&told, options.json) {
        Err(failure) if !nobody_reads(&failure) => Err(failure),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn show(told: &Told, json: bool) -> Result<(), Failure> {
    let mut output = io::stdout();
    if json {
        writeln!(output, "{}", json::json(told)?)?;
    } else {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        output.write_all(draw::draw(told, output.is_terminal() && !unwanted)?.as_bytes())?;
    }
    Ok(output.flush()?)
}

/// What an id stands for: a payment, else a trace, else an event.
async fn found(log: &dyn EventReader, id: &str) -> Result<Told, Failure> {
    let events = log.story(&PaymentId::parse(id)?).await?;
    if !events.is_empty() {
        return Ok(told([events], 0));
    }
    if shown::is_trace_id(id) {
        let events = log.of_trace(id, 0, MOST_EVENTS).await?;
        if events.is_empty() {
            let nothing = "has recorded no event, and there is no payment of this name";
            return Err(format!("the trace {id} {nothing}").into());
        }
        return stories(log, events).await;
    }
    let event = log.event(id).await?.ok_or_else(|| format!("there is no payment or event {id}"))?;
    if payment_of(&event)?.is_some() {
        return stories(log, vec![event]).await;
    }
    // What stands beside it in the log is its story; where that cannot be found it is its own.
    let mut beside = match log.of_trace(shown::trace_id(&event), 0, MOST_EVENTS).await {
        Err(SearchError::TookTooLong { .. }) => vec![],
        found => found?,
    };
    beside.retain(|other| other.correlation_id == event.correlation_id);
    Ok(told([if beside.is_empty() { vec![event] } else { beside }], 0))
}

/// The whole stories of the payments that events belong to, and what belongs to none.
async fn stories(log: &dyn EventReader, events: Vec<RecordedEvent>) -> Result<Told, Failure> {
    let (mut payments, mut others): (Vec<PaymentId>, Vec<RecordedEvent>) = (vec![], vec![]);
    for event in events {
        match payment_of(&event)? {
            Some(payment) if payments.contains(&payment) => {}
            Some(payment) => payments.push(payment),
            None => others.push(event),
        }
    }
    let mut stories = vec![];
    for payment in payments.iter().take(MOST_STORIES) {
        stories.push(log.story(payment).await?);
    }
    stories.push(others);
    Ok(told(stories, payments.len().saturating_sub(MOST_STORIES)))
}

fn payment_of(event: &RecordedEvent) -> Result<Option<PaymentId>, Failure> {
    let payload = shown::payload(&event.payload)?;
    Ok(shown::payment_of(event, &payload).map(PaymentId::parse).transpose()?)
}

fn told(stories: impl IntoIterator<Item = Vec<RecordedEvent>>, more_payments: usize) -> Told {
    let stories = stories.into_iter().filter_map(|events| Story::of(&events)).collect();
    Told { stories, more_payments, spans_missing: None, jaeger: None }
}

/// Asks for the spans of each trace that was kept, and for what handled its events. What was told before an
/// error stays.
async fn ask(jaeger: &JaegerQuery, stories: &mut [Story]) -> Result<(), JaegerError> {
    for story in stories {
        ask_of(jaeger, story).await?;
    }
    Ok(())
}

async fn ask_of(jaeger: &JaegerQuery, story: &mut Story) -> Result<(), JaegerError> {
    let told: Vec<String> = story.traces.iter().map(|part| part.trace_id.clone()).collect();
    for part in story.traces.iter_mut().filter(|part| part.sampled) {
        part.spans = jaeger.trace(&part.trace_id).await?;
        let (from, to) = (part.first_at() - LEEWAY, part.last_at() + HANDLED_WITHIN);
        part.handlers = jaeger.handlers(&part.trace_id, from, to).await?;
        // A trace that took the payment up again comes from this one, and is told as a part of the story.
        part.handlers.retain(|span| !told.contains(&span.trace_id));
    }
    Ok(())
}
