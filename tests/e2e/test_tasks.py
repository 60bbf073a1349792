"""Working with tasks, alone and beside others."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from tests.e2e.people import Person, mark, not_reloaded

People = Callable[..., Person]


def row(page: Page, title: str):  # type: ignore[no-untyped-def]
    """The row of a task in the list."""
    return page.get_by_role("row").filter(has_text=title)


def test_a_new_task_appears_in_another_browser_whichever_instance_made_it(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    watching = jonas.signed_in("/tasks")
    mark(watching)
    page = mara.signed_in("/tasks")
    makers: set[str | None] = set()
    # The watcher's socket ends at one instance; of two different makers at least one is another.
    for number in range(1, 40):
        # Requests take turns among the instances: more and more between ours, so that ours do not all meet one.
        for _ in range(number % 5):
            mara.api.get(f"{mara.site.url}/api/me", timeout=30)
        page.keyboard.press("Escape")
        page.keyboard.press("c")
        page.keyboard.type(f"{title} no. {number}.")
        with page.expect_response(lambda answer: answer.request.method == "POST") as made:
            page.keyboard.press("Enter")
        makers.add(made.value.header_value("x-instance"))
        expect(page.get_by_label("Title of a new task")).to_have_value("")
        expect(row(page, f"{title} no. {number}.")).to_be_visible()
        expect(row(watching, f"{title} no. {number}.")).to_be_visible()
        if len(makers) > 1:
            break
    assert len(makers) > 1, f"every task was made by {makers}: this site has one instance"
    assert not_reloaded(watching)


def test_an_edit_is_saved_and_told_in_the_activity(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    task = mara.create_task(title)
    page = mara.signed_in(f"/tasks/{task['id']}")
    page.keyboard.press("e")
    expect(page.get_by_label("Title")).to_be_focused()
    page.get_by_label("Title").fill(f"{title}, twice")
    page.get_by_label("Description").fill("First line\nSecond <b>line</b>")
    page.get_by_label("Priority").select_option("Urgent")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{title}, twice")
    expect(page.get_by_role("link", name="Edit")).to_be_focused()
    expect(page.get_by_label("Facts")).to_contain_text("Urgent")
    expect(page.get_by_role("region", name="Activity")).to_contain_text(f"changed the title from {title}")
    page.reload()
    expect(page.locator("#task-document")).to_contain_text("Second <b>line</b>")


def test_escape_leaves_the_form_unless_something_was_typed(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    task = mara.create_task(title, description="As it was")
    page = mara.signed_in(f"/tasks/{task['id']}")
    page.keyboard.press("e")
    expect(page.get_by_label("Title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    page.keyboard.press("e")
    page.get_by_label("Description").fill("Half a sen")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Description")).not_to_be_focused()
    expect(page.get_by_label("Description")).to_have_value("Half a sen")
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("#task-document")).to_contain_text("As it was")


def test_two_people_change_different_fields_and_both_changes_stand(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    task = mara.create_task(title)
    page = mara.signed_in(f"/tasks/{task['id']}?edit=true")
    page.get_by_label("Title").fill(f"{title} by Mara")
    jonas.change_task(task, description="Written by Jonas")
    expect(page.get_by_text("Somebody changed this task just now")).to_be_visible()
    expect(page.get_by_label("Title")).to_have_value(f"{title} by Mara")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{title} by Mara")
    expect(page.locator("#task-document")).to_contain_text("Written by Jonas")


def test_a_change_elsewhere_leaves_the_focus_where_somebody_types(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    task = mara.create_task(title)
    page = mara.signed_in(f"/tasks/{task['id']}?edit=true")
    expect(page.get_by_label("Title")).to_be_focused()
    page.get_by_label("Description").focus()
    for word in ("one", "two", "three"):
        page.keyboard.type(f"{word} ")
        jonas.api.post(f"{jonas.site.url}/api/tasks/{task['id']}/comments", json={"text": word}, timeout=30)
        expect(page.get_by_role("region", name="Activity").get_by_text(word, exact=True)).to_be_visible()
        expect(page.get_by_label("Description")).to_be_focused()
    expect(page.get_by_label("Description")).to_have_value("one two three ")


def test_two_people_change_the_same_field_and_the_second_decides(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    task = mara.create_task(title, description="As it was")
    page = mara.signed_in(f"/tasks/{task['id']}?edit=true")
    page.get_by_label("Title").fill(f"{title} by Mara")
    page.get_by_label("Description").fill("Mara's words")
    jonas.change_task(task, title=f"{title} by Jonas", description="The words of Jonas")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").filter(has_text="Jonas changed the same")).to_be_visible()
    expect(page.get_by_label("Title")).to_have_value(f"{title} by Mara")
    expect(page.get_by_label("Description")).to_have_value("Mara's words")
    expect(page.locator("#task-document")).to_contain_text("The words of Jonas")
    page.locator(".field", has=page.get_by_label("Description")).get_by_role("button", name="Take this").click()
    expect(page.get_by_label("Description")).to_have_value("The words of Jonas")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{title} by Mara")
    expect(page.locator("#task-document")).to_contain_text("The words of Jonas")


def test_a_comment_appears_at_the_other_and_leaves_what_is_being_typed(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    task = mara.create_task(title)
    reading = jonas.signed_in(f"/tasks/{task['id']}")
    reading.get_by_label("Comment", exact=True).fill("Half a sen")
    page = mara.signed_in(f"/tasks/{task['id']}")
    page.get_by_label("Comment", exact=True).fill("It is <i>done</i> tomorrow.")
    page.get_by_role("button", name="Comment").click()
    for one in (page, reading):
        expect(one.get_by_role("region", name="Activity")).to_contain_text("It is <i>done</i> tomorrow.")
    expect(page.get_by_label("Comment", exact=True)).to_have_value("")
    expect(reading.get_by_label("Comment", exact=True)).to_have_value("Half a sen")
    expect(reading.get_by_label("Comment", exact=True)).to_be_focused()


def test_assigning_closing_and_reopening(somebody: People, title: str) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    task = mara.create_task(title)
    work = jonas.signed_in("/")
    expect(work.get_by_role("region", name="My work")).not_to_contain_text(title)
    page = mara.signed_in(f"/tasks/{task['id']}")
    jonas_id = jonas.api.get(f"{jonas.site.url}/api/me", timeout=30).json()["id"]
    page.get_by_label("Assignee").select_option(str(jonas_id))
    expect(work.get_by_role("region", name="My work")).to_contain_text(title)
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.get_by_label("Facts")).to_contain_text("Done")
    expect(work.get_by_role("region", name="My work")).not_to_contain_text(title)
    page.get_by_role("button", name="Reopen").click()
    expect(page.get_by_label("Facts")).to_contain_text("Open")
    expect(page.get_by_role("region", name="Activity")).to_contain_text("reopened this")


def test_the_last_of_two_quick_choices_stands(somebody: People, title: str) -> None:
    # Playwright sends the first request on by itself, past the browser's trust in the certificate.
    mara, jonas = somebody("Mara", ignore_https_errors=True), somebody("Jonas")
    task = mara.create_task(title)
    page = mara.signed_in(f"/tasks/{task['id']}")
    jonas_id, mara_id = (one.api.get(f"{one.site.url}/api/me", timeout=30).json()["id"] for one in (jonas, mara))
    held: list[Route] = []
    page.route("**/assignee", lambda route: route.continue_() if held else held.append(route))
    page.get_by_label("Assignee").select_option(str(jonas_id))
    while not held:
        page.wait_for_timeout(20)
    # The first is done, and while its answer is on its way the second choice is made.
    done = held[0].fetch()
    page.get_by_label("Assignee").select_option(str(mara_id))
    held[0].fulfill(response=done)
    expect(page.get_by_role("region", name="Activity")).to_contain_text("gave this to Mara")
    expect(page.get_by_label("Assignee")).to_have_value(str(mara_id))
    expect(page.locator(".toast")).to_have_count(0)


def test_filters_are_in_the_address_and_going_back_undoes_them(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    mara.create_task(f"{title} open")
    mara.change_task(mara.create_task(f"{title} finished"), status="done")
    page = mara.signed_in("/tasks")
    page.keyboard.press("/")
    page.keyboard.type(title)
    expect(page).to_have_url(re.compile(r"/tasks\?q=[^&]+$"))
    expect(page.get_by_role("row").filter(has=page.get_by_role("cell"))).to_have_count(2)
    page.get_by_text("Done", exact=True).first.click()
    expect(page).to_have_url(re.compile("status=done"))
    expect(row(page, f"{title} open")).to_have_count(0)
    expect(row(page, f"{title} finished")).to_be_visible()
    page.reload()
    expect(row(page, f"{title} open")).to_have_count(0)
    page.go_back()
    expect(row(page, f"{title} open")).to_be_visible()
    expect(page.get_by_role("radio", name="All")).to_be_checked()


def test_a_long_list_has_pages(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    for number in range(5):
        mara.create_task(f"{title} no. {number}")
    page = mara.signed_in(f"/tasks?q={title.replace(' ', '+')}&limit=2")
    seen = []
    while True:
        seen += page.locator(".row-link").all_inner_texts()
        older = page.get_by_role("link", name="Older")
        if not older.count():
            break
        address = page.url
        older.click()
        expect(page).not_to_have_url(address)
    assert seen == [f"{title} no. {number}" for number in (4, 3, 2, 1, 0)]
    page.get_by_role("link", name="Newest").click()
    expect(row(page, f"{title} no. 4")).to_be_visible()


def test_closing_in_the_list_changes_the_row_where_it_stands(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    mara.create_task(title)
    page = mara.signed_in("/tasks")
    page.get_by_role("button", name=f"Close “{title}”").click()
    expect(row(page, title)).to_contain_text("Done")
    expect(page.get_by_role("button", name=f"Reopen “{title}”")).to_be_focused()
