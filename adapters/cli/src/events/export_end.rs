//! The last line of an export: by it a file that was cut is told from one that is whole.
//!
//! It is a CloudEvent as well, so that whoever reads the lines needs no exception for it; its type says
//! that it is no event of the log.

use std::borrow::Cow;

use commands::cloud_event::{CONTENT_TYPE, SOURCE, SPEC_VERSION};
use serde::{Deserialize, Serialize};

/// The type of the last line.
const TYPE: &str = "payments.LogExported";

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportEnd<'a> {
    specversion: Cow<'a, str>,
    /// The digest again: one export of the same events has the same last line.
    id: String,
    source: Cow<'a, str>,
    r#type: Cow<'a, str>,
    datacontenttype: Cow<'a, str>,
    pub(super) data: Exported,
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exported {
    /// First position that was asked for.
    pub(super) from: i64,
    /// Last position.
    pub(super) to: i64,
    /// Number of lines before this one.
    pub(super) events: i64,
    /// SHA-256 of these lines with their line breaks, in hexadecimal.
    pub(super) sha256: String,
}

impl ExportEnd<'_> {
    pub(super) fn of(exported: Exported) -> Self {
        Self {
            specversion: SPEC_VERSION.into(),
            id: exported.sha256.clone(),
            source: SOURCE.into(),
            r#type: TYPE.into(),
            datacontenttype: CONTENT_TYPE.into(),
            data: exported,
        }
    }

    /// Reads a line; `None` for one that is no last line.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(line).ok().filter(|end| end.r#type == TYPE)
    }
}
