"""Pages that change by themselves, and never under the hands of the one who uses them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.e2e.people import Person, connected, mark, not_reloaded

People = Callable[..., Person]

COUNT_SHIFTS = """
  window.shifted = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => { window.shifted += entry.value; }))
    .observe({ type: "layout-shift", buffered: true });
"""
# A minute between two looks becomes a second; the longest wait for an answer stays.
HASTE = """
  const wait = window.setTimeout;
  window.setTimeout = (act, time, ...more) => wait(act, time > 45000 && time !== 60000 ? 1000 : time, ...more);
"""


def titles(page: Page) -> list[str]:
    return page.locator(".row-link").all_inner_texts()


def test_a_change_elsewhere_moves_nothing_on_the_page(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    tasks = [mara.create_task(f"{title} no. {number}") for number in range(6)]
    page = mara.signed_in("/tasks")
    page.evaluate(COUNT_SHIFTS)
    before = page.evaluate("window.shifted")
    for task in tasks:
        jonas.change_task(task, status="doing", title=f"{task['title']}, and in progress with a rather long title now")
    for task in tasks:
        expect(page.locator(f"#task-{task['id']}")).to_contain_text("In progress")
    assert page.evaluate("window.shifted") == before


def test_rows_wait_while_somebody_points_at_the_list(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    first = mara.create_task(f"{title} one")
    page = mara.signed_in(f"/tasks?q={title.replace(' ', '+')}")
    page.locator(f"#task-{first['id']}").hover()
    jonas.create_task(f"{title} two")
    button = page.get_by_role("button", name="Show what changed")
    expect(button).to_be_visible()
    assert titles(page) == [f"{title} one"]
    # A change of a row that stands is shown all the same.
    jonas.change_task(first, status="doing")
    expect(page.locator(f"#task-{first['id']}")).to_contain_text("In progress")
    assert titles(page) == [f"{title} one"]
    button.click()
    expect(page.locator(".row-link")).to_have_text([f"{title} two", f"{title} one"])
    expect(button).to_be_hidden()


def test_waiting_rows_come_when_the_pointer_leaves(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    first = mara.create_task(f"{title} one")
    page = mara.signed_in(f"/tasks?q={title.replace(' ', '+')}")
    page.locator(f"#task-{first['id']}").hover()
    jonas.create_task(f"{title} two")
    expect(page.get_by_role("button", name="Show what changed")).to_be_visible()
    page.get_by_role("heading", level=1).hover()
    expect(page.locator(".row-link")).to_have_text([f"{title} two", f"{title} one"])


def test_what_happened_while_the_connection_was_lost_is_made_up_for(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    page = mara.signed_in(f"/tasks?q={title.replace(' ', '+')}")
    mark(page)
    mara.expected += "|ERR_INTERNET_DISCONNECTED"
    mara.context.set_offline(True)
    # Closing what is open: offline mode only refuses what is new.
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    expect(page.locator("[data-connection]").last).to_have_attribute("data-state", "lost")
    jonas.create_task(title)
    mara.context.set_offline(False)
    connected(page)
    expect(page.locator(".row-link")).to_have_text([title])
    assert not_reloaded(page)


def test_a_write_is_repeated_with_the_same_key_until_it_gets_through(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    page = mara.signed_in("/tasks")
    keys: list[str | None] = []

    def stumble(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        keys.append(route.request.header_value("idempotency-key"))
        if len(keys) == 1:
            return route.fulfill(status=503, body="draining")
        return route.continue_()

    page.route("**/tasks", stumble)
    for number in (1, 2):
        page.get_by_label("Title of a new task").fill(f"{title} {number}")
        page.keyboard.press("Enter")
        expect(page.locator(".row-link").filter(has_text=f"{title} {number}")).to_have_count(1)
    first, repeated, second = keys
    assert first is not None
    assert first == repeated, "repeating one action must carry one key"
    assert second != first, "another action must carry another key"


def test_a_write_whose_answer_is_lost_is_done_once(somebody: People, title: str) -> None:
    # Playwright sends the first request on by itself, past the browser's trust in the certificate.
    mara = somebody("Mara", ignore_https_errors=True)
    mara.expected += "|ERR_CONNECTION_RESET"
    page = mara.signed_in("/tasks")
    tries: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        tries.append(route.request.method)
        if len(tries) > 1:
            return route.continue_()
        assert route.fetch().ok
        return route.abort("connectionreset")

    page.route("**/tasks", lose_the_first_answer)
    page.get_by_label("Title of a new task").fill(title)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Title of a new task")).to_have_value("")
    assert len(tries) == 2
    found = mara.api.get(f"{mara.site.url}/api/tasks", params={"q": title}, timeout=30).json()["items"]
    assert [task["title"] for task in found] == [title]


def test_what_is_typed_while_a_write_is_under_way_is_sent_after_it(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    page = mara.signed_in("/tasks")
    held: list[Route] = []
    page.route("**/tasks", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
    field = page.get_by_label("Title of a new task")
    for number in (1, 1, 2):
        # The first one twice, as by a key that bounces: that is one task.
        field.fill(f"{title} no. {number}")
        page.keyboard.press("Enter")
    field.fill(f"{title} no. 3, half wri")
    for expected in (1, 2, 3):
        while len(held) < expected:
            page.wait_for_timeout(20)
        held[expected - 1].continue_()
    expect(page.locator(".row-link").filter(has_text=title)).to_have_text([f"{title} no. 2", f"{title} no. 1"])
    expect(field).to_have_value(f"{title} no. 3, half wri")
    page.unroute_all()
    page.keyboard.press("Enter")
    expect(field).to_have_value("")
    expect(page.locator(".row-link").filter(has_text=title)).to_have_count(3)


def test_what_happens_before_the_socket_is_there_is_made_up_for(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    page = mara.signed_in(f"/tasks?q={title.replace(' ', '+')}")
    late: list[Route] = []
    page.route("**/static/app-*.js", lambda route: late.append(route))  # noqa: PLW0108  playwright marks it
    page.reload(wait_until="commit")
    expect(page.get_by_role("heading", name="No task fits")).to_be_visible()
    jonas.create_task(title)
    late[0].continue_()
    connected(page)
    expect(page.locator(".row-link")).to_have_text([title])


@pytest.mark.parametrize(("seconds", "offered"), [(60, 1), (-60, 0)], ids=["made before it", "made after it"])
def test_a_page_made_before_a_release_was_announced_offers_to_load_it(
    somebody: People, seconds: int, offered: int
) -> None:
    """It hears of it when it connects. In the midst of a roll it may be of the next release itself."""
    mara = somebody("Mara")

    def announce_on_connecting(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            route.send(message)
            if str(message).startswith("40"):
                announced = {"release": "another", "at": time.time() + seconds}
                route.send("42" + json.dumps(["release.new", announced]))
                route.send("42" + json.dumps(["task.created", {"id": 0, "by": 0, "title": "The end of the beginning"}]))

        server.on_message(pass_on)

    mara.context.route_web_socket("**/socket.io/**", announce_on_connecting)
    page = mara.signed_in("/tasks")
    expect(page.locator("#announcements")).to_have_text("New: The end of the beginning")
    expect(page.get_by_text("A new version of Hecto is there")).to_have_count(offered)


def test_a_refused_write_says_why_and_keeps_what_was_typed(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    page = mara.signed_in("/tasks")
    field = page.get_by_label("Title of a new task")
    # Typed past the browser's own limit, as a client without it would send.
    field.evaluate("input => input.removeAttribute('maxlength')")
    field.fill(title * 20)
    page.keyboard.press("Enter")
    expect(page.get_by_text("should have at most 200 characters")).to_be_visible()
    expect(field).to_have_value(title * 20)
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill(title)
    expect(page.get_by_text("should have at most 200 characters")).to_have_count(0)


def test_everything_works_without_scripts(somebody: People, title: str) -> None:
    mara = somebody("Mara", java_script_enabled=False)
    page = mara.signed_in("/tasks", live=False)
    page.get_by_label("Title of a new task").fill(title)
    page.get_by_label("Title of a new task").press("Enter")
    page.get_by_role("link", name=title).click()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Description").fill("Written without scripts")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#task-document")).to_contain_text("Written without scripts")
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.get_by_label("Facts")).to_contain_text("Done")


def test_the_dashboard_names_who_comes_and_goes(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    mara.context.add_init_script(HASTE)
    page = mara.signed_in("/")
    mark(page)
    here = page.get_by_role("list", name="Here now").locator(f"#present-{_id(jonas)}")
    expect(page.get_by_role("list", name="Here now").locator(f"#present-{_id(mara)}")).to_be_visible()
    expect(here).to_have_count(0)
    other = jonas.signed_in("/tasks")
    expect(here).to_have_text(re.compile("Jonas$"))
    other.close()
    expect(here).to_have_count(0)
    assert not_reloaded(page)


def _id(person: Person) -> int:
    return int(person.api.get(f"{person.site.url}/api/me", timeout=30).json()["id"])
