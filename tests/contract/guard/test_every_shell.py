# SPDX-License-Identifier: Apache-2.0
"""One suite, every shell: whoever is denied has not made the handler run, whatever the reason."""

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import pytest

from contract.guard.prefork import PREFORK
from contract.guard.shells import SHELLS as NEAR
from contract.guard.shells import Ask, Handler, Headers, Seen, Shell, drive, scope_of
from guarding import CLUSTER, FOREIGN, World, bearer, good, google, of, policy, seconds_from_now
from podpass.guard import Guard, asgi
from podpass.policy import HandlerToken, InvokerPolicy, Rule
from token_forge import AUDIENCE, ISSUER, SUBJECT, b64url, compact_json, kubernetes_claims
from unit.guard.test_paths import AMBIGUOUS

SHELLS = NEAR + PREFORK


@dataclass(frozen=True)
class Denial:
    """A request that is denied, and how."""

    reason: str
    status: int
    code: str
    target: bytes = b"/private"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    method: str = "GET"


def token(reason: str, status: int, code: str, text: str, target: bytes = b"/private", method: str = "GET") -> Denial:
    return Denial(reason, status, code, target, (bearer(text),), method)


UNSIGNED = f"{b64url(compact_json({'alg': 'none'}))}.{b64url(compact_json(kubernetes_claims()))}."
HEAD, _, SIGNATURE = good().rpartition(".")
ANN = of("shop", "cart")

DENIALS = [
    Denial("no token", 401, "token.missing"),
    Denial("no token, and no rule", 401, "token.missing", b"/nowhere"),
    Denial("no token, and no rule for the method", 401, "token.missing", method="POST"),
    Denial("another scheme", 401, "token.missing", headers=((b"authorization", b"Basic YTpi"),)),
    Denial("nothing behind Bearer", 401, "token.malformed", headers=((b"authorization", b"Bearer"),)),
    Denial("two headers", 400, "request.several-credentials", headers=(bearer(good()), bearer(good()))),
    Denial("two credentials in one", 400, "request.several-credentials", headers=((b"authorization", f"Bearer {ANN}, x".encode()),)),
    Denial("the serverless header, unasked for", 401, "token.missing", headers=(bearer(good(), "x-serverless-authorization"),)),
    token("junk", 401, "token.malformed", "junk"),
    token("junk where no token is needed", 401, "token.malformed", "junk", b"/"),
    token("17 KiB", 401, "token.malformed", "a" * 17_000),
    token("unsigned", 401, "token.unsupported-algorithm", UNSIGNED),
    token("cut off", 401, "token.malformed", HEAD),
    token("another signature", 401, "token.bad-signature", f"{HEAD}.{of('shop', 'x').rpartition('.')[2]}"),
    token("expired", 401, "token.expired", good(exp=seconds_from_now(-31))),
    token("not yet valid", 401, "token.not-yet-valid", good(nbf=seconds_from_now(31))),
    token("another audience", 401, "token.wrong-audience", good(aud=["cart-api"])),
    token("two audiences", 401, "token.several-audiences", good(aud=[AUDIENCE, "cart-api"])),
    token("the issuer's audience", 401, "token.api-audience", good(aud=[AUDIENCE, ISSUER])),
    token("an API server's audience", 401, "token.api-audience", good(aud=[AUDIENCE, "https://kubernetes.default.svc.cluster.local"])),
    token("a configured API audience", 401, "token.api-audience", good(aud=[AUDIENCE, "my-api"])),
    token("another issuer", 401, "token.wrong-issuer", good(iss="https://oidc.example/cluster-b")),
    token("another issuer's slash", 401, "token.wrong-issuer", good(iss=f"{ISSUER}/")),
    token("an issuer that is no text", 401, "token.malformed", good(iss=[ISSUER])),
    token("another cluster's key", 401, "token.unknown-key", FOREIGN.token(kubernetes_claims())),
    token("contradicting claims", 401, "token.malformed", good(sub="system:serviceaccount:other:checkout")),
    token("keys cannot be had", 503, "keys.unavailable", CLUSTER.token(kubernetes_claims(iss="https://down.example"))),
    token("no rule", 403, "policy.no-rule", good(), b"/nowhere"),
    token("no rule for the method", 403, "policy.no-method", good(), method="POST"),
    token("not a member", 403, "policy.not-a-member", ANN),
    token("not a member, of another issuer", 403, "policy.not-a-member", google(sub=SUBJECT)),
    token("a condition that is false", 403, "policy.condition", good(**{"kubernetes.io": {
        "namespace": "shop",
        "serviceaccount": {"name": "checkout", "uid": "u"},
        "node": {"name": "node-2", "uid": "u"},
    }}), b"/node"),
    token("a condition without a value", 403, "policy.condition", google(), b"/node"),
    token("revoked", 401, "token.revoked", of("shop", "gone"), b"/reviewed"),
    token("not a member of a reviewed rule", 403, "policy.not-a-member", google(), b"/reviewed"),
]  # fmt: skip
PATHS = [Denial(f"path {raw!r}", 400, "request.ambiguous-path", raw, (bearer(good()),)) for raw, _ in AMBIGUOUS if b"?" not in raw]


