//! A story as lines of a terminal, at most 100 columns wide.
//!
//! ```text
//! payment p1  completed  7.53 USD  by credit_card  user alice
//! trace 0af7651916cd43dd8448eb211c80319c  kept
//!      +0 ms  POST /api/v1/payments                              payments             31.2 ms
//!    +1.2 ms    account.hold                                     payments              2.2 ms
//!    +1.3 ms      eventstore.append                              payments              2.0 ms
//!                   #12     FundsHeld              7.53 USD  acc_...
//! ```
//!
//! Without spans, the span that recorded an append is named by its id.

use std::collections::BTreeMap;

use adapter_services::jaeger::JaegerSpan;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::Told;
use super::story::{Append, Part, Story};
use crate::Failure;
use crate::event_line::detail;

/// Columns of a line.
const WIDTH: usize = 100;
/// Columns of the offset in front of a line.
const OFFSET: usize = 11;
/// Most spans that are drawn of one trace.
const MOST_SPANS: usize = 200;
/// Spans deeper than this are drawn as if they were not.
const DEEPEST: usize = 12;
/// Most handlers that are drawn of one trace.
const MOST_HANDLERS: usize = 50;

/// How a line looks on a terminal.
#[derive(Debug, Clone, Copy)]
enum Look {
    Plain,
    Heading,
    Dim,
    Warning,
}

/// Draws what is told.
///
/// # Errors
/// A payload of the log is no JSON.
pub(super) fn draw(told: &Told, colours: bool) -> Result<String, Failure> {
    let mut drawing = Drawing { text: String::new(), colours };
    for (number, story) in told.stories.iter().enumerate() {
        if number > 0 {
            drawing.line(Look::Plain, "");
        }
        drawing.story(story, told)?;
    }
    if told.more_payments > 0 {
        let more = format!("and {} more payments, each by its own id", told.more_payments);
        drawing.line(Look::Dim, &more);
    }
    if let Some(reason) = &told.spans_missing {
        drawing.line(Look::Warning, &format!("spans are missing: {reason}"));
    }
    Ok(drawing.text)
}

struct Drawing {
    text: String,
    colours: bool,
}

impl Drawing {
    fn line(&mut self, look: Look, text: &str) {
        let clipped = clipped(text.trim_end());
        let code = match look {
            Look::Plain => "",
            Look::Heading => "\u{1b}[1m",
            Look::Dim => "\u{1b}[2m",
            Look::Warning => "\u{1b}[33m",
        };
        if self.colours && !code.is_empty() {
            self.text.push_str(&format!("{code}{clipped}\u{1b}[0m\n"));
        } else {
            self.text.push_str(&clipped);
            self.text.push('\n');
        }
    }

    /// A line behind its offset since the story began.
    fn at(&mut self, look: Look, offset: Option<TimeDelta>, text: &str) {
        let signed = |offset: TimeDelta| {
            let sign = if offset < TimeDelta::zero() { "" } else { "+" };
            format!("{sign}{}", span_text(offset))
        };
        let offset = offset.map(signed).unwrap_or_default();
        self.line(look, &format!("{offset:>OFFSET$}  {text}"));
    }

    fn story(&mut self, story: &Story, told: &Told) -> Result<(), Failure> {
        self.line(Look::Heading, &heading(story));
        let (events, traces) = (story.event_count(), story.traces.len());
        let plural =
            |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let began = story.began.format("%F %T%.3f UTC");
        self.line(
            Look::Dim,
            &format!("{} in {}, begun {began}", plural(events, "event"), plural(traces, "trace")),
        );
        for part in &story.traces {
            self.line(Look::Plain, "");
            self.part(part, story.began, told)?;
        }
        Ok(())
    }

    fn part(&mut self, part: &Part, began: DateTime<Utc>, told: &Told) -> Result<(), Failure> {
        let kept = if part.sampled { "kept" } else { "not kept: sampled out, or nobody kept traces" };
        self.line(Look::Heading, &format!("trace {}  {kept}", part.trace_id));
        if let Some(url) = told.url(part) {
            self.line(Look::Dim, &format!("  {url}"));
        }
        if let Some(after) = part.after {
            let verb = if part.actor == "saga:recovery" { "taken up again" } else { "goes on" };
            self.line(Look::Warning, &format!("  {verb} after {} by {}", span_text(after), part.actor));
        }
        if told.jaeger.is_some() && told.spans_missing.is_none() && part.sampled && part.spans.is_empty() {
            self.line(
                Look::Dim,
                "  Jaeger does not have it: not yet, not any more, or it was dropped on the way",
            );
        }
        let mut left: BTreeMap<&str, Vec<&Append>> = BTreeMap::new();
        for append in &part.appends {
            left.entry(&append.span_id).or_default().push(append);
        }
        self.spans(&part.spans, began, &mut left)?;
        for append in part.appends.iter().filter(|append| left.contains_key(append.span_id.as_str())) {
            let later = append.delay.map(|delay| format!("  {} later", span_text(delay))).unwrap_or_default();
            let text = format!("recorded by span {}{later}", append.span_id);
            self.at(Look::Dim, Some(append.offset), &text);
            self.append(append, 1)?;
        }
        self.handlers(part, began);
        Ok(())
    }

