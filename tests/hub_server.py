"""A small server of the Hugging Face Hub's HTTP API, with faults to order."""

import contextlib
import hashlib
import http.server
import re
import threading
import time

_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^?]+)")


class HubServer:
    """Repositories with revisions and files, served on the loopback.

    Attributes:
        url: for ``HF_ENDPOINT``.
        requests: list of ``(method, path, Range header or None)`` so far.
        faults: ``{file: fault}``, where a fault is ``"html"``, ``"truncated"``, ``"flipped"``,
            ``"cut"`` (every time), ``"cut once"``, ``"slow"`` or a status code.
    """

    def __init__(self):
        self.files = {}
        self.branches = {}
        self.requests = []
        self.faults = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def add(self, repo, files):
        """Publish a folder's content as a new commit on ``main``; returns the commit."""
        state = repr(sorted((name, len(content), content[:99]) for name, content in files.items()))
        commit = hashlib.sha1(state.encode()).hexdigest()
        for name, content in files.items():
            self.files[repo, commit, name] = content
        self.branches[repo, "main"] = commit
        return commit

    def bodies_sent(self):
        """Paths of the files whose bytes were asked for."""
        return [
            path for method, path, _ in self.requests if method == "GET" and "/resolve/" in path
        ]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    hub = None
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        asked = self.headers.get("Range")
        self.hub.requests.append((self.command, self.path, asked))
        match = _RESOLVE.fullmatch(self.path)
        if not match:
            return self._refuse(404, "EntryNotFound")
        repo, revision, file = match["repo"], match["revision"], match["file"]
        if not any(known == repo for known, _, _ in self.hub.files):
            return self._refuse(401, "RepoNotFound")
        commit = self.hub.branches.get((repo, revision), revision)
        if not any(known[:2] == (repo, commit) for known in self.hub.files):
            return self._refuse(404, "RevisionNotFound")
        content = self.hub.files.get((repo, commit, file))
        if content is None:
            return self._refuse(404, "EntryNotFound")
        fault = self.hub.faults.get(file)
        if isinstance(fault, int):
            return self._refuse(fault, None)
        if fault == "html":
            content = b"<!DOCTYPE html><html><body>Sign in to continue</body></html>"
        if fault == "flipped":
            content = content[:-7] + bytes([content[-7] ^ 1]) + content[-6:]
        true = self.hub.files[repo, commit, file]
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and body else 0
        sent = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        # As on the Hub: a large file is known by its sha256.
        self.send_header("ETag", f'"{hashlib.sha256(true).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(sent)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return None
        if fault == "slow":
            # Both downloads are under way before either ends.
            self.wfile.write(sent[:1])
            self.wfile.flush()
            time.sleep(1.5)
            sent = sent[1:]
        if fault == "cut once":
            del self.hub.faults[file]
        if fault in ("cut", "cut once"):
            self.wfile.write(sent[: len(sent) // 2])
            self.wfile.flush()
            self.close_connection = True
            return self.connection.close()
        if fault == "truncated":
            # Fewer bytes than the metadata promised, in a response that is itself complete.
            sent = sent[: len(sent) // 2]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(sent)
        if fault == "truncated":
            self.close_connection = True
        return None

    def _refuse(self, status, code):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
