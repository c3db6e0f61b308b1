# SPDX-License-Identifier: Apache-2.0
"""A server that answers as a vision-language model does, by the pictures of a question alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JUDGE = "MV-LLaVA-7B"


@contextmanager
def serve_judge(answer: Callable[[list[dict[str, Any]]], str]) -> Iterator[str]:
    """Yield the URL and model of a server; `answer` gives the text for the parts of a question that are pictures."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            pictures = [part for part in body["messages"][0]["content"] if part["type"] == "image_url"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [{"message": {"content": answer(pictures)}}]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/v1#{JUDGE}"
        http.shutdown()
