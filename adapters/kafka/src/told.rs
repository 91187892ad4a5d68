//! Spans of messages, by the conventions for messaging: `send T` and `process T`.

use std::time::SystemTime;

use commands::spans::{self, Handling, KeyValue, LinkKind, Origin, SpanKind};

/// When work begins that a span tells of.
#[expect(clippy::disallowed_methods, reason = "when something was done is an adapter's to say")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Messages of one topic that are sent, or handled, together.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub(crate) number: usize,
    /// Of those whose traces are kept.
    pub(crate) origins: Vec<Origin>,
}

impl Messages {
    /// Tells that they were sent (`send`) or handled (`process`).
    pub(crate) fn tell(
        self,
        topic: &str,
        operation: &'static str,
        link: LinkKind,
        began: SystemTime,
        mut attributes: Vec<KeyValue>,
    ) {
        if self.origins.is_empty() {
            return;
        }
        attributes.extend([
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.destination.name", topic.to_owned()),
            KeyValue::new("messaging.operation.name", operation),
            KeyValue::new("messaging.operation.type", operation),
            KeyValue::new("messaging.batch.message_count", i64::try_from(self.number).unwrap_or(i64::MAX)),
        ]);
        let kind = if operation == "send" { SpanKind::Producer } else { SpanKind::Consumer };
        let handling = Handling { name: format!("{operation} {topic}"), kind, began, link, attributes };
        spans::handled(&handling, self.origins);
    }
}
