"""Reads of channels and messages. One scope says who sees what; lists leave PostgreSQL as finished JSON."""

from __future__ import annotations

from typing import Any, Self

import orjson
from pydantic import Field, model_validator
from sqlalchemy import text
from sqlalchemy.orm import Session

from hecto.core.db import beginning, containing
from hecto.core.errors import NotFound
from hecto.core.input import LARGEST_ID, Input
from hecto.core.permissions import Actor

READ = "messages.read"
# Messages on a page of a conversation, and hits on one of a search.
PAGE = 50
# More channels than anybody looks through; the ones that one is in come first.
MOST_CHANNELS = 500
MOST_MEMBERS = 1000
# Nobody counts further, so PostgreSQL does not either: this many unread messages are "99+".
MOST_UNREAD = 100
# As for the titles of tasks: the index of trigrams finds shorter words where they begin.
SHORTEST_PART = 3

# Which channels c somebody sees. Every read of a channel or of what is in it goes through this.
_SCOPE = """
    (c.kind = 'public' OR EXISTS (SELECT FROM channel_member s WHERE s.channel_id = c.id AND s.user_id = :me))
"""

# What others wrote since somebody (the member "mine") was there last.
_UNREAD = f"""
    SELECT count(*) AS unread, coalesce(bool_or(found.mentioned), false) AS mentioned
      FROM (SELECT EXISTS (SELECT FROM message_mention n WHERE n.message_id = m.id AND n.user_id = :me) AS mentioned
              FROM message m
             WHERE m.channel_id = c.id AND m.number > mine.read_number AND m.author_id <> :me
               AND m.deleted_at IS NULL AND c.archived_at IS NULL
             ORDER BY m.number DESC
             LIMIT {MOST_UNREAD}) AS found
"""  # noqa: S608  put together from constants of this file

_CHANNEL = """
    c.id, c.kind, CASE c.kind WHEN 'direct' THEN o.name ELSE c.name END AS name, c.topic, c.creator_id,
    CASE WHEN o.id IS NOT NULL THEN json_build_object('id', o.id, 'name', o.name) END AS person,
    c.created_at, c.archived_at, c.last_change AS change, mine.user_id IS NOT NULL AS joined,
    coalesce(mine.read_number, 0) AS read_number, u.unread, u.mentioned
"""

_CHANNELS_FROM = f"""
      FROM channel c
      LEFT JOIN channel_member mine ON mine.channel_id = c.id AND mine.user_id = :me
      LEFT JOIN app_user o
        ON o.id = CASE WHEN c.first_user_id = :me THEN c.second_user_id ELSE c.first_user_id END
     CROSS JOIN LATERAL ({_UNREAD}) AS u
"""

# A conversation that somebody else has opened and not written in yet is not there.
_CHANNELS = text(f"""
    SELECT json_build_object('items', coalesce(json_agg(row_to_json(page)), '[]'))::text
      FROM (SELECT {_CHANNEL}
              {_CHANNELS_FROM}
             WHERE {_SCOPE} AND (c.kind <> 'direct' OR c.last_change > 0 OR c.creator_id = :me)
             ORDER BY joined DESC, c.kind = 'direct', lower(c.name), lower(o.name), c.id
             LIMIT {MOST_CHANNELS}) AS page
""")  # noqa: S608  put together from constants of this file

_ONE_CHANNEL = text(f"""
    SELECT row_to_json(page)::text
      FROM (SELECT {_CHANNEL},
                   (SELECT coalesce(json_agg(json_build_object('id', p.id, 'name', p.name)), '[]')
                      FROM (SELECT u.id, u.name
                              FROM channel_member m JOIN app_user u ON u.id = m.user_id
                             WHERE m.channel_id = c.id
                             ORDER BY lower(u.name), u.id
                             LIMIT {MOST_MEMBERS}) AS p) AS members,
                   (SELECT count(*) FROM channel_member m WHERE m.channel_id = c.id) AS member_count
              {_CHANNELS_FROM}
             WHERE c.id = :id AND {_SCOPE}) AS page
""")  # noqa: S608  put together from constants of this file

