"""A server of bytes on this machine, for tests of downloads: it can break off, and can ignore ranges."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class Server(http.server.BaseHTTPRequestHandler):
    """Serves bytes by path; what was asked for is kept."""

    content: ClassVar[dict[str, bytes]] = {}
    break_after: ClassVar[list[int]] = []
    ranges = True
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self):
        wanted = self.headers.get("Range")
        type(self).asked.append((self.path, wanted))
        data = self.content.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop = start + self.break_after.pop(0) if self.break_after else len(data)
        self.wfile.write(data[start:stop])

    def log_message(self, *arguments):
        pass


@contextmanager
def serving() -> Iterator[str]:
    """The server's address; it starts empty."""
    Server.content, Server.break_after, Server.asked, Server.ranges = {}, [], [], True
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()
