//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is not a client's connection: the database's, the services', files, the log.
const OTHERS: u64 = 1_000;

/// Raises the limit as far as this process may, and returns how many of so many connections there is room for.
/// One that there is no room for would be refused by the operating system in the middle of other work.
pub(crate) fn room_for(connections: usize) -> usize {
    let limit = raised();
    let others = OTHERS.min(limit / 2);
    let room = usize::try_from(limit - others).unwrap_or(usize::MAX);
    if room < connections {
        tracing::warn!(
            limit,
            room,
            connections,
            "fewer connections than http.max_connections: raise the limit on open files"
        );
    }
    room.min(connections)
}

/// The limit, raised as far as it may be; no limit is a very large one.
fn raised() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit on open files stays where it is");
            current.unwrap_or(u64::MAX)
        }
    }
}
