"""Signing in and out: browser sessions with a cookie, API sessions with access and rotating refresh tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from hecto.core import clock, logs, outbox, trail, unit_of_work
from hecto.core.errors import FieldError, Invalid, Unauthenticated
from hecto.core.live import SESSION_CHANGED, SESSION_ENDED, session_room
from hecto.core.outbox import Message
from hecto.core.permissions import Actor
from hecto.core.security import (
    ACCESS_TOKEN_LIFE,
    digest,
    hash_password,
    random_secret,
    same,
    session_parts,
    verify_password,
)
from hecto.core.services import Services
from hecto.modules.users import service
from hecto.modules.users.models import User, UserSession

BROWSER = "browser"
API = "api"
LIFE = {BROWSER: timedelta(days=14), API: timedelta(days=30)}

# A client whose answer got lost repeats the refresh with the token it still has. Within this time that is honest;
# later it means that somebody else holds a copy (RFC 9700, 4.14.2).
REFRESH_GRACE = timedelta(seconds=30)

# Seconds in which the attempts below are counted.
THROTTLE_WINDOW = 900
# By account, until a right password, against guessing; by address against trying one password on many accounts. A whole
# office may sit behind one address, so that one counts successes, too, and is generous.
ATTEMPTS_PER_ACCOUNT = 10
ATTEMPTS_PER_ADDRESS = 300

WRONG = "The e-mail address or the password is wrong."


@dataclass(frozen=True, slots=True)
class SignIn:
    """A fresh sign-in: its id, its one-time visible secret, and who it is."""

    session_id: str
    secret: str
    user: User

    @property
    def cookie(self) -> str:
        """The value of the browser's cookie, and of a refresh token: the id and the secret."""
        return f"{self.session_id}.{self.secret}"


def sign_in(shared: Services, kind: str, email: str, password: str, address: str, user_agent: str) -> SignIn:
    """Sign somebody in; raises Unauthenticated with one message for every reason, or TooManyRequests.

    The password is checked outside of any transaction: it takes a core for 50 ms, and connections are few.
    """
    sender = f"login:address:{address}"
    shared.sign_in_throttle.take(sender, ATTEMPTS_PER_ADDRESS, "attempts to sign in from your address")
    user = unit_of_work.read(shared.database, lambda session: service.find_by_email(session, email))
    # By the account, not by how its address was written, or each way to write it would have attempts of its own.
    account = _attempts(user.id if user else digest(email.strip().lower()))
    shared.sign_in_throttle.take(account, ATTEMPTS_PER_ACCOUNT, "attempts to sign in to this account")
    right = verify_password(user.password_hash if user else None, password)
    if user is None or not right or not user.active:
        # Not what was typed as the address: some type their password there.
        refused = logs.fields(account=user.id if user else None, address=address)
        logs.security.warning("a sign-in was refused", extra=refused)
        raise Unauthenticated(WRONG)
    shared.sign_in_throttle.clear(account)
    found = unit_of_work.run(shared.database, lambda session: _open(shared, session, user, kind, address, user_agent))
    trail.identify(user.id)
    logs.security.info("signed in", extra=logs.fields(kind=kind, address=address))
    return found


def _attempts(account: int | str) -> str:
    """What attempts with an account's password are counted under, wherever it is asked for."""
    return f"login:account:{account}"


def _open(shared: Services, session: Session, user: User, kind: str, address: str, user_agent: str) -> SignIn:
    if service.hold_password(session, user.id) != user.password_hash:
        # It was changed since it was checked, and the sign-ins with the old one have been ended.
        raise Unauthenticated(WRONG)
    now = clock.now()
    session_id = random_secret()[:22]
    secret = shared.tokens.refresh_secret(session_id) if kind == API else random_secret()
    session.add(
        UserSession(
            id=session_id,
            user_id=user.id,
            kind=kind,
            secret_digest=digest(secret),
            expires_at=now + LIFE[kind],
            address=address,
            user_agent=user_agent[:200],
        )
    )
    # Kept for a while after its end, to recognise a stolen refresh token; a few are removed at each sign-in.
    session.execute(
        delete(UserSession).where(
            UserSession.id.in_(
                select(UserSession.id)
                .where(UserSession.expires_at < now - timedelta(days=7))
                .limit(20)
                .with_for_update(skip_locked=True)
            )
        )
    )
    return SignIn(session_id, secret, user)


