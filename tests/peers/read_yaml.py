"""Reads YAML files with a parser that is not ours, merge keys resolved, and tells them as one JSON object by file.

    read_yaml.py FILE [FILE ...]

A key that is there twice is an error: the parser would take the last one in silence.
"""

import json
import sys

import yaml


class Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"{node.start_mark}: twice: {twice}"
        return super().construct_mapping(node, deep)


def read(name):
    with open(name, encoding="utf-8") as file:
        return yaml.load(file, Loader=Strict)


print(json.dumps({name: read(name) for name in sys.argv[1:]}, default=str))
