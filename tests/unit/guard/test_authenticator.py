# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from msgspec.structs import replace

from guarding import LiveKeys, good
from podpass.errors import ConfigError, KeySetError, KeysUnavailableError, PodpassError, TokenError, WrongIssuerError
from podpass.guard.authenticator import Result, TokenAuthenticator
from podpass.names import Audience, Issuer
from podpass.policy import InvokerPolicy, TrustedIssuer
from token_forge import AUDIENCE, ISSUER, NOW, ec_signer, kubernetes_claims, rsa_signer
from token_forge import signer as signer_of

A, B, B2 = ec_signer("a-1"), ec_signer("b-1"), ec_signer("b-2")


def twins(**more: Any) -> InvokerPolicy:  # noqa: ANN401 - fields of a policy
    """Two clusters that kubeadm has made: one URL."""
    issuers = tuple(TrustedIssuer(name, "kubernetes", Issuer(ISSUER), "apiserver") for name in ("a", "b"))
    return InvokerPolicy("twins", (Audience(AUDIENCE),), issuers, **more)


def single(**more: Any) -> InvokerPolicy:  # noqa: ANN401 - fields of a policy
    return InvokerPolicy("single", (Audience(AUDIENCE),), (TrustedIssuer("a", "kubernetes", Issuer(ISSUER)),), **more)


class Memory(dict[bytes, Result]):
    """Remembers results, and may be read."""

    @property
    def young(self) -> dict[bytes, Result]:
        return self

    def put(self, digest: bytes, result: Result) -> None:
        self[digest] = result


def code_of(authenticator: TokenAuthenticator, token: str) -> str:
    with pytest.raises(PodpassError) as caught:
        authenticator.authenticate(token.encode(), now=NOW)
    return caught.value.full_code


FOREIGN = [f"{ISSUER}/", ISSUER.upper(), "https://evil.example", "http" + ISSUER.removeprefix("https")]


@pytest.mark.parametrize("issuer", FOREIGN)
def test_invariant_2_an_issuer_is_looked_up_by_its_exact_string_before_any_key_is(issuer: str) -> None:
    keys = LiveKeys((A,)), LiveKeys((B,))
    for policy, given in ((single(), {"a": keys[0]}), (twins(), {"a": keys[0], "b": keys[1]})):
        with pytest.raises(WrongIssuerError):
            TokenAuthenticator(policy, given).authenticate(A.token(kubernetes_claims(iss=issuer)).encode(), now=NOW)
    assert [each.asked for each in keys] == [0, 0]


def test_a_foreign_issuer_is_told_beside_the_trusted_ones() -> None:
    authenticator = TokenAuthenticator(twins(), {"a": LiveKeys((A,)), "b": LiveKeys((B,))})
    with pytest.raises(WrongIssuerError) as caught:
        authenticator.authenticate(A.token(kubernetes_claims(iss="https://evil.example")).encode(), now=NOW)
    assert caught.value.what == "The token comes from issuer 'https://evil.example'."
    assert caught.value.why == f"The policy trusts {ISSUER!r}; issuers are compared byte for byte."


def test_invariant_2_of_two_issuers_with_one_url_the_key_decides() -> None:
    authenticator = TokenAuthenticator(twins(), {"a": LiveKeys((A,)), "b": LiveKeys((B,))})
    for signer, name in ((A, "a"), (B, "b")):
        assert authenticator.authenticate(signer.token().encode(), now=NOW).issuer_name == name
    assert code_of(authenticator, ec_signer("c-1").token()) == "token.unknown-key"
    assert code_of(authenticator, A.token(header={"alg": "ES256"})) == "token.unknown-key"
    assert code_of(authenticator, A.token(header={"alg": "ES256", "kid": "b-1"})) == "token.bad-signature"


