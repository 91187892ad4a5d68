//! Standard output that others read from.

use std::io;

use crate::Failure;

/// Whether a failure is that standard output was closed, by `head` for instance: no error for a tool
/// that only writes.
pub(crate) fn nobody_reads(failure: &Failure) -> bool {
    failure.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
