//! A second version made for real: what the checker demands of it. The first version's golden files
//! are the real ones.

use std::fs;
use std::path::Path;

use cqrs_es::DomainEvent;
use domain::versions::{Shape, Upcaster, VersionedEvent};
use domain::{Money, PaymentId};
use serde::{Deserialize, Serialize};
use serde_json::{Error, Value};

use crate::checker::{Older, check, files_without_a_reader, names_of};
use crate::examples::usd;
use crate::folder;

/// Account events of a release to come: `FundsHeld` says what for, `AccountFrozen` has a new name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Newer {
    FundsHeld { payment_id: PaymentId, amount: Money, purpose: String },
    AccountBlocked { reason: String },
}

impl DomainEvent for Newer {
    fn event_type(&self) -> String {
        self.event_name().to_owned()
    }

    fn event_version(&self) -> String {
        self.written_version().to_owned()
    }
}

impl VersionedEvent for Newer {
    const UPCASTERS: &'static [Upcaster] = &[
        Upcaster { from: Shape("FundsHeld", "1"), to: Shape("FundsHeld", "2"), rewrite: funds_held_2 },
        Upcaster { from: Shape("AccountFrozen", "1"), to: Shape("AccountBlocked", "2"), rewrite: Ok },
    ];

    fn event_name(&self) -> &'static str {
        match self {
            Self::FundsHeld { .. } => "FundsHeld",
            Self::AccountBlocked { .. } => "AccountBlocked",
        }
    }
}

fn funds_held_2(mut fields: Value) -> Result<Value, Error> {
    fields["purpose"] = "payment".into();
    Ok(fields)
}

fn held(purpose: &str) -> Newer {
    let payment_id = PaymentId::parse("PAY_42").unwrap();
    Newer::FundsHeld { payment_id, amount: usd(753), purpose: purpose.to_owned() }
}

fn blocked() -> Newer {
    Newer::AccountBlocked { reason: "reported stolen".to_owned() }
}

fn older() -> Vec<Older<Newer>> {
    vec![
        Older { shape: Shape("FundsHeld", "1"), read_as: vec![held("payment")] },
        Older { shape: Shape("AccountFrozen", "1"), read_as: vec![blocked()] },
    ]
}

/// The golden files as they would stand after the change: those of today, and the new ones.
fn changed() -> tempfile::TempDir {
    let changed = tempfile::tempdir().unwrap();
    for name in ["FundsHeld.v1.json", "AccountFrozen.v1.json"] {
        fs::copy(folder().join(name), changed.path().join(name)).unwrap();
    }
    for (name, event) in [("FundsHeld.v2.json", held("escrow")), ("AccountBlocked.v2.json", blocked())] {
        fs::write(changed.path().join(name), serde_json::to_string(&[event]).unwrap()).unwrap();
    }
    changed
}

fn verdict(folder: &Path, older: &[Older<Newer>]) -> Result<(), String> {
    check(folder, &[held("escrow"), blocked()], older)
}

#[test]
fn what_was_ever_written_is_read_through_the_upcasters() {
    let folder = changed();
    assert_eq!(verdict(folder.path(), &older()), Ok(()));
    let read = names_of(&[held("escrow"), blocked()]);
    assert!(files_without_a_reader(folder.path(), &read).is_empty());
    fs::write(folder.path().join("FundsHeld.v3.json"), "[]").unwrap();
    let unread = files_without_a_reader(folder.path(), &read);
    assert_eq!(unread, [folder.path().join("FundsHeld.v3.json")]);
}

#[test]
fn a_file_of_any_version_that_is_lost_is_missed() {
    for name in ["FundsHeld.v1.json", "FundsHeld.v2.json", "AccountFrozen.v1.json", "AccountBlocked.v2.json"]
    {
        let folder = changed();
        fs::remove_file(folder.path().join(name)).unwrap();
        let missed = verdict(folder.path(), &older()).unwrap_err();
        assert!(missed.contains(name), "{missed}");
    }
}

#[test]
fn an_old_version_must_be_read_as_expected() {
    let folder = changed();
    let forgotten = verdict(folder.path(), &older()[..1]).unwrap_err();
    assert!(forgotten.contains("what version 1 of AccountFrozen is read as"), "{forgotten}");
    let mut wrong = older();
    wrong[0].read_as = vec![held("escrow")];
    let wrong = verdict(folder.path(), &wrong).unwrap_err();
    assert!(wrong.contains("FundsHeld.v1.json is read as"), "{wrong}");
    let mut left_over = older();
    left_over.push(Older { shape: Shape("FundsHeld", "2"), read_as: vec![] });
    let left_over = verdict(folder.path(), &left_over).unwrap_err();
    assert!(left_over.contains("no upcaster leads on"), "{left_over}");
}

#[test]
fn a_shape_that_changes_without_a_version_is_noticed() {
    let folder = changed();
    let path = folder.path().join("FundsHeld.v2.json");
    let written = fs::read_to_string(&path).unwrap();
    fs::write(&path, written.replacen(r#""purpose""#, r#""note":"","purpose""#, 1)).unwrap();
    let noticed = verdict(folder.path(), &older()).unwrap_err();
    assert!(noticed.contains("would be written differently now"), "{noticed}");
    fs::write(&path, written.replace("escrow", "rent")).unwrap();
    let noticed = verdict(folder.path(), &older()).unwrap_err();
    assert!(noticed.contains("means something else now"), "{noticed}");
    fs::write(&path, written.replace("purpose", "aim")).unwrap();
    let noticed = verdict(folder.path(), &older()).unwrap_err();
    assert!(noticed.contains("cannot be read any more: event FundsHeld of version 2"), "{noticed}");
}
