# SPDX-License-Identifier: Apache-2.0
"""The guard over the real key cache and a real issuer: what the doubles of the other tests stand for."""

from pathlib import Path

import pytest
import trustme

from contract.guard.prefork import PREFORK
from contract.guard.shells import SHELLS, Shell
from guarding import bearer
from issuer_server import IssuerServer
from podpass.clock import SteppedClock
from podpass.discovery.key_ring import KeyRing
from podpass.guard import Guard, Wiring
from token_forge import AUDIENCE, NOW, SUBJECT, ec_signer, kubernetes_claims

K1, K2 = ec_signer("k1"), ec_signer("k2")


@pytest.mark.parametrize("shell", SHELLS + PREFORK, ids=lambda shell: shell.name)
def test_a_cold_guard_fetches_once_and_then_judges_alone(shell: Shell, tmp_path: Path) -> None:
    authority, ca_file, handler = trustme.CA(), tmp_path / "ca.pem", shell.handler()
    authority.cert_pem.write_to_path(str(ca_file))
    with IssuerServer(authority, K1) as issuer, KeyRing(clock=SteppedClock(NOW), ca_file=ca_file, background=False) as keys:
        environ = {"ID_ISSUER": issuer.issuer.url, "JWT_AUDIENCE": AUDIENCE}
        guard = Guard.from_env(environ, Wiring(keys=keys, clock=SteppedClock(NOW)))
        good, foreign = (signer.token(kubernetes_claims(iss=issuer.issuer.url)) for signer in (K1, K2))
        with shell.serve(guard, handler) as ask:
            assert ask("GET", b"/private", [bearer(good)]).status == 200
            # Workers of a prefork server have key caches of their own; one that has just begun to look says so first.
            answers = [ask("GET", b"/private", [bearer(foreign)]) for _ in range(1 if shell.is_near else 8)]
            assert {answer.code for answer in answers} <= {"token.unknown-key", "keys.unavailable"}
            assert not shell.is_near or answers[0].code == "token.unknown-key"
            assert ask("GET", b"/private", []).code == "token.missing"
        assert guard.not_ready() == () or not shell.is_near
    assert handler.calls == [SUBJECT]
