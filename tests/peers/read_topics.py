"""Reads topics to their ends with a client that is not ours, and tells what it found as one JSON object.

    read_topics.py BROKERS TOPIC [TOPIC ...]

Every message goes through a CloudEvents parser that is not ours. What is told:

    messages     how many there are
    repeats      how many a consumer drops that remembers, per partition, the last position it has seen
    positions    [first, last, how many different ones] of what is left
    disorder     the first message, if any, whose event is not the next one of its aggregate in what is left
    replays      how many say that they are told again
    headers      the names of all headers
"""

import json
import sys
from datetime import datetime

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from kafka import KafkaConsumer, TopicPartition

ATTRIBUTES = {"aggregatetype", "sequence", "eventversion", "correlationid", "causationid", "actor"}


def messages(brokers, topics):
    consumer = KafkaConsumer(
        bootstrap_servers=brokers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=5000,
        fetch_max_bytes=16 << 20,
        max_partition_fetch_bytes=4 << 20,
    )
    partitions = [TopicPartition(t, p) for t in topics for p in sorted(consumer.partitions_for_topic(t) or [])]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    open_ends = {p: end for p, end in ends.items() if end > 0}
    while open_ends:
        for partition, batch in consumer.poll(timeout_ms=1000).items():
            for message in batch:
                yield partition, message
            if consumer.position(partition) >= open_ends.get(partition, 0):
                open_ends.pop(partition, None)
    consumer.close()


def main():
    brokers, topics = sys.argv[1], sys.argv[2:]
    count = repeats = replays = 0
    marks, sequences, positions = {}, {}, set()
    disorder, names = None, set()
    for partition, message in messages(brokers, topics):
        count += 1
        headers = dict(message.headers)
        assert len(headers) == len(message.headers), f"a header is there twice: {message.headers}"
        names.update(headers)
        event = from_binary_event(KafkaMessage(headers=headers, key=message.key, value=message.value))
        assert event.get_specversion() == "1.0" and event.get_datacontenttype() == "application/json"
        assert event.get_subject().encode() == message.key, "the key is the aggregate"
        assert isinstance(event.get_time(), datetime) and event.get_id() and event.get_source() == "payments"
        assert isinstance(event.get_data(), (dict, str)), "the value is JSON"
        assert all(event.get_extension(name) for name in ATTRIBUTES), headers
        assert headers["traceparent"].startswith(b"00-")
        kind = event.get_extension("aggregatetype")
        if event.get_extension("replay") is not None:
            replays += 1
        else:
            assert message.topic == f"{kind}s.events", "each kind of aggregate has its topic"
        position, sequence = int(headers["position"]), int(event.get_extension("sequence"))
        if position <= marks.get(partition, 0):
            repeats += 1
            continue
        marks[partition] = position
        positions.add(position)
        aggregate = (kind, message.key)
        if sequence != sequences.get(aggregate, 0) + 1 and disorder is None:
            disorder = [partition.topic, partition.partition, message.offset, position]
        sequences[aggregate] = sequence
    print(
        json.dumps(
            {
                "messages": count,
                "repeats": repeats,
                "positions": [min(positions, default=0), max(positions, default=0), len(positions)],
                "disorder": disorder,
                "replays": replays,
                "headers": sorted(names),
            }
        )
    )


main()