_TOTAL = text(f"""
    SELECT json_build_object('unread', coalesce(sum(u.unread), 0),
                             'mentioned', coalesce(bool_or(u.mentioned), false))::text
      FROM channel_member mine
      JOIN channel c ON c.id = mine.channel_id
     CROSS JOIN LATERAL ({_UNREAD}) AS u
     WHERE mine.user_id = :me
""")  # noqa: S608  put together from constants of this file

_MESSAGE = """
    m.id, m.channel_id, m.number, m.change, json_build_object('id', a.id, 'name', a.name) AS author, m.text, m.links,
    (SELECT coalesce(json_agg(json_build_object('id', p.id, 'name', p.name) ORDER BY p.id), '[]')
       FROM message_mention n JOIN app_user p ON p.id = n.user_id
      WHERE n.message_id = m.id) AS mentions,
    m.created_at, m.edited_at, m.deleted_at
"""

# One statement and so one view of the data: "change" is how far these items go, whatever is written meanwhile.
_HISTORY = text(f"""
    WITH page AS (
        SELECT {_MESSAGE}
          FROM message m JOIN app_user a ON a.id = m.author_id
         WHERE m.channel_id = :id AND m.number < :before
         ORDER BY m.number DESC LIMIT :limit + 1
    ), shown AS (SELECT * FROM page ORDER BY number DESC LIMIT :limit)
    SELECT json_build_object(
        'items', coalesce((SELECT json_agg(row_to_json(shown) ORDER BY number) FROM shown), '[]'),
        'next', CASE WHEN (SELECT count(*) FROM page) > :limit THEN (SELECT min(number) FROM shown) END,
        'change', c.last_change)::text
      FROM channel c
     WHERE c.id = :id AND {_SCOPE}
""")  # noqa: S608  put together from constants of this file

_CHANGES = text(f"""
    WITH page AS (
        SELECT {_MESSAGE}
          FROM message m JOIN app_user a ON a.id = m.author_id
         WHERE m.channel_id = :id AND m.change > :since
         ORDER BY m.change LIMIT :limit + 1
    ), shown AS (SELECT * FROM page ORDER BY change LIMIT :limit),
    following AS (
        SELECT CASE WHEN (SELECT count(*) FROM page) > :limit THEN (SELECT max(change) FROM shown) END AS change
    )
    SELECT json_build_object(
        'items', coalesce((SELECT json_agg(row_to_json(shown) ORDER BY change) FROM shown), '[]'),
        'next', f.change,
        'change', coalesce(f.change, c.last_change))::text
      FROM channel c CROSS JOIN following f
     WHERE c.id = :id AND {_SCOPE}
""")  # noqa: S608  put together from constants of this file

_ONE_MESSAGE = text(f"""
    SELECT row_to_json(page)::text
      FROM (SELECT {_MESSAGE}
              FROM message m
              JOIN app_user a ON a.id = m.author_id
              JOIN channel c ON c.id = m.channel_id
             WHERE m.id = :id AND {_SCOPE}) AS page
""")  # noqa: S608  put together from constants of this file

_PART = "m.text ILIKE :q"
_WORD = "(m.text ILIKE :q OR m.text ILIKE '% ' || :q)"
_SEARCH = """
    WITH page AS (
        SELECT {message}, json_build_object('id', c.id, 'kind', c.kind, 'name',
                 CASE c.kind WHEN 'direct' THEN o.name ELSE c.name END) AS channel
          FROM message m
          JOIN app_user a ON a.id = m.author_id
          JOIN channel c ON c.id = m.channel_id
          LEFT JOIN app_user o
            ON o.id = CASE WHEN c.first_user_id = :me THEN c.second_user_id ELSE c.first_user_id END
         WHERE {scope} AND {words} AND m.id < :after
         ORDER BY m.id DESC LIMIT :limit + 1
    ), shown AS (SELECT * FROM page ORDER BY id DESC LIMIT :limit)
    SELECT json_build_object(
        'items', coalesce((SELECT json_agg(row_to_json(shown) ORDER BY id DESC) FROM shown), '[]'),
        'next', CASE WHEN (SELECT count(*) FROM page) > :limit THEN (SELECT min(id) FROM shown) END)::text
"""
_SEARCH_PARTS, _SEARCH_WORDS = (
    text(_SEARCH.format(message=_MESSAGE, scope=_SCOPE, words=words)) for words in (_PART, _WORD)
)

