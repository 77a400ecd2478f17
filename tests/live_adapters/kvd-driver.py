#!/usr/bin/env python3
"""The driver `kvd-driver` of adapters/README.md, by the contract that stands there."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request


def say(line):
    print(json.dumps(line), flush=True)


def perform(asked):
    url = f"http://{at}/k/{urllib.parse.quote(asked['key'], safe='')}"
    body = asked["value"].encode() if asked["op"] == "write" else None
    try:
        request = urllib.request.Request(url, data=body)
        with urllib.request.urlopen(request, timeout=asked["limit_ms"] / 1000) as answer:
            text = answer.read().decode()
            return {"value": text} if asked["op"] == "read" else {"is": "done"}
    except urllib.error.HTTPError as error:
        found_nothing = error.code == 404 and asked["op"] == "read"
        return {"value": None} if found_nothing else {"is": "unknown", "why": str(error)}


hello = json.loads(sys.stdin.readline())
assert hello["options"] == {"bucket": "test"}, hello
at = f"{hello['node']['address']}:{hello['node']['ports']['client']}"
say({"ready": True})
for line in sys.stdin:
    asked = json.loads(line)
    say({"id": asked["id"], **perform(asked)})
