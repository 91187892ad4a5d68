use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Error, json};

use super::*;

/// Today's events of an imagined aggregate. `Parked` was `Stopped` once and has changed twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Moved {
    Started,
    Parked { place: String, minutes: u32 },
}

impl DomainEvent for Moved {
    fn event_type(&self) -> String {
        self.event_name().to_owned()
    }

    fn event_version(&self) -> String {
        self.written_version().to_owned()
    }
}

impl VersionedEvent for Moved {
    const UPCASTERS: &'static [Upcaster] = &[
        Upcaster { from: Shape("Stopped", "1"), to: Shape("Stopped", "2"), rewrite: stopped_2 },
        Upcaster { from: Shape("Started", "1"), to: Shape("Started", "2"), rewrite: started_2 },
        Upcaster { from: Shape("Stopped", "2"), to: Shape("Parked", "3"), rewrite: parked_3 },
    ];

    fn event_name(&self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Parked { .. } => "Parked",
        }
    }
}

fn stopped_2(mut fields: Value) -> Result<Value, Error> {
    fields["place"] = "street".into();
    Ok(fields)
}

/// 2: where it started is no longer told.
fn started_2(_: Value) -> Result<Value, Error> {
    Ok(Value::Null)
}

fn parked_3(fields: Value) -> Result<Value, Error> {
    let hours = fields["hours"].as_u64().ok_or_else(|| Error::custom("`hours` is no number"))?;
    Ok(json!({ "place": fields["place"], "minutes": hours * 60 }))
}

fn parked(place: &str, minutes: u32) -> Moved {
    Moved::Parked { place: place.to_owned(), minutes }
}

/// Reads a payload both ways.
fn read(event_type: &str, version: &str, payload: &str) -> Result<Moved, String> {
    let event = decode::<Moved>(event_type, version, payload).map_err(|error| error.to_string());
    if let Ok(value) = serde_json::from_str(payload) {
        let from_value = decode_value(event_type, version, value).map_err(|error| error.to_string());
        // Positions within the text are known only where there is a text.
        let told = |result: &Result<Moved, String>| match result {
            Err(error) => error.split(" at line ").next().unwrap().to_owned(),
            Ok(event) => format!("{event:?}"),
        };
        assert_eq!(told(&event), told(&from_value));
    }
    event
}

#[test]
fn every_version_is_read_as_the_present_one() {
    assert_eq!(check_upcasters::<Moved>(), Ok(()));
    assert_eq!(read("Stopped", "1", r#"{"Stopped":{"hours":2}}"#), Ok(parked("street", 120)));
    assert_eq!(read("Stopped", "2", r#"{"Stopped":{"hours":2,"place":"yard"}}"#), Ok(parked("yard", 120)));
    assert_eq!(read("Parked", "3", r#"{"Parked":{"minutes":5,"place":"yard"}}"#), Ok(parked("yard", 5)));
    assert_eq!(read("Started", "1", r#"{"Started":{"at":"home"}}"#), Ok(Moved::Started));
    assert_eq!(read("Started", "2", r#""Started""#), Ok(Moved::Started));
}

#[test]
fn an_event_is_written_in_the_version_where_its_upcasters_end() {
    assert_eq!(parked("yard", 5).event_version(), "3");
    assert_eq!(Moved::Started.event_version(), "2");
    assert_eq!(current_version::<crate::AccountEvent>("FundsHeld"), FIRST_VERSION);
}

#[test]
fn what_a_newer_release_wrote_is_refused_with_the_advice_to_upgrade() {
    for (event_type, version, payload) in
        [("Parked", "4", "{}"), ("Flown", "1", r#"{"Flown":{}}"#), ("Flown", "7", r#"{"Flown":{}}"#)]
    {
        let refused = read(event_type, version, payload).unwrap_err();
        assert!(refused.starts_with(&format!("event {event_type} ")), "{refused}");
        assert!(refused.ends_with("written by a newer release, upgrade this one"), "{refused}");
    }
    assert!(
        read("Parked", "4", "{}").unwrap_err().contains("version 4, this program reads it up to version 3")
    );
}

#[test]
fn what_no_release_wrote_is_refused_by_name_and_version() {
    for (event_type, version, payload, said) in [
        ("Parked", "x", "{}", r#"event Parked has version "x", which no release"#),
        ("Parked", "04", "{}", r#"event Parked has version "04", which no release"#),
        ("Parked", "2", "{}", r#"event Parked has version "2", which no release"#),
        (
            "Stopped",
            "1",
            r#"{"Stopped":{}}"#,
            "event Stopped of version 2 cannot be read as version 3: `hours`",
        ),
        ("Stopped", "1", r#"{"Stopped":{"hours":99999999999}}"#, "event Stopped of version 1: "),
        ("Stopped", "1", r#"{"Stopped":7}"#, "event Stopped has the payload of no event"),
        ("Stopped", "1", r#"{"Parked":{}}"#, "event Stopped has the payload of Parked"),
        ("Stopped", "1", r#"{"#, "event Stopped of version 1: EOF"),
        ("Parked", "3", r#""Started""#, "event Parked has the payload of Started"),
        ("Parked", "3", r#"{"Parked":{}}"#, "event Parked of version 3: missing field `place`"),
    ] {
        let refused = read(event_type, version, payload).unwrap_err();
        assert!(refused.starts_with(said), "{refused}");
    }
}

/// Checks a table of steps, given as `(from, version, to, version)`, for the events above.
macro_rules! broken_table {
    ($($from:literal $before:literal to $to:literal $after:literal),*) => {{
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        enum Event {
            Started,
            Parked,
        }

        impl DomainEvent for Event {
            fn event_type(&self) -> String {
                String::new()
            }

            fn event_version(&self) -> String {
                String::new()
            }
        }

        impl VersionedEvent for Event {
            const UPCASTERS: &'static [Upcaster] = &[
                $(Upcaster { from: Shape($from, $before), to: Shape($to, $after), rewrite: Ok }),*
            ];

            fn event_name(&self) -> &'static str {
                ""
            }
        }

        check_upcasters::<Event>().unwrap_err()
    }};
}

#[test]
fn a_table_that_breaks_a_rule_is_found() {
    let skips = broken_table!("Parked" "1" to "Parked" "3");
    assert!(skips.contains("a step leads to the next one"), "{skips}");
    let unnumbered = broken_table!("Parked" "one" to "Parked" "two");
    assert!(unnumbered.contains("versions are numbers"), "{unnumbered}");
    let twice = broken_table!("Parked" "1" to "Parked" "2", "Parked" "1" to "Started" "2");
    assert!(twice.contains("left once"), "{twice}");
    let merged = broken_table!("Parked" "1" to "Parked" "2", "Stopped" "1" to "Parked" "2");
    assert!(merged.contains("arrived at once"), "{merged}");
    let backwards = broken_table!("Parked" "2" to "Parked" "3", "Parked" "1" to "Parked" "2");
    assert!(backwards.contains("must stand behind"), "{backwards}");
    let nowhere = broken_table!("Parked" "1" to "Stopped" "2");
    assert!(nowhere.contains("an event that there is not"), "{nowhere}");
    let present = broken_table!("Parked" "1" to "Started" "2");
    assert!(present.contains("what is written today"), "{present}");
}
