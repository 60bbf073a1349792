"""Changing one's own password."""

from __future__ import annotations

import concurrent.futures
import re

import requests

from tests.integration.conftest import PASSWORD, Client
from tests.servers import wait_until

NEW = "another password for tests"


def change(client, current=PASSWORD, new=NEW, **headers):
    body = {"current_password": current, "new_password": new}
    return client.post("/api/auth/password", json=body, headers=headers)


def sign_in(client, email, password):
    return client.post("/api/auth/login", json={"email": email, "password": password})


def test_the_new_password_counts_from_now_on_and_other_sign_ins_end(client, member, instances, sql):
    second = Client(instances[1]).sign_in(member.email, PASSWORD)
    answer = change(member)
    assert (answer.status_code, answer.content) == (204, b"")
    assert second.get("/api/me").status_code == 401
    assert second.post("/api/auth/refresh", json={"refresh_token": second.refresh_token}).status_code == 401
    own = member.at(instances[1])
    assert own.get("/api/me").status_code == 200
    assert own.post("/api/auth/refresh", json={"refresh_token": member.refresh_token}).status_code == 200
    assert sign_in(client, member.email, PASSWORD).status_code == 401
    assert sign_in(client, member.email, NEW).status_code == 200
    said = f"subject_type = 'user' AND subject_id = {member.user_id} AND verb = 'password changed'"
    assert sql(f"SELECT actor_id FROM activity WHERE {said}") == str(member.user_id)


def test_it_needs_a_sign_in(client):
    assert change(client).status_code == 401


def test_the_current_password_is_asked_for_and_not_to_be_guessed(client, member, instances):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: change(member.at(instances[n % 2]), f"guess {n}"), range(12)))
    assert sorted(answer.status_code for answer in answers) == [422] * 10 + [429] * 2
    refused = next(answer for answer in answers if answer.status_code == 422)
    assert refused.json()["errors"][0]["path"] == "/current_password"
    # Guesses count wherever they are made.
    assert sign_in(client, member.email, PASSWORD).status_code == 429
    assert change(member).status_code == 429


def test_the_right_password_ends_the_count(client, member):
    for number in range(9):
        change(member, f"guess {number}")
    assert change(member).status_code == 204
    assert sign_in(client, member.email, NEW).status_code == 200


def test_the_new_password_keeps_to_the_rules(client, member):
    for wrong in ("too short", "x" * 201, "a nul \0 in it"):
        assert change(member, new=wrong).status_code == 422
    assert change(member, new="too short").json()["errors"][0]["path"] == "/new_password"
    assert sign_in(client, member.email, PASSWORD).status_code == 200


def test_a_repeat_is_answered_like_the_first_and_nothing_of_it_is_stored(member, instances, sql):
    """By then its current password is the old one."""
    answers = [change(at, **{"Idempotency-Key": "once"}) for at in (member, member.at(instances[1]))]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert change(member).status_code == 422
    assert sql("SELECT count(*) FROM request_key k WHERE k::text LIKE '%password for tests%'") == "0"


def test_two_changes_at_once_are_one(client, member, instances):
    other = Client(instances[1]).sign_in(member.email, PASSWORD)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda pair: change(*pair), [(member, PASSWORD, NEW), (other, PASSWORD, NEW + "!")]))
    codes = [answer.status_code for answer in answers]
    # Whoever comes second has a wrong password by then, or no sign-in any more.
    assert codes.count(204) == 1
    assert set(codes) <= {204, 422, 401}
    assert sign_in(client, member.email, NEW if codes[0] == 204 else NEW + "!").status_code == 200


def test_a_sign_in_with_the_old_password_does_not_slip_in(client, site, member, postgres, sql):
    """It was checked when the old one was right, and is opened when the change has ended all sign-ins."""
    holder = postgres.open(site.database)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    try:
        one = f"app_user WHERE id = {member.user_id}"
        assert holder.ask(f"BEGIN; SELECT id FROM {one} FOR UPDATE;") == str(member.user_id)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            late = pool.submit(sign_in, client, member.email, PASSWORD)
            wait_until(lambda: sql(waiting) == "1", "the sign-in to wait")
            update = f"UPDATE app_user SET password_hash = 'x' WHERE id = {member.user_id}"
            assert holder.ask(f"{update}; COMMIT; SELECT 'done';") == "done"
            assert late.result().status_code == 401
    finally:
        holder.close()


def test_the_page_changes_it_and_goes_on(member, browser, client):
    assert 'href="/account/password"' in browser.see("/")
    form = browser.see("/account/password")
    assert re.findall('name="([a-z_]+)"', form[form.index('<form method="post" action="/account/password"') :])[:4] == [
        "csrf_token",
        "current_password",
        "new_password",
        "repeated",
    ]
    fields = {"current_password": PASSWORD, "new_password": NEW, "repeated": NEW}
    for wrong, field in (({"current_password": "no"}, "current_password"), ({"repeated": NEW + "!"}, "repeated")):
        answer = browser.submit("/account/password", **(fields | wrong))
        assert answer.status_code == 422
        assert f'data-problem-field="{field}"' in answer.text
    answer = browser.submit("/account/password", **fields)
    assert answer.status_code == 200
    assert "Your password is changed." in answer.text
    browser.see("/account/password")
    assert member.get("/api/me").status_code == 401
    assert sign_in(client, member.email, NEW).status_code == 200


def test_the_page_works_without_its_script(browser):
    token = browser.headers.pop("X-CSRF-Token")
    del browser.headers["HX-Request"]
    fields = {"current_password": PASSWORD, "new_password": NEW, "repeated": NEW}
    where = f"{browser.base}/account/password"
    assert browser.post(where, data=fields, timeout=30).status_code == 403
    answer: requests.Response = browser.post(where, data={**fields, "csrf_token": token}, timeout=30)
    assert answer.url == f"{where}/changed"
    assert "Your password is changed." in answer.text
