"""What an instance does that has too much to do, is drained or is told to leave."""

from __future__ import annotations

import concurrent.futures
import signal

from tests.servers import AppInstance, ask, wait_until


def test_more_requests_than_connections_all_get_an_answer(instance, user):
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda n: user.at(instance).post("/api/tasks", json={"title": f"{n}"}), range(200)))
    assert {answer.status_code for answer in answers} == {201}


def test_a_draining_instance_refuses_at_once_and_takes_traffic_again(instance, user):
    assert ask(instance.control, "POST", "/control/drain")[0] == 200
    try:
        assert user.get("/api/tasks").status_code == 503
        assert user.get("/socket.io/?EIO=4&transport=polling").status_code == 503
        ready = user.get("/api/ready")
        assert (ready.status_code, ready.json()["state"]) == (503, "draining")
        assert b'"in_flight":0' in ask(instance.control, "GET", "/control/status")[1]
    finally:
        ask(instance.control, "POST", "/control/resume")
    assert user.get("/api/tasks").status_code == 200


def test_the_control_routes_answer_on_the_control_socket_only(instance, user):
    assert user.get("/control/status").status_code == 404
    assert user.post("/control/drain").status_code == 404
    nginx = instance.site.run / f"{instance.number}.sock"
    assert ask(nginx, "POST", "/control/drain")[0] == 404
    assert ask(instance.control, "GET", "/control/nothing")[0] == 404


def test_metrics_are_for_the_loopback_only(instance, user):
    user.get("/api/me")
    answer = user.get("/metrics")
    assert answer.status_code == 200
    assert 'hecto_requests_total{endpoint="users.me",status="200"}' in answer.text
    assert ask(instance.site.run / f"{instance.number}.sock", "GET", "/metrics")[0] == 404


def test_a_stop_finishes_what_is_in_hand(instance, user, postgres):
    """SIGTERM while a request waits for a lock: it is answered, a new one is refused."""
    leaving = AppInstance(instance.site)
    client = user.at(instance)
    client.base = leaving.url
    task = client.create_task("slow")
    blocker = postgres.open("faults")
    assert blocker.ask(f"BEGIN; SELECT id FROM task WHERE id = {task['id']} FOR UPDATE;") == str(task["id"])
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            slow = pool.submit(client.patch, f"/api/tasks/{task['id']}", json={"version": 1, "title": "saved"})
            wait_until(
                lambda: b'"in_flight":1' in ask(leaving.control, "GET", "/control/status")[1], "the slow request"
            )
            leaving.process.send_signal(signal.SIGTERM)
            # The arbiter unlinks its sockets first: nginx then goes on to the next instance.
            wait_until(lambda: not leaving.control.exists(), "the end of the sockets", seconds=5)
            blocker.close()
            assert slow.result().json()["title"] == "saved"
    finally:
        blocker.close()
        leaving.process.wait(20)
