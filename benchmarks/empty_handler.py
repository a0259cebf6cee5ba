"""An HTTP handler of aiohttp with nothing behind it: reads the body, answers 201. What a service in it can cost least.

python -m benchmarks.empty_handler --port 8090 --processes 2
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess

from aiohttp import web

from services import launch
from services.supervisor import python

BODY_BYTES_MAX = 64 * 1024 * 1024

with contextlib.suppress(ImportError):
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


async def recorded(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=201)


def serve(port: int) -> None:
    """Serve until SIGTERM. The kernel shares out connections among the processes that serve a port."""
    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application.router.add_post("/", recorded)
    web.run_app(application, host="127.0.0.1", port=port, reuse_port=True, access_log=None, print=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, default=1, help="that serve the port; all end with this one")
    wanted = parser.parse_args()
    others = [
        subprocess.Popen(
            launch.command(
                *("--parent", str(os.getpid()), "--signal", str(int(signal.SIGKILL)), "--", *python()),
                *("-m", "benchmarks.empty_handler", "--port", str(wanted.port)),
            )
        )
        for _ in range(wanted.processes - 1)
    ]
    try:
        serve(wanted.port)
    finally:
        for each in others:
            each.kill()
            each.wait()


if __name__ == "__main__":
    main()
