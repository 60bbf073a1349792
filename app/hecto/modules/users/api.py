"""JSON routes of users, signing in and out."""

from __future__ import annotations

from typing import Annotated, Any

from flask import request
from pydantic import BaseModel, Field

from hecto.core.endpoints import Context, Router
from hecto.core.errors import NotFound, Unavailable
from hecto.core.input import LARGEST_ID, Input
from hecto.core.permissions import PUBLIC, SIGNED_IN, SIGNING_OUT, SIGNING_OUT_EVERYWHERE
from hecto.core.security import hash_password
from hecto.core.store import StoreUnavailable
from hecto.modules.users import queries, service, sign_in

router = Router("users", "api")

Email = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$", examples=["ada@example.com"])]
Password = Annotated[str, Field(min_length=1, max_length=service.LONGEST_PASSWORD)]
NewPassword = Annotated[str, Field(min_length=service.SHORTEST_PASSWORD, max_length=service.LONGEST_PASSWORD)]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class SignInBody(Input):
    email: Email
    password: Password


class RefreshBody(Input):
    refresh_token: str = Field(min_length=1, max_length=200)


class PasswordChange(Input):
    current_password: Password
    new_password: NewPassword


class NewUser(Input):
    email: Email
    name: Name
    password: NewPassword
    roles: list[str] = [service.MEMBER]


class UserChange(Input):
    version: int = Field(ge=1, le=LARGEST_ID)
    name: Name | None = None
    active: bool | None = None
    roles: list[str] | None = None


class UserSummary(BaseModel):
    id: int
    name: str
    email: str


class SignedIn(BaseModel):
    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    user: UserSummary


class UserAnswer(UserSummary):
    active: bool
    version: int
    roles: list[str]


class Me(UserSummary):
    permissions: list[str]


class UserList(BaseModel):
    items: list[UserAnswer]


class Person(BaseModel):
    id: int
    name: str


class Present(BaseModel):
    present: list[Person]


@router.route("POST", "/api/auth/login", permission=PUBLIC, body=SignInBody, answers=SignedIn, transaction=False)
def login(context: Context) -> dict[str, Any]:
    """Sign in: an access token for a few minutes and a refresh token to get the next one"""
    found = sign_in.sign_in(
        context.services, sign_in.API, context.body.email, context.body.password, remote_address(), user_agent()
    )
    return sign_in.api_answer(context.services, found)


@router.route("POST", "/api/auth/refresh", permission=PUBLIC, body=RefreshBody, answers=SignedIn, transaction=False)
def refresh(context: Context) -> dict[str, Any]:
    """Exchange the refresh token; the old one is used up"""
    try:
        found, access = context.write(
            lambda session: sign_in.refresh(context.services, session, context.body.refresh_token)
        )
    except sign_in.StolenToken as error:
        session_id = error.session_id
        context.write(lambda session: sign_in.sign_out(context.services, session, [session_id]))
        raise
    return sign_in.api_answer(context.services, found, access)


@router.route("POST", "/api/auth/logout", permission=SIGNING_OUT, status=204)
def logout(context: Context) -> tuple[bytes, int]:
    """End this sign-in, on every instance at once"""
    if context.actor is not None:
        sign_in.sign_out(context.services, context.session, [context.actor.session_id])
    return b"", 204


@router.route("POST", "/api/auth/logout-everywhere", permission=SIGNING_OUT_EVERYWHERE, status=204)
def logout_everywhere(context: Context) -> tuple[bytes, int]:
    """End every sign-in of this user"""
    sign_in.sign_out_everywhere(context.services, context.session, context.user.id)
    return b"", 204


@router.route("POST", "/api/auth/password", permission=SIGNED_IN, body=PasswordChange, status=204)
def change_password(context: Context) -> tuple[bytes, int]:
    """Change the own password; every other sign-in of this user ends"""
    body: PasswordChange = context.body
    sign_in.change_password(context.services, context.session, context.user, body.current_password, body.new_password)
    return b"", 204


@router.route("GET", "/api/me", permission=SIGNED_IN, answers=Me)
def me(context: Context) -> dict[str, Any]:
    """Who is signed in, and what they may do"""
    user = context.user
    return {"id": user.id, "name": user.name, "email": user.email, "permissions": sorted(user.permissions)}


@router.route("GET", "/api/users", permission="users.read", query=queries.UserQuery, answers=UserList)
def list_users(context: Context) -> bytes:
    """The users, by name"""
    return b'{"items":' + queries.users_json(context.session, context.query.q) + b"}"


@router.route("GET", "/api/presence", permission="users.read", answers=Present, transaction=False)
def list_present(context: Context) -> dict[str, Any]:
    """Who has Hecto open at this moment, by name; fifty of them where there are more"""
    try:
        return {"present": context.services.present()}
    except StoreUnavailable as error:
        # Not an empty list, nor the part of it that this instance knows: both would say that the others are gone.
        raise Unavailable("Redis, which knows who is here, does not answer. Try again in a moment.") from error


@router.route("POST", "/api/users", permission="users.manage", body=NewUser, answers=UserAnswer, status=201)
def create_user(context: Context) -> tuple[bytes, int]:
    """Create a user"""
    body: NewUser = context.body
    # Before the first statement: hashing takes 50 ms, and a connection is taken by the first statement only.
    password_hash = hash_password(body.password)
    user = service.create(
        context.session, context.user, email=body.email, name=body.name, password_hash=password_hash, roles=body.roles
    )
    return _one(context.session, user.id), 201


@router.route("GET", "/api/users/<id:user_id>", permission="users.read", answers=UserAnswer)
def get_user(context: Context, user_id: int) -> bytes:
    """One user"""
    return _one(context.session, user_id)


@router.route("PATCH", "/api/users/<id:user_id>", permission="users.manage", body=UserChange, answers=UserAnswer)
def change_user(context: Context, user_id: int) -> bytes:
    """Change a user's name, roles or whether the account is active; needs the version that was read"""
    body: UserChange = context.body
    user = service.change(
        context.session, context.user, user_id, body.version, name=body.name, active=body.active, roles=body.roles
    )
    if user.active:
        sign_in.look_up_again(context.services, context.session, user.id)
    else:
        sign_in.sign_out_everywhere(context.services, context.session, user.id)
    return _one(context.session, user_id)


def _one(session: Any, user_id: int) -> bytes:
    found = queries.users_json(session, user_id=user_id)
    if found == b"[]":
        raise NotFound(f"There is no user {user_id}.")
    return found[1:-1]


def remote_address() -> str:
    """Where the request comes from, as nginx says; it sets the header anew, so nobody can make it up."""
    return request.headers.get("X-Real-IP") or request.remote_addr or ""


def user_agent() -> str:
    """What the client calls itself."""
    return request.headers.get("User-Agent", "")
