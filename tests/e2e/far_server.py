# SPDX-License-Identifier: Apache-2.0
"""A small S3 in this process that counts what it is asked for: whole objects and ranges, If-Match, listings, PUT. It takes
whatever signature comes, or none."""

import collections
import email.utils
import hashlib
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

PAGE = 1000


class FarServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, test):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects = {}  # "bucket/key" -> bytes
        self.counts = collections.Counter()  # of (method, path)
        self.ends = {}  # "bucket/key" -> when lifecycle rules end it, seconds since 1970
        self.refuse_writes = False
        self.puts_under_way = 0
        self.on_put = None  # called with the path before it is stored
        self.guard = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()
        test.addCleanup(self.server_close)
        test.addCleanup(self.shutdown)

    def handle_error(self, request, client_address):
        pass  # a client that was killed

    def count(self, method, prefix):
        with self.guard:
            return sum(n for (m, path), n in self.counts.items() if m == method and path.startswith(prefix))

    def forget(self):
        with self.guard:
            self.counts.clear()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=(), length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode(),
                    [("Content-Type", "application/xml")])

    def begin(self):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path).lstrip("/")
        with self.server.guard:
            self.server.counts[(self.command, path)] += 1
        return path, urllib.parse.parse_qs(url.query, keep_blank_values=True)

    def do_GET(self):
        path, query = self.begin()
        if "list-type" in query:
            return self.list(path.rstrip("/"), query)
        body = self.server.objects.get(path)
        if body is None:
            return self.refuse(404, "NoSuchKey")
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if self.headers.get("If-Match", etag) != etag:
            return self.refuse(412, "PreconditionFailed")
        headers = [("ETag", etag)]
        if path in self.server.ends:
            date = email.utils.formatdate(self.server.ends[path], usegmt=True)
            headers.append(("x-amz-expiration", f'expiry-date="{date}", rule-id="rule"'))
        asked = self.headers.get("Range")
        if asked is None or self.command == "HEAD":
            return self.answer(200, body, headers)
        first, last = (int(n) for n in asked.removeprefix("bytes=").split("-"))
        if first >= len(body):
            return self.refuse(416, "InvalidRange")
        part = body[first:last + 1]
        headers.append(("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(body)}"))
        self.answer(206, part, headers)

    do_HEAD = do_GET

    def do_PUT(self):
        with self.server.guard:
            self.server.puts_under_way += 1
        try:
            self.put()
        finally:
            with self.server.guard:
                self.server.puts_under_way -= 1

    def put(self):
        path, _ = self.begin()
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the writer is gone: nothing is stored
            self.close_connection = True
            return
        if self.server.refuse_writes:
            self.refuse(403, "AccessDenied")
            return
        if self.server.on_put:
            self.server.on_put(path)
        with self.server.guard:
            self.server.objects[path] = body
        self.answer(200, headers=[("ETag", f'"{hashlib.md5(body).hexdigest()}"')])

    def list(self, bucket, query):
        prefix = query["prefix"][0]
        after = query.get("continuation-token", [""])[0]
        with self.server.guard:
            keys = sorted(path.split("/", 1)[1] for path in self.server.objects if path.startswith(bucket + "/"))
        found, prefixes = [], set()
        for key in keys:
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix):]
            if "delimiter" in query and "/" in rest:
                prefixes.add(prefix + rest.split("/")[0] + "/")
            elif key > after:
                found.append(key)
        more = len(found) > PAGE
        found = found[:PAGE]
        xml = "<ListBucketResult><IsTruncated>" + ("true" if more else "false") + "</IsTruncated>"
        if more:
            xml += f"<NextContinuationToken>{escape(found[-1])}</NextContinuationToken>"
        for key in found:
            body = self.server.objects[f"{bucket}/{key}"]
            xml += (f"<Contents><Key>{escape(urllib.parse.quote(key))}</Key><Size>{len(body)}</Size>"
                    f"<ETag>&quot;{hashlib.md5(body).hexdigest()}&quot;</ETag></Contents>")
        for name in sorted(prefixes):
            xml += f"<CommonPrefixes><Prefix>{escape(urllib.parse.quote(name))}</Prefix></CommonPrefixes>"
        self.answer(200, (xml + "</ListBucketResult>").encode(), [("Content-Type", "application/xml")])
