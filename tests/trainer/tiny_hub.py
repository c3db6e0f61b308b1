# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face Hub on this machine with a few datasets, as far as libraries ask for them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class HubDataset:
    """A dataset's files by name, and what its card says."""

    files: Mapping[str, bytes]
    card: Mapping[str, object] = field(default_factory=dict)

    def list_below(self, folder: str) -> list[str]:
        """The files and folders below a folder ("." is the top)."""
        above = {str(parent) for file in self.files for parent in PurePosixPath(file).parents} - {"."}
        return [path for path in sorted({*self.files, *above}) if folder in map(str, PurePosixPath(path).parents)]

    def describe(self, path: str) -> dict[str, object]:
        """What the hub says of a file or folder."""
        if path in self.files:
            data = self.files[path]
            return {"type": "file", "path": path, "size": len(data), "oid": _hash(data)}
        return {"type": "directory", "path": path, "oid": COMMIT} if self.list_below(path) else {}


@contextmanager
def serve_hub(datasets: Mapping[str, HubDataset]) -> Iterator[str]:
    """Serve datasets by their ids; yields the address to give as HF_ENDPOINT."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Hub,), {"datasets": datasets}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Hub(BaseHTTPRequestHandler):
    datasets: Mapping[str, HubDataset]

    def log_message(self, format: str, *values: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        dataset, _, _ = self._find(r"/api/datasets/(.+?/[^/]+)/paths-info/([^/]+)(.*)")
        if dataset:
            self._send_json([found for path in asked["paths"] if (found := dataset.describe(path))])

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            dataset, _, file = self._find(r"/datasets/(.+?/[^/]+)/resolve/([^/]+)/(.+)")
            if dataset and file in dataset.files:
                tag = {"ETag": f'"{_hash(dataset.files[file])}"', "X-Repo-Commit": COMMIT}
                self._send(200, dataset.files[file], tag)
            elif dataset:
                self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif "/tree/" in self.path:
            dataset, _, folder = self._find(r"/api/datasets/(.+?/[^/]+)/tree/([^/]+)/?(.*)")
            below = dataset.list_below(folder or ".") if dataset else []
            is_deep = "recursive=true" in self.path.lower()
            here = [path for path in below if is_deep or str(PurePosixPath(path).parent) == (folder or ".")]
            if dataset:
                self._send_json([dataset.describe(path) for path in here])
        else:
            self._send_info()

    def _send_info(self) -> None:
        dataset, name, revision = self._find(r"/api/datasets/([^/]+/[^/]+)/?(?:revision/)?(.*)")
        if dataset and revision in ("", "main", COMMIT):
            siblings = [{"rfilename": file} for file in dataset.files]
            self._send_json({"id": name, "sha": COMMIT, "siblings": siblings, "cardData": dict(dataset.card),
                             "tags": [], "private": False, "downloads": 0, "likes": 0})  # fmt: skip
        elif dataset:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})

    def _find(self, pattern: str) -> tuple[HubDataset | None, str, str]:
        """The dataset that the request is about, its id, and the last part of the path; answers where there is none."""
        match = re.fullmatch(pattern, unquote(urlsplit(self.path).path))
        dataset = self.datasets.get(match[1]) if match else None
        if not match or not dataset:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return None, "", ""
        return dataset, match[1], match[match.re.groups]

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _hash(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
