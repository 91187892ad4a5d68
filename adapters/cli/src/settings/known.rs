//! The names of all settings, and which of them was meant.

use serde_json::Value;

use super::Settings;

/// Tables whose keys are the operator's: each is one setting, whatever is in it.
pub(super) const TABLES: [&str; 2] = ["saga.degraded_limits", "kafka.client"];
/// How alike two names must be, at least, that one may have been meant by the other.
const ALIKE: f64 = 0.75;

/// The name of each setting, for instance `http.max_in_flight`.
pub(super) fn names() -> Vec<String> {
    // It holds texts, numbers, lists and tables alone, which all have a form in JSON.
    let tree = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut names = Vec::new();
    gather(&tree, "", &mut names);
    names
}

fn gather(value: &Value, name: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !TABLES.contains(&name) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                gather(value, &name, names);
            }
        }
        _ => names.push(name.to_owned()),
    }
}

/// The variable of the environment that a setting has.
pub(super) fn variable(name: &str) -> String {
    format!("PAYMENTS_{}", name.to_uppercase().replace('.', "__"))
}

/// The setting that a name without one may have been meant for.
pub(super) fn nearest(wrong: &str) -> Option<String> {
    let names = names();
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    // In another section than it was looked for.
    let mut elsewhere = names.iter().filter(|name| last(name) == last(wrong));
    if let (Some(name), None) = (elsewhere.next(), elsewhere.next()) {
        return Some(name.clone());
    }
    let likeness = |name: &String| strsim::normalized_damerau_levenshtein(wrong, name);
    let alike =
        names.into_iter().map(|name| (likeness(&name), name)).filter(|(likeness, _)| *likeness >= ALIKE);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}
