"""Accounts: creating users, granting roles, changing passwords."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from hecto.core import activity
from hecto.core.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from hecto.core.permissions import EVERYTHING, Actor, Registry
from hecto.modules.users.models import Role, User, UserRole

ADMINISTRATOR = "administrator"
MEMBER = "member"
# NIST SP 800-63B, 3.1.1.2: length is what counts, so no rules about kinds of characters.
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200


def find_by_email(session: Session, email: str) -> User | None:
    """The user with this e-mail address, in whatever case it is written."""
    # The database lowers both: it does not agree with Python about every letter, and it keeps addresses apart.
    return session.scalar(select(User).where(func.lower(User.email) == func.lower(email.strip())))


def get(session: Session, user_id: int) -> User:
    """The user with its roles; raises NotFound."""
    user = session.scalar(select(User).where(User.id == user_id).options(selectinload(User.roles)))
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user


def create(
    session: Session, actor: Actor, *, email: str, name: str, password_hash: str, roles: Sequence[str] = (MEMBER,)
) -> User:
    """Create a user; raises Invalid when the address is taken or a role does not exist."""
    if find_by_email(session, email) is not None:
        raise _address_taken()
    user = User(email=email.strip(), name=name.strip(), password_hash=password_hash)
    user.roles = _roles(session, actor, roles)
    session.add(user)
    try:
        session.flush()
    except IntegrityError as error:
        # Somebody created the same user since we looked.
        raise _address_taken() from error
    activity.record(session, actor, "user", user.id, "created", {"roles": sorted(roles)})
    return user


def change(
    session: Session,
    actor: Actor,
    user_id: int,
    version: int,
    *,
    name: str | None = None,
    active: bool | None = None,
    roles: Sequence[str] | None = None,
) -> User:
    """Change a user; raises Conflict when the version is not the current one.

    Raises Forbidden for somebody who may do more than the actor, for locking oneself out, and for the last
    administrator.
    """
    user = get(session, user_id)
    if user.version != version:
        raise Conflict("This user was changed by somebody else.", version=user.version)
    before = {"name": user.name, "active": user.active, "roles": sorted(role.name for role in user.roles)}
    wanted = {"name": name, "active": active, "roles": None if roles is None else sorted(roles)}
    changes = {field: [before[field], value] for field, value in wanted.items() if value not in (None, before[field])}
    if not changes:
        return user
    _check_change(session, actor, user, changes)
    if "roles" in changes:
        user.roles = _roles(session, actor, roles or ())
        user.updated_at = func.now()
    for field in changes.keys() - {"roles"}:
        setattr(user, field, changes[field][1])
    session.flush()
    activity.record(session, actor, "user", user.id, "changed", changes)
    return user


def _check_change(session: Session, actor: Actor, user: User, changes: Collection[str]) -> None:
    """Raise Forbidden for what the actor may not change, or nobody may."""
    if not _may_all(actor, user.roles):
        raise Forbidden(f"You cannot change {user.name}, who may do more than you. Ask an administrator.")
    if "name" in changes and len(changes) == 1:
        return
    if user.id == actor.id:
        what = "make your own account inactive" if "active" in changes else "change your own roles"
        raise Forbidden(f"You cannot {what}. Ask another administrator.")
    _keep_an_administrator(session, user)


def hold_password(session: Session, user_id: int, *, to_change: bool = False) -> str | None:
    """The hash of a user's password, which stays as it is until this unit of work has ended.

    Whoever opens a sign-in holds it, and whoever changes it waits for them: a sign-in with the old password is either
    there to be ended, or is not made.
    """
    statement = select(User.password_hash).where(User.id == user_id)
    return session.scalar(statement.with_for_update(read=not to_change, key_share=to_change))


def set_password(session: Session, actor: Actor, password_hash: str) -> None:
    """Give the actor another password."""
    session.get_one(User, actor.id).password_hash = password_hash
    session.flush()
    activity.record(session, actor, "user", actor.id, "password changed")


def check_password(password: str) -> None:
    """Raises Invalid for a password that is too short or absurdly long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        detail = f"Choose a password of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters."
        raise Invalid([FieldError("/password", detail)])


def ensure_role(session: Session, name: str, label: str, permissions: Sequence[str]) -> bool:
    """Make the built-in role be as this release has it; returns whether anything changed."""
    role = session.scalar(select(Role).where(Role.name == name))
    if role is None:
        session.add(Role(name=name, label=label, permissions=sorted(permissions)))
        session.flush()
        return True
    if role.label == label and role.permissions == sorted(permissions):
        return False
    role.label, role.permissions = label, sorted(permissions)
    session.flush()
    return True


def built_in_roles(registry: Registry) -> dict[str, tuple[str, list[str]]]:
    """The roles that every site has: name -> (label, permissions)."""
    # To manage, and to look behind the scenes, is not everybody's.
    everyday = [one for one in registry.labels if not one.endswith(".manage") and not one.startswith("system.")]
    return {ADMINISTRATOR: ("Administrator", [EVERYTHING]), MEMBER: ("Member", everyday)}


def _address_taken() -> Invalid:
    return Invalid([FieldError("/email", "There already is a user with this e-mail address.")])


def _roles(session: Session, actor: Actor, names: Sequence[str]) -> list[Role]:
    found = list(session.scalars(select(Role).where(Role.name.in_(names))))
    missing = sorted(set(names) - {role.name for role in found})
    if missing:
        raise Invalid([FieldError("/roles", f"There is no role {', '.join(missing)}.")])
    for role in found:
        # Nobody can grant more than they have, or whoever manages users could make themselves administrator.
        if not _may_all(actor, [role]):
            raise Forbidden(f"You cannot grant the role “{role.label}”: it permits more than you may do yourself.")
    return found


def _may_all(actor: Actor, roles: Iterable[Role]) -> bool:
    """Whether the actor may do all that these roles permit."""
    return all(actor.may(permission) for role in roles for permission in role.permissions)


def _keep_an_administrator(session: Session, user: User) -> None:
    """Raise Forbidden where nobody who may do everything would be left without this user.

    The roles are held, so that two administrators cannot put each other out at the same moment.
    """
    everything = Role.permissions.contains([EVERYTHING])
    session.execute(select(Role.id).where(everything).order_by(Role.id).with_for_update(key_share=True))
    holders = select(UserRole.user_id).join(Role, Role.id == UserRole.role_id).where(everything)
    active = set(session.scalars(select(User.id).where(User.active, User.id.in_(holders))))
    if active == {user.id}:
        raise Forbidden(f"{user.name} is the last active administrator. Make somebody else one first.")
