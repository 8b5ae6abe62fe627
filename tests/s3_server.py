"""A real S3 server in a process of its own, on loopback: moto behind a threaded WSGI server.

moto looks whether a key is there and then writes it, so two `PUT If-None-Match: *` at once could both succeed, which S3
rules out. Here one write runs at a time; reads run beside it.

Run as ``python -m tests.s3_server``: prints its port, and serves until its standard input closes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUCKET = "codes"


@contextmanager
def running_server() -> Iterator[str]:
    """The endpoint of a server of its own, with the empty bucket `BUCKET`."""
    command = [sys.executable, "-m", "tests.s3_server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def environment(endpoint: str, cache: Path, *, patience_s: float = 30) -> dict[str, str]:
    """What a process needs to reach the server; `cache` makes it a machine of its own."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "XDG_CACHE_HOME": str(cache),
        "GUIDESTORE_S3_PATIENCE_S": str(patience_s),
        "NO_PROXY": "127.0.0.1",
    }


def main() -> None:
    # moto sends what it does not know to the real service; nothing here has the rights to.
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    from moto.core.utils import path_url  # noqa: F401 - fails here where moto[server] is not installed
    from moto.moto_server.werkzeug_app import create_backend_app
    from moto.s3.models import s3_backends
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: object) -> None: ...

    served = create_backend_app("s3")  # moto's dispatcher lists its folder of services at each request
    one_write = threading.Lock()

    def application(environ, start_response):
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return served(environ, start_response)
        with one_write:
            return list(served(environ, start_response))

    s3_backends["123456789012"]["global"].create_bucket(BUCKET, "us-east-1")
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # ends with the process that started us


if __name__ == "__main__":
    main()
