//! Folding stretches of the log into tables beside those that are read.

use projections::ports::Projection;
use sqlx::{Connection, PgConnection};

use super::{RebuildError, Watcher};
use crate::database::Database;
use crate::log::pages::{PageReader, Pages};
use crate::projector::tables::{self, Following};

/// Events between two checkpoints.
const CHUNK: i64 = 200_000;
/// Rows that each projection keeps in memory: what bounds a rebuild's memory, however long the log.
const KEPT_ROWS: usize = 100_000;

/// One read model under construction.
pub(super) struct Member {
    projection: Projection,
    following: Box<dyn Following>,
    position: i64,
    end: i64,
}

impl Member {
    pub(super) fn new(projection: Projection, position: i64) -> Self {
        Self { projection, following: tables::following(projection), position, end: position }
    }
}

/// Read models under construction.
pub(super) struct Build {
    reader: PageReader,
    members: Vec<Member>,
    /// Whether it goes on from its checkpoints when it is interrupted.
    resumable: bool,
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
            let mut pages = self.reader.pages(from, through);
            let mut position = from;
            while position < through {
                let mut transaction = connection.begin().await?;
                position = self
                    .chunk(&mut transaction, &mut pages, position, through, |position| {
                        watcher.at(position, end);
                    })
                    .await?;
                self.save(&mut transaction).await?;
                transaction.commit().await?;
                for member in &mut self.members {
                    member.following.written(KEPT_ROWS);
                }
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

    /// Folds and writes the next pages; returns the position that it came to.
    async fn chunk(
        &mut self,
        connection: &mut PgConnection,
        pages: &mut Pages,
        from: i64,
        through: i64,
        tell: impl Fn(i64),
    ) -> Result<i64, RebuildError> {
        let mut members: Vec<&mut Member> = self
            .members
            .iter_mut()
            .filter(|member| member.position == from && member.position < member.end)
            .collect();
        let mut position = from;
        while position < through && position - from < CHUNK {
            let Some(events) = pages.next().await? else { break };
            let Some(last) = events.last() else { break };
            for member in &mut members {
                if let Some(stopped) = member.following.fold(connection, &events).await? {
                    return Err(RebuildError::Stopped {
                        projection: member.projection.name(),
                        position: stopped.position,
                        reason: stopped.reason.to_string(),
                    });
                }
                member.position = last.position;
            }
            position = last.position;
            tell(position);
        }
        if position == from {
            return Err(RebuildError::Missing { position: from + 1 });
        }
        for member in members {
            member.following.write(connection).await?;
        }
        Ok(position)
    }

    /// The checkpoints, in the transaction of the rows.
    async fn save(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.resumable {
            return Ok(());
        }
        let members = || self.members.iter();
        sqlx::query(
            "update projection_builds b set position = m.position, updated_at = clock_timestamp()
               from unnest($1::text[], $2::bigint[]) as m(name, position) where b.name = m.name",
        )
        .bind(members().map(|member| member.projection.name()).collect::<Vec<_>>())
        .bind(members().map(|member| member.position).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(|_| ())
    }
}