_VISIBLE = text(f"SELECT EXISTS (SELECT FROM channel c WHERE c.id = :id AND {_SCOPE})")  # noqa: S608


class MessagesQuery(Input):
    """Which messages of a channel: the newest, those ``before`` a number, or all that changed ``since`` a change."""

    since: int | None = Field(default=None, ge=0, le=LARGEST_ID)
    before: int | None = Field(default=None, ge=1, le=LARGEST_ID)
    limit: int = Field(default=PAGE, ge=1, le=200)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.since is not None and self.before is not None:
            raise ValueError("since goes forward and before goes back: ask with one of them")
        return self


class SearchQuery(Input):
    """What is looked for; ``after`` is the ``next`` of the page before."""

    q: str = Field(default="", max_length=200)
    limit: int = Field(default=PAGE, ge=1, le=200)
    after: int = Field(default=LARGEST_ID, ge=1, le=LARGEST_ID)


def visible(session: Session, actor: Actor, channel_id: int) -> bool:
    """Whether somebody may see a channel and hear of what happens in it."""
    return actor.may(READ) and bool(session.scalar(_VISIBLE, {"id": channel_id, "me": actor.id}))


def channels_json(session: Session, actor: Actor) -> bytes:
    """``{"items": [...]}``: the channels and conversations that somebody sees, those that they are in first."""
    return str(session.scalar(_CHANNELS, {"me": actor.id})).encode()


def channel_json(session: Session, actor: Actor, channel_id: int) -> bytes:
    """One channel with its members; raises NotFound."""
    return _found(session.scalar(_ONE_CHANNEL, {"id": channel_id, "me": actor.id}), channel_id)


def messages_json(session: Session, actor: Actor, channel_id: int, query: MessagesQuery) -> bytes:
    """``{"items": [...], "next": ..., "change": ...}`` of a channel; raises NotFound.

    Items come in the order in which they are read: by number, or with ``since`` by change. ``next`` asks for the page
    that follows in the same direction, ``change`` is the ``since`` for everything that these items do not show.
    """
    values = {"id": channel_id, "me": actor.id, "limit": query.limit}
    if query.since is not None:
        return _found(session.scalar(_CHANGES, {**values, "since": query.since}), channel_id)
    return _found(session.scalar(_HISTORY, {**values, "before": query.before or LARGEST_ID}), channel_id)


def message_json(session: Session, actor: Actor, message_id: int) -> bytes:
    """One message; raises NotFound."""
    found = session.scalar(_ONE_MESSAGE, {"id": message_id, "me": actor.id})
    if found is None:
        raise NotFound(f"There is no message {message_id}, or it is in a channel that you are not in.")
    return str(found).encode()


def search_json(session: Session, actor: Actor, query: SearchQuery) -> bytes:
    """``{"items": [...], "next": id or null}``: messages with the words, each with its channel, newest first."""
    if not query.q:
        return b'{"items":[],"next":null}'
    part = len(query.q) >= SHORTEST_PART
    pattern = containing(query.q) if part else beginning(query.q)
    values = {"me": actor.id, "q": pattern, "limit": query.limit, "after": query.after}
    return str(session.scalar(_SEARCH_PARTS if part else _SEARCH_WORDS, values)).encode()


def unread_json(session: Session, actor: Actor) -> bytes:
    """How much somebody has not read in all channels that they are in, and whether any of it names them."""
    return str(session.scalar(_TOTAL, {"me": actor.id})).encode()


def channels(session: Session, actor: Actor) -> list[dict[str, Any]]:
    """What somebody sees, for a page; see channels_json."""
    found: dict[str, list[dict[str, Any]]] = orjson.loads(channels_json(session, actor))
    return found["items"]


def channel(session: Session, actor: Actor, channel_id: int) -> dict[str, Any]:
    """One channel for a page; raises NotFound."""
    found: dict[str, Any] = orjson.loads(channel_json(session, actor, channel_id))
    return found


def message(session: Session, actor: Actor, message_id: int) -> dict[str, Any]:
    """One message for a page; raises NotFound."""
    found: dict[str, Any] = orjson.loads(message_json(session, actor, message_id))
    return found


def _found(found: Any, channel_id: int) -> bytes:
    if found is None:
        raise NotFound(f"There is no channel {channel_id}, or you are not in it. Ask one of its members to add you.")
    return str(found).encode()
