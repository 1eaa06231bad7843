# SPDX-License-Identifier: Apache-2.0
"""The ring: one cache for each issuer, files, the API server, and the thread that tends them."""

from collections.abc import Collection, Iterator
from concurrent.futures import wait
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep

import pytest

from issuer_server import IssuerServer, jwks
from key_hangar import FakeOrigin, Hangar, key_set
from podpass.clock import SteppedClock
from podpass.discovery.key_cache import KeyCache
from podpass.discovery.key_ring import KeyRing
from podpass.discovery.origin import Published
from podpass.discovery.patience import patiently
from podpass.discovery.static import StaticKeys
from podpass.errors import ConfigError, KeySetError
from podpass.guard import IssuerKeys, KeyProvider
from podpass.names import Issuer, Secret
from podpass.net.tender import Tender
from podpass.policy import TrustedIssuer
from token_forge import NOW, ec_signer, rsa_signer


@pytest.fixture
def ring(clock: SteppedClock, ca_file: Path, issuer: IssuerServer) -> Iterator[KeyRing]:
    ring = KeyRing(clock=clock, ca_file=ca_file, api_server=FakeApi(), background=False)
    yield ring
    assert issuer.url
    for cache in ring._caches.values():  # not into the next test
        if cache._flight is not None:
            wait([cache._flight], 10)


class FakeApi:
    """An API server with a key."""

    def keys(self, algorithms: Collection[str] = ()) -> Published:  # noqa: ARG002 - it has one key
        return Published(key_set(ec_signer("api")))

    def review(self, token: Secret[str], audience: str) -> dict[str, object]:
        raise NotImplementedError


def test_a_ring_is_what_a_guard_wants(ring: KeyRing, issuer: IssuerServer, tmp_path: Path) -> None:
    provider: KeyProvider = ring
    file = tmp_path / "keys.json"
    file.write_bytes(jwks(ec_signer("k1")))
    discovered: IssuerKeys = provider.keys_of(TrustedIssuer("c", "oidc", issuer.issuer))
    static: IssuerKeys = provider.keys_of(TrustedIssuer("c", "oidc", issuer.issuer, file))
    assert patiently(lambda: discovered.find("k1")) == static.find("k1")


def test_the_first_fetch_begins_when_an_issuer_is_named(ring: KeyRing, issuer: IssuerServer) -> None:
    keys = ring.keys_of(TrustedIssuer("c", "oidc", issuer.issuer))
    assert isinstance(keys, KeyCache)
    assert keys._begun == 1


def test_the_same_issuer_has_the_same_cache_whatever_a_policy_calls_it(ring: KeyRing, issuer: IssuerServer) -> None:
    first = ring.keys_of(TrustedIssuer("a", "oidc", issuer.issuer))
    assert ring.keys_of(TrustedIssuer("b", "kubernetes", issuer.issuer)) is first
    assert ring.keys_of(TrustedIssuer("a", "oidc", Issuer(f"{issuer.issuer.url}/"))) is not first


def test_two_ways_to_the_keys_of_one_url_are_two_caches(ring: KeyRing, issuer: IssuerServer) -> None:
    """Every kubeadm cluster has the same issuer URL."""
    ours = ring.keys_of(TrustedIssuer("ours", "kubernetes", issuer.issuer, "apiserver"))
    theirs = ring.keys_of(TrustedIssuer("theirs", "kubernetes", issuer.issuer))
    assert ours is not theirs
    assert patiently(lambda: ours.find("api")).kid == "api"
    assert patiently(lambda: theirs.find("k1")).kid == "k1"


def test_outside_a_pod_the_api_server_is_a_mistake_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match="not a pod") as caught:
        KeyRing(background=False).keys_of(TrustedIssuer("c", "kubernetes", Issuer("https://kubernetes.default.svc"), "apiserver"))
    assert caught.value.full_code == "config.not-in-cluster"


def test_a_file_with_the_same_bytes_is_the_same_object_and_another_one_a_new_generation(ring: KeyRing, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    trusted = TrustedIssuer("c", "oidc", Issuer("https://o.example"), file)
    file.write_bytes(jwks(ec_signer("k1")))
    first = ring.keys_of(trusted)
    assert ring.keys_of(trusted) is first
    file.write_bytes(jwks(ec_signer("k2")))
    second = ring.keys_of(trusted)
    assert second.generation != first.generation
    assert second.find(None).kid == "k2"


def test_other_algorithms_are_other_keys(ring: KeyRing, issuer: IssuerServer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(jwks(ec_signer("k1"), rsa_signer("k2")))
    for keys in ("discovery", file):
        first = TrustedIssuer("c", "oidc", issuer.issuer, keys)
        other = TrustedIssuer("c", "oidc", issuer.issuer, keys, algorithms=("ES256",))
        assert ring.keys_of(first) is not ring.keys_of(other)
    known = ring.keys_of(other).known()
    assert known is not None
    assert list(known.keys) == ["k1"]


def test_an_issuer_that_no_policy_names_any_more_is_asked_no_more(ring: KeyRing, issuer: IssuerServer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(jwks(ec_signer("k1")))
    kept, retired = TrustedIssuer("a", "oidc", issuer.issuer), TrustedIssuer("b", "oidc", issuer.issuer, algorithms=("RS256",))
    first, second = ring.keys_of(kept), ring.keys_of(retired)
    static = ring.keys_of(TrustedIssuer("c", "oidc", issuer.issuer, file))
    patiently(lambda: first.find("k1"))
    assert isinstance(second, KeyCache)
    if second._flight is not None:
        wait([second._flight], 60)
    assert set(ring._tended()) == {first, second}
    del second, static
    end = monotonic() + 60
    while len(ring._tended()) > 1 and monotonic() < end:  # the thread that fetched lets go of it last
        sleep(0.001)
    assert ring._tended() == (first,)
    assert not ring._files


def test_a_file_that_is_gone_or_broken_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys\.json cannot be read"):
        StaticKeys.read(tmp_path / "keys.json")
    (tmp_path / "keys.json").write_text("{}")
    with pytest.raises(KeySetError, match=r"keys\.json: The JWKS cannot be read\."):
        StaticKeys.read(tmp_path / "keys.json")


def test_the_tender_comes_when_something_is_due_and_half_a_minute_later_at_most() -> None:
    clock, hangar = SteppedClock(NOW), Hangar()
    origin = FakeOrigin(ec_signer("k1"), max_age_s=60)
    cache = KeyCache(origin, clock=clock, launch=hangar.launch, chance=lambda: 0.0)
    pauses: list[float] = []

    def pause(pause_s: float) -> bool:
        pauses.append(pause_s)
        hangar.land()
        clock.step(timedelta(seconds=pause_s))
        return len(pauses) > 5

    Tender(lambda: (cache,)).run(pause)
    assert pauses == [0.0, 1.0, 30.0, 14.0, 1.0, 30.0]
    assert len(origin.fetches) == 2


def test_a_tender_runs_once_until_it_is_stopped() -> None:
    tender = Tender(tuple)
    tender.ensure()
    runs = tender._stop
    tender.ensure()
    assert tender._stop is runs is not None
    tender.stop()
    tender.ensure()
    assert tender._stop is runs
    assert runs.is_set()
