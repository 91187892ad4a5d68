//! `payments replay`: events of the log told again, in order, to whoever reads standard output or a topic.
//!
//! Start at [`tell_again`].
//!
//! **Invariant:** a replay has a reader of the log and a writer of bytes or the producer of one topic, and
//! nothing else: by its types it cannot reach a channel, a webhook, or the log.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use adapter_kafka::replay::Replay;
use adapter_postgres::log::EventLog;
use adapter_postgres::projector::rebuild::Watcher;
use commands::cloud_event::{CloudEvent, TYPE_PREFIX};
use commands::ports::{EventReader, RecordedEvent};
use commands::spans::{self, Handling, KeyValue, LinkKind, MOST_LINKS, Origin, SpanKind};
use serde_json::json;

use crate::Failure;
use crate::arguments::ReplayArguments;
use crate::connect::connect;
use crate::output::nobody_reads;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::stretch::Stretch;

/// Which events are told again.
struct Wanted {
    types: Vec<String>,
    aggregate: Option<String>,
}

/// How many of each type.
type Counts = BTreeMap<String, u64>;

/// Where events are told again.
enum Listener<'a> {
    Bytes(&'a mut (dyn Write + Send)),
    Topic(&'a Replay),
}

pub(crate) async fn run(options: ReplayArguments, settings: &Settings) -> Result<ExitCode, Failure> {
    options.stretch.check();
    let log = EventLog::new(&connect(&options.database).await?);
    let stretch = Stretch::of(options.stretch, &log).await?;
    let without_prefix = |name: &String| name.strip_prefix(TYPE_PREFIX).unwrap_or(name).to_owned();
    let wanted = Wanted {
        types: options.types.iter().map(without_prefix).collect(),
        aggregate: options.aggregate.clone(),
    };
    let progress = Progress::new()?;
    if options.dry_run {
        progress.phase("counting");
        let told = tell_again(&log, stretch, &wanted, Listener::Bytes(&mut io::sink()), &progress).await?;
        drop(progress);
        summary(&mut io::stdout(), "would be sent", stretch, &told, options.json)?;
    } else if let Some(topic) = &options.to_kafka {
        let kafka = settings.kafka.connection()?;
        let kafka = kafka.ok_or("--to-kafka needs kafka.brokers (PAYMENTS_KAFKA__BROKERS)")?;
        let replay = Replay::to(&kafka, topic, options.force).await?;
        progress.phase("replaying");
        let told = tell_again(&log, stretch, &wanted, Listener::Topic(&replay), &progress).await?;
        let kept = replay.finish().await?;
        drop(progress);
        // The topic's count, not that of what was handed over: the two are compared here.
        if kept != told.values().sum::<u64>() {
            return Err(format!("the topic keeps {kept} of the events that were sent").into());
        }
        summary(&mut io::stdout(), &format!("sent to {topic}"), stretch, &told, options.json)?;
    } else {
        progress.phase("replaying");
        let mut output = BufWriter::new(io::stdout());
        match tell_again(&log, stretch, &wanted, Listener::Bytes(&mut output), &progress).await {
            Ok(told) => {
                drop(progress);
                summary(&mut io::stderr(), "sent", stretch, &told, options.json)?;
            }
            Err(failure) if nobody_reads(&failure) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells the wanted events of a stretch, a CloudEvent each; counts them.
async fn tell_again(
    log: &dyn EventReader,
    mut stretch: Stretch,
    wanted: &Wanted,
    mut listener: Listener<'_>,
    progress: &Progress,
) -> Result<Counts, Failure> {
    let before = stretch.next() - 1;
    #[expect(clippy::disallowed_methods, reason = "when something was done is an adapter's to say")]
    let (began, mut origins) = (SystemTime::now(), vec![]);
    let mut counts: Counts = wanted.types.iter().map(|name| (name.clone(), 0)).collect();
    while let Some(events) = stretch.page(log).await? {
        for event in events.iter().filter(|event| wanted.has(event)) {
            match &mut listener {
                Listener::Bytes(output) => {
                    writeln!(output, "{}", CloudEvent::of(event)?.replayed().line()?)?;
                }
                Listener::Topic(replay) => replay.tell(event).await?,
            }
            *counts.entry(event.event_type.clone()).or_default() += 1;
            if origins.len() < MOST_LINKS && spans::is_kept(&event.traceparent) {
                origins.push(Origin::of(event));
            }
        }
        if let Listener::Bytes(output) = &mut listener {
            output.flush()?;
        }
        progress.at(stretch.next() - 1 - before, stretch.to() - before);
    }
    tell(began, origins, (before + 1, stretch.to()), counts.values().sum());
    Ok(counts)
}

/// Tells of the replay itself, as a trace of its own.
fn tell(began: SystemTime, origins: Vec<Origin>, (from, to): (i64, i64), events: u64) {
    let attributes = vec![
        KeyValue::new("replay.from", from),
        KeyValue::new("replay.to", to),
        KeyValue::new("replay.events", i64::try_from(events).unwrap_or(i64::MAX)),
    ];
    let handling = Handling {
        name: "payments.replay".to_owned(),
        kind: SpanKind::Internal,
        began,
        link: LinkKind::ReplayOf,
        attributes,
    };
    spans::worked_through(&handling, origins);
}

impl Wanted {
    fn has(&self, event: &RecordedEvent) -> bool {
        (self.types.is_empty() || self.types.contains(&event.event_type))
            && self.aggregate.as_ref().is_none_or(|aggregate| *aggregate == event.aggregate_id)
    }
}

fn summary(
    output: &mut dyn Write,
    verb: &str,
    stretch: Stretch,
    counts: &Counts,
    json: bool,
) -> Result<(), Failure> {
    let (from, to, events) = (stretch.next(), stretch.to(), counts.values().sum::<u64>());
    if json {
        let told = json!({ "from": from, "to": to, "events": events, "types": counts });
        writeln!(output, "{told}")?;
        return Ok(());
    }
    for (name, count) in counts {
        writeln!(output, "{count:>10} {name}")?;
    }
    writeln!(output, "{events:>10} events of positions {from} to {to} {verb}")?;
    Ok(())
}
