# SPDX-License-Identifier: Apache-2.0
# A fake on the standard library's HTTP server, a thread for each connection.
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body leave together, and at once
    timeout = 60

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port, handler):
        super().__init__(("127.0.0.1", port), handler)

    def handle_error(self, request, client_address):
        """A client that was killed in the middle of its request is what the tests are about."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(server):
    """Prints {"port": …} and serves until the standard input ends: it never outlives who started it."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port}), flush=True)
    sys.stdin.buffer.read()
