//! Events and traces.

use serde_json::json;

use crate::events::{EventView, Page};
use crate::openapi::examples;
use crate::openapi::operation::{Body, Operation, Scope, get};
use crate::openapi::problems::{ID_IN_PATH, PAGE};
use crate::traces::Traces;

const TAG: &str = "Events and traces";

pub(super) fn all() -> Vec<Operation> {
    let page = Body::named::<Page<'_>>("EventPage");
    let traces = Body::of::<Traces<'_>>();
    let stream = json!({ "type": "string", "description": "Server-sent events: `id` is the position, `event` the event's \
        type, `data` the event as JSON. A client that comes back sends `Last-Event-ID`." });
    vec![
        get("/api/v1/events", "readLog", Scope::Operate, "Page through the log, or follow it")
            .of(TAG)
            .says(
                "In the order of the log. `next_cursor` is the position of the last event: pass it on as `after`. With \
                 `Accept: text/event-stream` the log is followed live.",
            )
            .query(&["after", "limit"])
            .parameter("LastEventId")
            .answers(200, "A page, or the stream.", &page, &examples::log())
            .answers_with(200, "", "text/event-stream", stream, &examples::event_stream())
            .problems(&[&["out_of_range", "wrong_last_event_id"]]),
        get("/api/v1/events/{event_id}", "readEvent", Scope::Operate, "Read an event")
            .of(TAG)
            .query(&["min_position"])
            .answers(200, "The event with its trace.", &Body::of::<EventView<'_>>(), &examples::event())
            .problems(&[&["event_not_found"]]),
        get("/api/v1/events/{event_id}/traces", "listTracesOfEvent", Scope::Operate, "Find the traces of an event")
            .of(TAG)
            .query(&["min_position"])
            .answers(200, "The trace that recorded it, and where whatever handled it is found.", &traces, &examples::traces())
            .problems(&[&["event_not_found"]]),
        get("/api/v1/payments/{payment_id}/events", "listEventsOfPayment", Scope::Read, "Read a payment's story")
            .of(TAG)
            .says("All that happened to it, accounts included, in the order of the log.")
            .query(&["min_position"])
            .answers(200, "All of it.", &page, &examples::events())
            .problems(&[ID_IN_PATH, &["payment_not_found"]]),
        get("/api/v1/payments/{payment_id}/traces", "listTracesOfPayment", Scope::Read, "Find the traces of a payment")
            .of(TAG)
            .query(&["min_position"])
            .answers(200, "The traces that recorded its story.", &traces, &examples::traces())
            .problems(&[ID_IN_PATH, &["payment_not_found"]]),
        get("/api/v1/traces/{trace_id}/events", "listEventsOfTrace", Scope::Operate, "Find what a trace recorded")
            .of(TAG)
            .says("In the order of the log. Most traces record nothing: none is an empty list.")
            .query(&["cursor", "limit"])
            .answers(200, "A page.", &page, &examples::events())
            .problems(&[PAGE, &["invalid_trace_id", "search_took_too_long"]]),
    ]
}
