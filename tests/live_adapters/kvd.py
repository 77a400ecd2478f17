#!/usr/bin/env python3
"""The server `kvd` of adapters/README.md, as small as can be: n1 leads and has the data, and the
others ask it at its peer address. It is no Raft, and nothing may happen to n1."""

import argparse
import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
for name in ["--id", "--dir", "--raft", "--http", "--join"]:
    parser.add_argument(name, required=True)
args = parser.parse_args()
members = dict(member.split("@") for member in args.join.split(","))
data, lock = {}, threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b""):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def ask_leader(self, body=None):
        url = "http://" + members["n1"] + self.path
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
                self.answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code)
        except OSError:
            self.answer(503)

    def do_GET(self):
        if self.path == "/state":
            state = "Leader" if args.id == "n1" else "Follower"
            about = {"state": state, "term": 1, "leader": "n1"}
            return self.answer(200, json.dumps(about).encode())
        if args.id != "n1":
            return self.ask_leader()
        with lock:
            value = data.get(self.path)
        return self.answer(404) if value is None else self.answer(200, value)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if args.id != "n1":
            return self.ask_leader(body)
        with lock:
            data[self.path] = body
        self.answer(204)


def serve(at):
    host, port = at.rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()


threading.Thread(target=serve, args=[args.raft], daemon=True).start()
serve(args.http)
