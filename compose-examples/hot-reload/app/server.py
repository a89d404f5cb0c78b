"""Serves the files of pages/; says at each start which version it is."""
import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

VERSION = "1"

print(f"server version {VERSION} listens on 8083", flush=True)
handler = functools.partial(SimpleHTTPRequestHandler, directory="pages")
ThreadingHTTPServer(("", 8083), handler).serve_forever()
