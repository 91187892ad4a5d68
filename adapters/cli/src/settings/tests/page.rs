//! `docs/configuration.md` has a line for each setting, with its default, and for nothing else.

use std::collections::BTreeMap;

use super::super::Settings;
use super::super::known::names;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");

#[test]
fn the_page_and_the_tree_have_the_same_settings_and_defaults() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    // | `http.max_in_flight` | `2000` | what it is |
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")).filter(|row| row.contains('.'));
    let told: BTreeMap<String, String> = rows
        .filter_map(|row| {
            let (name, rest) = row.split_once("` | ")?;
            let (default, meaning) = rest.split_once(" | ")?;
            assert!(meaning.trim_end_matches(" |").len() > 10, "{name} is not told");
            Some((name.to_owned(), default.trim_matches('`').to_owned()))
        })
        .collect();
    let tree = serde_json::to_value(Settings::default()).unwrap();
    let known: BTreeMap<String, String> = names()
        .into_iter()
        .map(|name| (name.clone(), name.split('.').fold(&tree, |tree, key| &tree[key]).to_string()))
        .collect();
    assert_eq!(told, known);
}
