//! Asking the channel until it is known what it did.

use std::sync::Arc;
use std::time::Duration;

use domain::TransactionId;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::PaymentSaga;
use crate::context::{CommandContext, TraceContext};
use crate::ports::{ChannelAnswer, ChannelOrder, PaymentChannel};
use crate::spans::{self, LinkKind};

/// One order, from the first time that the channel is asked for it until it is known what it did.
///
/// After anything but a clear answer only inquiry decides, with longer and longer pauses. The order is
/// given again only where the channel says that it has no record of it, and under the same key.
pub(super) struct Asking<'a> {
    channel: &'a dyn PaymentChannel,
    order: ChannelOrder,
    /// The call that an inquiry asks about.
    asked: Arc<TraceContext>,
    last: Last,
    give_up: Instant,
    pause: Duration,
    longest_pause: Duration,
}

/// What the channel said last.
enum Last {
    /// It was not asked.
    Nothing,
    /// A process that is gone may have asked.
    Perhaps,
    NotFound,
    Unknown,
}

/// What is known.
pub(super) enum Heard {
    /// The channel has done it.
    Done(TransactionId),
    /// The channel will not do it.
    Declined(String),
    /// It cannot be told yet; asking again may help.
    Unknown(String),
    /// It has been asked for as long as the saga's patience lasts.
    GivenUp,
}

impl PaymentSaga {
    /// Begins to ask for an order. `begun_by` is the span that recorded that it is to be given;
    /// `asked_before` says that a process that is gone may have given it.
    pub(super) fn asking(
        &self,
        order: ChannelOrder,
        begun_by: &Arc<TraceContext>,
        asked_before: bool,
    ) -> Asking<'_> {
        Asking {
            channel: &*self.channel,
            order,
            asked: Arc::clone(begun_by),
            last: if asked_before { Last::Perhaps } else { Last::Nothing },
            give_up: Instant::now() + self.settings.review_after,
            pause: self.settings.inquiry_first_delay,
            longest_pause: self.settings.inquiry_max_delay,
        }
    }
}

impl Asking<'_> {
    /// Asks once more, after a pause where that is due.
    pub(super) async fn hear(&mut self, context: &CommandContext) -> Heard {
        loop {
            let answer = match self.last {
                Last::Nothing => self.carry_out(context).await,
                Last::Perhaps => self.inquire(context).await,
                Last::NotFound | Last::Unknown if Instant::now() >= self.give_up => return Heard::GivenUp,
                Last::NotFound => self.carry_out(context).await,
                Last::Unknown => {
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(self.longest_pause);
                    self.inquire(context).await
                }
            };
            match answer {
                ChannelAnswer::Done { transaction_id } => return Heard::Done(transaction_id),
                ChannelAnswer::Declined { reason } => return Heard::Declined(reason),
                ChannelAnswer::NotFound => self.last = Last::NotFound,
                ChannelAnswer::Unknown { reason } => {
                    self.last = Last::Unknown;
                    return Heard::Unknown(reason);
                }
            }
        }
    }

    async fn carry_out(&mut self, context: &CommandContext) -> ChannelAnswer {
        let span = spans::call(self.order.span_name());
        let context = context.within(&span);
        self.asked = Arc::clone(&context.trace);
        let answer = self.channel.carry_out(&self.order, &context).instrument(span.clone()).await;
        record(&span, &answer);
        answer
    }

    async fn inquire(&self, context: &CommandContext) -> ChannelAnswer {
        let span = spans::call("channel.inquire");
        spans::link(&span, &self.asked, LinkKind::CausedBy);
        let context = context.within(&span);
        let answer = self.channel.inquire(&self.order, &context).instrument(span.clone()).await;
        record(&span, &answer);
        answer
    }
}

/// Says in a span under which name the channel keeps what it did.
fn record(span: &Span, answer: &ChannelAnswer) {
    if let ChannelAnswer::Done { transaction_id } = answer {
        span.record("transaction.id", transaction_id.as_str());
    }
}
