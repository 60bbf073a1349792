"""Channels and messages by the API: who sees what, in which order, and what is unread."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.conftest import Client
from tests.integration.talk import create, read, row, say, texts


def test_write_edit_and_delete(mara, jonas):
    channel = create(mara, jonas)
    links = [{"url": "https://example.com/plan?x=1", "title": "The plan"}]
    message = say(mara, channel, "  It is <b>done</b>.\nReally. ", links=links)
    assert (message["text"], message["links"]) == ("It is <b>done</b>.\nReally.", links)
    assert (message["author"], message["number"], message["change"]) == ({"id": mara.user_id, "name": mara.name}, 1, 1)
    edited = mara.patch(f"/api/messages/{message['id']}", json={"text": "It is not."}).json()
    assert (edited["text"], edited["links"], edited["number"], edited["change"]) == ("It is not.", links, 1, 2)
    assert edited["edited_at"] is not None
    assert mara.patch(f"/api/messages/{message['id']}", json={"text": "It is not."}).json() == edited
    assert mara.delete(f"/api/messages/{message['id']}").status_code == 204
    gone = read(jonas, channel)["items"][0]
    assert (gone["text"], gone["links"], gone["change"], gone["number"]) == ("", [], 3, 1)
    assert gone["deleted_at"] is not None
    assert mara.patch(f"/api/messages/{message['id']}", json={"text": "back"}).status_code == 404
    assert mara.delete(f"/api/messages/{message['id']}").status_code == 404


def test_only_its_author_changes_a_message(mara, jonas, admin):
    channel = create(mara, jonas, admin)
    message = say(mara, channel)
    for other in (jonas, admin):
        assert other.patch(f"/api/messages/{message['id']}", json={"text": "mine"}).status_code == 403
        assert other.delete(f"/api/messages/{message['id']}").status_code == 403
    assert read(jonas, channel)["items"] == [message]


def test_a_private_channel_is_not_there_for_others(mara, jonas, somebody):
    channel = create(mara, jonas, private=True)
    message = say(mara, channel)
    stranger = somebody()
    where = f"/api/channels/{channel}"
    answers = [
        stranger.get(where),
        stranger.get(f"{where}/messages"),
        stranger.get(f"{where}/messages", params={"since": 0}),
        stranger.patch(where, json={"topic": "mine"}),
        stranger.post(f"{where}/messages", json={"text": "let me in"}),
        stranger.put(f"{where}/members/{stranger.user_id}"),
        stranger.delete(f"{where}/members/{mara.user_id}"),
        stranger.put(f"{where}/read", json={"message_id": message["id"]}),
        stranger.get(f"/api/messages/{message['id']}"),
        stranger.patch(f"/api/messages/{message['id']}", json={"text": "mine"}),
        stranger.delete(f"/api/messages/{message['id']}"),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    # Whether a channel is private or does not exist cannot be told apart.
    nothing = stranger.get(f"/api/channels/{channel + 10**6}").json()["detail"]
    assert answers[0].json()["detail"] == nothing.replace(str(channel + 10**6), str(channel))
    assert row(stranger, channel) is None
    assert row(jonas, channel)["joined"] is True


def test_without_the_permission_nothing_is_there(mara, admin):
    channel = create(mara)
    user = admin.get(f"/api/users/{mara.user_id}").json()
    admin.patch(f"/api/users/{mara.user_id}", json={"version": user["version"], "roles": []})
    for path in ("/api/channels", f"/api/channels/{channel}", "/api/messages/search?q=x", "/api/messages/unread"):
        assert mara.get(path).status_code == 403


def test_a_public_channel_is_read_by_everybody_and_written_by_its_members(mara, jonas):
    channel = create(mara)
    say(mara, channel, "before Jonas")
    assert texts(read(jonas, channel)) == ["before Jonas"]
    refused = jonas.post(f"/api/channels/{channel}/messages", json={"text": "hello"})
    assert (refused.status_code, "Join it first" in refused.json()["detail"]) == (403, True)
    assert jonas.put(f"/api/channels/{channel}/members/{jonas.user_id}").status_code == 204
    # What was said before is no burden.
    assert row(jonas, channel)["unread"] == 0
    say(jonas, channel, "hello")
    assert jonas.delete(f"/api/channels/{channel}/members/{jonas.user_id}").status_code == 204
    assert jonas.post(f"/api/channels/{channel}/messages", json={"text": "hello?"}).status_code == 403
    assert texts(read(jonas, channel)) == ["before Jonas", "hello"]


def test_whoever_is_removed_from_a_private_channel_sees_nothing_more_at_once(mara, jonas, instances):
    channel = create(mara, jonas, private=True)
    say(mara, channel, "secret")
    elsewhere = jonas.at(instances[1])
    assert texts(read(elsewhere, channel)) == ["secret"]
    assert jonas.delete(f"/api/channels/{channel}/members/{mara.user_id}").status_code == 403
    assert mara.delete(f"/api/channels/{channel}/members/{jonas.user_id}").status_code == 204
    assert elsewhere.get(f"/api/channels/{channel}/messages").status_code == 404
    assert elsewhere.post(f"/api/channels/{channel}/messages", json={"text": "x"}).status_code == 404
    assert elsewhere.get("/api/messages/search", params={"q": "secret"}).json()["items"] == []
    assert mara.put(f"/api/channels/{channel}/members/{jonas.user_id}").status_code == 204
    assert texts(read(elsewhere, channel)) == ["secret"]


def test_the_last_member_of_a_private_channel_archives_it_instead_of_leaving(mara):
    channel = create(mara, private=True)
    assert mara.delete(f"/api/channels/{channel}/members/{mara.user_id}").status_code == 403
    archived = mara.patch(f"/api/channels/{channel}", json={"archived": True}).json()
    assert archived["archived_at"] is not None


def test_an_archived_channel_is_only_read(mara, jonas):
    channel = create(mara, jonas)
    message = say(mara, channel)
    assert jonas.patch(f"/api/channels/{channel}", json={"archived": True}).status_code == 403
    mara.patch(f"/api/channels/{channel}", json={"archived": True})
    answers = [
        mara.post(f"/api/channels/{channel}/messages", json={"text": "x"}),
        mara.patch(f"/api/messages/{message['id']}", json={"text": "x"}),
        mara.patch(f"/api/channels/{channel}", json={"topic": "x"}),
        mara.put(f"/api/channels/{channel}/members/{jonas.user_id}"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert row(jonas, channel)["unread"] == 0
    assert read(jonas, channel)["items"] == [message]
    assert mara.patch(f"/api/channels/{channel}", json={"archived": False}).json()["archived_at"] is None
    say(mara, channel)


def test_public_names_are_unique_and_private_ones_tell_nothing(mara, jonas):
    name = f"Stock {uuid.uuid4().hex}"
    channel = create(mara, name=name)
    taken = jonas.post("/api/channels", json={"name": name.upper()})
    assert (taken.status_code, taken.json()["errors"][0]["path"]) == (422, "/name")
    create(jonas, name=name, private=True)
    other = create(jonas)
    assert jonas.patch(f"/api/channels/{other}", json={"name": name}).status_code == 422
    mara.patch(f"/api/channels/{channel}", json={"archived": True})
    assert jonas.patch(f"/api/channels/{other}", json={"name": name}).json()["name"] == name
    assert mara.patch(f"/api/channels/{channel}", json={"archived": False}).status_code == 422


def test_two_people_have_one_conversation_whoever_opens_it(mara, jonas, somebody):
    opened = mara.post("/api/direct", json={"user_id": jonas.user_id}).json()
    assert (opened["kind"], opened["person"]["id"], opened["name"]) == ("direct", jonas.user_id, jonas.name)
    # Nothing was said yet, so nobody is bothered.
    assert row(jonas, opened["id"]) is None
    say(mara, opened["id"], "hello")
    again = jonas.post("/api/direct", json={"user_id": mara.user_id}).json()
    assert (again["id"], again["name"], again["unread"]) == (opened["id"], mara.name, 1)
    stranger = somebody()
    assert stranger.get(f"/api/channels/{opened['id']}").status_code == 404
    where = f"/api/channels/{opened['id']}"
    assert mara.put(f"{where}/members/{stranger.user_id}").status_code == 403
    assert mara.delete(f"{where}/members/{mara.user_id}").status_code == 403
    assert mara.patch(where, json={"name": "ours"}).status_code == 403
    assert mara.post("/api/direct", json={"user_id": mara.user_id}).status_code == 422
    assert mara.post("/api/direct", json={"user_id": 10**9}).status_code == 422


def test_unread_and_read_marks(mara, jonas):
    channel, other = create(mara, jonas), create(mara, jonas, private=True)
    first, second, third = (say(mara, channel, f"number {n}") for n in (1, 2, 3))
    say(mara, other)
    say(jonas, channel, "my own is not unread")
    assert (row(jonas, channel)["unread"], row(jonas, other)["unread"]) == (3, 1)
    assert jonas.get("/api/messages/unread").json() == {"unread": 4, "mentioned": False}

    def mark(message: dict) -> int:
        answer = jonas.put(f"/api/channels/{channel}/read", json={"message_id": message["id"]})
        assert answer.status_code == 200, answer.text
        return answer.json()["unread"]

    assert mark(second) == 2
    # A tab that is behind does not take it back.
    assert mark(first) == 2
    assert row(jonas, channel)["read_number"] == second["number"]
    mara.delete(f"/api/messages/{third['id']}")
    assert row(jonas, channel)["unread"] == 0
    elsewhere = jonas.put(f"/api/channels/{other}/read", json={"message_id": first["id"]})
    assert elsewhere.status_code == 422


def test_unread_is_counted_to_a_hundred(mara, jonas, sql):
    channel = create(mara, jonas)
    sql(
        "INSERT INTO message (channel_id, number, change, author_id, text, links, created_at)"
        f" SELECT {channel}, n, n, {mara.user_id}, 'many', '[]', now() FROM generate_series(1, 150) AS n"
    )
    assert row(jonas, channel)["unread"] == 100


def test_mentions_are_resolved_when_they_are_written(mara, jonas, somebody):
    stranger = somebody("Stranger")
    channel = create(mara, jonas, private=True)
    message = say(mara, channel, f"@{jonas.name.upper()}, ask @{stranger.name} or info@{jonas.name}")
    # Somebody outside of a private channel is not called into it.
    assert message["mentions"] == [{"id": jonas.user_id, "name": jonas.name}]
    assert row(jonas, channel)["mentioned"] is True
    assert jonas.get("/api/messages/unread").json() == {"unread": 1, "mentioned": True}
    edited = mara.patch(f"/api/messages/{message['id']}", json={"text": "nobody"}).json()
    assert edited["mentions"] == []
    assert row(jonas, channel)["mentioned"] is False
    public = create(mara)
    assert say(mara, public, f"@{stranger.name}")["mentions"][0]["id"] == stranger.user_id


def test_older_messages_come_page_by_page(mara):
    channel = create(mara)
    for number in range(1, 8):
        say(mara, channel, f"number {number}")
    newest = read(mara, channel, limit=3)
    assert (texts(newest), newest["next"], newest["change"]) == (["number 5", "number 6", "number 7"], 5, 7)
    older = read(mara, channel, limit=3, before=newest["next"])
    assert (texts(older), older["next"]) == (["number 2", "number 3", "number 4"], 2)
    oldest = read(mara, channel, limit=3, before=older["next"])
    assert (texts(oldest), oldest["next"]) == (["number 1"], None)


def test_since_gives_what_is_new_edited_and_deleted(mara):
    channel = create(mara)
    messages = [say(mara, channel, f"number {n}") for n in range(1, 5)]
    since = read(mara, channel)["change"]
    assert read(mara, channel, since=since) == {"items": [], "next": None, "change": since}
    mara.patch(f"/api/messages/{messages[0]['id']}", json={"text": "edited"})
    mara.delete(f"/api/messages/{messages[1]['id']}")
    mara.patch(f"/api/messages/{messages[0]['id']}", json={"text": "edited twice"})
    say(mara, channel, "number 5")
    found = read(mara, channel, since=since)
    assert [(one["number"], one["text"]) for one in found["items"]] == [(2, ""), (1, "edited twice"), (8, "number 5")]
    assert read(mara, channel, since=found["change"])["items"] == []
    # Page by page the same.
    seen, following = [], 0
    while following is not None:
        part = read(mara, channel, since=following, limit=2)
        seen += [one["number"] for one in part["items"]]
        following = part["next"]
    assert seen == [3, 4, 2, 1, 8]


def test_search_finds_only_what_one_may_see(mara, jonas):
    word = uuid.uuid4().hex
    public, private = create(mara), create(mara, private=True)
    shown, hidden = say(mara, public, f"100% {word}"), say(mara, private, f"also {word}")
    gone = say(mara, public, f"gone {word}")
    mara.delete(f"/api/messages/{gone['id']}")

    def search(who: Client, q: str, **query: object) -> list[int]:
        answer = who.get("/api/messages/search", params={"q": q, **query})
        assert answer.status_code == 200, answer.text
        return [hit["id"] for hit in answer.json()["items"]]

    assert search(mara, word.upper()) == [hidden["id"], shown["id"]]
    assert search(jonas, word) == [shown["id"]]
    assert search(mara, f"% {word}") == [shown["id"]]
    assert search(mara, word, after=hidden["id"]) == [shown["id"]]
    assert search(mara, "") == []
    hit = jonas.get("/api/messages/search", params={"q": word}).json()["items"][0]
    assert hit["channel"]["id"] == public


def test_a_write_that_comes_twice_makes_one_message(mara, instances):
    channel = create(mara)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    where = f"/api/channels/{channel}/messages"
    first = mara.post(where, json={"text": "once"}, headers=key)
    again = mara.at(instances[1]).post(where, json={"text": "once"}, headers=key)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert texts(read(mara, channel)) == ["once"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": "  \n "},
        {"text": "x" * 10_001},
        {"text": "a\0b"},
        {"text": "x", "links": [{"url": "javascript:alert(1)"}]},
        {"text": "x", "links": [{"url": "ftp://example.com"}]},
        {"text": "x", "links": [{"url": "https://"}]},
        {"text": "x", "links": [{"url": "https://bank.example@evil.example"}]},
        {"text": "x", "links": [{"url": "https://a b"}]},
        {"text": "x", "links": [{"url": "https://example.com", "title": "a\0b"}]},
        {"text": "x", "links": [{"url": "https://example.com"}] * 11},
    ],
    ids=range(12),
)
def test_a_wrong_message_is_refused(mara, body):
    channel = create(mara)
    assert mara.post(f"/api/channels/{channel}/messages", json=body).status_code == 422
    assert read(mara, channel)["items"] == []


@pytest.mark.parametrize("query", ["since=-1", "since=x", "since=1&before=2", "before=0", "limit=0", "limit=201"])
def test_a_wrong_query_is_refused(mara, query):
    assert mara.get(f"/api/channels/{create(mara)}/messages?{query}").status_code == 422
