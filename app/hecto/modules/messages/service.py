"""What can be done with messages: writing, editing, deleting, and having read them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import delete as delete_from
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hecto.core import clock, outbox
from hecto.core.errors import FieldError, Forbidden, Invalid, NotFound
from hecto.core.live import record_room, user_room
from hecto.core.outbox import Message
from hecto.core.permissions import Actor
from hecto.modules.messages import mentions, queries
from hecto.modules.messages.channels import SUBJECT, hold_to_write, member_ids
from hecto.modules.messages.models import Channel, ChannelMember, ChannelMessage, Kind, Mention
from hecto.modules.users import queries as users

Link = dict[str, str]


def post(session: Session, actor: Actor, channel_id: int, *, text: str, links: Collection[Link] = ()) -> ChannelMessage:
    """Write a message; raises NotFound for a channel that the actor does not see, Forbidden for one to read only."""
    channel = hold_to_write(session, actor, channel_id)
    number = _next_change(channel)
    message = ChannelMessage(
        channel_id=channel_id, number=number, change=number, author_id=actor.id, text=text, links=list(links)
    )
    session.add(message)
    session.flush()
    named = _named(session, channel, text)
    _mention(session, message.id, named)
    messages = [Message(record_room(SUBJECT, channel_id), "message.created", _payload(actor, message))]
    _tell(session, channel, messages + _badges(session, actor, message, named))
    return message


def edit(session: Session, actor: Actor, message_id: int, changes: dict[str, Any]) -> None:
    """Change the text or the links of one's own message; raises NotFound or Forbidden.

    A change that changes nothing writes nothing.
    """
    channel, message = _hold_own(session, actor, message_id)
    different = {name: value for name, value in changes.items() if value != getattr(message, name)}
    if not different:
        return
    for name, value in different.items():
        setattr(message, name, value)
    message.change, message.edited_at = _next_change(channel), clock.now()
    session.flush()
    before = set(session.scalars(select(Mention.user_id).where(Mention.message_id == message_id)))
    named = _named(session, channel, message.text)
    _forget_mentions(session, message_id, before - named)
    _mention(session, message_id, named - before)
    messages = [Message(record_room(SUBJECT, channel.id), "message.updated", _payload(actor, message))]
    _tell(session, channel, messages + _mentioned(actor, message, named - before))


def delete(session: Session, actor: Actor, message_id: int) -> None:
    """Delete one's own message: its words are gone, its place stays. Raises NotFound or Forbidden."""
    channel, message = _hold_own(session, actor, message_id)
    message.text, message.links = "", []
    message.change, message.deleted_at = _next_change(channel), clock.now()
    session.flush()
    _forget_mentions(session, message_id)
    gone = {"id": message.id, "channel_id": channel.id, "number": message.number, "change": message.change}
    messages = [Message(record_room(SUBJECT, channel.id), "message.deleted", {**gone, "by": actor.id})]
    _tell(session, channel, messages + _badges(session, actor, message, set()))


def mark_read(session: Session, actor: Actor, channel_id: int, message_id: int) -> None:
    """Note that a member has read up to a message; never back. Raises NotFound, Forbidden or Invalid."""
    if not queries.visible(session, actor, channel_id):
        raise NotFound(f"There is no channel {channel_id}, or you are not in it. Ask one of its members to add you.")
    mine = ChannelMember.channel_id == channel_id, ChannelMember.user_id == actor.id
    member = session.scalar(select(ChannelMember).where(*mine).with_for_update())
    if member is None:
        raise Forbidden("Only members have a mark of what they have read. Join the channel first.")
    of_channel = ChannelMessage.id == message_id, ChannelMessage.channel_id == channel_id
    number = session.scalar(select(ChannelMessage.number).where(*of_channel))
    if number is None:
        raise Invalid([FieldError("/message_id", "There is no such message in this channel.")])
    if number <= member.read_number:
        return
    session.execute(update(ChannelMember).where(*mine).values(read_number=number))
    read = Message(user_room(actor.id), "message.read", {"channel_id": channel_id, "number": number})
    outbox.tell(session, f"read:{channel_id}:{actor.id}", [read])


