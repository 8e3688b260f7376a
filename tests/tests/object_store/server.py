"""An S3 server on a free port for one test: prints the port, and ends with its standard input.

Usage: server.py BUCKET [FAIL_EVERY] [FAULT ...]

With FAIL_EVERY = n > 0, every n-th request is answered with 503, as a store under load does. Faults of reads by range:
`slow` sends a body in pieces with pauses, `cut` ends every third body half way, `changes` writes another version of an object
whose name begins with "changes" once the first part of it was read.
"""

import logging
import sys
import threading
import time
import urllib.error
import urllib.request

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
bucket, fail_every = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
faults = set(sys.argv[3:])
store = DomainDispatcherApplication(create_backend_app)
lock, requests, reads, changed = threading.Lock(), 0, 0, set()


def put(path, body=b""):
    """Writes a bucket or an object, a second time where the first request fails on purpose."""
    # Without a type the body would be taken for a form; nobody may write over an object without a name.
    headers = {"Content-Type": "application/octet-stream", "Authorization": "AWS test:test"}
    url = f"http://127.0.0.1:{server.port}{path}"
    request = urllib.request.Request(url, data=body, headers=headers, method="PUT")
    for _ in range(2):
        try:
            return urllib.request.urlopen(request)
        except urllib.error.HTTPError:
            continue


def pieces(body, slow, cut):
    body = body[: len(body) // 2] if cut else body
    step = 1 << 20 if slow else max(len(body), 1)
    for at in range(0, len(body), step):
        if slow:
            time.sleep(0.02)
        yield body[at : at + step]


def serve(environ, start_response):
    global requests, reads
    is_read = environ["REQUEST_METHOD"] == "GET" and "HTTP_RANGE" in environ
    with lock:
        requests += 1
        reads += is_read
        fails = fail_every and requests % fail_every == 0
        cut = "cut" in faults and is_read and reads % 3 == 0
    if fails:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Slow Down", [("Content-Length", "0")])
        return [b""]
    answer = store(environ, start_response)
    if not is_read or not faults:
        return answer
    body = b"".join(answer)
    path = environ["PATH_INFO"]
    with lock:
        changes = "changes" in faults and path.split("/")[-1].startswith("changes") and path not in changed
        changed.add(path)
    if changes:
        put(path, b"x" * (1 << 24))
    return pieces(body, "slow" in faults, cut)


server = make_server("127.0.0.1", 0, serve, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
put(f"/{bucket}")
print(server.port, flush=True)
sys.stdin.read()
