"""Pages of messages: the conversations at the left, the one that is open beside them."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response

from hecto.core.endpoints import Context, Router, page
from hecto.core.pages import done, leave_for, part_or_page, wants_part
from hecto.modules.messages import channels, queries, service
from hecto.modules.messages.forms import (
    AboutForm,
    ArchiveForm,
    ChangesQuery,
    ChannelForm,
    ConversationQuery,
    EditForm,
    ListQuery,
    MessageForm,
    PersonForm,
)
from hecto.modules.messages.mentions import pieces
from hecto.modules.messages.queries import MessagesQuery, SearchQuery
from hecto.modules.users import queries as users

router = Router("messages", "pages")


@router.route("GET", "/messages", permission="messages.read", query=ListQuery)
def conversations(context: Context) -> str:
    """The list of conversations; a part of the other pages that fetches itself again."""
    return part_or_page("messages/_list.html", "messages/home.html", **_list(context, context.query.at))


@router.route("GET", "/messages/unread", permission="messages.read")
def unread(context: Context) -> str:
    """The number beside “Messages” in the navigation."""
    return page("messages/_unread.html", **orjson.loads(queries.unread_json(context.session, context.user)))


@router.route("GET", "/messages/new", permission="messages.write")
def new_conversation(context: Context) -> str:
    """The forms of a new channel and of a new direct conversation."""
    return page("messages/new.html", people=_others(context, [context.user.id]), **_list(context))


@router.route("POST", "/messages/new", permission="messages.write", body=ChannelForm)
def create_channel(context: Context) -> Response:
    """Create a channel and go there."""
    channel = channels.create(context.session, context.user, **context.body.model_dump())
    return leave_for(f"/messages/{channel.id}")


@router.route("POST", "/messages/direct", permission="messages.write", body=PersonForm)
def write_to(context: Context) -> Response:
    """Open the conversation with somebody."""
    return leave_for(f"/messages/{channels.open_direct(context.session, context.user, context.body.user_id)}")


@router.route("GET", "/messages/search", permission="messages.read", query=SearchQuery)
def search(context: Context) -> str:
    """Messages with certain words."""
    found = orjson.loads(queries.search_json(context.session, context.user, context.query))
    values = {"hits": found["items"], "following": found["next"], "query": context.query, "pieces": pieces}
    return page("messages/search.html", **values, **_list(context))


@router.route("GET", "/messages/<id:channel_id>", permission="messages.read", query=ConversationQuery)
def conversation(context: Context, channel_id: int) -> str:
    """A conversation: its newest messages, or those before one."""
    wanted = MessagesQuery(before=context.query.before, limit=context.query.limit)
    values = _conversation(context, channel_id, wanted) | {"query": context.query}
    around = {} if wants_part() else _list(context, channel_id)
    return part_or_page("messages/_conversation.html", "messages/show.html", **values, **around)


@router.route("POST", "/messages/<id:channel_id>", permission="messages.write", body=MessageForm)
def send(context: Context, channel_id: int) -> Response:
    """Write a message."""
    form: MessageForm = context.body
    service.post(context.session, context.user, channel_id, text=form.text, links=form.links)
    return done(f"/messages/{channel_id}", "message")


@router.route("GET", "/messages/<id:channel_id>/changes", permission="messages.read", query=ChangesQuery)
def changes(context: Context, channel_id: int) -> str:
    """What is new, edited or deleted, for a page that shows the conversation."""
    wanted = MessagesQuery(since=context.query.since, limit=200)
    return page("messages/_changes.html", **_conversation(context, channel_id, wanted))


@router.route("POST", "/messages/<id:channel_id>/<id:message_id>", permission="messages.write", body=EditForm)
def edit(context: Context, channel_id: int, message_id: int) -> Response:
    """Save the form of a message, which the message then takes the place of."""
    service.edit(context.session, context.user, message_id, {"text": context.body.text})
    message = queries.message(context.session, context.user, message_id)
    where = f"/messages/{channel_id}?before={message['number'] + 1}"
    channel = queries.channel(context.session, context.user, channel_id)
    return done(where, "message", "messages/_messages.html", items=[message], channel=channel, pieces=pieces)


@router.route("POST", "/messages/<id:channel_id>/<id:message_id>/delete", permission="messages.write")
def delete(context: Context, channel_id: int, message_id: int) -> Response:
    """Delete a message."""
    service.delete(context.session, context.user, message_id)
    return done(f"/messages/{channel_id}", "message")


@router.route("GET", "/messages/<id:channel_id>/about", permission="messages.read")
def about(context: Context, channel_id: int) -> str:
    """What a channel is about, who is in it, and what can be changed."""
    channel = queries.channel(context.session, context.user, channel_id)
    people = _others(context, [person["id"] for person in channel["members"]])
    around = {} if wants_part() else _list(context, channel_id)
    return part_or_page("messages/_about.html", "messages/about.html", channel=channel, people=people, **around)


@router.route("POST", "/messages/<id:channel_id>/about", permission="messages.write", body=AboutForm)
def change_about(context: Context, channel_id: int) -> Response:
    """Save the name and the topic."""
    channels.change(context.session, context.user, channel_id, context.body.model_dump())
    return leave_for(f"/messages/{channel_id}/about")


@router.route("POST", "/messages/<id:channel_id>/archive", permission="messages.write", body=ArchiveForm)
def archive(context: Context, channel_id: int) -> Response:
    """Archive a channel, or bring it back."""
    channels.change(context.session, context.user, channel_id, context.body.model_dump())
    return leave_for(f"/messages/{channel_id}")


@router.route("POST", "/messages/<id:channel_id>/join", permission="messages.write")
def join(context: Context, channel_id: int) -> Response:
    """Join a channel."""
    channels.add_member(context.session, context.user, channel_id, context.user.id)
    return leave_for(f"/messages/{channel_id}")


@router.route("POST", "/messages/<id:channel_id>/leave", permission="messages.write")
def leave(context: Context, channel_id: int) -> Response:
    """Leave a channel."""
    channels.remove_member(context.session, context.user, channel_id, context.user.id)
    return leave_for("/messages")


@router.route("POST", "/messages/<id:channel_id>/members", permission="messages.write", body=PersonForm)
def add_member(context: Context, channel_id: int) -> Response:
    """Add somebody to a channel."""
    channels.add_member(context.session, context.user, channel_id, context.body.user_id)
    return done(f"/messages/{channel_id}/about", "channel")


@router.route("POST", "/messages/<id:channel_id>/members/<id:user_id>/remove", permission="messages.write")
def remove_member(context: Context, channel_id: int, user_id: int) -> Response:
    """Remove somebody from a channel."""
    channels.remove_member(context.session, context.user, channel_id, user_id)
    return done(f"/messages/{channel_id}/about", "channel")


def _conversation(context: Context, channel_id: int, wanted: MessagesQuery) -> dict[str, Any]:
    """Messages of a conversation, with what is needed to show them."""
    found = orjson.loads(queries.messages_json(context.session, context.user, channel_id, wanted))
    channel = queries.channel(context.session, context.user, channel_id)
    return {"found": found, "items": found["items"], "channel": channel, "pieces": pieces}


def _list(context: Context, at: int | None = None) -> dict[str, Any]:
    """What the list of conversations shows, and which of them is open."""
    found = queries.channels(context.session, context.user)
    groups: dict[str, list[dict[str, Any]]] = {"joined": [], "direct": [], "others": [], "archived": []}
    for channel in found:
        groups[_group(channel)].append(channel)
    return {"groups": groups, "at": at}


def _group(channel: dict[str, Any]) -> str:
    if channel["archived_at"]:
        return "archived"
    if channel["kind"] == "direct":
        return "direct"
    return "joined" if channel["joined"] else "others"


def _others(context: Context, known: list[int]) -> list[tuple[int, str]]:
    """Whom one can write to or add: everybody who may read messages, without those who are there."""
    return [one for one in users.permitted(context.session, queries.READ) if one[0] not in known]
