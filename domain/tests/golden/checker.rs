//! What is demanded of golden files, whatever the event.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use domain::versions::{Shape, VersionedEvent, check_upcasters, decode_value, event_names};
use serde_json::Value;

/// An older version of an event, and what each payload in its golden file is read as today.
pub(crate) struct Older<E> {
    pub(crate) shape: Shape,
    pub(crate) read_as: Vec<E>,
}

/// Every event there is has a file for its present version, which the examples read from and write
/// to, and a file for each version that it had before, which is read as expected.
pub(crate) fn check<E: VersionedEvent>(
    folder: &Path,
    examples: &[E],
    older: &[Older<E>],
) -> Result<(), String> {
    check_upcasters::<E>()?;
    let mut by_event: BTreeMap<&str, Vec<&E>> = BTreeMap::new();
    for example in examples {
        by_event.entry(example.event_name()).or_default().push(example);
    }
    let names = event_names::<E>();
    if names.is_empty() {
        return Err("an event is an externally tagged enum".to_owned());
    }
    for name in names {
        let examples = by_event.get(name).ok_or_else(|| format!("{name} has no example"))?;
        check_present(folder, examples)?;
    }
    for upcaster in E::UPCASTERS {
        let Shape(name, version) = upcaster.from;
        let expected = older.iter().find(|older| older.shape == upcaster.from).ok_or_else(|| {
            format!("nothing says what version {version} of {name} is read as; add it to `examples.rs`")
        })?;
        check_older(folder, expected)?;
    }
    let known = |older: &&Older<E>| !E::UPCASTERS.iter().any(|upcaster| upcaster.from == older.shape);
    match older.iter().find(known) {
        Some(older) => Err(format!("no upcaster leads on from {:?}", older.shape)),
        None => Ok(()),
    }
}

fn check_present<E: VersionedEvent>(folder: &Path, examples: &[&E]) -> Result<(), String> {
    let (name, version) = (examples[0].event_name(), examples[0].written_version());
    let path = file_of(folder, name, version);
    let shown = path.display();
    if !path.exists() && std::env::var("UPDATE_GOLDEN").as_deref() == Ok("1") {
        let text = serde_json::to_string_pretty(examples).expect("events are JSON");
        fs::write(&path, text + "\n").map_err(|error| format!("{shown}: {error}"))?;
    }
    let pinned = payloads(&path)?;
    let read = read_all::<E>(&path, name, version, &pinned)?;
    if read.iter().collect::<Vec<_>>() != examples {
        return Err(format!("{shown} means something else now: {read:?}, not {examples:?}"));
    }
    let written = serde_json::to_value(examples).expect("events are JSON");
    if written != Value::Array(pinned) {
        return Err(format!("{shown} would be written differently now; add a version with an upcaster"));
    }
    Ok(())
}

fn check_older<E: VersionedEvent>(folder: &Path, older: &Older<E>) -> Result<(), String> {
    let Shape(name, version) = older.shape;
    let path = file_of(folder, name, version);
    let read = read_all::<E>(&path, name, version, &payloads(&path)?)?;
    if read != older.read_as {
        let expected = &older.read_as;
        return Err(format!("{} is read as {read:?}, not as {expected:?}", path.display()));
    }
    Ok(())
}

fn payloads(path: &Path) -> Result<Vec<Value>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{shown}: {error}; UPDATE_GOLDEN=1 writes what is missing of today"))?;
    match serde_json::from_str::<Vec<Value>>(&text) {
        Ok(payloads) if !payloads.is_empty() => Ok(payloads),
        Ok(_) => Err(format!("{shown} pins nothing")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

fn read_all<E: VersionedEvent>(
    path: &Path,
    name: &str,
    version: &str,
    payloads: &[Value],
) -> Result<Vec<E>, String> {
    let read = payloads.iter().map(|payload| decode_value(name, version, payload.clone()));
    read.collect::<Result<_, _>>()
        .map_err(|error| format!("{} was written once and cannot be read any more: {error}", path.display()))
}

/// Names of the golden files that [`check`] demands of these events.
pub(crate) fn names_of<E: VersionedEvent>(examples: &[E]) -> Vec<String> {
    let present = examples.iter().map(|event| file_name(event.event_name(), event.written_version()));
    let older = E::UPCASTERS.iter().map(|upcaster| file_name(upcaster.from.0, upcaster.from.1));
    present.chain(older).collect()
}

/// Golden files that no test reads, for instance because their version was forgotten.
pub(crate) fn files_without_a_reader(folder: &Path, read: &[String]) -> Vec<PathBuf> {
    let read: BTreeSet<PathBuf> = read.iter().map(|name| folder.join(name)).collect();
    let entries = fs::read_dir(folder).expect("the folder of golden events");
    let files = entries.map(|entry| entry.expect("an entry of the folder").path());
    files.filter(|path| path.extension().is_some_and(|end| end == "json") && !read.contains(path)).collect()
}

fn file_of(folder: &Path, name: &str, version: &str) -> PathBuf {
    folder.join(file_name(name, version))
}

fn file_name(name: &str, version: &str) -> String {
    format!("{name}.v{version}.json")
}
