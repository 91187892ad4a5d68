use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;

fn event(position: i64) -> RecordedEvent {
    RecordedEvent {
        position,
        sequence: position,
        event_id: Uuid::from_u128(u128::try_from(position).unwrap()).to_string(),
        aggregate_type: "account".to_owned(),
        aggregate_id: "a".to_owned(),
        event_type: "FundsHeld".to_owned(),
        event_version: "1".to_owned(),
        payload: format!(r#"{{"FundsHeld":{position}}}"#),
        recorded_at: DateTime::UNIX_EPOCH,
        correlation_id: "story".to_owned(),
        causation_id: "cause".to_owned(),
        actor: "actor".to_owned(),
        traceparent: "00-1-2-01".to_owned(),
        tracestate: None,
        baggage: None,
        hash: None,
        chain: None,
    }
}

/// A log of appends with so many events each.
fn log(appends: &[usize]) -> (Vec<RecordedEvent>, Hash) {
    let (mut events, mut chain) = (vec![], BEGINNING);
    for (number, size) in (0..).zip(appends) {
        let base = i64::try_from(events.len()).unwrap();
        let recorded_at = DateTime::UNIX_EPOCH + TimeDelta::seconds(number);
        let size = i64::try_from(*size).unwrap();
        let mut append: Vec<RecordedEvent> = (base + 1..=base + size).map(event).collect();
        let hashes: Vec<Hash> = append.iter().map(|event| content_of(event).unwrap().hash()).collect();
        chain = link(&chain, base, recorded_at, &hashes);
        for (event, hash) in append.iter_mut().zip(hashes) {
            event.recorded_at = recorded_at;
            event.hash = Some(hash.to_vec());
        }
        append.last_mut().unwrap().chain = Some(chain.to_vec());
        events.extend(append);
    }
    (events, chain)
}

fn check(events: &[RecordedEvent], head: &Hash) -> Result<(), ChainError> {
    let mut check = ChainCheck::default();
    events.iter().try_for_each(|event| check.apply(event))?;
    check.finish(head)
}

#[test]
fn a_log_that_nobody_touched_passes() {
    let (events, chain) = log(&[1, 3, 2]);
    assert_eq!(check(&events, &chain), Ok(()));
    assert_eq!(check(&[], &BEGINNING), Ok(()));
}

#[test]
fn whatever_is_changed_is_named_by_its_position() {
    let (events, chain) = log(&[1, 3, 2]);
    let changes: [fn(&mut RecordedEvent); 12] = [
        |event| event.payload.push(' '),
        |event| event.traceparent.replace_range(3..4, "9"),
        |event| event.tracestate = Some(String::new()),
        |event| event.baggage = Some("user_id=1".to_owned()),
        |event| event.correlation_id.push('x'),
        |event| event.causation_id.push('x'),
        |event| event.actor.push('x'),
        |event| event.aggregate_id.push('x'),
        |event| event.aggregate_type.push('x'),
        |event| event.event_type.push('x'),
        |event| event.event_version.push('x'),
        |event| event.sequence += 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for index in 0..events.len() {
            let mut changed = events.clone();
            change(&mut changed[index]);
            let position = i64::try_from(index + 1).unwrap();
            assert_eq!(check(&changed, &chain), Err(ChainError::Content { position }), "change {number}");
        }
    }
}

#[test]
fn a_time_an_order_an_append_or_an_end_that_differs_is_named() {
    let (events, chain) = log(&[1, 3, 2]);
    let changed = |change: fn(&mut Vec<RecordedEvent>)| {
        let mut changed = events.clone();
        change(&mut changed);
        check(&changed, &chain)
    };
    let later = TimeDelta::microseconds(1);
    assert_eq!(
        changed(|log| log[0].recorded_at += TimeDelta::microseconds(1)),
        Err(ChainError::Link { first: 1, last: 1 })
    );
    for index in 1..4 {
        let mut one = events.clone();
        one[index].recorded_at += later;
        let position = i64::try_from(index + 1).unwrap();
        assert_eq!(check(&one, &chain), Err(ChainError::Time { position }));
    }
    // Two events of one append in each other's place, each whole.
    let swapped = changed(|log| {
        log.swap(1, 2);
        (log[1].position, log[2].position) = (2, 3);
    });
    assert_eq!(swapped, Err(ChainError::Link { first: 2, last: 4 }));
    assert_eq!(changed(|log| log[2].hash = None), Err(ChainError::Unsealed { position: 3 }));
    // Its append seems to be part of the next one, and of another time than that.
    assert_eq!(changed(|log| log[0].chain = None), Err(ChainError::Time { position: 1 }));
    assert_eq!(changed(|log| log[5].chain = None), Err(ChainError::Link { first: 5, last: 6 }));
    // A whole append gone from the end: only the head still knows of it.
    assert_eq!(changed(|log| log.truncate(4)), Err(ChainError::Head { position: 4 }));
}

#[test]
fn a_log_that_is_older_than_the_chain_is_covered_from_where_it_begins() {
    let (mut events, _) = log(&[1, 3, 2]);
    let hashes: Vec<Hash> = events[4..].iter().map(|event| content_of(event).unwrap().hash()).collect();
    let chain = link(&BEGINNING, 4, events[4].recorded_at, &hashes);
    events[5].chain = Some(chain.to_vec());
    for event in &mut events[..4] {
        (event.hash, event.chain) = (None, None);
    }
    assert_eq!(check(&events, &chain), Ok(()));
}

/// With all links but the last one gone, the log is one append. Were the work to grow with the square of
/// its length, this test would take minutes.
#[test]
fn a_long_log_without_its_links_is_soon_found_wrong() {
    let (mut events, chain) = log(&[1; 300_000]);
    let last = events.len() - 1;
    events[..last].iter_mut().for_each(|event| event.chain = None);
    assert!(matches!(check(&events, &chain), Err(ChainError::Time { .. })));
}

proptest! {
    /// Moving a border between two neighbouring texts makes another hash.
    #[test]
    fn no_two_contents_are_hashed_alike(texts in prop::collection::vec("[ab]{0,3}", 11), other in prop::collection::vec("[ab]{0,3}", 11), some in any::<[bool; 4]>()) {
        fn content<'a>(texts: &'a [String], state: bool, baggage: bool) -> Content<'a> {
            Content {
                event_id: Uuid::nil(),
                aggregate_type: &texts[0],
                aggregate_id: &texts[1],
                sequence: 1,
                event_type: &texts[2],
                event_version: &texts[3],
                payload: &texts[4],
                correlation_id: &texts[5],
                causation_id: &texts[6],
                actor: &texts[7],
                traceparent: &texts[8],
                tracestate: state.then_some(texts[9].as_str()),
                baggage: baggage.then_some(texts[10].as_str()),
            }
        }
        let (one, two) = (content(&texts, some[0], some[1]), content(&other, some[2], some[3]));
        let same = format!("{one:?}") == format!("{two:?}");
        prop_assert_eq!(one.hash() == two.hash(), same);
    }
}
