"""Notes in PostgreSQL: GET / lists them, POST / adds the body as one."""
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2


def query(sql, *values):
    with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


class Notes(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer("".join(f"{number}: {text}\n" for number, text in query("SELECT id, text FROM notes ORDER BY id")))

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(f"{query('INSERT INTO notes (text) VALUES (%s) RETURNING id', text)[0][0]}\n")

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print("listening on 8082", flush=True)
ThreadingHTTPServer(("", 8082), Notes).serve_forever()
