"""The app of the tests of recovery, and a request that no instance ever answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gevent

from tests.integration.recovery.stage import app as stage

SLOW = Path(os.environ["EDGE_SLOW"])


def app(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] != "/slow":
        return stage(environ, start_response)
    with SLOW.open("a") as file:
        file.write(f"{environ['HTTP_X_REQUEST_KEY']}\n")
    gevent.sleep(60)
    start_response("204 No Content", [])
    return []