@dataclass
class Served:
    """A shell at work."""

    shell: Shell
    ask: Ask
    handler: Handler
    world: World

    def sees(self, denial: Denial) -> bool:
        """Tell whether this kind of request comes as far as the guard at all."""
        return (self.shell.methods is None or denial.method in self.shell.methods) and not self.shell.unseen(
            denial.target, list(denial.headers)
        )

    def send(self, denial: Denial) -> Seen:
        return self.ask(denial.method, denial.target, list(denial.headers))


@pytest.fixture(scope="module", params=SHELLS, ids=lambda shell: shell.name)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    yield from serve(request.param, World())


@pytest.fixture(scope="module", params=SHELLS, ids=lambda shell: shell.name)
def audited(request: pytest.FixtureRequest) -> Iterator[Served]:
    yield from serve(request.param, World("audit"))


def serve(shell: Shell, world: World) -> Iterator[Served]:
    world.reviews.gone.add("system:serviceaccount:shop:gone")
    handler = shell.handler()
    with shell.serve(world.guard(), handler) as ask:
        yield Served(shell, ask, handler, world)


@pytest.mark.parametrize("denial", DENIALS + PATHS, ids=lambda denial: denial.reason)
def test_invariant_1_whoever_is_denied_has_not_made_the_handler_run(served: Served, denial: Denial) -> None:
    if not served.sees(denial):
        pytest.skip("the server itself refuses this, or the shell has no such method")
    served.handler.forget()
    seen = served.send(denial)
    assert served.handler.calls == []
    assert seen.code == denial.code
    if seen.status:
        assert seen.status == denial.status
        assert ("www-authenticate" in seen.headers) == (denial.status == 401)
        assert ("retry-after" in seen.headers) == (denial.status == 503)


def test_a_denial_tells_the_client_its_code_and_nothing_else(served: Served) -> None:
    if served.shell.name.startswith("asgi websocket, close"):
        pytest.skip("it tells a client nothing")
    seen = served.ask("GET", b"/private", [bearer(good(exp=seconds_from_now(-31)))])
    assert seen.body == b'{"error":"invalid_token","code":"token.expired"}'
    assert seen.headers["www-authenticate"].lower() == 'bearer error="invalid_token", error_description="token.expired"'
    assert seen.headers["cache-control"] == "no-store"
    seen = served.ask("GET", b"/private", [bearer(CLUSTER.token(kubernetes_claims(iss="https://down.example")))])
    assert (seen.status, seen.headers["retry-after"]) == (503, "3")
    assert seen.body == b'{"error":"temporarily_unavailable","code":"keys.unavailable"}'