def refresh(shared: Services, session: Session, token: str) -> tuple[SignIn, str]:
    """Exchange a refresh token for the next one and an access token.

    A token that was exchanged a while ago means that it was copied: the whole sign-in ends. Raises Unauthenticated.
    """
    session_id, secret = session_parts(token) or ("", "")
    found = session.scalar(select(UserSession).where(UserSession.id == session_id).with_for_update())
    now = clock.now()
    if found is None or found.kind != API or found.revoked_at is not None or found.expires_at <= now:
        raise Unauthenticated("The refresh token has ended. Sign in again.")
    fits, repeats = same(found.secret_digest, digest(secret)), same(found.previous_digest, digest(secret))
    if not fits and not (repeats and now - found.rotated_at <= REFRESH_GRACE):
        # What was made up ends nothing, or everybody who knows the id of a sign-in could end it.
        if repeats or shared.tokens.is_refresh_secret(session_id, secret):
            logs.security.warning("a refresh token came again", extra=logs.fields(account=found.user_id))
            raise StolenToken(session_id)
        raise Unauthenticated("The refresh token has ended. Sign in again.")
    user = service.get(session, found.user_id)
    if not user.active:
        raise Unauthenticated("This account is not active.")
    # The same for every repeat: a client that lost two answers, or asks twice at once, keeps a token that is good.
    fresh = shared.tokens.refresh_secret(session_id, follows=secret)
    if fits:
        found.previous_digest, found.secret_digest, found.rotated_at = found.secret_digest, digest(fresh), now
    return SignIn(session_id, fresh, user), shared.tokens.issue(user.id, session_id)


class StolenToken(Unauthenticated):
    """A refresh token came again, long after it was exchanged."""

    def __init__(self, session_id: str) -> None:
        super().__init__("This refresh token was used before, so somebody else may have it. Sign in again.")
        self.session_id = session_id


def sign_out(shared: Services, session: Session, session_ids: list[str], account: int | None = None) -> None:
    """End sign-ins, on every instance at once."""
    session.execute(
        update(UserSession)
        .where(UserSession.id.in_(session_ids), UserSession.revoked_at.is_(None))
        .values(revoked_at=clock.now())
    )
    for session_id in session_ids:
        ended = Message(session_room(session_id), SESSION_ENDED, {})
        outbox.tell(session, f"session:{session_id}", [ended], drops=[f"revoked:{session_id}"])
    said = logs.fields(number=len(session_ids)) if account is None else logs.fields(account=account)
    unit_of_work.after_commit(session, lambda: logs.security.info("sign-ins were ended", extra=said))


def sign_out_everywhere(shared: Services, session: Session, user_id: int) -> None:
    """End every sign-in of a user."""
    sign_out(shared, session, open_sessions(session, user_id), user_id)


def look_up_again(shared: Services, session: Session, user_id: int) -> None:
    """Have changed roles or names of a user take effect in the sign-ins that are open."""
    for session_id in open_sessions(session, user_id):
        changed = Message(session_room(session_id), SESSION_CHANGED, {})
        outbox.tell(session, f"session:{session_id}", [changed], drops=[f"session:{session_id}"])


def open_sessions(session: Session, user_id: int) -> list[str]:
    """The ids of a user's sign-ins that stand."""
    return list(
        session.scalars(
            select(UserSession.id).where(
                UserSession.user_id == user_id, UserSession.revoked_at.is_(None), UserSession.expires_at > clock.now()
            )
        )
    )


def change_password(shared: Services, session: Session, actor: Actor, current: str, new: str) -> None:
    """Give the actor another password and end all their sign-ins but this one; raises Invalid for a wrong current one.

    Hashing takes a core for 50 ms twice, so it comes before the first statement here, which takes a connection.
    """
    account = _attempts(actor.id)
    shared.sign_in_throttle.take(account, ATTEMPTS_PER_ACCOUNT, "attempts with the password of this account")
    known = unit_of_work.read(shared.database, lambda reading: service.get(reading, actor.id)).password_hash
    if not verify_password(known, current):
        raise _not_current()
    fresh = hash_password(new)
    if service.hold_password(session, actor.id, to_change=True) != known:
        # Another change was faster, so what was typed is the current password no more.
        raise _not_current()
    service.set_password(session, actor, fresh)
    sign_out(shared, session, [found for found in open_sessions(session, actor.id) if found != actor.session_id])
    unit_of_work.after_commit(session, lambda: shared.sign_in_throttle.clear(account))
    unit_of_work.after_commit(session, lambda: logs.security.info("a password was changed"))


def _not_current() -> Invalid:
    return Invalid([FieldError("/current_password", "This is not your current password.")])


def api_answer(shared: Services, found: SignIn, access_token: str | None = None) -> dict[str, object]:
    """What the API gives for a sign-in or a refresh."""
    return {
        "access_token": access_token or shared.tokens.issue(found.user.id, found.session_id),
        "refresh_token": found.cookie,
        "token_type": "Bearer",
        "expires_in": int(ACCESS_TOKEN_LIFE.total_seconds()),
        "user": {"id": found.user.id, "name": found.user.name, "email": found.user.email},
    }
