"""Tells how far a consumer group is: for each partition the position of the last event that it has committed.

    group_marks.py BROKERS GROUP TOPIC [TOPIC ...]

A JSON array of [topic, partition, position], without the partitions of which nothing is committed.
"""

import json
import sys

from kafka import KafkaConsumer, TopicPartition


def main():
    brokers, group, *topics = sys.argv[1:]
    consumer = KafkaConsumer(bootstrap_servers=brokers, group_id=group, enable_auto_commit=False)
    partitions = [TopicPartition(t, p) for t in topics for p in sorted(consumer.partitions_for_topic(t) or [])]
    # Assigned, not subscribed: it only looks, and is no member.
    consumer.assign(partitions)
    marks = []
    for partition in partitions:
        committed = consumer.committed(partition)
        if not committed:
            continue
        consumer.assign([partition])
        consumer.seek(partition, committed - 1)
        batch = []
        while not batch:
            batch = consumer.poll(timeout_ms=1000, max_records=1).get(partition, [])
        marks.append([partition.topic, partition.partition, int(dict(batch[0].headers)["position"])])
    print(json.dumps(sorted(marks)))


main()
