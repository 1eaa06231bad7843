# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path

import pytest

from podpass.discovery import web
from podpass.errors import ConfigError
from podpass.google import connections


@pytest.mark.parametrize("new_http", [connections.new_http, web.new_http])
@pytest.mark.parametrize(("name", "why"), [("gone.pem", "No such file"), ("empty.pem", "NO_CERTIFICATE_OR_CRL_FOUND")])
def test_a_ca_file_of_the_environment_that_cannot_be_used_is_named_with_its_variable(
    new_http: Callable[[], object], name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
    with pytest.raises(ConfigError) as caught:
        new_http()
    assert caught.value.what == f"The certificate authorities in {tmp_path / name} cannot be used."
    assert why in caught.value.why
    assert caught.value.next_step.startswith("SSL_CERT_FILE names that file")
