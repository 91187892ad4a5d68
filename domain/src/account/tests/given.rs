//! Tests as sentences: given what has happened, when something is asked, then this follows.
//!
//! A command goes through [`Aggregate::handle`] with an [`EventSink`], as in the engine, so that the
//! implementation of the trait is under test and not only the decision. Whatever the outcome, the
//! state afterwards must be the one that a replay of the history builds.

use std::fmt::Debug;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

/// What has happened.
pub(super) struct Given<A: Aggregate> {
    history: Vec<A::Event>,
}

/// What came of a command.
pub(super) struct Outcome<A: Aggregate> {
    /// The state by replay of the history alone.
    before: A,
    /// The state that `handle` left behind.
    after: A,
    answer: Result<Vec<A::Event>, A::Error>,
}

/// The state that a history builds.
pub(super) fn replayed<A: Aggregate>(history: impl IntoIterator<Item = A::Event>) -> A {
    history.into_iter().fold(A::default(), |mut state, event| {
        state.apply(event);
        state
    })
}

impl<A> Given<A>
where
    A: Aggregate<Services = ()> + Clone + Debug + PartialEq,
    A::Event: Debug + PartialEq,
    A::Error: PartialEq,
{
    pub(super) fn new(history: impl IntoIterator<Item = A::Event>) -> Self {
        Self { history: history.into_iter().collect() }
    }

    pub(super) fn when(self, command: A::Command) -> Outcome<A> {
        let before: A = replayed(self.history);
        let mut after = before.clone();
        let sink = EventSink::default();
        let result = at_once(after.handle(command, &(), &sink));
        let events = at_once(sink.collect());
        if result.is_err() {
            assert!(events.is_empty(), "refused, and yet it wrote {events:?}");
        }
        Outcome { before, after, answer: result.map(|()| events) }
    }
}

impl<A> Outcome<A>
where
    A: Aggregate<Services = ()> + Clone + Debug + PartialEq,
    A::Event: Debug + PartialEq,
    A::Error: PartialEq,
{
    /// Exactly these events follow.
    #[track_caller]
    pub(super) fn then<const N: usize>(self, expected: [A::Event; N]) {
        assert_eq!(self.answer, Ok(expected.to_vec()));
        let mut rebuilt = self.before;
        expected.into_iter().for_each(|event| rebuilt.apply(event));
        assert_eq!(self.after, rebuilt, "a replay builds another state than the command left behind");
    }

    /// It has already happened: accepted, and nothing follows.
    #[track_caller]
    pub(super) fn then_nothing(self) {
        self.then([]);
    }

    /// It is refused, and nothing has changed.
    #[track_caller]
    pub(super) fn then_refused(self, expected: A::Error) {
        assert_eq!(self.answer, Err(expected));
        assert_eq!(self.after, self.before, "a refusal must not change anything");
    }
}

/// Polls once: a decision has nothing to wait for, so it must be there at once.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a decision waited for something"),
    }
}
