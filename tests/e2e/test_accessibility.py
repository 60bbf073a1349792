"""For everyone: by keyboard, by screen reader, in both themes, on a phone; and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.people import Person, Site

People = Callable[..., Person]
SIZES = {"wide": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}

RED_OF_SIDEBAR = """
  (() => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = getComputedStyle(document.querySelector(".sidebar")).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data[0];
  })()
"""


def violations(page: Page, axe: str) -> list[str]:
    """What axe finds wrong with the page as it is now, one line each."""
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
    )
    return [
        f"{rule['id']} ({rule['help']}): {node['html'][:160]} -- {node['any'][0]['message'] if node['any'] else ''}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing(somebody: People, title: str, axe: str, scheme: str, size: str) -> None:
    mara = somebody("Mara", color_scheme=scheme, viewport=SIZES[size], bypass_csp=True, reduced_motion="reduce")
    mara.expected += "|status of 404"
    jonas = somebody("Jonas")
    task = mara.create_task(title, priority=1, due_date="2020-02-29", description="Some words")
    mara.api.post(f"{mara.site.url}/api/tasks/{task['id']}/comments", json={"text": "A comment"}, timeout=30)
    channel = mara.api.post(f"{mara.site.url}/api/channels", json={"name": title}, timeout=30).json()["id"]
    links = [{"url": "https://example.com", "title": "A link"}]
    message = {"text": f"A message that names @{mara.name}", "links": links}
    mara.api.post(f"{mara.site.url}/api/channels/{channel}/messages", json=message, timeout=30)
    talk = f"/messages/{channel}"
    talks = ("/messages", "/messages/new", "/messages/search?q=message", talk, f"{talk}?before=2", f"{talk}/about")
    found: dict[str, list[str]] = {}
    page = mara.page()
    page.goto("/sign-in")
    found["sign-in"] = violations(page, axe)
    mara.sign_in(page, "not the password")
    expect(page.get_by_role("alert")).to_be_visible()
    found["wrong password"] = violations(page, axe)
    mara.sign_in(page)
    expect(page.get_by_role("heading", name="My work")).to_be_visible()
    nothing = "/tasks?q=nothing+has+this+title"
    for path in ("/", "/tasks", nothing, f"/tasks/{task['id']}", *talks, "/account/password", "/nowhere"):
        page.goto(path)
        found[path] = violations(page, axe)
    page.goto(f"/tasks/{task['id']}?edit=true")
    page.get_by_label("Title").fill(f"{title} by Mara")
    jonas.change_task(task, title=f"{title} by Jonas")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("changed the same at the same time")).to_be_visible()
    found["conflict"] = violations(page, axe)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Search and go")).to_be_visible()
    found["palette"] = violations(page, axe)
    assert not any(found.values()), "\n".join(f"{where}: {line}" for where, lines in found.items() for line in lines)


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_on_the_page_of_the_system(site: Site, browser: Browser, axe: str, size: str) -> None:
    """Which only an administrator has; after it has fetched itself again it is as before."""
    options = {"viewport": SIZES[size], "bypass_csp": True, "reduced_motion": "reduce"}
    administrator = Person(site, browser, site.email, site.password, **options)
    page = administrator.signed_in("/system")
    moment = page.locator("#problems .number")
    first = moment.text_content()
    expect(page.locator("#instances tbody tr").first).to_contain_text("instance-1")
    expect(moment).not_to_have_text(first)
    assert violations(page, axe) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    administrator.leave()


def test_the_page_can_be_walked_by_tab(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    mara.create_task(title)
    page = mara.signed_in("/tasks")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    walked = []
    for _ in range(9):
        page.keyboard.press("Tab")
        walked.append(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
                " || document.activeElement.value || document.activeElement.textContent.trim()"
            )
        )
    # Filters, the line for a new task, then the rows: the order in which they are read.
    assert walked[0] == "q"
    assert walked.index("assignee") < walked.index("new-title") < walked.index("new-assignee")
    assert walked.index("new-assignee") < walked.index(f"Close “{title}”") < walked.index(title)


def test_focus_can_be_seen(somebody: People) -> None:
    page = somebody("Mara").signed_in("/")
    for _ in range(6):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
        )
        assert style == ["solid", "2px"], page.evaluate("document.activeElement.outerHTML")


def test_keys_go_everywhere(somebody: People, title: str) -> None:
    mara = somebody("Mara")
    task = mara.create_task(title)
    page = mara.signed_in("/")
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page).to_have_url(f"{mara.site.url}/tasks")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name=title)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{mara.site.url}/tasks/{task['id']}")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys of this page")).to_contain_text("Edit this task")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("dashb")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{mara.site.url}/")


def test_the_theme_is_the_systems_until_one_is_chosen(somebody: People) -> None:
    mara = somebody("Mara", color_scheme="dark")
    page = mara.signed_in("/")

    def lightness() -> int:
        """How light the side bar is, 0 to 255, whatever notation the browser gives its colour in."""
        return int(page.evaluate(RED_OF_SIDEBAR))

    assert lightness() < 80
    page.get_by_role("button", name="Mara").click()
    page.get_by_text("Light", exact=True).click()
    assert lightness() > 200
    page.reload()
    assert lightness() > 200


def test_a_phone_has_everything_without_scrolling_sideways(somebody: People, title: str) -> None:
    mara = somebody("Mara", viewport=SIZES["phone"], has_touch=True, is_mobile=True)
    task = mara.create_task(f"{title} " + "with a long name that goes on and on " * 4)
    page = mara.signed_in("/")
    body = {"name": "A channel with a long name, as long as one may be, which is eighty", "topic": title * 4}
    channel = mara.api.post(f"{mara.site.url}/api/channels", json={**body, "private": True}, timeout=30).json()["id"]
    words = {"text": "https://example.com/" + "long" * 50}
    mara.api.post(f"{mara.site.url}/api/channels/{channel}/messages", json=words, timeout=30)
    talks = ("/messages", f"/messages/{channel}", f"/messages/{channel}/about", "/messages/new")
    for path in ("/", "/tasks", f"/tasks/{task['id']}", f"/tasks/{task['id']}?edit=true", *talks):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"]["width"], path
    page.get_by_role("button", name="Menu").tap()
    page.get_by_role("link", name="Dashboard").tap()
    expect(page).to_have_url(f"{mara.site.url}/")


def test_nothing_comes_from_elsewhere_and_the_policy_is_strict(somebody: People) -> None:
    mara = somebody("Mara")
    page = mara.page()
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    answer = page.goto("/sign-in")
    assert answer is not None
    mara.sign_in(page)
    expect(page.get_by_role("heading", name="My work")).to_be_visible()
    page.goto("/tasks")
    assert hosts == {urlsplit(mara.site.url).netloc}
    header = answer.header_value("content-security-policy") or ""
    policy = dict(part.strip().split(" ", 1) for part in header.split(";"))
    assert {name: policy.get(name) for name in POLICY} == POLICY
    assert "unsafe" not in header
    assert "http" not in policy["connect-src"]
