"""The page: counts a visit in the store, which it finds by the name `store`, and shows page.html filled in."""
import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STORE = os.environ["STORE"]


class Web(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            self.answer(200 if self.path == "/health" else 404, "")
            return
        request = urllib.request.Request(f"{STORE}/visits", method="POST")
        with urllib.request.urlopen(request, timeout=5) as response:
            counters = json.load(response)
        with open("page.html") as page:       # read each time: an edited page is seen at once
            text = page.read()
        for name in ("visits", "jobs"):
            text = text.replace("{" + name + "}", str(counters.get(name, 0)))
        self.answer(200, text)

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        if "/health" not in self.path:
            print("web:", form % args, flush=True)


print("web: listening on 8080", flush=True)
ThreadingHTTPServer(("", 8080), Web).serve_forever()
