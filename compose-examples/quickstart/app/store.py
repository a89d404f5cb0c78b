"""A store of counters over HTTP: GET / gives all of them as JSON, POST /name adds one. Kept in /data."""
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE = "/data/counters.json"
LOCK = threading.Lock()


def load():
    try:
        with open(FILE) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


class Store(BaseHTTPRequestHandler):
    def answer(self, counters):
        body = json.dumps(counters).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with LOCK:
            counters = load()
        self.answer(counters)

    def do_POST(self):
        name = self.path.strip("/")
        with LOCK:
            counters = load()
            counters[name] = counters.get(name, 0) + 1
            with open(FILE + ".new", "w") as file:
                json.dump(counters, file)
            os.replace(FILE + ".new", FILE)
        self.answer(counters)

    def log_message(self, form, *args):
        pass


print("store: listening on 9000", flush=True)
ThreadingHTTPServer(("", 9000), Store).serve_forever()
