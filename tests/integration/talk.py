"""What tests of messages do by the API."""

from __future__ import annotations

import uuid

from tests.integration.conftest import Client


def create(who: Client, *members: Client, private: bool = False, **fields: object) -> int:
    """The id of a new channel."""
    ids = [member.user_id for member in members]
    body = {"name": f"channel {uuid.uuid4().hex}", "private": private, "member_ids": ids, **fields}
    answer = who.post("/api/channels", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def say(who: Client, channel: int, text: str = "a message", **fields: object) -> dict:
    answer = who.post(f"/api/channels/{channel}/messages", json={"text": text, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def read(who: Client, channel: int, **query: object) -> dict:
    answer = who.get(f"/api/channels/{channel}/messages", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def texts(found: dict) -> list[str]:
    return [message["text"] for message in found["items"]]


def row(who: Client, channel: int) -> dict | None:
    return next((one for one in who.get("/api/channels").json()["items"] if one["id"] == channel), None)
