"""Pages enter the room of their record whatever is in the way, and hear each event once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.e2e.people import Person, connected

People = Callable[..., Person]
JOIN = re.compile(r'42(\d+)\["join",(".*")\]')
AWAY = {"error": {"title": "Live updates are away", "detail": "Redis does not answer. Join again in a moment."}}
COUNT_WORDS = """
  window.said = 0;
  new MutationObserver((records) => { window.said += records.length; })
    .observe(document.getElementById("announcements"), { childList: true });
"""
NO_ROOM = {"error": {"title": "There is no such room", "detail": "There is none."}}


def answer_first(person: Person, *answers: dict) -> list[str]:
    """Answer the first joins of a person's pages in the server's place; returns the rooms that are asked for."""
    asked: list[str] = []

    def between(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            join = JOIN.fullmatch(str(message))
            if join is None:
                server.send(message)
                return
            asked.append(json.loads(join[2]))
            if len(asked) <= len(answers):
                route.send(f"43{join[1]}{json.dumps([answers[len(asked) - 1]])}")
            else:
                server.send(message)

        route.on_message(pass_on)

    person.context.route_web_socket("**/socket.io/**", between)
    return asked


def wait_for(page: Page, ready: Callable[[], bool]) -> None:
    """Wait for something that the page itself does not show."""
    for _ in range(300):
        if ready():
            return
        page.wait_for_timeout(50)
    raise AssertionError("this did not happen within 15 s")


def company(page: Page):  # type: ignore[no-untyped-def]
    return page.locator("[data-company]").get_by_role("listitem")


def test_a_page_that_could_not_enter_the_room_of_its_record_asks_again(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    task = mara.create_task(title)
    jonas.signed_in(f"/tasks/{task['id']}")
    asked = answer_first(mara, AWAY, AWAY)
    page = mara.signed_in(f"/tasks/{task['id']}")
    expect(company(page)).to_have_text(["JJonas"])
    assert asked == [f"task:{task['id']}"] * 3


def test_a_conversation_that_could_not_be_entered_is_asked_for_again(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    channel = mara.api.post(f"{mara.site.url}/api/channels", json={"name": title}, timeout=30).json()["id"]
    asked = answer_first(mara, AWAY)
    page = mara.signed_in(f"/messages/{channel}")
    wait_for(page, lambda: len(asked) == 2)
    mara.api.post(f"{mara.site.url}/api/channels/{channel}/messages", json={"text": "Heard"}, timeout=30)
    expect(page.locator(".message-text")).to_have_text(["Heard"])


def test_a_room_that_is_not_there_is_asked_for_once(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    task = mara.create_task(title)
    asked = answer_first(mara, NO_ROOM)
    page = mara.signed_in(f"/tasks/{task['id']}")
    # Longer than the longest pause before a second question.
    page.wait_for_timeout(5_500)
    assert len(asked) == 1


def test_whoever_may_have_missed_something_enters_again(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    task = mara.create_task(title)
    pages: list[WebSocketRoute] = []
    asked: list[str] = []

    def between(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        pages.append(route)

        def pass_on(message: str | bytes) -> None:
            asked.append(str(message))
            server.send(message)

        route.on_message(pass_on)

    mara.context.route_web_socket("**/socket.io/**", between)
    page = mara.signed_in(f"/tasks/{task['id']}")
    pages[-1].send('42["missed",{}]')
    wait_for(page, lambda: len([message for message in asked if '"join"' in message]) == 2)


def test_a_replay_that_breaks_off_is_not_heard_twice(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    replayed = "42" + json.dumps(["task.created", {"id": 0, "by": 0, "title": title}, "epoch-7"])
    connections: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        connections.append(route)
        number = len(connections)

        def pass_on(message: str | bytes) -> None:
            if not str(message).startswith("40") or number == 1:
                route.send(message)
                return
            route.send(replayed)
            if number == 2:
                route.close()
            else:
                route.send(message)

        server.on_message(pass_on)

    mara.context.route_web_socket("**/socket.io/**", between)
    page = mara.signed_in("/tasks")
    page.evaluate(COUNT_WORDS)
    connections[0].close()
    expect(page.locator("#announcements")).to_have_text(f"New: {title}")
    connected(page)
    assert len(connections) == 3
    assert page.evaluate("window.said") == 1
