//! How many files and sockets this process may have open.

/// What is not a client's connection: the database's, the services', files, the log.
const OTHERS: u64 = 1_000;

/// Raises the limit as far as this process may, and returns how many of so many connections there is room for.
/// One that there is no room for would be refused by the operating system in the middle of other work.
pub(crate) fn room_for(connections: usize) -> usize {
    let limit = match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "cannot tell how many files may be open");
            return connections;
        }
    };
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
