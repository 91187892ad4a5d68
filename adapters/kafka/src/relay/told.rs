//! What traces and measurements say of the relay: when the broker has a page of the log.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Instant, SystemTime};

use commands::meters;
use commands::ports::RecordedEvent;
use commands::spans::{self, LinkKind, Origin};

use crate::told::{self, Messages};

/// Pages that are sent and not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Told {
    pages: VecDeque<Page>,
}

#[derive(Debug)]
struct Page {
    through: i64,
    began: (Instant, SystemTime),
    topics: BTreeMap<String, Messages>,
}

impl Told {
    /// A page is about to be sent.
    pub(super) fn sending<'a>(
        &mut self,
        events: &[RecordedEvent],
        topic_of: impl Fn(&str) -> Option<&'a str>,
    ) {
        let Some(last) = events.last() else { return };
        let (mut topics, keeping) = (BTreeMap::<String, Messages>::new(), spans::are_kept());
        for event in events {
            // What has no topic stops the relay by itself.
            let Some(topic) = topic_of(&event.aggregate_type) else { continue };
            if !topics.contains_key(topic) {
                topics.insert(topic.to_owned(), Messages::default());
            }
            let Some(messages) = topics.get_mut(topic) else { continue };
            messages.number += 1;
            if keeping && spans::is_kept(&event.traceparent) {
                messages.origins.push(Origin::of(event));
            }
        }
        let began = (Instant::now(), told::now());
        self.pages.push_back(Page { through: last.position, began, topics });
    }

    /// The broker has everything up to a position.
    pub(super) fn acknowledged(&mut self, through: i64) {
        while self.pages.front().is_some_and(|page| page.through <= through) {
            let Some(page) = self.pages.pop_front() else { return };
            for (topic, messages) in page.topics {
                meters::messages_sent(&topic, messages.number, page.began.0.elapsed());
                messages.tell(&topic, "send", LinkKind::CausedBy, page.began.1, vec![]);
            }
        }
    }
}
