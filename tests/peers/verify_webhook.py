"""Verifies webhooks with the reference library of Standard Webhooks.

Standard input has a JSON object a line: {"secret": "whsec_...", "headers": {...}, "body": "..."}. For
each line a line comes back: `verified` and the type of the event, or `refused` and why.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    asked = json.loads(line)
    try:
        event = Webhook(asked["secret"]).verify(asked["body"], asked["headers"])
        print("verified", event["type"])
    except WebhookVerificationError as error:
        print("refused", error)
