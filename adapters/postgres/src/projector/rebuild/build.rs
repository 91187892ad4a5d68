//! Folding stretches of the log into tables beside those that are read.
//!
//! ```text
//! pages read and decoded (pages.rs) ── folded by a task ── written: rows and checkpoint, a chunk each
//! ```
//!
//! While a chunk is written the next one is folded. Only where a fold needs a row that is not in memory
//! it waits, since that row may be among those that are being written.

use projections::ports::Projection;
use projections::{Folded, LogEvent};
use sqlx::{Connection, PgConnection};
use tokio_util::task::AbortOnDropHandle;

use super::{RebuildError, Watcher};
use crate::database::Database;
use crate::log::pages::{PageReader, Pages};
use crate::log::stretch::first_missing;
use crate::projector::tables::{self, Changed, Following};

/// Events between two checkpoints. Two chunks of changes are in memory at most.
const CHUNK: i64 = 100_000;
/// Rows that each projection keeps in memory: what bounds a rebuild's memory, however long the log.
const KEPT_ROWS: usize = 50_000;

/// One read model under construction.
pub(super) struct Member {
    projection: Projection,
    position: i64,
    end: i64,
    /// Away while a stretch is folded.
    following: Option<Box<dyn Following>>,
}

impl Member {
    pub(super) fn new(projection: Projection, position: i64) -> Self {
        Self { projection, position, end: position, following: Some(tables::following(projection)) }
    }
}

/// Read models under construction.
pub(super) struct Build {
    reader: PageReader,
    members: Vec<Member>,
    /// Whether it goes on from its checkpoints when it is interrupted.
    resumable: bool,
}

/// A stretch on its way through the folds: the part of a build that a task of its own works on.
struct Folding {
    members: Vec<(Projection, Box<dyn Following>)>,
    pages: Pages,
    /// A page that could not be folded to its end: for each member, how much of it is folded.
    page: Option<(Vec<LogEvent>, Vec<usize>)>,
    /// The end of the stretch.
    through: i64,
    /// What is folded in this chunk begins behind this position.
    chunk_from: i64,
    position: i64,
}

/// What a task of folding has come to.
enum Outcome {
    /// The chunk's end, or that of the stretch.
    Chunk,
    /// A row that is not in memory.
    Needs,
}

impl Folding {
    /// Folds to the end of the chunk, as far as rows are in memory.
    async fn run(mut self) -> Result<(Self, Outcome), RebuildError> {
        loop {
            if self.page.is_none() {
                if self.position >= self.through || self.position - self.chunk_from >= CHUNK {
                    return Ok((self, Outcome::Chunk));
                }
                let events = self.pages.next().await?.unwrap_or_default();
                if let Some(position) = first_missing(&events, self.position) {
                    return Err(RebuildError::Missing { position });
                }
                let folded = vec![0; self.members.len()];
                self.page = Some((events, folded));
            }
            if !self.fold_page()? {
                return Ok((self, Outcome::Needs));
            }
        }
    }

    /// Whether the page was folded to its end.
    fn fold_page(&mut self) -> Result<bool, RebuildError> {
        let Some((events, folded)) = &mut self.page else { return Ok(true) };
        let mut complete = true;
        for ((projection, following), folded) in self.members.iter_mut().zip(folded) {
            match following.fold(events.get(*folded..).unwrap_or_default()) {
                Folded::All => *folded = events.len(),
                Folded::Needs(index) => {
                    *folded += index;
                    complete = false;
                }
                Folded::Stopped(stopped) => {
                    return Err(RebuildError::Stopped {
                        projection: projection.name(),
                        position: stopped.position,
                        reason: stopped.reason.to_string(),
                    });
                }
            }
        }
        if complete {
            self.position = events.last().map_or(self.position, |event| event.position);
            self.page = None;
        }
        Ok(complete)
    }

    /// Loads the rows that the page under way needs.
    async fn load(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Some((events, folded)) = &self.page else { return Ok(()) };
        for ((_, following), folded) in self.members.iter_mut().zip(folded) {
            following.load(connection, events.get(*folded..).unwrap_or_default()).await?;
        }
        Ok(())
    }

    /// Takes the changes of the chunk; the next one begins.
    fn take_changes(&mut self) -> Vec<Box<dyn Changed>> {
        self.chunk_from = self.position;
        self.members.iter_mut().map(|(_, following)| following.take_changes(KEPT_ROWS)).collect()
    }

