# SPDX-License-Identifier: Apache-2.0
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from callers import keys_of
from guarding import CLUSTER, POLICY, World, bearer, good, policy
from podpass.errors import ConfigError, KeysUnavailableError
from podpass.guard import Allow, Deny, Guard, Incoming, Wiring
from podpass.guard.policy_file import PolicyFile
from podpass.names import Audience, Issuer
from podpass.policy import InvokerPolicy, TrustedIssuer
from podpass.policy.reading import PolicyFileError
from token_forge import AUDIENCE, ISSUER, SUBJECT, ec_signer

OPEN = POLICY.replace("MODE", "enforce")
CLOSED = OPEN.replace("paths: [/], members: [allUsers]", "paths: [/], members: [allAuthenticatedUsers]")


class Ticks:
    """A clock for looks at files, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Watched:
    """A guard by a file, whose changes are seen when the test says so."""

    def __init__(self, folder: Path, text: str = OPEN, reader: type[PolicyFile] = PolicyFile) -> None:
        self.path, self.ticks, self.world = folder / "policy.yaml", Ticks(), World()
        self.path.write_text(text)
        wiring = self.world.wiring()
        file = reader(self.path, wiring.judge, self.ticks)
        self.guard = Guard(file.load(), wiring.clock, file)

    def ask(self, target: str = "/", token: str | None = None) -> int:
        decision = self.guard.decide(Incoming("GET", target.encode(), [bearer(token)] if token else []))
        return 200 if isinstance(decision, Allow) else decision.status

    def write(self, text: str) -> None:
        """Exchange the file as an editor does, and let a second pass."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)
        self.ticks.now_s += 1.0


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_a_changed_policy_is_read_again(watched: Watched) -> None:
    assert watched.ask() == 200
    watched.write(CLOSED)
    watched.guard.reload()
    assert watched.ask() == 401
    assert watched.ask("/", good()) == 200


def test_a_change_is_noticed_by_requests_once_a_second(tmp_path: Path) -> None:
    class Inline(PolicyFile):
        """Reads at once, not on a thread."""

        def reload(self, then: Callable[[], None]) -> None:
            readings.append(self.look_at_s - 1)
            then()

    readings: list[float] = []
    watched = Watched(tmp_path, reader=Inline)
    for now_s, text, expected in (
        (0.5, CLOSED, 200),
        (0.9, CLOSED, 200),
        (1.1, CLOSED, 401),
        (1.9, OPEN, 401),
        (3.0, OPEN, 200),
        (9.0, OPEN, 200),
    ):
        if watched.path.read_text() != text:
            watched.path.write_text(text)
        watched.ticks.now_s = now_s
        assert watched.ask() == expected
    assert readings == pytest.approx([1.1, 3.0])


def test_a_request_does_not_wait_for_the_reading(watched: Watched) -> None:
    watched.write(CLOSED)
    assert watched.guard._file is not None
    watched.ask()
    assert watched.guard._file._busy.acquire(timeout=60), "the reading ends"
    watched.guard._file._busy.release()
    assert watched.ask() == 401


