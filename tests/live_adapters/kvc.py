#!/usr/bin/env python3
"""The command-line client `kvc` of adapters/README.md: kvc --at=HOST:PORT get|put KEY."""

import sys
import urllib.error
import urllib.parse
import urllib.request

at, verb, key = sys.argv[1].removeprefix("--at="), sys.argv[2], sys.argv[3]
url = f"http://{at}/k/{urllib.parse.quote(key, safe='')}"
body = sys.stdin.buffer.read() if verb == "put" else None
try:
    with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
        sys.stdout.buffer.write(answer.read())
except urllib.error.HTTPError as error:
    sys.exit(3 if error.code == 404 else 2)
except urllib.error.URLError as error:
    refused = isinstance(error.reason, ConnectionRefusedError)
    sys.exit("not sent" if refused else "who knows")