@pytest.mark.parametrize("shared", ["kid", "key"])
def test_invariant_2_two_issuers_with_one_url_must_not_share_a_key(shared: str) -> None:
    other = type(A)("a-1", B.key) if shared == "kid" else type(A)("b-1", A.key)
    with pytest.raises(KeySetError, match="have one URL and share 1 key names or keys") as caught:
        TokenAuthenticator(twins(), {"a": LiveKeys((A,)), "b": LiveKeys((other,))})
    assert caught.value.full_code == "keys.not-disjoint"


def test_keys_that_come_to_be_shared_later_stop_both_issuers() -> None:
    a, b = LiveKeys((A,)), LiveKeys((B,))
    authenticator = TokenAuthenticator(twins(), {"a": a, "b": b})
    b.publish(B, A)
    for signer in (A, B):
        assert code_of(authenticator, signer.token()) == "keys.not-disjoint"
    b.publish(B)
    assert authenticator.authenticate(A.token().encode(), now=NOW).issuer_name == "a"


def test_of_two_issuers_each_is_asked_for_a_key_that_none_knows_yet() -> None:
    a, b = LiveKeys(is_down=True), LiveKeys((B,))
    authenticator = TokenAuthenticator(twins(), {"a": a, "b": b})
    assert authenticator.authenticate(B.token().encode(), now=NOW).issuer_name == "b"
    assert (a.asked, b.asked) == (0, 1), "the verifier's own look-up, nothing else"
    assert code_of(authenticator, B2.token()) == "keys.unavailable"
    assert (a.asked, b.asked) == (1, 2)


def test_a_key_that_a_look_up_brings_is_checked_like_every_other() -> None:
    class Late(LiveKeys):
        """Learns its keys when it is asked for the first time, as a source that fetches while it is asked."""

        def find(self, kid: str | None) -> Any:  # noqa: ANN401 - as the base
            if self.is_down:
                self.publish(*self.signers)
            return super().find(kid)

    late = Late((B,), is_down=True)
    authenticator = TokenAuthenticator(twins(), {"a": LiveKeys((A,)), "b": late})
    assert authenticator.authenticate(B.token().encode(), now=NOW).issuer_name == "b"
    shared = TokenAuthenticator(twins(), {"a": LiveKeys((A,)), "b": Late((B, A), is_down=True)})
    assert code_of(shared, B.token()) == "keys.not-disjoint"


def test_a_result_is_remembered_after_full_success_only() -> None:
    memory = Memory()
    authenticator = TokenAuthenticator(single(), {"a": LiveKeys((A,))}, memory)
    for bad in (kubernetes_claims(exp=1), kubernetes_claims(aud=[AUDIENCE, "b"]), kubernetes_claims(sub="system:serviceaccount:x:y")):
        with pytest.raises(TokenError):
            authenticator.authenticate(A.token(bad).encode(), now=NOW)
    assert memory == {}
    token = A.token().encode()
    first = authenticator.authenticate(token, now=NOW)
    assert authenticator.authenticate(token, now=NOW) is first
    assert list(memory) == [sha256(token).digest()]


def test_a_remembered_result_ends_with_its_token_and_its_keys() -> None:
    memory, keys = Memory(), LiveKeys((A,))
    authenticator = TokenAuthenticator(single(), {"a": keys}, memory)
    token = A.token().encode()
    authenticator.authenticate(token, now=NOW)
    last = NOW + timedelta(seconds=3600 + 30)
    authenticator.authenticate(token, now=last - timedelta(milliseconds=1))
    with pytest.raises(TokenError, match="expired"):
        authenticator.authenticate(token, now=last)
    keys.publish(B)
    assert code_of(authenticator, A.token()) == "token.unknown-key"


def test_a_token_to_the_end_of_the_calendar_is_remembered() -> None:
    authenticator = TokenAuthenticator(single(), {"a": LiveKeys((A,))}, Memory())
    token = A.token(kubernetes_claims(exp=253_402_300_799)).encode()
    assert authenticator.authenticate(token, now=NOW) is authenticator.authenticate(token, now=NOW)