def _next_change(channel: Channel) -> int:
    """The next number of a channel that the caller holds."""
    channel.last_change += 1
    return channel.last_change


def _hold_own(session: Session, actor: Actor, message_id: int) -> tuple[Channel, ChannelMessage]:
    """The actor's message, and its channel, which is held before the message is looked at."""
    absent = NotFound(f"There is no message {message_id}, or it is in a channel that you are not in.")
    channel_id = session.scalar(select(ChannelMessage.channel_id).where(ChannelMessage.id == message_id))
    if channel_id is None:
        raise absent
    try:
        channel = hold_to_write(session, actor, channel_id)
    except NotFound as error:
        raise absent from error
    message = session.scalars(select(ChannelMessage).where(ChannelMessage.id == message_id)).one()
    if message.deleted_at is not None:
        raise NotFound("This message was deleted, so there is nothing left to change.")
    if message.author_id != actor.id:
        raise Forbidden("Only whoever wrote a message can change or delete it.")
    return channel, message


def _named(session: Session, channel: Channel, text: str) -> set[int]:
    """The ids of those whom a text names: of a channel that is not public, members only."""
    found = mentions.candidates(text)
    if not found:
        return set()
    names = sorted({name for names in found for name in names})
    ids = None if channel.kind == Kind.PUBLIC else member_ids(session, channel.id)
    return set(mentions.resolve(found, users.permitted(session, queries.READ, ids=ids, names=names)))


def _mention(session: Session, message_id: int, user_ids: Collection[int]) -> None:
    session.add_all(Mention(message_id=message_id, user_id=user_id) for user_id in sorted(user_ids))
    session.flush()


def _forget_mentions(session: Session, message_id: int, user_ids: Collection[int] | None = None) -> None:
    """Forget that a message names these people, or anybody."""
    statement = delete_from(Mention).where(Mention.message_id == message_id)
    session.execute(statement if user_ids is None else statement.where(Mention.user_id.in_(user_ids)))


def _badges(session: Session, actor: Actor, message: ChannelMessage, named: set[int]) -> list[Message]:
    """What makes the others count anew: members who have not read this far, and those whom the message names."""
    behind = select(ChannelMember.user_id).where(
        ChannelMember.channel_id == message.channel_id,
        ChannelMember.read_number < message.number,
        ChannelMember.user_id != actor.id,
    )
    payload = {"channel_id": message.channel_id, "number": message.number, "change": message.change}
    members = set(session.scalars(behind)) - named
    unread = [Message(user_room(user_id), "message.unread", payload) for user_id in sorted(members)]
    return unread + _mentioned(actor, message, named)


def _mentioned(actor: Actor, message: ChannelMessage, named: Collection[int]) -> list[Message]:
    author = {"id": actor.id, "name": actor.name}
    payload = {
        "id": message.id,
        "channel_id": message.channel_id,
        "number": message.number,
        "change": message.change,
        "author": author,
    }
    return [Message(user_room(user_id), "message.mention", payload) for user_id in sorted(set(named) - {actor.id})]


def _payload(actor: Actor, message: ChannelMessage) -> dict[str, Any]:
    """Enough to show the message without asking for it."""
    return {
        "id": message.id,
        "channel_id": message.channel_id,
        "number": message.number,
        "change": message.change,
        "author": {"id": actor.id, "name": actor.name},
        "text": message.text,
        "links": message.links,
        "created_at": message.created_at.isoformat(),
        "edited_at": message.edited_at.isoformat() if message.edited_at else None,
    }


def _tell(session: Session, channel: Channel, messages: list[Message]) -> None:
    outbox.tell(session, f"{SUBJECT}:{channel.id}", messages)
