"""The OpenAPI document is valid, and the API keeps to it whatever it is sent."""

from __future__ import annotations

import openapi_spec_validator
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

from tests.servers import ADMIN_EMAIL, ADMIN_PASSWORD, AppInstance


@pytest.fixture(scope="module")
def generous(site):
    """An instance whose rate limit does not end the fuzzing."""
    instance = AppInstance(site, HECTO_REQUESTS_PER_MINUTE="1000000")
    yield instance
    instance.stop()


@pytest.fixture(scope="module")
def headers(generous):
    """Of a member: an administrator's account would be changed by what is tried."""
    sign_in = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
    token = requests.post(f"{generous.url}/api/auth/login", json=sign_in, timeout=30).json()["access_token"]
    admin = {"Authorization": f"Bearer {token}"}
    user = {"email": "fuzz@example.com", "name": "Fuzz", "password": "a password for tests"}
    assert requests.post(f"{generous.url}/api/users", json=user, headers=admin, timeout=30).status_code == 201
    sign_in = {"email": user["email"], "password": user["password"]}
    answer = requests.post(f"{generous.url}/api/auth/login", json=sign_in, timeout=30)
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_the_document_is_valid(generous):
    document = requests.get(f"{generous.url}/api/openapi.json", timeout=30).json()
    openapi_spec_validator.validate(document)
    assert document["openapi"].startswith("3.1")
    assert document["paths"]["/api/tasks"]["post"]["responses"]["201"]


def test_whatever_is_sent_gets_an_answer_of_the_contract(generous, headers):
    document = schemathesis.openapi.from_url(f"{generous.url}/api/openapi.json").exclude(path_regex="^/api/auth/")
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 10
    for operation in operations:
        fuzz(operation, headers)


def fuzz(operation, headers) -> None:
    """Send an operation what fits its schema and what does not."""

    cases = st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @given(case=cases)
    @settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def check(case):
        response = case.call(headers=headers, timeout=30)
        assert response.status_code < 500, response.text
        if "x-instance" not in response.headers:
            # Not HTTP at all (a broken header, say): gunicorn refused it before the app.
            assert response.status_code == 400
        elif response.status_code >= 400:
            assert response.headers["content-type"] == ["application/problem+json"], response.text
        else:
            case.validate_response(response, checks=[response_schema_conformance])

    check()
