"""JSON routes of channels and messages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from flask import Response
from pydantic import BaseModel, Field

from hecto.core.endpoints import Context, Router
from hecto.core.input import LARGEST_ID, Input, not_sent
from hecto.modules.messages import channels, queries, service
from hecto.modules.messages.models import LONGEST_NAME, LONGEST_TEXT, LONGEST_TOPIC
from hecto.modules.messages.queries import MessagesQuery, SearchQuery

router = Router("messages", "api")

Identifier = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Topic = Annotated[str, Field(max_length=LONGEST_TOPIC)]
Words = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
# Without a user name in front of the host, which makes one site look like another.
Address = Annotated[
    str, Field(max_length=2000, pattern=r"^https?://[^\s/?#@\\]+([/?#]\S*)?$", examples=["https://example.com/plan"])
]
LinkTitle = Annotated[str, Field(max_length=200)]


class Link(Input):
    url: Address
    title: LinkTitle = ""


Links = Annotated[list[Link], Field(max_length=10)]


class NewChannel(Input):
    name: Name
    topic: Topic = ""
    private: bool = False
    member_ids: Annotated[list[Identifier], Field(max_length=200)] = []


class ChannelChange(Input):
    name: Name = Field(default_factory=not_sent)
    topic: Topic = Field(default_factory=not_sent)
    archived: bool = Field(default_factory=not_sent)


class NewDirect(Input):
    user_id: Identifier


class NewMessage(Input):
    text: Words
    links: Links = []


class MessageChange(Input):
    text: Words = Field(default_factory=not_sent)
    links: Links = Field(default_factory=not_sent)


class ReadMark(Input):
    message_id: Identifier


class Participant(BaseModel):
    id: int
    name: str


class ChannelRow(BaseModel):
    id: int
    kind: Literal["public", "private", "direct"]
    # Of a direct conversation: the other person's.
    name: str
    topic: str
    creator_id: int
    person: Participant | None
    created_at: datetime
    archived_at: datetime | None
    change: int
    joined: bool
    read_number: int
    unread: int = Field(le=queries.MOST_UNREAD)
    mentioned: bool


class ChannelList(BaseModel):
    items: list[ChannelRow]


class ChannelAnswer(ChannelRow):
    members: list[Participant]
    member_count: int


class LinkAnswer(BaseModel):
    url: str
    title: str


class MessageAnswer(BaseModel):
    id: int
    channel_id: int
    number: int
    change: int
    author: Participant
    text: str
    links: list[LinkAnswer]
    mentions: list[Participant]
    created_at: datetime
    edited_at: datetime | None
    deleted_at: datetime | None


class MessageList(BaseModel):
    items: list[MessageAnswer]
    next: int | None
    change: int


class MessageChannel(BaseModel):
    id: int
    kind: Literal["public", "private", "direct"]
    name: str


class Hit(MessageAnswer):
    channel: MessageChannel


class HitList(BaseModel):
    items: list[Hit]
    next: int | None


class Unread(BaseModel):
    unread: int
    mentioned: bool


@router.route("GET", "/api/channels", permission="messages.read", answers=ChannelList)
def list_channels(context: Context) -> bytes:
    """The channels and conversations that I see, mine first, each with how much I have not read"""
    return queries.channels_json(context.session, context.user)


@router.route("POST", "/api/channels", permission="messages.write", body=NewChannel, answers=ChannelAnswer, status=201)
def create_channel(context: Context) -> Response:
    """Create a channel, and be its first member"""
    channel = channels.create(context.session, context.user, **context.body.model_dump())
    return _channel(context, channel.id, 201)


@router.route("GET", "/api/channels/<id:channel_id>", permission="messages.read", answers=ChannelAnswer)
def get_channel(context: Context, channel_id: int) -> bytes:
    """One channel with its members"""
    return queries.channel_json(context.session, context.user, channel_id)


@router.route(
    "PATCH", "/api/channels/<id:channel_id>", permission="messages.write", body=ChannelChange, answers=ChannelAnswer
)
def change_channel(context: Context, channel_id: int) -> Response:
    """Rename a channel, change its topic, archive it or bring it back: the fields that are sent"""
    channels.change(context.session, context.user, channel_id, context.body.model_dump(exclude_unset=True))
    return _channel(context, channel_id)


@router.route("PUT", "/api/channels/<id:channel_id>/members/<id:user_id>", permission="messages.write", status=204)
def add_channel_member(context: Context, channel_id: int, user_id: int) -> tuple[bytes, int]:
    """Add somebody to a channel; oneself to join it"""
    channels.add_member(context.session, context.user, channel_id, user_id)
    return b"", 204


@router.route("DELETE", "/api/channels/<id:channel_id>/members/<id:user_id>", permission="messages.write", status=204)
def remove_channel_member(context: Context, channel_id: int, user_id: int) -> tuple[bytes, int]:
    """Remove somebody from a channel; oneself to leave it"""
    channels.remove_member(context.session, context.user, channel_id, user_id)
    return b"", 204


@router.route("POST", "/api/direct", permission="messages.write", body=NewDirect, answers=ChannelAnswer)
def open_direct(context: Context) -> Response:
    """The conversation with somebody, opened if there was none"""
    return _channel(context, channels.open_direct(context.session, context.user, context.body.user_id))


@router.route(
    "GET",
    "/api/channels/<id:channel_id>/messages",
    permission="messages.read",
    query=MessagesQuery,
    answers=MessageList,
)
def list_messages(context: Context, channel_id: int) -> bytes:
    """Messages in their order: the newest, those `before` a number, or new, edited and deleted ones `since` a change

    `change` of an answer is the `since` of the next question; `next` is not null while a page follows.
    """
    return queries.messages_json(context.session, context.user, channel_id, context.query)


@router.route(
    "POST",
    "/api/channels/<id:channel_id>/messages",
    permission="messages.write",
    body=NewMessage,
    answers=MessageAnswer,
    status=201,
)
def post_message(context: Context, channel_id: int) -> Response:
    """Write a message into a channel that I am in; @Name names somebody"""
    message = service.post(context.session, context.user, channel_id, **context.body.model_dump())
    return _message(context, message.id, 201)


@router.route("GET", "/api/messages/<id:message_id>", permission="messages.read", answers=MessageAnswer)
def get_message(context: Context, message_id: int) -> bytes:
    """One message"""
    return queries.message_json(context.session, context.user, message_id)


@router.route(
    "PATCH", "/api/messages/<id:message_id>", permission="messages.write", body=MessageChange, answers=MessageAnswer
)
def edit_message(context: Context, message_id: int) -> Response:
    """Change the fields that are sent of a message of mine"""
    service.edit(context.session, context.user, message_id, context.body.model_dump(exclude_unset=True))
    return _message(context, message_id)


@router.route("DELETE", "/api/messages/<id:message_id>", permission="messages.write", status=204)
def delete_message(context: Context, message_id: int) -> tuple[bytes, int]:
    """Delete a message of mine; that there was one can still be seen"""
    service.delete(context.session, context.user, message_id)
    return b"", 204


@router.route("PUT", "/api/channels/<id:channel_id>/read", permission="messages.read", body=ReadMark, answers=Unread)
def mark_read(context: Context, channel_id: int) -> bytes:
    """Note that I have read up to a message; answers what is still unread in all my channels"""
    service.mark_read(context.session, context.user, channel_id, context.body.message_id)
    return queries.unread_json(context.session, context.user)


@router.route("GET", "/api/messages/unread", permission="messages.read", answers=Unread)
def count_unread(context: Context) -> bytes:
    """How much I have not read in all my channels"""
    return queries.unread_json(context.session, context.user)


@router.route("GET", "/api/messages/search", permission="messages.read", query=SearchQuery, answers=HitList)
def search_messages(context: Context) -> bytes:
    """Messages with these words in the channels that I see, newest first"""
    return queries.search_json(context.session, context.user, context.query)


def _channel(context: Context, channel_id: int, status: int = 200) -> Response:
    """A channel as the answer to a write, with the place to read it from again if it is too large to be kept."""
    content = queries.channel_json(context.session, context.user, channel_id)
    return _kept(content, status, f"/api/channels/{channel_id}")


def _message(context: Context, message_id: int, status: int = 200) -> Response:
    content = queries.message_json(context.session, context.user, message_id)
    return _kept(content, status, f"/api/messages/{message_id}")


def _kept(content: bytes, status: int, where: str) -> Response:
    return Response(content, status, {"Content-Location": where}, content_type="application/json")
