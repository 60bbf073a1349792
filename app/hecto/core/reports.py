"""Errors sent to Sentry, where a site asks for it: what went wrong and where, with nothing that people wrote."""

from __future__ import annotations

import logging
from typing import Any

import sentry_sdk

from hecto.core import trail
from hecto.settings import Settings

# How long the end of a process waits for its last errors to be taken, in seconds.
FLUSH_SECONDS = 2


class Reports(logging.Handler):
    """Sends each error that is logged, with the trail of its request."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(logging.ERROR)
        self._settings = settings

    def start(self) -> None:
        """Begin to send, in the process that serves."""
        sentry_sdk.init(
            dsn=self._settings.sentry_dsn,
            release=f"hecto@{self._settings.release}",
            server_name=self._settings.instance_name,
            # Nothing is taken from requests, arguments or variables: the SDK learns only what is given to it below.
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
            default_integrations=False,
            auto_enabling_integrations=False,
            auto_session_tracking=False,
            max_breadcrumbs=0,
            before_send=_without_values,
        )
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        # What the SDK says of itself would come here again.
        if record.name.startswith(("sentry_sdk", "urllib3")):
            return
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("instance", self._settings.instance_name)
            scope.set_tag("logger", record.name)
            if here := trail.current.get():
                scope.set_tag("request_id", here.request_id)
                scope.set_tag("route", here.route)
                scope.set_user({"id": here.user} if here.user else None)
            if record.exc_info and record.exc_info[1] is not None:
                sentry_sdk.capture_exception(record.exc_info[1])
            else:
                sentry_sdk.capture_message(record.getMessage(), "error")

    def close(self) -> None:
        """Send what is left."""
        logging.getLogger().removeHandler(self)
        sentry_sdk.flush(FLUSH_SECONDS)
        super().close()


def _without_values(event: Any, _: Any) -> Any:
    """Leave out what PostgreSQL says in detail of an error: it quotes rows."""
    for error in event.get("exception", {}).get("values", ()):
        error["value"] = (error.get("value") or "").partition("\nDETAIL:")[0]
    return event
