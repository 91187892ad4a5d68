//! Older versions of the payment's events, read as today's. How to add one: [`crate::versions`].

use crate::versions::Upcaster;

/// The steps from each older version to the next one, older ones first. None so far: every event is
/// written as it was in the first release.
pub(super) const UPCASTERS: &[Upcaster] = &[];
