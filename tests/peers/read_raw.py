"""Reads a topic to its end with a client that is not ours: a JSON array of its messages.

    read_raw.py BROKERS TOPIC
"""

import json
import sys

from kafka import KafkaConsumer, TopicPartition


def main():
    brokers, topic = sys.argv[1:]
    consumer = KafkaConsumer(bootstrap_servers=brokers, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or []]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    found = []
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for batch in consumer.poll(timeout_ms=1000).values():
            for message in batch:
                headers = {name: value.decode() for name, value in message.headers}
                found.append({"key": message.key.decode(), "value": message.value.decode(), "headers": headers})
    print(json.dumps(found))


main()
