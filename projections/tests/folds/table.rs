//! A read model's table without a database: rows by key, lines in the order in which they came.

use std::collections::HashMap;

use projections::{Folded, LogEvent, ReadModel, Rows};
use proptest::prelude::*;

/// How far one transaction of the projector goes, and how many rows it keeps in memory afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) events: usize,
    pub(crate) keep: usize,
}

/// Batches, begun again when the log is longer than they are.
pub(crate) fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let batch = (1..20_usize, 0..12_usize).prop_map(|(events, keep)| Batch { events, keep });
    prop::collection::vec(batch, 1..12)
}

pub(crate) struct Table<M: ReadModel> {
    pub(crate) rows: HashMap<M::Key, M::State>,
    pub(crate) lines: Vec<M::Line>,
    /// How many rows were loaded because they had been forgotten.
    pub(crate) loaded: usize,
}

impl<M: ReadModel<Line: Clone>> Table<M> {
    /// The table after a log, as the projector fills it: load, fold, write, forget.
    pub(crate) fn filled(log: &[LogEvent], batches: &[Batch]) -> Self {
        let mut table = Self { rows: HashMap::new(), lines: vec![], loaded: 0 };
        let mut memory = Rows::<M>::default();
        let mut left = log;
        for Batch { events, keep } in batches.iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (batch, behind) = left.split_at((*events).min(left.len()));
            let mut unfolded = batch;
            loop {
                match memory.fold(unfolded) {
                    Folded::All => break,
                    Folded::Stopped(stopped) => panic!("a log that was decided can be folded: {stopped:?}"),
                    Folded::Needs(index) => unfolded = &unfolded[index..],
                }
                let missing = memory.missing(unfolded);
                let found =
                    missing.iter().filter_map(|key| Some((key.clone(), table.rows.get(key)?.clone())));
                let found: Vec<_> = found.collect();
                table.loaded += found.len();
                memory.remember(missing, found);
            }
            let changes = memory.take_changes(*keep);
            for (key, row) in changes.new {
                assert!(table.rows.insert(key, row).is_none(), "what is new was not there");
            }
            for (key, row) in changes.changed {
                assert!(table.rows.insert(key, row).is_some(), "what has changed was there");
            }
            table.lines.extend(changes.lines);
            left = behind;
        }
        table
    }
}

/// Equal in what a reader can see.
impl<M: ReadModel<State: PartialEq, Line: PartialEq>> PartialEq for Table<M> {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows && self.lines == other.lines
    }
}

impl<M: ReadModel> std::fmt::Debug for Table<M> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct(M::NAME).field("rows", &self.rows).field("lines", &self.lines).finish()
    }
}