ALLOWED: list[tuple[bytes, Headers, str | None]] = [
    (b"/", [], None),
    (b"/?a=b%2f..//", [], None),
    (b"/", [(b"authorization", b"Basic YTpi")], None),
    (b"/", [bearer(good())], SUBJECT),
    (b"/private", [bearer(good())], SUBJECT),
    (b"/private/", [bearer(good())], SUBJECT),
    (b"/pr%69vate/a%20b/%C3%B6", [bearer(good())], SUBJECT),
    (b"/private", [(b"authorization", f"bearer  {good()}".encode())], SUBJECT),
    (b"/private", [bearer(good(exp=seconds_from_now(-29)))], SUBJECT),
    (b"/node", [bearer(good())], SUBJECT),
    (b"/reviewed", [bearer(good())], SUBJECT),
]


@pytest.mark.parametrize(("target", "headers", "caller"), ALLOWED)
def test_whoever_is_allowed_reaches_the_handler_once_and_by_name(
    served: Served, target: bytes, headers: Headers, caller: str | None
) -> None:
    served.handler.forget()
    assert served.ask("GET", target, headers).status == 200
    assert served.handler.calls == [caller]


@pytest.mark.parametrize("denial", DENIALS + PATHS, ids=lambda denial: denial.reason)
def test_invariant_1_audit_relaxes_the_rules_and_nothing_else(audited: Served, denial: Denial) -> None:
    if not audited.sees(denial):
        pytest.skip("the server itself refuses this, or the shell has no such method")
    audited.handler.forget()
    seen = audited.send(denial)
    if denial.status == 403:
        assert seen.status == 200
        assert len(audited.handler.calls) == 1
        assert audited.handler.calls != [None]
    else:
        assert audited.handler.calls == []
        assert seen.code == denial.code


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell.name)
@pytest.mark.parametrize("headers", [[], [bearer(good())]], ids=["no token", "token"])
def test_invariant_1_without_a_policy_nothing_is_served(shell: Shell, headers: Headers) -> None:
    handler = shell.handler()
    with shell.serve(Guard.from_policy(InvokerPolicy.nobody()), handler) as ask:
        for target in (b"/", b"/private"):
            assert ask("GET", target, headers).code == ("token.wrong-issuer" if headers else "token.missing")
    assert handler.calls == []


