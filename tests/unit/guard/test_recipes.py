# SPDX-License-Identifier: Apache-2.0
"""The recipes of the how-to, as they stand there. Frameworks that are not installed are skipped."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

from architecture.doc_blocks import blocks_of
from callers import keys_of
from guarding import CLUSTER, World, good
from podpass.guard.asgi import GuardMiddleware
from podpass.guard.wsgi import identity
from token_forge import AUDIENCE, ISSUER, SUBJECT

HOW_TO = Path(__file__).parents[3] / "docs/how-to/guard-a-service.md"
RECIPES = {block.name: block.text for block in blocks_of(HOW_TO) if block.name}
POLICY = f"""\
apiVersion: podpass.dev/v1alpha1
kind: InvokerPolicy
metadata: {{name: recipe}}
spec:
  audiences: [{AUDIENCE}]
  issuers: {{cluster: {{kind: kubernetes, url: {ISSUER}, keys: {{file: keys.json}}}}}}
  rules: [{{paths: [/orders/**], members: ["kubernetes:cluster/shop/checkout"]}}]
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Run a recipe in an environment with a policy."""
    (tmp_path / "keys.json").write_text(keys_of(CLUSTER).canonical_json())
    (tmp_path / "policy.yaml").write_text(POLICY)
    monkeypatch.setenv("PODPASS_POLICY", str(tmp_path / "policy.yaml"))

    def run(name: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "recipe"}
        exec(compile(RECIPES[name], name, "exec"), names)
        return names

    return run


def headers() -> dict[str, str]:
    now_s = int(time.time())
    return {"authorization": f"Bearer {good(iat=now_s, nbf=now_s, exp=now_s + 600)}"}


def ask_wsgi(app: Any, path: str, **environ: str) -> tuple[int, bytes]:  # noqa: ANN401 - a framework's
    started: list[str] = []
    base = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(),
    }
    body = b"".join(app({**base, "wsgi.url_scheme": "http", **environ}, lambda status, *_: started.append(status)))
    return int(started[0].split()[0]), body


def test_fastapi(recipe: Callable[[str], dict[str, Any]]) -> None:
    pytest.importorskip("fastapi")
    client = TestClient(recipe("fastapi_app.py")["app"])
    assert client.get("/orders/mine", headers=headers()).json() == SUBJECT
    assert client.get("/orders/mine").json()["code"] == "token.missing"
    assert client.get("/docs", headers=headers()).status_code == 403


def test_flask(recipe: Callable[[str], dict[str, Any]]) -> None:
    pytest.importorskip("flask")
    app = recipe("flask_app.py")["app"]
    assert ask_wsgi(app, "/orders/mine", HTTP_AUTHORIZATION=headers()["authorization"]) == (200, SUBJECT.encode())
    assert ask_wsgi(app, "/orders/mine")[0] == 401


@pytest.fixture
def site() -> Any:  # noqa: ANN401 - a module
    """Configure Django, which can be done once in a process."""
    django = pytest.importorskip("django.conf")
    made: Any = ModuleType("site")
    made.urlpatterns = []
    if not django.settings.configured:
        # gevent, which patches what is left of this process in a child of another test, looks at every object, and so wakes lazy ones.
        django.settings.configure(ROOT_URLCONF=made, ALLOWED_HOSTS=["localhost"], STATIC_URL="static/")
    return django.settings.ROOT_URLCONF


def test_django(recipe: Callable[[str], dict[str, Any]], site: Any) -> None:  # noqa: ANN401 - a module
    http, urls = pytest.importorskip("django.http"), pytest.importorskip("django.urls")
    site.urlpatterns[:] = [urls.path("orders/mine", lambda request: http.HttpResponse(identity(request.META).subject))]
    app = recipe("django_wsgi.py")["application"]
    assert ask_wsgi(app, "/orders/mine", HTTP_AUTHORIZATION=headers()["authorization"]) == (200, SUBJECT.encode())
    assert ask_wsgi(app, "/orders/mine")[0] == 401


def test_invariant_11_the_mount_of_a_django_that_is_told_its_own_is_not_judged(site: Any) -> None:  # noqa: ANN401 - a module
    http, urls = pytest.importorskip("django.http"), pytest.importorskip("django.urls")
    get_asgi_application = pytest.importorskip("django.core.asgi").get_asgi_application
    settings = pytest.importorskip("django.test.utils").override_settings
    site.urlpatterns[:] = [urls.path("private", lambda _: http.HttpResponse("served"))]
    client = TestClient(GuardMiddleware(get_asgi_application(), World().guard()), base_url="http://localhost")
    token = {"authorization": f"Bearer {good()}"}
    assert client.get("/app/private", headers=token).json()["code"] == "policy.no-rule"
    with settings(FORCE_SCRIPT_NAME="/app"):
        assert client.get("/app/private", headers=token).text == "served"
        assert client.get("/app/private").json()["code"] == "token.missing"
        assert client.get("/private").json()["code"] == "token.missing"
