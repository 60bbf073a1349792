"""Who is here at all: by the API and on the dashboard, whichever instance somebody is connected to."""

from __future__ import annotations

import re

from tests.integration.conftest import PASSWORD, Browser, Client
from tests.integration.test_rooms import Socket, connect  # noqa: F401  a fixture
from tests.servers import wait_until


def here(who: Client) -> set[int]:
    answer = who.get("/api/presence")
    assert answer.status_code == 200, answer.text
    return {person["id"] for person in answer.json()["present"]}


def test_whoever_has_something_open_is_here_until_the_last_of_it_is_closed(member, mara, instances, connect):  # noqa: F811
    asking = member.at(instances[1])
    assert mara.user_id not in here(asking)
    first, second = connect(mara), connect(mara)
    wait_until(lambda: mara.user_id in here(asking), "the arrival at another instance", seconds=10)
    found = [person for person in asking.get("/api/presence").json()["present"] if person["id"] == mara.user_id]
    assert found == [{"id": mara.user_id, "name": mara.name}]
    first.io.disconnect()
    assert mara.user_id in here(asking)
    second.io.disconnect()
    wait_until(lambda: mara.user_id not in here(asking), "the departure", seconds=10)


def test_nobody_is_told_of_each_arrival(member, mara, connect):  # noqa: F811
    witness: Socket = connect(member)
    connect(mara)
    wait_until(lambda: mara.user_id in here(member), "the arrival", seconds=10)
    member.create_task("marker")
    assert witness.next("task.created")["title"] == "marker"
    assert "presence" not in [event for event, *_ in list(witness.heard.queue)]


def test_only_those_who_may_see_users_are_told(admin, member, client, instance):
    assert client.get("/api/presence").status_code == 401
    email = f"stranger{member.user_id}@example.com"
    made = admin.post("/api/users", json={"email": email, "name": "Stranger", "password": PASSWORD, "roles": []})
    assert made.status_code == 201, made.text
    assert Client(instance).sign_in(email, PASSWORD).get("/api/presence").status_code == 403
    browser = Browser(instance, email, PASSWORD)
    assert browser.get(f"{browser.base}/present").status_code == 403
    assert "Here now" not in browser.see("/")


def test_the_dashboard_names_who_is_here_and_whoever_looks(member, mara, browser, connect):  # noqa: F811
    assert f'id="present-{member.user_id}"' in browser.see("/")
    connect(mara)
    wait_until(lambda: f'id="present-{mara.user_id}"' in browser.see("/present"), "the arrival", seconds=10)
    part = browser.see("/present")
    assert "<html" not in part
    assert mara.name in part
    assert int(re.search(r'id="count-present">(\d+)', part)[1]) >= 2
