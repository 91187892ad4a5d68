//! A stretch of the log, read in order.

use clap::CommandFactory;
use clap::error::ErrorKind;
use commands::ports::{EventReader, RecordedEvent};

use crate::Failure;
use crate::arguments::{Arguments, StretchArguments};

/// Events that one query reads.
const PAGE: i64 = 5_000;

impl StretchArguments {
    /// Ends the program as wrong usage when the stretch ends before it begins.
    pub(crate) fn check(self) {
        if self.to.is_some_and(|to| to < self.from) {
            let wrong = "--to is the last position and must not be less than --from, the first";
            Arguments::command().error(ErrorKind::ValueValidation, wrong).exit();
        }
    }
}

/// What is left to read of a stretch: positions `next` to `to`, both included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    next: i64,
    to: i64,
}

impl Stretch {
    /// The stretch that was asked for; without an end, up to where the log ends now. It is empty when
    /// it would begin right behind that.
    pub(crate) async fn of(arguments: StretchArguments, log: &dyn EventReader) -> Result<Self, Failure> {
        let head = log.head().await?;
        let to = arguments.to.unwrap_or(head);
        if to > head {
            return Err(format!("--to is {to}, and the log ends at position {head}").into());
        }
        if arguments.from > to + 1 {
            return Err(format!("--from is {}, and the log ends at position {head}", arguments.from).into());
        }
        Ok(Self { next: arguments.from, to })
    }

    /// The first position that was not read yet.
    pub(crate) const fn next(&self) -> i64 {
        self.next
    }

    /// The last position.
    pub(crate) const fn to(&self) -> i64 {
        self.to
    }

    /// The next events, `None` at the end. A gap in the log is an error that names it.
    pub(crate) async fn page(
        &mut self,
        log: &dyn EventReader,
    ) -> Result<Option<Vec<RecordedEvent>>, Failure> {
        if self.next > self.to {
            return Ok(None);
        }
        let limit = PAGE.min(self.to - self.next + 1);
        let events = log.behind(self.next - 1, u32::try_from(limit)?).await?;
        let expected = (self.next..).zip(events.iter()).find(|(expected, event)| *expected != event.position);
        let missing = expected.map(|(expected, _)| expected).or(events.is_empty().then_some(self.next));
        if let Some(position) = missing {
            return Err(
                format!("position {position} of the log is missing; see: payments events verify").into()
            );
        }
        self.next += i64::try_from(events.len())?;
        Ok(Some(events))
    }
}