    fn start(self) -> AbortOnDropHandle<Result<(Self, Outcome), RebuildError>> {
        #[expect(clippy::disallowed_methods, reason = "the handle ends the task with its owner")]
        AbortOnDropHandle::new(tokio::spawn(self.run()))
    }
}

impl Build {
    pub(super) fn new(database: &Database, members: Vec<Member>, resumable: bool) -> Self {
        Self { reader: PageReader::new(&database.options), members, resumable }
    }

    /// The position that all of them have come to.
    pub(super) fn position(&self) -> i64 {
        self.members.iter().map(|member| member.position).min().unwrap_or(0)
    }

    /// Sets how far one of them shall come.
    pub(super) fn aim_one(&mut self, projection: Projection, end: i64) {
        for member in &mut self.members {
            if member.projection == projection {
                member.end = end;
            }
        }
    }

    /// Sets how far all of them shall come.
    pub(super) fn aim(&mut self, end: i64) {
        for member in &mut self.members {
            member.end = end;
        }
    }

    /// Builds as far as was aimed, in transactions of a chunk each; within a transaction of the
    /// caller's, in parts of it.
    pub(super) async fn run(
        &mut self,
        connection: &mut PgConnection,
        watcher: &dyn Watcher,
    ) -> Result<(), RebuildError> {
        let end = self.members.iter().map(|member| member.end).max().unwrap_or(0);
        while let Some((from, through)) = self.next_stretch() {
            let lent = self.lend(from, through);
            let projections: Vec<Projection> =
                lent.members.iter().map(|(projection, _)| *projection).collect();
            let mut task = Some(lent.start());
            while let Some(folding) = task.take() {
                let ended = folding.await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
                let (mut folding, outcome) = ended?;
                if matches!(outcome, Outcome::Needs) {
                    folding.load(connection).await?;
                    task = Some(folding.start());
                    continue;
                }
                let changes = folding.take_changes();
                let position = folding.position;
                // Folded on while this chunk is written.
                if position < through {
                    task = Some(folding.start());
                } else {
                    self.take_back(folding);
                }
                let mut transaction = connection.begin().await?;
                for changed in changes {
                    changed.write(&mut transaction).await?;
                }
                self.came_to(&mut transaction, &projections, position).await?;
                transaction.commit().await?;
                watcher.at(position, end);
            }
        }
        Ok(())
    }

    /// Where those that are furthest behind are, and how far they go together.
    fn next_stretch(&self) -> Option<(i64, i64)> {
        let unfinished = || self.members.iter().filter(|member| member.position < member.end);
        let from = unfinished().map(|member| member.position).min()?;
        let ends = unfinished().filter(|member| member.position == from).map(|member| member.end);
        let others = unfinished().map(|member| member.position).filter(|position| *position > from);
        Some((from, ends.chain(others).min()?))
    }

    /// Gives the read models at a position to a task that takes them to another.
    fn lend(&mut self, from: i64, through: i64) -> Folding {
        let at_work = self.members.iter_mut().filter(|member| member.position == from && member.end > from);
        let members = at_work.filter_map(|member| Some((member.projection, member.following.take()?)));
        Folding {
            members: members.collect(),
            pages: self.reader.pages(from, through),
            page: None,
            through,
            chunk_from: from,
            position: from,
        }
    }

    fn take_back(&mut self, folding: Folding) {
        for (projection, following) in folding.members {
            if let Some(member) = self.members.iter_mut().find(|member| member.projection == projection) {
                member.following = Some(following);
            }
        }
    }

    /// Moves read models, and their checkpoints in the transaction of their rows.
    async fn came_to(
        &mut self,
        connection: &mut PgConnection,
        projections: &[Projection],
        position: i64,
    ) -> Result<(), sqlx::Error> {
        for member in self.members.iter_mut().filter(|member| projections.contains(&member.projection)) {
            member.position = position;
        }
        if !self.resumable {
            return Ok(());
        }
        sqlx::query(
            "update projection_builds set position = $2, updated_at = clock_timestamp() where name = any($1)",
        )
        .bind(projections.iter().map(|projection| projection.name()).collect::<Vec<_>>())
        .bind(position)
        .execute(connection)
        .await
        .map(|_| ())
    }
}
