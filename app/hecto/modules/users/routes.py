"""Pages of users: signing in and out, the own password."""

from __future__ import annotations

import re

from flask import Response, make_response
from pydantic import Field, ValidationInfo, field_validator

from hecto.core.endpoints import Context, Router, cookie_name, page, see_other
from hecto.core.errors import DomainError, TooManyRequests, Unauthenticated
from hecto.core.input import Input
from hecto.core.pages import done
from hecto.core.permissions import PUBLIC, SIGNED_IN
from hecto.modules.users import service, sign_in
from hecto.modules.users.api import PasswordChange, remote_address, user_agent

router = Router("users", "pages")

HOME = "/"


class SignInQuery(Input):
    next: str = Field(default=HOME, max_length=2000)


class SignInForm(Input):
    email: str = Field(min_length=1, max_length=254)
    password: str = Field(min_length=1, max_length=service.LONGEST_PASSWORD)
    next: str = Field(default=HOME, max_length=2000)


class PasswordForm(PasswordChange):
    repeated: str

    @field_validator("repeated")
    @classmethod
    def _as_before(cls, value: str, others: ValidationInfo) -> str:
        if value != others.data.get("new_password", value):
            raise ValueError("this is not the same as the new password")
        return value


@router.route("GET", "/sign-in", permission=PUBLIC, query=SignInQuery, transaction=False)
def show_sign_in(context: Context) -> str | Response:
    """The form; somebody who is signed in goes on at once."""
    if context.actor:
        return see_other(_own(context.query.next))
    return page("users/sign_in.html", next=context.query.next)


@router.route("POST", "/sign-in", permission=PUBLIC, body=SignInForm, transaction=False, show_errors=True)
def sign_in_browser(context: Context) -> Response | tuple[str, int]:
    """Sign in, and go to the page that was wanted."""
    form: SignInForm | None = context.body
    if form is None:
        return page("users/sign_in.html", next=HOME, wrong="Fill in your e-mail address and your password."), 422
    try:
        found = sign_in.sign_in(
            context.services, sign_in.BROWSER, form.email, form.password, remote_address(), user_agent()
        )
    except (Unauthenticated, TooManyRequests) as error:
        return _again(form, error)
    return _with_cookie(context, see_other(_own(form.next)), found.cookie)


@router.route("POST", "/sign-out", permission=SIGNED_IN)
def sign_out_browser(context: Context) -> Response:
    """End this sign-in everywhere."""
    sign_in.sign_out(context.services, context.session, [context.user.session_id])
    return _with_cookie(context, see_other("/sign-in"), "")


@router.route("GET", "/account/password", permission=SIGNED_IN)
def show_password_form(context: Context) -> str:
    """The form that changes the own password."""
    return page("users/password.html", shortest=service.SHORTEST_PASSWORD, longest=service.LONGEST_PASSWORD)


@router.route("GET", "/account/password/changed", permission=SIGNED_IN)
def show_password_changed(context: Context) -> str:
    """What was done, for a browser without the script."""
    return page("users/password.html", changed=True)


@router.route("POST", "/account/password", permission=SIGNED_IN, body=PasswordForm)
def change_password_browser(context: Context) -> Response:
    """Change the own password; this browser stays signed in, every other sign-in ends."""
    form: PasswordForm = context.body
    sign_in.change_password(context.services, context.session, context.user, form.current_password, form.new_password)
    return done("/account/password/changed", "password", "users/_password_changed.html")


def _again(form: SignInForm, error: DomainError) -> tuple[str, int]:
    return page("users/sign_in.html", next=form.next, email=form.email, wrong=error.detail), error.status


def _own(address: str) -> str:
    """The address if it is a page of ours, else the first page.

    A second slash makes it another site; browsers take a backslash for a slash and leave out tabs and line ends.
    """
    ours = re.fullmatch(r"/(?!/)[^\\\x00-\x20]*", address)
    return address if ours else HOME


def _with_cookie(context: Context, response: Response, value: str) -> Response:
    """Set the session cookie, or delete it with an empty value."""
    response.set_cookie(
        cookie_name(context.services),
        value,
        max_age=sign_in.LIFE[sign_in.BROWSER] if value else 0,
        path="/",
        secure=context.services.settings.secure,
        httponly=True,
        samesite="Lax",
    )
    return make_response(response)