    /// The spans of a trace as a tree, with the events at the spans that recorded them.
    fn spans(
        &mut self,
        spans: &[JaegerSpan],
        began: DateTime<Utc>,
        left: &mut BTreeMap<&str, Vec<&Append>>,
    ) -> Result<(), Failure> {
        let tree = in_tree_order(spans);
        for (depth, span) in tree.iter().take(MOST_SPANS) {
            let depth = (*depth).min(DEEPEST);
            let look = if span.failed { Look::Warning } else { Look::Plain };
            let name =
                format!("{}{}{}", "  ".repeat(depth), span.name, if span.failed { "  failed" } else { "" });
            let took = span_text(TimeDelta::microseconds(span.took_us));
            let offset = TimeDelta::microseconds(span.began_us - began.timestamp_micros());
            self.at(look, Some(offset), &format!("{name:<48}  {:<18}  {took:>10}", span.service));
            for append in left.remove(span.span_id.as_str()).unwrap_or_default() {
                self.append(append, depth + 1)?;
            }
        }
        if tree.len() > MOST_SPANS {
            self.line(Look::Dim, &format!("  and {} more spans", tree.len() - MOST_SPANS));
        }
        Ok(())
    }

    fn append(&mut self, append: &Append, depth: usize) -> Result<(), Failure> {
        let indent = "  ".repeat(depth);
        for event in &append.events {
            let shown: Value = serde_json::from_str(&adapter_http::event_json(event)?)?;
            let (position, kind, detail) = (event.position, &event.event_type, detail(&shown));
            let account = if event.aggregate_type == "account" { event.aggregate_id.as_str() } else { "" };
            let text = format!("{indent}#{position:<6} {kind:<21} {detail}  {account}");
            self.at(Look::Plain, None, &text);
        }
        for mark in append.marks() {
            self.at(Look::Warning, None, &format!("{indent}◄ {}", mark.words()));
        }
        Ok(())
    }

    fn handlers(&mut self, part: &Part, began: DateTime<Utc>) {
        if part.handlers.is_empty() {
            return;
        }
        self.line(Look::Dim, "  handled later, in traces of their own");
        for span in part.handlers.iter().take(MOST_HANDLERS) {
            let offset = TimeDelta::microseconds(span.began_us - began.timestamp_micros());
            let behind = part.appends.iter().rev().find(|append| append.offset <= offset);
            let behind = behind.map(|append| format!("{} after", span_text(offset - append.offset)));
            let text = format!(
                "{:<18} {:<18} {:<14} {}",
                span.name,
                span.service,
                behind.unwrap_or_default(),
                span.trace_id
            );
            let look = if span.failed { Look::Warning } else { Look::Plain };
            self.at(look, Some(offset), &text);
        }
        if part.handlers.len() > MOST_HANDLERS {
            let more = part.handlers.len() - MOST_HANDLERS;
            self.line(Look::Dim, &format!("  and {more} more"));
        }
    }
}

fn heading(story: &Story) -> String {
    let Some(payment) = &story.payment else { return "no payment has caused this".to_owned() };
    let by = payment.payment_method.as_ref().map(|method| format!("  by {method}")).unwrap_or_default();
    format!(
        "payment {}  {}  {} {}{by}  user {}",
        payment.payment_id,
        payment.status.name(),
        payment.amount,
        payment.amount.currency.code(),
        payment.user_id
    )
}

/// Each span behind its parent, children in the order in which they began, with their depth. A span whose
/// parent is not there is a root.
fn in_tree_order(spans: &[JaegerSpan]) -> Vec<(usize, &JaegerSpan)> {
    let known = |id: &str| spans.iter().any(|span| span.span_id == id);
    let mut children: BTreeMap<&str, Vec<&JaegerSpan>> = BTreeMap::new();
    for span in spans {
        let parent = if known(&span.parent_id) { span.parent_id.as_str() } else { "" };
        children.entry(parent).or_default().push(span);
    }
    // The last to begin comes first, since the stack is taken from its end.
    for siblings in children.values_mut() {
        siblings.sort_by_key(|span| std::cmp::Reverse(span.began_us));
    }
    let mut ordered = vec![];
    let mut stack: Vec<(usize, &JaegerSpan)> = vec![];
    // Taken out, so that no span is told twice, whatever says whose parent it is.
    stack.extend(children.remove("").unwrap_or_default().into_iter().map(|span| (0, span)));
    while let Some((depth, span)) = stack.pop() {
        ordered.push((depth, span));
        let below = children.remove(span.span_id.as_str()).unwrap_or_default();
        stack.extend(below.into_iter().map(|child| (depth + 1, child)));
    }
    ordered
}

