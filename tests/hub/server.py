"""A small server of the Hugging Face Hub's HTTP API, with faults to order."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import time

_PREUPLOAD = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/main")
_COMMIT = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/main")
_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/main")
_BATCH = re.compile(r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
_OBJECT = re.compile(r"/objects/(?P<sha256>[0-9a-f]{64})")
# As on the Hub, weights are kept apart from the repository's own objects.
_LARGE = (".h5",)
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>[^?]+)")


class HubServer:
    """Repositories with revisions and files, served on the loopback.

    Attributes:
        url: for ``HF_ENDPOINT``.
        requests: list of ``(method, path, Range header or None)`` so far.
        faults: ``{file: fault}``, where a fault is ``"html"``, ``"truncated"``, ``"flipped"``,
            ``"cut"`` (every time), ``"cut once"``, ``"slow"``, ``"gated"`` or a status code. The
            name of a step of an upload (``"create"``, ``"preupload"``, ``"batch"``, ``"object"``,
            ``"commit"``) with a status code refuses that step.
        private: names of the repositories that were created as private.
        token: what may write, and read what is private.
    """

    token = "hf_write"

    def __init__(self):
        self.files = {}
        self.branches = {}
        self.requests = []
        self.faults = {}
        self.private = set()
        self.created = set()
        self.objects = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def add(self, repo, files):
        """Publish a folder's content as a new commit on ``main``; returns the commit."""
        files = {**self.head(repo), **files}
        state = repr(sorted((name, len(content), content[:99]) for name, content in files.items()))
        commit = hashlib.sha1(state.encode()).hexdigest()
        for name, content in files.items():
            self.files[repo, commit, name] = content
        self.branches[repo, "main"] = commit
        return commit

    def head(self, repo):
        """The files on ``main``, by name."""
        commit = self.branches.get((repo, "main"))
        return {
            name: c for (r, known, name), c in self.files.items() if (r, known) == (repo, commit)
        }

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

    def do_POST(self):
        self._write()

    def do_PUT(self):
        self._write()

    @property
    def _may_write(self):
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _write(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append((self.command, self.path, None))
        # Objects go to an address that was given to who may write.
        if match := _OBJECT.fullmatch(self.path):
            if "object" in self.hub.faults:
                return self._refuse(self.hub.faults["object"], None)
            assert hashlib.sha256(content).hexdigest() == match["sha256"]
            self.hub.objects[match["sha256"]] = content
            return self._json({})
        if self.path == "/api/validate-yaml":
            return self._json({"warnings": [], "errors": []})
        if not self._may_write:
            return self._refuse(401, "RepoNotFound")
        steps = {
            "create": (re.compile("/api/repos/create"), self._create),
            "preupload": (_PREUPLOAD, self._preupload),
            "batch": (_BATCH, self._batch),
            "commit": (_COMMIT, self._commit),
        }
        for step, (pattern, answer) in steps.items():
            if match := pattern.fullmatch(self.path):
                if step in self.hub.faults:
                    return self._refuse(self.hub.faults[step], None)
                repo = match.groupdict().get("repo")
                if repo and repo not in self.hub.created:
                    return self._refuse(404, "RepoNotFound")
                return answer(repo, content)
        return self._refuse(404, None)

    def _create(self, _, content):
        asked = json.loads(content)
        repo = f"{asked['organization']}/{asked['name']}"
        if repo in self.hub.created:
            return self._json({"url": f"{self.hub.url}/{repo}"}, 409)
        self.hub.created.add(repo)
        if asked.get("visibility") == "private" or asked.get("private"):
            self.hub.private.add(repo)
        return self._json({"url": f"{self.hub.url}/{repo}"})

    def _preupload(self, repo, content):
        head, files = self.hub.head(repo), []
        for file in json.loads(content)["files"]:
            large = file["path"].endswith(_LARGE)
            known = head.get(file["path"])
            blob = None if known is None else b"blob %d\0" % len(known) + known
            oid = hashlib.sha256(known) if large and blob else blob and hashlib.sha1(blob)
            files.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": oid.hexdigest() if oid else None,
                }
            )
        return self._json({"files": files})

    def _batch(self, repo, content):
        objects = []
        for asked in json.loads(content)["objects"]:
            there = {"upload": {"href": f"{self.hub.url}/objects/{asked['oid']}"}}
            objects.append(
                asked if asked["oid"] in self.hub.objects else {**asked, "actions": there}
            )
        return self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo, content):
        files = {}
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                assert value["encoding"] == "base64"
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        commit = self.hub.add(repo, files)
        url = f"{self.hub.url}/{repo}/commit/{commit}"
        return self._json({"commitUrl": url, "commitOid": commit})

    def _json(self, answer, status=200):
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body):
        asked = self.headers.get("Range")
        self.hub.requests.append((self.command, self.path, asked))
        if match := _INFO.fullmatch(self.path):
            commit = self.hub.branches[match["repo"], "main"]
            return self._json({"id": match["repo"], "sha": commit, "siblings": []})
        match = _RESOLVE.fullmatch(self.path)
        if not match:
            return self._refuse(404, "EntryNotFound")
        repo, revision, file = match["repo"], match["revision"], match["file"]
        if repo in self.hub.private and not self._may_write:
            return self._refuse(401, "RepoNotFound")
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
        if fault == "gated":
            return self._refuse(403, "GatedRepo")
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
