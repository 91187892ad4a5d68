"""Sends one message that is no event of ours with a client that is not ours.

    send.py BROKERS TOPIC PARTITION KEY VALUE [HEADER=VALUE ...]
"""

import json
import sys

from kafka import KafkaProducer


def main():
    brokers, topic, partition, key, value, *headers = sys.argv[1:]
    producer = KafkaProducer(bootstrap_servers=brokers, acks="all")
    pairs = [(name, text.encode()) for name, _, text in (header.partition("=") for header in headers)]
    sent = producer.send(topic, value.encode(), key.encode(), pairs, partition=int(partition))
    print(json.dumps({"offset": sent.get(timeout=30).offset}))


main()
