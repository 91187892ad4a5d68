//! Golden events: what was ever written to the log can be read, and is still written the same.
//!
//! `<Event>.v<version>.json` holds examples of one event in one version, each as its payload stands
//! in the log; together they show every shape that the event may take. The examples in `examples.rs`
//! must read from the file of the present version and write to it, exactly. The file of an older
//! version must read, through the upcasters, as what `examples.rs` expects.
//!
//! A new event: add its examples, run with `UPDATE_GOLDEN=1`, commit the file. A changed event: never
//! touch its file; `domain::versions` walks through it. Files that exist are never overwritten.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod checker;
mod examples;
mod second_version;

use std::path::PathBuf;

use checker::{check, files_without_a_reader};
use examples::{account_events, older_account_events, older_payment_events, payment_events};

#[test]
fn account_events_are_read_and_written_as_they_ever_were() {
    check(&folder(), &account_events(), &older_account_events()).unwrap();
}

#[test]
fn payment_events_are_read_and_written_as_they_ever_were() {
    check(&folder(), &payment_events(), &older_payment_events()).unwrap();
}

#[test]
fn every_golden_file_is_of_an_event_and_version_that_a_test_reads() {
    let unread = files_without_a_reader(
        &folder(),
        &[checker::names_of(&account_events()), checker::names_of(&payment_events())].concat(),
    );
    assert_eq!(unread, Vec::<PathBuf>::new());
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}
