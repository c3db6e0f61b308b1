# SPDX-License-Identifier: Apache-2.0
"""A server that answers as a vision-language model does, by the pictures of a question alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JUDGE = "MV-LLaVA-7B"


Part = dict[str, Any]


def serve_judge(answer: Callable[[list[Part]], str]) -> AbstractContextManager[str]:
    """Yield the URL and model of a server; `answer` gives the text for the parts of a question that are pictures."""
    return serve_answers(lambda question, pictures: answer(pictures))


@contextmanager
def serve_answers(answer: Callable[[str, list[Part]], str]) -> Iterator[str]:
    """Yield the URL and model of a server; `answer` gives the text for the words and the pictures of a question."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = body["messages"][0]["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            pictures = [part for part in parts if part["type"] == "image_url"]
            words = " ".join(part["text"] for part in parts if part["type"] == "text")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"choices": [{"message": {"content": answer(words, pictures)}}]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/v1#{JUDGE}"
        http.shutdown()