def test_a_file_is_read_once_at_a_time(watched: Watched) -> None:
    file, readings = watched.guard._file, list[int]()
    assert file is not None
    with file._busy:
        file.reload(lambda: readings.append(1))
    assert readings == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "This file is empty."),
        ("{", "This is not YAML"),
        (OPEN.replace("rules:", "rule:"), "The key 'rule' is unknown. Did you mean 'rules'?"),
        (OPEN.replace(f"[{AUDIENCE}]", "[]"), "This list is empty."),
        (OPEN.replace("{kind: google}", "{kind: google, keys: {file: none.json}}"), "none.json cannot be read"),
    ],
)
def test_invariant_1_a_broken_policy_never_replaces_a_good_one(
    watched: Watched, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    watched.write(text)
    watched.guard.reload()
    assert (watched.ask(), watched.ask("/private"), watched.ask("/private", good())) == (200, 401, 200)
    assert "The policy stays as it was" in caplog.text
    assert why in caplog.text
    assert 'podpass_guard_policy_reloads_total{result="failed"} 1' in watched.guard.metrics.render(is_ready=True)


def test_invariant_1_a_policy_that_is_gone_stays_in_force(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.path.unlink()
    watched.guard.reload()
    assert watched.ask("/private") == 401
    assert "cannot be read" in caplog.text
    watched.write(CLOSED)
    watched.guard.reload()
    assert watched.ask() == 401


def test_a_failure_nobody_thought_of_keeps_the_policy_too(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(watched.guard._file, "_build", broken)
    watched.guard.reload()
    assert watched.ask() == 200


def test_a_key_file_that_changes_is_read_again(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(jwks("cluster-1"))
    text = f"""\
apiVersion: podpass.dev/v1alpha1
kind: InvokerPolicy
metadata: {{name: file}}
spec:
  audiences: [{AUDIENCE}]
  issuers: {{cluster: {{kind: kubernetes, url: {ISSUER}, keys: {{file: keys.json}}}}}}
  rules: [{{paths: [/**], members: [allAuthenticatedUsers]}}]
"""
    path, ticks = tmp_path / "policy.yaml", Ticks()
    path.write_text(text)
    wiring = Wiring(clock=World().clock)
    file = PolicyFile(path, wiring.judge, ticks)
    guard = Guard(file.load(), wiring.clock, file)
    request = Incoming("GET", b"/", [bearer(good())])
    assert isinstance(guard.decide(request), Allow)
    assert not file.has_changed()
    keys.write_text(jwks("other-1"))
    ticks.now_s += 1
    assert file.has_changed()
    guard.reload()
    decision = guard.decide(request)
    assert isinstance(decision, Deny)
    assert decision.code == "token.unknown-key"
    ticks.now_s += 1
    assert not file.has_changed()


def jwks(kid: str) -> str:
    signer = CLUSTER if kid == "cluster-1" else ec_signer(kid)
    return keys_of(signer).canonical_json()


def test_from_file_refuses_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        Guard.from_file(path)
    path.write_text("")
    with pytest.raises(PolicyFileError, match="This file is empty"):
        Guard.from_file(path)
    path.write_text(OPEN)
    with pytest.raises(ConfigError, match="The rule reviewed has tokenReview, and no API server can be asked"):
        Guard.from_file(str(path))


def test_keys_that_nobody_can_get_are_told_at_once() -> None:
    issuer = TrustedIssuer("cluster", "kubernetes", Issuer(ISSUER), "apiserver")
    with pytest.raises(ConfigError, match="This is not a pod with a service account"):
        Guard.from_policy(InvokerPolicy("p", (Audience(AUDIENCE),), (issuer,)))


def test_from_env_reads_the_file_that_podpass_policy_names(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(OPEN)
    environ = {"PODPASS_POLICY": str(path), "ID_ISSUER": "nonsense"}
    assert Guard.from_env(environ, World().wiring()).policy.name == "contract"


def test_from_env_reads_the_short_form() -> None:
    world = World()
    guard = Guard.from_env({"ID_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}, world.wiring())
    admitted = guard.decide(Incoming("POST", b"/any/where", [bearer(good())]))
    assert isinstance(admitted, Allow)
    assert admitted.identity is not None
    assert admitted.identity.subject == SUBJECT
    denied = guard.decide(Incoming("GET", b"/", []))
    assert isinstance(denied, Deny)
    assert denied.code == "token.missing"


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, "neither PODPASS_POLICY nor ID_ISSUER is set"),
        ({"PODPASS_POLICY": "", "ID_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}, "PODPASS_POLICY is empty"),
    ],
)
def test_invariant_1_an_empty_or_absent_policy_denies_and_says_so(
    environ: dict[str, str], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard.from_env(environ, World().wiring())
    for headers in ([], [bearer(good())]):
        assert isinstance(guard.decide(Incoming("GET", b"/", headers)), Deny)
    assert why in caplog.text
    assert guard.not_ready() == ("The policy has no rules: every request is denied.",)


def test_from_env_reads_the_process_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() & {"PODPASS_POLICY", "ID_ISSUER", "JWT_AUDIENCE"}:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ID_ISSUER", ISSUER)
    with pytest.raises(ConfigError, match="JWT_AUDIENCE is not set"):
        Guard.from_env()


def test_readiness_is_a_policy_and_the_keys_of_every_issuer() -> None:
    world = World()
    guard = world.guard()
    assert guard.not_ready() == ("The keys of issuer down are not at hand.",)
    world.down.publish(CLUSTER)
    assert guard.not_ready() == ()
    assert Guard.from_policy(InvokerPolicy.nobody()).not_ready() != ()


def test_a_service_may_wait_for_the_keys_and_not_start_without_them() -> None:
    world = World()
    guard = world.guard()
    with pytest.raises(KeysUnavailableError, match=r"not ready after 0\.1 s\. The keys of issuer down are not at hand"):
        guard.wait_until_ready(0.1)
    arrival = threading.Timer(0.05, world.down.publish, (CLUSTER,))
    arrival.start()
    assert guard.wait_until_ready(60) is guard
    arrival.join()
    with pytest.raises(ConfigError, match="deny every request"):
        Guard.from_policy(InvokerPolicy.nobody()).wait_until_ready(60)


def test_a_guard_without_a_file_has_nothing_to_reload() -> None:
    guard = World().guard()
    guard.reload()
    assert guard.policy.name == "contract"


def test_a_warning_is_what_denies_and_information_what_allows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "podpass.guard.decisions")
    guard = World().guard()
    guard.decide(Incoming("GET", b"/", []))
    guard.decide(Incoming("GET", b"/private", []))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_a_reload_forgets_neither_keys_nor_reviewer() -> None:
    world = World()
    wiring = world.wiring()
    first, second = wiring.judge(policy()), wiring.judge(policy("audit"))
    assert first.reviewer is second.reviewer is world.reviews
    bare = InvokerPolicy("bare")
    assert wiring.judge(bare).reviewer is None


def test_a_policy_file_without_the_extra_that_reads_it_is_told_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "podpass.policy.reading", None)
    with pytest.raises(ConfigError, match=r"which is not installed\..*podpass\[policy\]") as caught:
        Guard.from_env({"PODPASS_POLICY": str(tmp_path / "policy.yaml")})
    assert caught.value.full_code == "config.extra"
