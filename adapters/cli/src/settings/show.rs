//! The settings in force, each with where it comes from. Secrets are not in it.

use serde_json::Value;

use super::read::Loaded;
use super::secret::is_secret;
use super::wrong::Source;

/// One setting as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    /// From the section down, for instance `http` and `max_in_flight`.
    pub(crate) path: Vec<String>,
    /// What it is; `None` where that is a secret.
    pub(crate) value: Option<Value>,
    /// Where it comes from.
    pub(crate) source: Source,
}

/// All settings, by name.
pub(crate) fn shown(loaded: &Loaded) -> Vec<Shown> {
    // It holds texts, numbers, lists and tables alone, which all have a form in JSON.
    let tree = serde_json::to_value(&loaded.settings).unwrap_or_default();
    let mut gathered = Vec::new();
    gather(&tree, &mut Vec::new(), loaded, &mut gathered);
    gathered
}

fn gather(value: &Value, path: &mut Vec<String>, loaded: &Loaded, gathered: &mut Vec<Shown>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                path.push(key.clone());
                gather(value, path, loaded, gathered);
                path.pop();
            }
        }
        value => {
            let name = path.join(".");
            let source = loaded.sources.get(&name).cloned().unwrap_or(Source::Default);
            let value = (!is_secret(&name)).then(|| value.clone());
            gathered.push(Shown { path: path.clone(), value, source });
        }
    }
}
