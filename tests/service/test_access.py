"""Who is let in, and what browsers are told."""

import pytest
from starlette.testclient import TestClient

from fmnist_utils.photos.predictor import Predictor
from fmnist_utils.service.app import create_app

PREDICTOR = Predictor()


def client(**access):
    return TestClient(create_app(PREDICTOR, **access), base_url="http://shop.example:8000")


def test_with_a_key_only_probes_need_none():
    with client(key="a secret") as asking:
        assert asking.get("/readyz").status_code == 200
        for path in ("/", "/v1/model", "/metrics", "/openapi.json", "/nothing"):
            refused = asking.get(path)
            assert refused.status_code == 401
            assert refused.headers["content-type"] == "application/problem+json"
            assert "received none" in refused.json()["detail"]
            assert "another" in asking.get(path, headers={"x-api-key": "a"}).json()["detail"]
        assert asking.get("/", headers={"x-api-key": "a secret"}).status_code == 200
        assert asking.get("/", headers={"x-api-key": "é".encode()}).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("shop.example", 200),
        ("SHOP.example:8000", 200),
        ("[::1]:80", 200),
        ("attacker.example", 400),
        ("shop.example.attacker.example", 400),
        ("", 400),
    ],
)
def test_a_host_that_is_not_allowed_is_refused(host, status):
    asking = client(hosts=("shop.example", "::1"))
    answer = asking.get("/healthz", headers={"host": host})
    assert answer.status_code == status
    if status == 400:
        assert (host or "(none)") in answer.json()["detail"]


def test_nothing_runs_scripts_from_elsewhere_or_is_framed():
    asking = client()
    assert asking.get("/docs").status_code == asking.get("/redoc").status_code == 404
    for path in ("/", "/healthz", "/nothing", "/openapi.json"):
        headers = asking.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
