"""What can be done with channels and their members. Whoever changes anything holds the channel's row first."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hecto.core import activity, clock, outbox
from hecto.core.errors import FieldError, Forbidden, Invalid, NotFound
from hecto.core.live import LEAVE, list_room, record_room, user_room
from hecto.core.outbox import Message
from hecto.core.permissions import EVERYTHING, Actor
from hecto.modules.messages import queries
from hecto.modules.messages.models import Channel, ChannelMember, Kind
from hecto.modules.users import queries as users

SUBJECT = "channel"
# The room of everybody who may read messages.
ROOM = list_room("messages")


def create(
    session: Session,
    actor: Actor,
    *,
    name: str,
    topic: str = "",
    private: bool = False,
    member_ids: Collection[int] = (),
) -> Channel:
    """Create a channel with its first members; raises Invalid for a name that is taken or somebody who cannot come."""
    channel = Channel(
        kind=Kind.PRIVATE if private else Kind.PUBLIC, name=name, topic=topic, creator_id=actor.id, last_change=0
    )
    members = sorted({actor.id, *member_ids})
    check_people(session, sorted(set(member_ids) - {actor.id}), "/member_ids")
    _save_name(session, channel)
    session.add_all(ChannelMember(channel_id=channel.id, user_id=user_id, read_number=0) for user_id in members)
    session.flush()
    activity.record(session, actor, SUBJECT, channel.id, "created", {"name": name})
    _tell_list(session, actor, channel, members, "created")
    return channel


def open_direct(session: Session, actor: Actor, user_id: int) -> int:
    """The id of the conversation between the actor and somebody, made when they had none; raises Invalid."""
    if user_id == actor.id:
        raise Invalid([FieldError("/user_id", "This is yourself. Choose somebody else to write to.")])
    check_people(session, [user_id], "/user_id")
    first, second = sorted((actor.id, user_id))
    pair = Channel.first_user_id == first, Channel.second_user_id == second
    # Both may write the first word in the same moment: the second waits for the first, and finds its conversation.
    made: int | None = session.scalar(
        insert(Channel)
        .values(kind=Kind.DIRECT, creator_id=actor.id, first_user_id=first, second_user_id=second)
        .on_conflict_do_nothing(index_elements=["first_user_id", "second_user_id"])
        .returning(Channel.id)
    )
    if made is None:
        return session.scalars(select(Channel.id).where(*pair)).one()
    session.add_all(ChannelMember(channel_id=made, user_id=one, read_number=0) for one in (first, second))
    session.flush()
    return made


def change(session: Session, actor: Actor, channel_id: int, changes: dict[str, Any]) -> None:
    """Rename a channel, say what it is about, archive it or bring it back; ``changes`` has only what changes.

    Raises NotFound, Forbidden or Invalid.
    """
    channel = hold(session, actor, channel_id)
    _require_member(session, actor, channel)
    _refuse_direct(channel, "has no name and no topic, and stays as long as you both do")
    different = _apply(session, actor, channel, changes)
    if not different:
        return
    _save_name(session, channel)
    activity.record(session, actor, SUBJECT, channel_id, "changed", different)
    _tell_list(session, actor, channel, member_ids(session, channel_id), "updated")


def add_member(session: Session, actor: Actor, channel_id: int, user_id: int) -> None:
    """Add somebody, or join; nothing happens to those who are members. Raises NotFound, Forbidden or Invalid."""
    channel = hold(session, actor, channel_id)
    _refuse_direct(channel, "is between two people. Create a channel to talk with more")
    _refuse_archived(channel)
    if user_id != actor.id:
        _require_member(session, actor, channel)
        check_people(session, [user_id], "/user_id")
    added = session.scalar(
        insert(ChannelMember)
        # What was said before they came is there to be read, and nothing that they have missed.
        .values(channel_id=channel_id, user_id=user_id, read_number=channel.last_change)
        .on_conflict_do_nothing()
        .returning(ChannelMember.user_id)
    )
    if added is None:
        return
    activity.record(session, actor, SUBJECT, channel_id, "member added", {"user_id": user_id})
    _tell(session, actor, channel, [user_id], "updated")


def remove_member(session: Session, actor: Actor, channel_id: int, user_id: int) -> None:
    """Remove somebody, or leave; nothing happens where they are no member. Raises NotFound or Forbidden."""
    channel = hold(session, actor, channel_id)
    _refuse_direct(channel, "is between two people, and nobody can be taken out of it")
    if user_id != actor.id:
        _require_keeper(session, actor, channel, "remove others")
    elif channel.kind == Kind.PRIVATE and member_ids(session, channel_id) == [user_id]:
        raise Forbidden("You are its last member, so nobody would ever see this channel again. Archive it instead.")
    removed = session.scalar(
        delete(ChannelMember)
        .where(ChannelMember.channel_id == channel_id, ChannelMember.user_id == user_id)
        .returning(ChannelMember.user_id)
    )
    if removed is None:
        return
    activity.record(session, actor, SUBJECT, channel_id, "member removed", {"user_id": user_id})
    gone = [Message(record_room(SUBJECT, channel_id), LEAVE, {"user": user_id})] if channel.kind != Kind.PUBLIC else []
    _tell(session, actor, channel, [user_id], "updated", gone)


def hold(session: Session, actor: Actor, channel_id: int) -> Channel:
    """The channel, locked until the unit of work ends; raises NotFound for those who may not see it.

    First the lock, then the look: whoever was removed while this waited for the lock is not let in.
    """
    statement = select(Channel).where(Channel.id == channel_id).with_for_update(key_share=True)
    channel = session.scalar(statement.execution_options(populate_existing=True))
    if channel is None or not queries.visible(session, actor, channel_id):
        raise NotFound(f"There is no channel {channel_id}, or you are not in it. Ask one of its members to add you.")
    return channel


def hold_to_write(session: Session, actor: Actor, channel_id: int) -> Channel:
    """The channel, locked, for a member who writes in it; raises NotFound or Forbidden."""
    channel = hold(session, actor, channel_id)
    _refuse_archived(channel)
    _require_member(session, actor, channel)
    return channel


def member_ids(session: Session, channel_id: int) -> list[int]:
    """Who is in a channel."""
    statement = select(ChannelMember.user_id).where(ChannelMember.channel_id == channel_id)
    return list(session.scalars(statement.order_by(ChannelMember.user_id)))


def check_people(session: Session, ids: list[int], path: str) -> None:
    """Raise Invalid unless all of these can read messages."""
    if ids and len(users.permitted(session, queries.READ, ids=ids)) < len(ids):
        raise Invalid([FieldError(path, "There is no active user with this id who may read messages.")])


def _apply(session: Session, actor: Actor, channel: Channel, changes: dict[str, Any]) -> dict[str, list[Any]]:
    """Set what is to be changed; returns what it was and is, by field."""
    before = {"name": channel.name, "topic": channel.topic, "archived": channel.archived_at is not None}
    different = {name: [before[name], value] for name, value in changes.items() if value != before[name]}
    if "archived" in different:
        _require_keeper(session, actor, channel, "archive it or bring it back")
        channel.archived_at = clock.now() if changes["archived"] else None
    elif different:
        _refuse_archived(channel)
    for name in different.keys() - {"archived"}:
        setattr(channel, name, changes[name])
    return different


def _save_name(session: Session, channel: Channel) -> None:
    """Flush a channel; raises Invalid where another public one has its name."""
    taken = exists().where(
        Channel.kind == Kind.PUBLIC,
        Channel.archived_at.is_(None),
        func.lower(Channel.name) == func.lower(channel.name),
        Channel.id != (channel.id or 0),
    )
    with session.no_autoflush:
        clashes = channel.kind == Kind.PUBLIC and channel.archived_at is None and session.scalar(select(taken))
    if clashes:
        raise _name_taken()
    session.add(channel)
    try:
        session.flush()
    except IntegrityError as error:
        # Somebody took the name since we looked.
        raise _name_taken() from error


def _name_taken() -> Invalid:
    return Invalid([FieldError("/name", "There is a public channel of this name already. Join it, or choose another.")])


def _is_member(session: Session, channel: Channel, user_id: int) -> bool:
    return session.get(ChannelMember, (channel.id, user_id), populate_existing=True) is not None


def _require_member(session: Session, actor: Actor, channel: Channel) -> None:
    if not _is_member(session, channel, actor.id):
        raise Forbidden("You are not in this channel yet, so you can only read it. Join it first.")


def _require_keeper(session: Session, actor: Actor, channel: Channel, what: str) -> None:
    """Whoever made a channel looks after it; when they have left, every member does, and always an administrator."""
    _require_member(session, actor, channel)
    if actor.id == channel.creator_id or actor.may(EVERYTHING) or not _is_member(session, channel, channel.creator_id):
        return
    raise Forbidden(f"Only whoever created this channel can {what}. Ask them, or an administrator.")


def _refuse_direct(channel: Channel, because: str) -> None:
    if channel.kind == Kind.DIRECT:
        raise Forbidden(f"A direct conversation {because}.")


def _refuse_archived(channel: Channel) -> None:
    if channel.archived_at is not None:
        raise Forbidden("This channel is archived: it can be read, and nothing can be changed. Bring it back first.")


def _tell_list(session: Session, actor: Actor, channel: Channel, members: Collection[int], verb: str) -> None:
    """Tell everybody in whose list a channel is: of a public one all who may read messages, its members among them."""
    if channel.kind != Kind.PUBLIC:
        _tell(session, actor, channel, members, verb)
        return
    told = Message(ROOM, f"{SUBJECT}.{verb}", {"id": channel.id, "by": actor.id})
    outbox.tell(session, f"{SUBJECT}:{channel.id}", [told])


def _tell(
    session: Session,
    actor: Actor,
    channel: Channel,
    concerned: Collection[int],
    verb: str,
    more: Collection[Message] = (),
) -> None:
    """Tell those who look at the channel and those whom it concerns; pages fetch what they show themselves."""
    payload = {"id": channel.id, "by": actor.id}
    event = f"{SUBJECT}.{verb}"
    messages = [Message(record_room(SUBJECT, channel.id), event, payload)]
    messages += [Message(user_room(user_id), event, payload) for user_id in concerned]
    outbox.tell(session, f"{SUBJECT}:{channel.id}", [*messages, *more])
