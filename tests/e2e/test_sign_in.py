"""Signing in and out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.people import Person, connected


def test_the_printed_credentials_open_the_dashboard(administrator: Person) -> None:
    page = administrator.signed_in("/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Hello, ")
    expect(page.get_by_role("heading", name="My work")).to_be_visible()


def test_signing_in_leads_to_the_page_that_was_wanted(somebody: Callable[..., Person]) -> None:
    page = somebody("Mara").signed_in("/tasks?status=open")
    expect(page.get_by_role("radio", name="Open", exact=True)).to_be_checked()


def test_a_wrong_password_is_said_and_the_address_is_kept(somebody: Callable[..., Person]) -> None:
    mara = somebody("Mara")
    page = mara.page()
    page.goto("/sign-in")
    mara.sign_in(page, "not the password")
    expect(page.get_by_role("alert")).to_have_text("The e-mail address or the password is wrong.")
    expect(page.get_by_label("E-mail address")).to_have_value(mara.email)
    expect(page.get_by_label("Password")).to_be_focused()
    expect(page.get_by_label("Password")).to_have_value("")


@pytest.mark.parametrize("address", ["//example.org/tasks", "/%5Cexample.org", "https://example.org"])
def test_nobody_is_sent_to_another_site_after_signing_in(somebody: Callable[..., Person], address: str) -> None:
    mara = somebody("Mara")
    page = mara.page()
    page.goto(f"/sign-in?next={address}")
    mara.sign_in(page)
    expect(page).to_have_url(mara.site.url + "/")


def test_signing_out_ends_the_other_tab_and_signing_in_brings_it_back(somebody: Callable[..., Person]) -> None:
    mara = somebody("Mara")
    page, other = mara.signed_in("/"), mara.signed_in("/tasks")
    page.get_by_role("button", name="Mara").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(other).to_have_url(f"{mara.site.url}/sign-in?next=%2Ftasks")
    mara.sign_in(page)
    expect(page).to_have_url(mara.site.url + "/")
    expect(other).to_have_url(f"{mara.site.url}/tasks")


def test_a_sign_in_that_is_ended_elsewhere_ends_here_at_once(somebody: Callable[..., Person]) -> None:
    mara = somebody("Mara")
    page = mara.signed_in("/tasks")
    answer = mara.api.post(f"{mara.site.url}/api/auth/logout-everywhere", timeout=30)
    assert answer.status_code == 204
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_what_was_typed_outlives_the_sign_in(somebody: Callable[..., Person]) -> None:
    mara = somebody("Mara")
    task = mara.create_task("Talked about")
    page = mara.signed_in(f"/tasks/{task['id']}")
    comment = page.get_by_label("Comment", exact=True)
    comment.fill("A long thought")
    mara.api.post(f"{mara.site.url}/api/auth/logout-everywhere", timeout=30)
    message = page.get_by_text("Your sign-in has ended")
    expect(message).to_be_visible()
    page.get_by_role("button", name="Comment").click()
    expect(comment).to_have_value("A long thought")
    with page.expect_popup() as opened:
        page.locator(".toast").get_by_role("link", name="Sign in").click()
    mara.sign_in(opened.value)
    expect(page.get_by_text("You are signed in again")).to_be_visible()
    expect(message).to_have_count(0)
    connected(page)
    page.get_by_role("button", name="Comment").click()
    expect(page.get_by_role("region", name="Activity")).to_contain_text("A long thought")
    expect(comment).to_have_value("")


def test_a_page_of_one_person_sends_nothing_as_another(somebody: Callable[..., Person]) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    task = mara.create_task("Talked about")
    page = mara.signed_in(f"/tasks/{task['id']}")
    page.get_by_label("Comment", exact=True).fill("Only mine")
    mara.api.post(f"{mara.site.url}/api/auth/logout-everywhere", timeout=30)
    expect(page.get_by_text("Your sign-in has ended")).to_be_visible()
    other = mara.page()
    other.goto("/sign-in")
    jonas.sign_in(other)
    expect(page.get_by_text("Somebody else has signed in in this browser")).to_be_visible()
    mara.expected += "|403"
    page.get_by_role("button", name="Comment").click()
    expect(page.get_by_text("This page is out of date")).to_be_visible()
    expect(page.get_by_label("Comment", exact=True)).to_have_value("Only mine")
