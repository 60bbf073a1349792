"""Messages under way: one order for everybody, nothing skipped, and who hears of what."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator

import pytest

from tests.integration.talk import create, read, row, say
from tests.integration.test_live import listen  # noqa: F401  a fixture
from tests.servers import AppInstance, Site, wait_until

# How many statements of instances wait for a lock.
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'hecto_app' AND wait_event_type = 'Lock'"


@pytest.fixture(scope="module")
def generous(site: Site) -> Iterator[tuple[AppInstance, AppInstance]]:
    """Two instances whose rate limit does not end a minute of asking without a pause."""
    running = tuple(AppInstance(site, HECTO_REQUESTS_PER_MINUTE="1000000") for _ in range(2))
    yield running
    for instance in running:
        instance.stop()


def test_two_instances_post_at_once_and_everybody_sees_one_order(mara, jonas, instances):
    channel = create(mara, jonas)

    def post(number: int) -> None:
        who = (mara, jonas)[number % 2]
        say(who.at(instances[number % 2]), channel, f"number {number}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(post, range(200)))
    seen = []
    for who, at in ((mara, instances[0]), (jonas, instances[1])):
        found = read(who.at(at), channel, limit=200)["items"]
        seen.append([(one["number"], one["text"]) for one in found])
    assert seen[0] == seen[1]
    assert [number for number, _ in seen[0]] == list(range(1, 201))
    assert {text for _, text in seen[0]} == {f"number {number}" for number in range(200)}


def test_whoever_asks_since_what_they_have_misses_nothing_while_others_write(mara, jonas, generous):
    """Twenty times, at both instances, while messages are written and edited there."""
    there = mara.at(generous[0])
    for _ in range(20):
        channel = create(there, jonas)
        done = threading.Event()

        def write(number: int, channel: int = channel) -> None:
            who = (mara, jonas)[number % 2].at(generous[number % 2])
            message = say(who, channel, f"number {number}")
            if number % 3 == 0:
                assert who.patch(f"/api/messages/{message['id']}", json={"text": f"edit {number}"}).status_code == 200
            if number % 7 == 0:
                assert who.delete(f"/api/messages/{message['id']}").status_code == 204

        def follow(number: int, channel: int = channel, done: threading.Event = done) -> list[dict]:
            who = (mara, jonas)[number].at(generous[1 - number])
            kept: dict[int, dict] = {}
            since = 0
            while True:
                last = done.is_set()
                found = read(who, channel, since=since, limit=7)
                assert all(one["change"] > since for one in found["items"])
                kept.update({one["id"]: one for one in found["items"]})
                since = found["change"]
                if last and found["next"] is None:
                    return sorted(kept.values(), key=lambda one: one["number"])

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            followers = [pool.submit(follow, number) for number in (0, 1)]
            list(pool.map(write, range(24)))
            done.set()
            stands = read(there, channel)["items"]
            assert [follower.result() for follower in followers] == [stands, stands]
        assert len(stands) == 24


def test_a_number_that_is_committed_late_holds_up_the_later_ones(mara, jonas, site, postgres):
    """A reader never sees a message while an earlier one of its channel may still come."""
    channel = create(mara, jonas)
    slow = postgres.open(site.database)
    slow.ask(f"BEGIN; SELECT last_change FROM channel WHERE id = {channel} FOR NO KEY UPDATE;")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(say, jonas, channel, "second")
        wait_until(lambda: postgres.sql(site.database, WAITING) == "1", "the message to wait for the channel")
        assert read(mara, channel, since=0)["items"] == []
        assert not waiting.done()
        slow.ask(
            f"UPDATE channel SET last_change = 1 WHERE id = {channel};"
            "INSERT INTO message (channel_id, number, change, author_id, text, links, created_at)"
            f" VALUES ({channel}, 1, 1, {mara.user_id}, 'first', '[]', now()); COMMIT; SELECT 'done';"
        )
        assert waiting.result()["number"] == 2
    slow.close()
    assert [one["text"] for one in read(mara, channel, since=0)["items"]] == ["first", "second"]


def test_whoever_is_removed_while_their_message_waits_does_not_write_it(mara, jonas, site, postgres):
    channel = create(mara, jonas, private=True)
    keeper = postgres.open(site.database)
    keeper.ask(f"BEGIN; SELECT last_change FROM channel WHERE id = {channel} FOR NO KEY UPDATE;")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(jonas.post, f"/api/channels/{channel}/messages", json={"text": "one more"})
        wait_until(lambda: postgres.sql(site.database, WAITING) == "1", "the message to wait for the channel")
        keeper.ask(f"DELETE FROM channel_member WHERE user_id = {jonas.user_id}; COMMIT; SELECT 'done';")
        assert waiting.result().status_code == 404
    keeper.close()
    assert read(mara, channel)["items"] == []


def test_two_who_write_to_each_other_in_the_same_moment_meet(somebody, instances):
    """Ten pairs, each at two instances."""
    for _ in range(10):
        pair = somebody("Mara"), somebody("Jonas")

        def open_direct(number: int, pair: tuple = pair) -> int:
            body = {"user_id": pair[1 - number].user_id}
            return pair[number].at(instances[number]).post("/api/direct", json=body).json()["id"]

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            first, second = pool.map(open_direct, (0, 1))
        assert first == second


def test_members_hear_that_something_is_unread_and_others_do_not(
    mara,
    jonas,
    somebody,
    instances,
    listen,  # noqa: F811
):
    stranger = somebody()
    channel = create(mara, jonas)
    hearing, deaf = listen(jonas.at(instances[1])), listen(stranger)
    message = say(mara, channel, "for members")
    event = hearing.next("message.unread")
    assert (event["channel_id"], event["number"], event["change"]) == (channel, message["number"], message["change"])
    direct = stranger.post("/api/direct", json={"user_id": mara.user_id}).json()["id"]
    say(mara, direct, "for you")
    # The first that the stranger hears of messages is the one to them.
    assert deaf.next("message.unread")["channel_id"] == direct


def test_whoever_is_mentioned_hears_of_it(mara, jonas, listen):  # noqa: F811
    channel = create(mara)
    hearing = listen(jonas)
    message = say(mara, channel, f"@{jonas.name} please")
    event = hearing.next("message.mention")
    assert (event["id"], event["author"]) == (message["id"], {"id": mara.user_id, "name": mara.name})


def test_reading_is_told_to_ones_other_pages(mara, jonas, listen):  # noqa: F811
    channel = create(mara, jonas)
    message = say(mara, channel)
    hearing = listen(jonas)
    jonas.put(f"/api/channels/{channel}/read", json={"message_id": message["id"]})
    assert hearing.next("message.read")["channel_id"] == channel
    assert row(jonas, channel)["unread"] == 0


def test_what_a_room_is_told(mara, jonas, sql):
    """As it stands in the outbox when the instance dies before it tells."""
    channel = create(mara, jonas, private=True)
    # Nothing can be told while somebody keeps every line.
    sql("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    sql("CREATE TRIGGER keep BEFORE DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION keep()")
    try:
        message = say(mara, channel, "hello", links=[{"url": "https://example.com", "title": "Site"}])
        mara.patch(f"/api/messages/{message['id']}", json={"text": "hello again"})
        mara.delete(f"/api/messages/{message['id']}")
        mara.delete(f"/api/channels/{channel}/members/{jonas.user_id}")
        told = sql(
            "SELECT string_agg(message->>1 || ' ' || (message->2->>'text'), ',' ORDER BY id)"
            " FILTER (WHERE message->>1 IN ('message.created', 'message.updated')) || ','"
            " || string_agg(message->>1, ',' ORDER BY id) FILTER (WHERE message->>1 IN ('message.deleted', '!leave'))"
            " || ',' || string_agg(message->2->>'user', ',')"
            f" FROM outbox, jsonb_array_elements(messages) AS message WHERE message->>0 = 'channel:{channel}'"
        )
    finally:
        sql("DROP TRIGGER keep ON outbox; DROP FUNCTION keep")
        sql("DELETE FROM outbox")
    expected = f"message.created hello,message.updated hello again,message.deleted,!leave,{jonas.user_id}"
    assert told == expected
