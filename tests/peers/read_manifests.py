"""Reads manifests of Kubernetes from standard input, validates each by the schemas of several versions, and tells them as one JSON list.

    kustomize build FOLDER | read_manifests.py VERSION [VERSION ...]

Strict: a field that a schema does not know is an error.
"""

import json
import sys

import kubernetes_validate
import yaml

manifests = [manifest for manifest in yaml.safe_load_all(sys.stdin) if manifest is not None]
for manifest in manifests:
    for version in sys.argv[1:]:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            sys.exit(f"{name}, Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}")
print(json.dumps(manifests))
