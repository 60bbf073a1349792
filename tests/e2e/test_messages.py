"""Two people talk."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.e2e.people import Person, connected, mark, not_reloaded

People = Callable[..., Person]


def user_id(person: Person) -> int:
    return person.api.get(f"{person.site.url}/api/me", timeout=30).json()["id"]


def channel_of(person: Person, *members: Person, **fields: Any) -> dict[str, Any]:
    """A channel made by the API."""
    body = {"name": f"Stock {secrets.token_hex(4)}", "member_ids": [user_id(one) for one in members], **fields}
    answer = person.api.post(f"{person.site.url}/api/channels", json=body, timeout=30)
    assert answer.status_code == 201, answer.text
    return answer.json()


def say(person: Person, channel: dict[str, Any], text: str) -> dict[str, Any]:
    """A message sent by the API, as by a colleague elsewhere."""
    address = f"{person.site.url}/api/channels/{channel['id']}/messages"
    answer = person.api.post(address, json={"text": text}, timeout=30)
    assert answer.status_code == 201, answer.text
    return answer.json()


def messages(page: Page) -> Locator:
    return page.get_by_role("log").get_by_role("listitem").locator(".message-text")


def write(page: Page, text: str) -> None:
    page.get_by_placeholder("Message to").fill(text)
    page.keyboard.press("Enter")
    expect(page.get_by_placeholder("Message to")).to_have_value("")


def test_two_people_talk(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    channel = channel_of(mara, jonas)
    page, other = (one.signed_in(f"/messages/{channel['id']}") for one in (mara, jonas))
    mark(other)
    write(page, "Is it <b>here</b>?")
    expect(messages(other)).to_have_text(["Is it <b>here</b>?"])
    write(other, "It is.")
    write(other, "On the\nsecond shelf.")
    for one in (page, other):
        expect(messages(one)).to_have_text(["Is it <b>here</b>?", "It is.", "On the\nsecond shelf."])
    assert not_reloaded(other)


def test_a_direct_conversation_begins_with_a_person_and_rings_at_theirs(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody(f"Jonas{secrets.token_hex(3)}")
    work = jonas.signed_in("/")
    page = mara.signed_in("/messages")
    page.keyboard.press("c")
    page.get_by_label("Person").select_option(jonas.name)
    page.get_by_role("button", name="Write").click()
    expect(page.get_by_role("heading", name=jonas.name)).to_be_visible()
    connected(page)
    write(page, f"Hello @{jonas.name}")
    expect(work.get_by_role("link", name="Messages 1 unread, you are mentioned")).to_be_visible()
    expect(work.get_by_text("Mara mentioned you in a message")).to_be_visible()
    work.keyboard.press("g")
    work.keyboard.press("m")
    work.get_by_role("link", name="Mara 1 unread, you are mentioned").click()
    expect(work.locator(".mention")).to_have_text(f"@{jonas.name}")
    # Having it before one's eyes is having read it, in every tab.
    expect(work.get_by_role("link", name="Messages", exact=True)).to_be_visible()
    expect(work.get_by_role("link", name="Mara", exact=True)).to_be_visible()


def test_ones_own_message_is_edited_and_deleted_and_the_other_sees_it(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    channel = channel_of(mara, jonas)
    page, other = (one.signed_in(f"/messages/{channel['id']}") for one in (mara, jonas))
    write(page, "First")
    say(jonas, channel, "Not mine")
    expect(page.get_by_role("link", name="Edit this message")).to_have_count(1)
    page.locator(".message").first.hover()
    page.get_by_role("link", name="Edit this message").click()
    expect(page.get_by_label("Your message")).to_have_value("First")
    page.get_by_label("Your message").fill("First, mended")
    # What happens meanwhile leaves the form alone.
    say(jonas, channel, "Meanwhile")
    expect(messages(page)).to_have_text(["Not mine", "Meanwhile"])
    page.get_by_role("button", name="Save").click()
    for one in (page, other):
        expect(messages(one)).to_have_text(["First, mended", "Not mine", "Meanwhile"])
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator(".message").first.hover()
    page.get_by_role("button", name="Delete this message").click()
    for one in (page, other):
        expect(messages(one)).to_have_text(["Not mine", "Meanwhile"])
        expect(one.get_by_text("This message was deleted.")).to_be_visible()


def test_what_was_written_while_the_connection_was_lost_is_there_when_it_is_back(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    channel = channel_of(mara, jonas)
    first = say(jonas, channel, "Before")
    page = mara.signed_in(f"/messages/{channel['id']}")
    mark(page)
    mara.expected += "|ERR_INTERNET_DISCONNECTED"
    mara.context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    expect(page.locator("[data-connection]").last).to_have_attribute("data-state", "lost")
    address = f"{jonas.site.url}/api/messages/{first['id']}"
    assert jonas.api.patch(address, json={"text": "Before, mended"}, timeout=30).status_code == 200
    for number in range(3):
        say(jonas, channel, f"Meanwhile {number}")
    mara.context.set_offline(False)
    connected(page)
    expect(messages(page)).to_have_text(["Before, mended", "Meanwhile 0", "Meanwhile 1", "Meanwhile 2"])
    assert not_reloaded(page)


def test_the_newest_message_is_in_view_unless_somebody_reads_older_ones(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    channel = channel_of(mara, jonas)
    for number in range(60):
        say(jonas, channel, f"Number {number}")
    page = mara.signed_in(f"/messages/{channel['id']}")
    expect(messages(page).last).to_have_text("Number 59")
    expect(messages(page).last).to_be_in_viewport()
    say(jonas, channel, "Number 60")
    expect(page.get_by_text("Number 60", exact=True)).to_be_in_viewport()
    page.get_by_text("Number 20", exact=True).scroll_into_view_if_needed()
    say(jonas, channel, "Number 61")
    expect(messages(page).last).to_have_text("Number 61")
    expect(messages(page).last).not_to_be_in_viewport()
    expect(page.get_by_text("Number 20", exact=True)).to_be_in_viewport()
    page.get_by_role("link", name="Older messages").click()
    expect(messages(page)).to_have_text([f"Number {number}" for number in range(10)])
    page.get_by_role("link", name="Show the newest").click()
    expect(messages(page).last).to_be_in_viewport()


def test_a_channel_is_created_found_joined_and_left(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    name = f"Stock {secrets.token_hex(4)}"
    page = mara.signed_in("/messages/new")
    page.get_by_label("Name").fill(name)
    page.get_by_label("What it is about").fill("What came and what went")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    connected(page)
    write(page, f"The pallets of {name} are here, see https://example.com/pallets.")
    other = jonas.signed_in(f"/messages/search?q={name.split()[1]}")
    other.get_by_role("link", name="show this message where it was written").click()
    expect(other.get_by_role("link", name="https://example.com/pallets")).to_have_attribute(
        "rel", re.compile("noopener")
    )
    other.get_by_role("link", name="Show the newest").click()
    other.get_by_role("button", name="Join").click()
    connected(other)
    write(other, "Thank you")
    expect(messages(page).last).to_have_text("Thank you")
    other.get_by_role("link", name="about this channel").click()
    expect(other.get_by_role("listitem").filter(has_text="Mara")).to_contain_text("created this channel")
    other.once("dialog", lambda dialog: dialog.accept())
    other.get_by_role("button", name="Leave").click()
    expect(other).to_have_url(f"{jonas.site.url}/messages")


def test_a_new_name_is_seen_by_those_who_read(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    channel = channel_of(mara, jonas)
    page = jonas.signed_in(f"/messages/{channel['id']}")
    mark(page)
    for topic in ("What came", "What went"):
        address = f"{mara.site.url}/api/channels/{channel['id']}"
        assert mara.api.patch(address, json={"topic": topic}, timeout=30).status_code == 200
        expect(page.get_by_text(topic, exact=True)).to_be_visible()
    name = f"Renamed {secrets.token_hex(4)}"
    assert mara.api.patch(address, json={"name": name}, timeout=30).status_code == 200
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_role("link", name=name)).to_be_visible()
    assert not_reloaded(page)


def test_whoever_is_removed_is_told_and_keeps_nothing_that_comes_after(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    channel = channel_of(mara, jonas, private=True)
    say(mara, channel, "Before")
    other = jonas.signed_in(f"/messages/{channel['id']}")
    page = mara.signed_in(f"/messages/{channel['id']}/about")
    jonas.expected += "|status of 404"
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove Jonas").click()
    expect(page.get_by_role("button", name="Remove Jonas")).to_have_count(0)
    expect(other.get_by_text("You are no longer in this conversation")).to_be_visible()
    expect(other.get_by_placeholder("Message to")).to_have_count(0)
    say(mara, channel, "After")
    other.reload()
    expect(other.get_by_text("There is no such thing")).to_be_visible()


def test_messages_work_without_scripts(somebody: People) -> None:
    mara = somebody("Mara", java_script_enabled=False)
    channel = channel_of(mara)
    page = mara.signed_in(f"/messages/{channel['id']}", live=False)
    page.get_by_placeholder("Message to").fill("Written without scripts")
    page.get_by_role("button", name="Send").click()
    expect(messages(page)).to_have_text(["Written without scripts"])
    page.get_by_role("link", name="Edit this message").click(force=True)
    page.get_by_label("Your message").fill("Mended without scripts")
    page.get_by_role("button", name="Save").click()
    expect(messages(page)).to_have_text(["Mended without scripts"])


def test_names_are_offered_behind_an_at(somebody: People) -> None:
    mara, jonas, other = somebody("Mara"), somebody("Jonasz"), somebody("Jonasza")
    channel = channel_of(mara, jonas, private=True)
    page = mara.signed_in(f"/messages/{channel['id']}")
    field = page.get_by_placeholder("Message to")
    field.press_sequentially("Ask @jon")
    # Only members: nobody else is called from a channel that is not public.
    expect(page.get_by_role("listbox", name="Names").get_by_role("option")).to_have_text(["Jonasz"])
    expect(field).to_have_attribute("aria-activedescendant", "mention-0")
    page.keyboard.press("Enter")
    expect(field).to_have_value("Ask @Jonasz ")
    expect(page.get_by_role("listbox")).to_have_count(0)
    field.press_sequentially("soon")
    page.keyboard.press("Enter")
    expect(messages(page).locator(".mention")).to_have_text(["@Jonasz"])
    public = channel_of(mara)
    page = mara.signed_in(f"/messages/{public['id']}")
    field = page.get_by_placeholder("Message to")
    field.press_sequentially("@jonasz")
    expect(page.get_by_role("option", name=other.name, exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0)
    expect(field).to_be_focused()
    field.press_sequentially("a")
    page.wait_for_timeout(500)
    expect(page.get_by_role("listbox")).to_have_count(0)


def test_a_new_public_channel_appears_in_the_lists_of_others(somebody: People) -> None:
    mara, jonas = somebody("Mara"), somebody("Jonas")
    page = jonas.signed_in("/messages")
    mark(page)
    channel = channel_of(mara)
    expect(page.get_by_role("navigation", name="Conversations").get_by_text(channel["name"])).to_be_visible()
    assert not_reloaded(page)