def test_a_failure_of_the_guard_itself_does_not_open_it(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    if not served.shell.is_near:
        pytest.skip("it runs in another process")
    served.handler.forget()
    monkeypatch.setattr(Rule, "refusal_of", broken)
    try:
        seen = served.ask("GET", b"/", [])
    except ZeroDivisionError:
        pass
    else:
        assert seen.status == 500
    assert served.handler.calls == []


def test_invariant_4_nothing_secret_is_written_down_or_told(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    if not served.shell.is_near:
        pytest.skip("it runs in another process")
    caplog.set_level(logging.DEBUG, "podpass")
    told = []
    for denial in DENIALS:
        if served.sees(denial):
            seen = served.send(denial)
            told.append(f"{seen.headers} {seen.body!r}")
    served.ask("GET", f"/private/{good()}?access_token={good()}".encode(), [bearer(good())])
    metrics = " ".join(f"{record.getMessage()}" for record in caplog.records)
    written = f"{caplog.text} {metrics} {told}"
    assert "token.expired" in written
    assert "/private/…" in written.replace("\\u2026", "…")
    for denial in DENIALS:
        for _, value in denial.headers:
            for part in re.findall(rb"[\w-]{30,}", value):
                assert part.decode() not in written, denial.reason


@pytest.mark.parametrize("shell", NEAR, ids=lambda shell: shell.name)
def test_keys_on_their_way_are_waited_for_once(shell: Shell) -> None:
    world, handler = World(), Handler()
    world.cluster.is_down = True
    flight = world.cluster.flight = Future()

    def arrive() -> None:
        world.cluster.publish(CLUSTER)
        flight.set_result(None)

    with shell.serve(world.guard(), handler) as ask:
        timer = threading.Timer(0.05, arrive)
        timer.start()
        assert ask("GET", b"/private", [bearer(good())]).status == 200
        timer.join()
    assert handler.calls == [SUBJECT]


@pytest.mark.parametrize("shell", NEAR, ids=lambda shell: shell.name)
def test_a_review_is_waited_for_after_the_keys(shell: Shell) -> None:
    world, handler = World(), Handler()
    world.cluster.is_down = world.reviews.is_down = True
    keys = world.cluster.flight = Future()
    review = world.reviews.flight = Future()

    def arrive() -> None:
        world.cluster.publish(CLUSTER)
        keys.set_result(None)
        world.reviews.is_down = False
        review.set_result(None)

    with shell.serve(world.guard(), handler) as ask:
        timer = threading.Timer(0.05, arrive)
        timer.start()
        assert ask("GET", b"/reviewed", [bearer(good())]).status == 200
        timer.join()
    assert handler.calls == [SUBJECT]


@pytest.mark.parametrize("shell", NEAR, ids=lambda shell: shell.name)
def test_a_flight_that_fails_is_not_waited_for_twice(shell: Shell) -> None:
    world, handler = World(), Handler()
    world.cluster.is_down = True
    world.cluster.flight = Future()
    world.cluster.flight.set_exception(OSError("refused"))
    with shell.serve(world.guard(), handler) as ask:
        assert ask("GET", b"/private", [bearer(good())]).code == "keys.unavailable"
    assert (handler.calls, world.cluster.asked) == ([], 2)


def test_a_client_that_leaves_does_not_end_the_flight_of_others() -> None:
    world, handler = World(), Handler()
    world.cluster.is_down = True
    flight = world.cluster.flight = Future()

    async def leave() -> None:
        app = asgi.GuardMiddleware(handler.asgi, world.guard())
        task = asyncio.create_task(drive(app, scope_of("http", "GET", b"/private", [bearer(good())])))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert not flight.cancelled()
    assert handler.calls == []


def test_the_serverless_header_is_read_first_where_the_policy_says_so(served: Served) -> None:
    source = policy()
    allowing = InvokerPolicy("p", source.audiences, source.issuers, source.rules, serverless_authorization=True)
    handler = served.shell.handler()
    with served.shell.serve(Guard.from_policy(allowing, served.world.wiring()), handler) as ask:
        own = bearer(good(), "x-serverless-authorization")
        assert ask("GET", b"/private", [own, (b"authorization", b"Bearer something else")]).status == 200
        assert ask("GET", b"/private", [bearer(good())]).status == 200
        assert ask("GET", b"/private", [bearer("junk", "x-serverless-authorization"), bearer(good())]).code == "token.malformed"
    assert handler.calls == [SUBJECT, SUBJECT]


def test_the_handler_sees_of_the_token_what_the_policy_lets_it_see(served: Served) -> None:
    source, own = policy(), "x-serverless-authorization"
    unsigned = InvokerPolicy(
        "p", source.audiences, source.issuers, source.rules, serverless_authorization=True, handler_token=HandlerToken.UNSIGNED
    )
    handler, theirs = served.shell.handler(), b"Bearer something else"
    with served.shell.serve(Guard.from_policy(unsigned, served.world.wiring()), handler) as ask:
        assert ask("GET", b"/private", [bearer(good(), own), (b"authorization", theirs)]).status == 200
        assert ask("GET", b"/private", [bearer(good())]).status == 200
        assert ask("GET", b"/", [(own.encode(), b"Basic YTpi"), (b"authorization", b"Basic YTpi")]).status == 200
    removed = f"Bearer {HEAD}.SIGNATURE_REMOVED_BY_GOOGLE"
    assert handler.credentials == [("Bearer something else", removed), (removed, None), ("Basic YTpi", None)]
