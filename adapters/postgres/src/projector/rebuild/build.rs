//! Folding stretches of the log into tables beside those that are read.
//!
//! ```text
//! pages read and decoded (pages.rs) ── folded by a task ── written: rows and checkpoint, a chunk each
//! ```
//!
//! While a chunk is written the next ones are folded, so that neither waits for the other's slow moment.
//! Only where a fold needs a row that is not in memory it waits for all writes, since that row may be
//! among them.

use futures::future::try_join_all;
use projections::ports::Projection;
use projections::{Folded, LogEvent};
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{RebuildError, Watcher};
use crate::database::Database;
use crate::log::pages::{PageReader, Pages};
use crate::log::stretch::first_missing;
use crate::projector::tables::{self, Changed, Following};

/// Events between two checkpoints. Three chunks of changes are in memory at most: one that is folded, one
/// that waits, and one that is written.
const CHUNK: i64 = 200_000;
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

/// What has changed in a stretch up to a position.
struct Chunk {
    changes: Vec<(Projection, Box<dyn Changed>)>,
    position: i64,
}

/// By whom changes are written.
enum Writers<'a> {
    /// One connection, in a transaction for all read models.
    Together(&'a mut PgConnection),
    /// A connection for each read model, in a transaction of its own.
    Apart(&'a mut Apart),
}

/// Connections of a build whose read models are written beside each other.
pub(super) struct Apart {
    /// Reads what folds need.
    pub(super) reader: PgConnection,
    /// One for each member, in their order.
    pub(super) writers: Vec<PgConnection>,
}

/// Why a task of folding has ended. All that it folded is sent by then, except for a chunk that is not full.
enum Ended {
    /// It has come to the end of the stretch.
    Through,
    /// A row is needed that is not in memory.
    Needs,
}

impl Folding {
    /// Folds to the end of the stretch, as far as rows are in memory, and sends what has changed.
    async fn run(mut self, changed: mpsc::Sender<Chunk>) -> Result<(Self, Ended), RebuildError> {
        loop {
            if self.page.is_none() {
                let ended = self.position >= self.through;
                if ended || self.position - self.chunk_from >= CHUNK {
                    let chunk = Chunk { changes: self.take_changes(), position: self.position };
                    // Nobody receives it: whoever writes has failed, and is about to say so.
                    if changed.send(chunk).await.is_err() || ended {
                        return Ok((self, Ended::Through));
                    }
                }
                let events = self.pages.next().await?.unwrap_or_default();
                if let Some(position) = first_missing(&events, self.position) {
                    return Err(RebuildError::Missing { position });
                }
                let folded = vec![0; self.members.len()];
                self.page = Some((events, folded));
            }
            if !self.fold_page()? {
                return Ok((self, Ended::Needs));
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
    fn take_changes(&mut self) -> Vec<(Projection, Box<dyn Changed>)> {
        self.chunk_from = self.position;
        let members = self.members.iter_mut();
        members.map(|(projection, following)| (*projection, following.take_changes(KEPT_ROWS))).collect()
    }

    fn start(self, changed: mpsc::Sender<Chunk>) -> AbortOnDropHandle<Result<(Self, Ended), RebuildError>> {
        #[expect(clippy::disallowed_methods, reason = "the handle ends the task with its owner")]
        AbortOnDropHandle::new(tokio::spawn(self.run(changed)))
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

    /// Builds as far as was aimed, each read model by a connection of its own, in transactions of a
    /// chunk each.
    pub(super) async fn run_apart(
        &mut self,
        connections: &mut Apart,
        watcher: &dyn Watcher,
    ) -> Result<(), RebuildError> {
        self.run_by(Writers::Apart(connections), watcher).await
    }

    /// Builds as far as was aimed, in parts of the caller's transaction.
    pub(super) async fn run_within(
        &mut self,
        transaction: &mut PgConnection,
        watcher: &dyn Watcher,
    ) -> Result<(), RebuildError> {
        self.run_by(Writers::Together(transaction), watcher).await
    }

    async fn run_by(&mut self, mut writers: Writers<'_>, watcher: &dyn Watcher) -> Result<(), RebuildError> {
        let end = self.members.iter().map(|member| member.end).max().unwrap_or(0);
        while let Some((from, through)) = self.next_stretch() {
            let mut folding = self.lend(from, through);
            loop {
                let (changed, mut chunks) = mpsc::channel(1);
                let task = folding.start(changed);
                while let Some(chunk) = chunks.recv().await {
                    let position = chunk.position;
                    self.write(&mut writers, chunk).await?;
                    watcher.at(position, end);
                }
                let returned = task.await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
                let ended;
                (folding, ended) = returned?;
                match (ended, &mut writers) {
                    (Ended::Through, _) => break,
                    (Ended::Needs, Writers::Together(connection)) => folding.load(connection).await?,
                    (Ended::Needs, Writers::Apart(apart)) => folding.load(&mut apart.reader).await?,
                }
            }
            self.take_back(folding);
        }
        Ok(())
    }

    /// Writes the rows of a chunk and moves the checkpoints in the same transactions.
    async fn write(&mut self, writers: &mut Writers<'_>, chunk: Chunk) -> Result<(), RebuildError> {
        let Chunk { changes, position } = chunk;
        match writers {
            Writers::Together(connection) => {
                for (projection, changed) in &changes {
                    write_one(connection, *projection, changed.as_ref(), position, self.resumable).await?;
                }
            }
            Writers::Apart(apart) => {
                let by_member = self.members.iter().zip(&mut apart.writers);
                let writing = by_member.filter_map(|(member, connection)| {
                    let change = changes.iter().find(|(projection, _)| *projection == member.projection);
                    change.map(|(projection, changed)| {
                        write_one(connection, *projection, changed.as_ref(), position, self.resumable)
                    })
                });
                try_join_all(writing).await?;
            }
        }
        for member in &mut self.members {
            if changes.iter().any(|(projection, _)| *projection == member.projection) {
                member.position = position;
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
}

/// Writes a read model's rows and moves its checkpoint, in one transaction.
async fn write_one(
    connection: &mut PgConnection,
    projection: Projection,
    changed: &dyn Changed,
    position: i64,
    resumable: bool,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    changed.write(&mut transaction).await?;
    if resumable {
        sqlx::query(
            "update projection_builds set position = $2, updated_at = clock_timestamp() where name = $1",
        )
        .bind(projection.name())
        .bind(position)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}