/// A time of a person's size: `0.4 ms`, `45 ms`, `1.23 s`, `2m 5s`.
fn span_text(span: TimeDelta) -> String {
    let micros = span.num_microseconds().unwrap_or(i64::MAX);
    if micros < 0 {
        return format!("-{}", span_text(TimeDelta::microseconds(micros.saturating_neg())));
    }
    match micros {
        0 => "0 ms".to_owned(),
        1..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
        _ => format!("{}m {}s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

/// What fits, with a sign that there was more. Control characters would move the cursor.
fn clipped(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    if text.chars().count() <= WIDTH {
        return text.chars().map(printable).collect();
    }
    text.chars().take(WIDTH - 1).map(printable).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::story::recorded;
    use super::*;

    fn span(id: &str, parent: &str, name: &str, began_us: i64) -> JaegerSpan {
        JaegerSpan {
            trace_id: "t".to_owned(),
            span_id: id.to_owned(),
            parent_id: parent.to_owned(),
            service: "payments".to_owned(),
            name: name.to_owned(),
            began_us,
            took_us: 2_000,
            failed: false,
            origin: String::new(),
        }
    }

    fn told(story: Story) -> Told {
        Told { stories: vec![story], more_payments: 0, spans_missing: None, jaeger: None }
    }

    #[test]
    fn events_stand_at_the_spans_that_recorded_them() {
        let events =
            [recorded(1, "FundsHeld", "a", "s2", 1_000), recorded(2, "HoldReleased", "a", "s9", 2_000)];
        let mut story = Story::of(&events).unwrap();
        let root = span("s1", "caller", "POST /payments", 999_000);
        story.traces[0].spans = vec![span("s2", "s1", "eventstore.append", 999_500), root];
        story.traces[0].handlers = vec![span("h", "", "projection.apply", 1_045_000)];
        let drawing = draw(&told(story), false).unwrap();
        let lines: Vec<&str> = drawing.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "no payment has caused this",
                "2 events in 1 trace, begun 1970-01-01 00:00:01.000 UTC",
                "",
                "trace a  kept",
                "    -1.0 ms  POST /payments                                    payments                2.0 ms",
                "    -0.5 ms    eventstore.append                               payments                2.0 ms",
                "                 #1      FundsHeld             7.53 USD  acc_1",
                "    +1.00 s  recorded by span s9  1.00 s later",
                "               #2      HoldReleased          7.53 USD  acc_1",
                "  handled later, in traces of their own",
                "     +45 ms  projection.apply   payments           45 ms after    t",
            ]
        );
    }

    #[test]
    fn colours_and_width_are_those_of_the_reader() {
        let mut events = [recorded(1, "FundsHeld", "a", "s", 0)];
        events[0].aggregate_id = format!("{}\u{1b}", "x".repeat(200));
        let plain = draw(&told(Story::of(&events).unwrap()), false).unwrap();
        assert!(
            plain.lines().all(|line| line.chars().count() <= WIDTH) && !plain.contains('\u{1b}'),
            "{plain}"
        );
        let coloured = draw(&told(Story::of(&events).unwrap()), true).unwrap();
        assert!(coloured.starts_with("\u{1b}[1mno payment"), "{coloured}");
    }

    #[test]
    fn spans_that_are_each_others_parents_do_no_harm() {
        let spans = [
            span("a", "b", "one", 1),
            span("b", "a", "two", 2),
            span("c", "", "root", 3),
            span("d", "c", "x", 9),
            span("e", "c", "y", 4),
        ];
        let names: Vec<(usize, &str)> =
            in_tree_order(&spans).into_iter().map(|(depth, span)| (depth, span.name.as_str())).collect();
        assert_eq!(names, [(0, "root"), (1, "y"), (1, "x")]);
    }

    #[test]
    fn times_have_a_persons_size() {
        for (micros, text) in [
            (0, "0 ms"),
            (450, "0.4 ms"),
            (45_300, "45 ms"),
            (1_234_000, "1.23 s"),
            (125_000_000, "2m 5s"),
            (-2_000, "-2.0 ms"),
        ] {
            assert_eq!(span_text(TimeDelta::microseconds(micros)), text);
        }
    }
}