def test_a_remembered_result_ends_when_keys_of_a_twin_change() -> None:
    memory, b = Memory(), LiveKeys((B,))
    authenticator = TokenAuthenticator(twins(), {"a": LiveKeys((A,)), "b": b}, memory)
    token = A.token()
    authenticator.authenticate(token.encode(), now=NOW)
    b.publish(B, A)
    assert code_of(authenticator, token) == "keys.not-disjoint"


def test_keys_that_change_during_a_judgement_leave_no_result_of_theirs() -> None:
    class Changing(LiveKeys):
        """Is exchanged right after it was used."""

        def find(self, kid: str | None) -> Any:  # noqa: ANN401 - as the base
            found = super().find(kid)
            self.publish(B)
            return found

    authenticator = TokenAuthenticator(single(), {"a": Changing((A,))}, Memory())
    authenticator.authenticate(A.token().encode(), now=NOW)
    assert code_of(authenticator, A.token()) == "token.unknown-key"


def test_issuers_without_keys_are_named() -> None:
    authenticator = TokenAuthenticator(twins(), {"a": LiveKeys((A,)), "b": LiveKeys(is_down=True)})
    assert authenticator.missing_keys() == ("b",)


def test_invariant_1_a_policy_without_an_audience_cannot_be_applied() -> None:
    with pytest.raises(ConfigError, match="without an audience"):
        TokenAuthenticator(InvokerPolicy("p", (), single().issuers), {"a": LiveKeys((A,))})


def test_a_token_may_name_others_where_the_policy_allows_it() -> None:
    token = A.token(kubernetes_claims(aud=[AUDIENCE, "cart-api"])).encode()
    allowing = TokenAuthenticator(single(several_audiences=True), {"a": LiveKeys((A,))})
    assert allowing.authenticate(token, now=NOW).audience == AUDIENCE
    with pytest.raises(TokenError, match="2 audiences"):
        TokenAuthenticator(single(), {"a": LiveKeys((A,))}).authenticate(token, now=NOW)


def test_a_refusal_for_want_of_keys_says_when_to_come_back() -> None:
    authenticator = TokenAuthenticator(single(), {"a": LiveKeys(is_down=True)})
    with pytest.raises(KeysUnavailableError) as caught:
        authenticator.authenticate(good().encode(), now=NOW)
    assert (caught.value.retry_after_s, caught.value.flight, caught.value.retryable) == (2.5, None, True)


def test_keys_of_other_algorithms_are_told_apart_too() -> None:
    authenticator = TokenAuthenticator(twins(), {"a": LiveKeys((rsa_signer("r"),)), "b": LiveKeys((B,))})
    assert authenticator.authenticate(rsa_signer("r").token().encode(), now=NOW).issuer_name == "a"


def test_an_issuer_has_the_algorithms_that_the_policy_gives_it() -> None:
    issuer = TrustedIssuer("a", "kubernetes", Issuer(ISSUER), algorithms=("EdDSA",))
    policy = InvokerPolicy("p", (Audience(AUDIENCE),), (issuer,))
    ed = signer_of("EdDSA", "e")
    authenticator = TokenAuthenticator(policy, {"a": LiveKeys((ed, A))})
    assert authenticator.authenticate(ed.token().encode(), now=NOW).issuer_name == "a"
    assert code_of(authenticator, A.token()) == "token.unsupported-algorithm"


def test_of_two_issuers_with_one_url_only_those_with_the_algorithm_are_asked() -> None:
    first, second = (replace(issuer, algorithms=(name,)) for issuer, name in zip(twins().issuers, ("ES256", "EdDSA"), strict=True))
    ed = signer_of("EdDSA", "e")
    keys = {"a": LiveKeys((A,)), "b": LiveKeys((ed,))}
    authenticator = TokenAuthenticator(InvokerPolicy("p", (Audience(AUDIENCE),), (first, second)), keys)
    assert authenticator.authenticate(ed.token().encode(), now=NOW).issuer_name == "b"
    assert code_of(authenticator, signer_of("EdDSA", "x").token()) == "token.unknown-key"
    assert code_of(authenticator, rsa_signer("r").token()) == "token.unsupported-algorithm"
    assert keys["a"].asked == 0
