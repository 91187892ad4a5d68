//! The project's own files, as tests read them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::kafka::peer;

/// The folder of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of the project, by its path in it.
pub(crate) fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The same, read as YAML.
pub(crate) fn yaml(file: &str) -> Value {
    let file = root().join(file);
    let file = file.to_str().unwrap();
    peer("read_yaml.py", &[file])[file].take()
}

/// The parts of a list; of anything else none.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The parts of a map by their names; of anything else none.
pub(crate) fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

pub(crate) fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}
