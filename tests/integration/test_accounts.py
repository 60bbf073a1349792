"""Signing in and out, tokens, sessions, permissions."""

from __future__ import annotations

import concurrent.futures
import socket
from urllib.parse import urlsplit

import jwt
import pytest
import requests

from tests.integration.conftest import PASSWORD, Client
from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, SECRET_KEY


def test_sign_in_gives_tokens_and_the_user(client):
    answer = client.post("/api/auth/login", json={"email": ADMIN_EMAIL.upper(), "password": ADMIN_PASSWORD})
    assert answer.status_code == 200
    assert {"access_token", "refresh_token", "user"} <= set(answer.json())
    assert answer.json()["user"]["email"] == ADMIN_EMAIL


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(client, member):
    wrong = client.post("/api/auth/login", json={"email": member.email, "password": "something else"})
    unknown = client.post("/api/auth/login", json={"email": "nobody@example.com", "password": "something else"})
    assert wrong.status_code == unknown.status_code == 401
    assert {**wrong.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


def test_guessing_a_password_is_throttled_also_in_parallel(client, member, instances):
    def guess(number):
        at = Client(instances[number % 2])
        return at.post("/api/auth/login", json={"email": member.email, "password": f"guess {number}"})

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(guess, range(20)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 10
    throttled = client.post("/api/auth/login", json={"email": member.email, "password": PASSWORD})
    assert throttled.status_code == 429
    assert 0 < int(throttled.headers["Retry-After"]) <= 900


@pytest.mark.parametrize("token", ["", "x", "a.b.c", jwt.encode({"sub": "1", "sid": "x", "exp": 9e9}, "k" * 32)])
def test_a_forged_token_is_refused(client, token):
    answer = client.get("/api/tasks", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_token_signed_with_the_raw_secret_is_refused(client, member):
    claims = jwt.decode(member.headers["Authorization"][7:], options={"verify_signature": False})
    forged = jwt.encode(claims, SECRET_KEY)
    assert client.get("/api/tasks", headers={"Authorization": f"Bearer {forged}"}).status_code == 401


def test_a_cookie_made_of_an_access_session_is_refused(client, member):
    """An API session has no cookie: its id is no secret, it stands in the token."""
    session_id = member.refresh_token.partition(".")[0]
    for cookie in (f"{session_id}.", f"{session_id}.x", member.refresh_token):
        assert client.get("/api/me", headers={"Cookie": f"hecto={cookie}"}).status_code == 401


def refresh(client, token):
    return client.post("/api/auth/refresh", json={"refresh_token": token})


def wait_out_the_grace(sql, token):
    session_id = token.partition(".")[0]
    sql(f"UPDATE user_session SET rotated_at = rotated_at - interval '1 minute' WHERE id = '{session_id}'")


def test_a_refresh_that_is_repeated_gives_the_same_token_however_often(member, instances):
    """A client whose answers got lost, or that asks in parallel, keeps a token that is good."""
    first = member.refresh_token
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: refresh(member.at(instances[n % 2]), first), range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    (second,) = {answer.json()["refresh_token"] for answer in answers}
    assert second != first
    assert refresh(member, second).status_code == 200
    assert member.get("/api/me").status_code == 200


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_a_token_that_was_exchanged_a_while_ago_ends_the_sign_in(member, sql, rotations):
    """Also when whoever stole it has rotated on: the token is known by its seal, not by being the last but one."""
    stolen = newest = member.refresh_token
    for _ in range(rotations):
        newest = refresh(member, newest).json()["refresh_token"]
    wait_out_the_grace(sql, stolen)
    assert refresh(member, stolen).status_code == 401
    assert refresh(member, newest).status_code == 401
    assert member.get("/api/me").status_code == 401


@pytest.mark.parametrize("secret", ["", "garbage", "A" * 43, "\x00", "é" * 43])
def test_a_token_that_was_made_up_ends_nothing(member, secret):
    session_id = member.refresh_token.partition(".")[0]
    assert refresh(member, f"{session_id}.{secret}").status_code in (401, 422)
    assert member.get("/api/me").status_code == 200
    assert refresh(member, member.refresh_token).status_code == 200


@pytest.mark.parametrize(
    "cookie", ['"a\\000b.c"', "a.b", f"{'a' * 22}.{'b' * 43}", f"{'a' * 22}.\xff", f"{'a' * 22}.\n{'b' * 42}"]
)
def test_a_cookie_that_was_made_up_is_no_sign_in(instance, cookie):
    with socket.create_connection(("127.0.0.1", urlsplit(instance.url).port)) as raw:
        request = f"GET /api/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: hecto={cookie}\r\n\r\n"
        raw.sendall(request.encode("latin-1"))
        answer = b"".join(iter(lambda: raw.recv(1000), b""))
    assert answer.split()[1] in (b"401", b"400")


def test_signing_out_twice_is_signed_out(member, client):
    key = {"Idempotency-Key": "sign-out"}
    answers = [member.post("/api/auth/logout", headers=key).status_code for _ in range(3)]
    assert answers == [204] * 3
    # Whoever cannot show a sign-in at all has ended none.
    assert client.post("/api/auth/logout").status_code == 401
    assert client.post("/api/auth/logout", headers={"Authorization": "Bearer x"}).status_code == 401


def test_sign_out_works_on_every_instance_at_once(member, instances):
    elsewhere = member.at(instances[1])
    assert elsewhere.get("/api/me").status_code == member.get("/api/me").status_code == 200
    assert member.post("/api/auth/logout").status_code == 204
    assert elsewhere.get("/api/me").status_code == 401
    assert elsewhere.post("/api/auth/refresh", json={"refresh_token": member.refresh_token}).status_code == 401


def test_sign_out_everywhere_ends_the_other_sign_ins(member, instances):
    second = Client(instances[1]).sign_in(member.email, PASSWORD)
    assert second.post("/api/auth/logout-everywhere").status_code == 204
    assert member.get("/api/me").status_code == 401


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Request-Key"])
def test_a_repeat_of_signing_out_everywhere_is_answered_like_the_first(member, instances, header):
    """Its first answer may be lost, and by then its own token has ended."""
    other = Client(instances[1]).sign_in(member.email, PASSWORD)
    places = member, member.at(instances[1])
    answers = [at.post("/api/auth/logout-everywhere", headers={header: "k"}) for at in places]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert other.get("/api/me").status_code == 401
    # Another request with a token that has ended is refused, and so is the same without what shows whose it is.
    later = Client(instances[0]).sign_in(member.email, PASSWORD)
    assert member.post("/api/auth/logout-everywhere").status_code == 401
    assert member.post("/api/auth/logout-everywhere", headers={header: "l"}).status_code == 401
    forged = {header: "k", "Authorization": member.headers["Authorization"][:-8] + "AAAAAAAA"}
    assert member.post("/api/auth/logout-everywhere", headers=forged).status_code == 401
    # The repeat has done nothing once more.
    assert member.post("/api/auth/logout-everywhere", headers={header: "k"}).status_code == 204
    assert later.get("/api/me").status_code == 200


def test_a_member_may_not_manage_users(member):
    answer = member.post("/api/users", json={"email": "x@example.com", "name": "X", "password": PASSWORD})
    assert answer.status_code == 403
    assert "Create users and change their roles" in answer.json()["detail"]


@pytest.mark.parametrize("roles", [["a\0"], ["member", "\0"]])
def test_a_role_with_a_nul_is_no_role(admin, member, roles):
    body = {"email": "nul@example.com", "name": "Nul", "password": PASSWORD, "roles": roles}
    answers = [
        admin.post("/api/users", json=body),
        admin.patch(f"/api/users/{member.user_id}", json={"version": 1, "roles": roles}),
    ]
    assert [answer.status_code for answer in answers] == [422] * 2


def test_changed_roles_take_effect_on_every_instance(admin, member, instances):
    elsewhere = member.at(instances[1])
    assert elsewhere.get("/api/tasks").status_code == 200
    user = admin.get(f"/api/users/{member.user_id}").json()
    changed = admin.patch(f"/api/users/{member.user_id}", json={"version": user["version"], "roles": []})
    assert changed.status_code == 200
    assert elsewhere.get("/api/tasks").status_code == 403


def test_an_inactive_user_is_out_at_once(admin, member):
    user = admin.get(f"/api/users/{member.user_id}").json()
    admin.patch(f"/api/users/{member.user_id}", json={"version": user["version"], "active": False})
    assert member.get("/api/me").status_code == 401
    again = member.post("/api/auth/login", json={"email": member.email, "password": PASSWORD})
    assert again.status_code == 401


def test_nobody_can_grant_more_than_they_have(admin, member, sql):
    sql("INSERT INTO role (name, label, permissions) VALUES ('clerk', 'Clerk', '{users.read,users.manage}')")
    version = admin.get(f"/api/users/{member.user_id}").json()["version"]
    admin.patch(f"/api/users/{member.user_id}", json={"version": version, "roles": ["clerk"]})
    body = {"email": "boss@example.com", "name": "Boss", "password": PASSWORD, "roles": ["administrator"]}
    assert member.post("/api/users", json=body).status_code == 403


def test_an_administrator_cannot_lock_themselves_out(admin):
    me = admin.get(f"/api/users/{admin.user_id}").json()
    for change in ({"active": False}, {"roles": ["member"]}):
        assert admin.patch(f"/api/users/{admin.user_id}", json={"version": me["version"], **change}).status_code == 403


def patch_user(client, user_id, **change):
    version = client.get(f"/api/users/{user_id}").json()["version"]
    return client.patch(f"/api/users/{user_id}", json={"version": version, **change})


def new_administrator(admin, instance, name):
    body = {"email": f"{name}@example.com", "name": name, "password": PASSWORD, "roles": ["administrator"]}
    assert admin.post("/api/users", json=body).status_code == 201
    found = admin.at(instance)
    found.headers.pop("Authorization")
    return found.sign_in(body["email"], PASSWORD)


@pytest.mark.parametrize("change", [{"active": False}, {"roles": ["member"]}, {"name": "Nobody"}])
def test_nobody_can_change_somebody_who_may_do_more(admin, member, sql, change):
    sql(
        "INSERT INTO role (name, label, permissions) VALUES ('registrar', 'R', '{users.read,users.manage}')"
        " ON CONFLICT DO NOTHING"
    )
    assert patch_user(admin, member.user_id, roles=["registrar"]).status_code == 200
    refused = patch_user(member, admin.user_id, **change)
    assert refused.status_code == 403
    assert "who may do more than you" in refused.json()["detail"]


def test_two_administrators_cannot_put_each_other_out(admin, instances):
    """Each is allowed to by itself; both at once would leave nobody."""
    for number in range(5):
        one, other = (new_administrator(admin, at, f"{at.name}-{number}") for at in instances)
        assert patch_user(one, admin.user_id, roles=["member"]).status_code == 200
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            body = {"version": 1, "active": False}
            pairs = [(one, f"/api/users/{other.user_id}"), (other, f"/api/users/{one.user_id}")]
            answers = list(pool.map(lambda pair, body=body: pair[0].patch(pair[1], json=body), pairs))
        assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 403])
        left = one if answers[0].status_code == 200 else other
        assert patch_user(left, admin.user_id, roles=["administrator"]).status_code == 200
        assert patch_user(admin, left.user_id, active=False).status_code == 200


def test_an_address_is_the_same_however_it_is_written(admin, client, sql):
    """PostgreSQL and Python disagree about the small form of some letters."""
    if sql("SELECT lower('İ') = 'i'") != "t":
        pytest.skip("this database lowers letters as Python does")
    body = {"email": "ipek.istanbul@example.com", "name": "İpek", "password": PASSWORD}
    assert admin.post("/api/users", json=body).status_code == 201
    assert admin.post("/api/users", json={**body, "email": "İpek.istanbul@example.com"}).status_code == 422
    ways = [
        "ipek.istanbul@example.com",
        "İpek.istanbul@example.com",
        "ipek.İstanbul@example.com",
        "İPEK.İSTANBUL@EXAMPLE.COM",
    ]
    guesses = [client.post("/api/auth/login", json={"email": way, "password": "no"}).status_code for way in ways * 3]
    assert guesses == [401] * 10 + [429] * 2


def test_an_email_address_is_taken_once_in_whatever_case(admin, member):
    body = {"email": member.email.upper(), "name": "Twin", "password": PASSWORD}
    answer = admin.post("/api/users", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "/email"


def test_two_users_with_one_address_at_once(admin, instances):
    body = {"email": "race@example.com", "name": "Racer", "password": PASSWORD}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: admin.at(instances[n % 2]).post("/api/users", json=body), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 7


def test_the_rate_of_a_user_is_limited_over_all_instances(site, admin):
    from tests.servers import AppInstance

    tight = [AppInstance(site, HECTO_REQUESTS_PER_MINUTE="10") for _ in range(2)]
    try:
        email = "eager@example.com"
        admin.post("/api/users", json={"email": email, "name": "Eager", "password": PASSWORD})
        eager = Client(tight[0]).sign_in(email, PASSWORD)
        answers = [eager.at(tight[number % 2]).get("/api/me") for number in range(12)]
    finally:
        for instance in tight:
            instance.stop()
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    assert answers[0].headers["RateLimit-Policy"] == '"user";q=10;w=60'
    assert answers[9].headers["RateLimit"].startswith('"user";r=0;t=')
    assert 1 <= int(answers[11].headers["Retry-After"]) <= 60
    assert answers[11].headers["RateLimit"].startswith('"user";r=0;t=')


def test_a_count_of_requests_that_lost_its_end_refuses_nobody(member, redis_server):
    """It was seen so after Redis had been killed: counted up for ever, it would."""
    key = f"limit:{member.user_id}"
    assert member.get("/api/me").status_code == 200
    redis_server.ask("SET", key, "1000000")
    assert member.get("/api/me").status_code == 200
    assert 0 < int(redis_server.ask("TTL", key)) <= 60


def test_cookie_writes_need_the_token_and_our_own_origin(instance, admin, site):
    browser = requests.Session()
    form = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    foreign = browser.post(f"{instance.url}/sign-in", data=form, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert browser.post(f"{instance.url}/sign-in", data=form, allow_redirects=False).status_code == 303
    assert "HttpOnly" in str(browser.cookies._cookies) or next(iter(browser.cookies)).has_nonstandard_attr("HttpOnly")
    assert browser.post(f"{instance.url}/api/tasks", json={"title": "forged"}).status_code == 403
    assert browser.get(f"{instance.url}/api/me").status_code == 200


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/tasks?q=a%20b", "/tasks?q=a%20b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_to_our_own_pages_only(instance, wanted, goes_to):
    form = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD, "next": wanted}
    answer = requests.post(f"{instance.url}/sign-in", data=form, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["Location"]) == (303, goes_to)
