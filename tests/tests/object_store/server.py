"""An S3 server on a free port for one test: prints the port, and ends with its standard input.

Usage: server.py BUCKET [FAIL_EVERY]

With FAIL_EVERY = n, every n-th request is answered with 503, as a store under load does.
"""

import logging
import sys
import threading
import urllib.error
import urllib.request

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
bucket, fail_every = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
store = DomainDispatcherApplication(create_backend_app)
lock, requests = threading.Lock(), 0


def serve(environ, start_response):
    global requests
    with lock:
        requests += 1
        fails = fail_every and requests % fail_every == 0
    if fails:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("503 Slow Down", [("Content-Length", "0")])
        return [b""]
    return store(environ, start_response)


server = make_server("127.0.0.1", 0, serve, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
request = urllib.request.Request(f"http://127.0.0.1:{server.port}/{bucket}", method="PUT")
for _ in range(2):
    try:
        urllib.request.urlopen(request)
        break
    except urllib.error.HTTPError:
        continue
print(server.port, flush=True)
sys.stdin.read()
