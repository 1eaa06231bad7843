# SPDX-License-Identifier: Apache-2.0
"""A rotation that many processes walk: the person at the control plane, and the witness, who keeps a token of each key or issuer in use."""

import re
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import httpx2
import yaml

from podpass.exchange.exchanger import Exchanger
from podpass.federate.rotation.key.instructions import instruction
from podpass.federate.rotation.key.rotation import Phase
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import from_dict
from podpass.kube.objects import ensure_service_account
from podpass.kube.tokens import request_token
from podpass.names import PoolName, Secret, ServiceAccountRef
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.token_issuer import DEFAULT_ISSUER, make_key
from podpass.verify import parse, thumbprint_kid
from podpass.verify.compact import CompactToken
from scenario.crash_walk.gallows import Gallows, Middle
from scenario.crash_walk.world import World, brew, stable

ACCOUNT: Final = ServiceAccountRef("default", "shop")
LONGEST_S: Final = 2
# The same each time, so that two ends can be compared.
NEW_KEY: Final = make_key("p256")
NEW: Final = thumbprint_kid(NEW_KEY.public_key())
NEW_ISSUER: Final = "https://storage.googleapis.com/shop-oidc"
_PROVIDERS: Final = {DEFAULT_ISSUER: "cluster", NEW_ISSUER: "cluster-2"}


def _federation(issuer: Mapping[str, object], provider: Mapping[str, object]) -> str:
    google = {"project": "demo-project", "pool": {"id": "shop"}, "provider": provider}
    workload = {"serviceAccount": str(ACCOUNT), "roles": ["roles/storage.admin"], "credentials": {"configMap": "shop-sts"}}
    spec = {"google": google, "workloads": [workload], **({"issuer": issuer} if issuer else {})}
    return yaml.safe_dump({"apiVersion": "podpass.dev/v1alpha1", "kind": "Federation", "metadata": {"name": "shop"}, "spec": spec})


@dataclass
class Person(ABC):
    """Does to the control plane what podpass says, when it says so, and once.

    Attributes:
        sandbox: Where the control plane is.
        output: What podpass prints.
    """

    option: ClassVar[str]
    """What `podpass rotate` rotates."""
    file: ClassVar[str]
    """The federation file's text."""

    sandbox: HostedSandbox
    output: Path
    switched_s: float = 0.0
    problems: list[BaseException] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    @abstractmethod
    def accepted(self) -> list[str]:
        """The keys, or the issuers, that the API server accepts; the first one signs."""

    @abstractmethod
    def asked(self, text: str) -> list[Any]:
        """Return what is asked for in what podpass printed, in its order."""

    @abstractmethod
    def do(self, wanted: Any, *, is_back: bool) -> None:  # noqa: ANN401 - what `asked` returns
        """Do it, if it is not done yet."""

    @abstractmethod
    def signer(self, token: CompactToken) -> str:
        """Return which one has signed a token."""

    @property
    @abstractmethod
    def is_through(self) -> bool:
        """Whether the control plane is at the end of the way."""

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Follow what is printed while the block runs; what was asked for is done when it ends."""
        self.output.write_text("")
        self._ended.clear()
        thread = threading.Thread(target=self._attend)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
        assert not self.problems, self.problems

    def _attend(self) -> None:
        done, is_over = 0, False
        try:
            while not is_over:
                is_over = self._ended.is_set()
                text = self.output.read_text()
                asked = self.asked(text)
                for wanted in asked[done:]:
                    self.do(wanted, is_back="Going back with" in text)
                done = len(asked)
                time.sleep(0.02)
        except BaseException as error:  # noqa: BLE001 - told where the block ends
            self.problems.append(error)

    def _check_nobody_is_left(self) -> None:
        """Refuse to take something away whose last token may live."""
        assert not self.switched_s or time.time() - self.switched_s > LONGEST_S - 1, "tokens of what leaves live"

    def _restart(self, change: IssuerChange) -> None:
        cluster = self.sandbox.cluster
        assert cluster
        self.sandbox.run(cluster.restart(change))


class KeyPerson(Person):
    """Brings a new key in, and takes one away."""

    option = "--key"
    file = _federation({}, {"id": "cluster"})
    # What is said first of the API server's flags tells the steps apart.
    _LINES: ClassVar = {
        next(line for line in instruction(phase, None).lines if line.startswith("kube-apiserver: ")): phase
        for phase in (Phase.ANNOUNCE, Phase.SWITCH, Phase.RETIRE)
    }

    @property
    def accepted(self) -> list[str]:
        cluster: Any = self.sandbox.cluster
        return [thumbprint_kid(key.public_key()) for key in cluster._issuer.keys]

    @property
    def is_through(self) -> bool:
        return self.accepted == [NEW]

    def asked(self, text: str) -> list[Phase]:
        return [self._LINES[line.strip()] for line in text.splitlines() if line.strip() in self._LINES]

    def signer(self, token: CompactToken) -> str:
        return str(token.kid)

    def do(self, wanted: Phase, *, is_back: bool) -> None:
        signer, *others = self.accepted
        is_right = (signer == NEW) is not is_back
        if wanted is Phase.ANNOUNCE and not others:
            self._restart(IssuerChange(announce_key="p256"))
        if wanted is Phase.SWITCH and not is_right:
            self._restart(IssuerChange(sign_with_announced=True))
            self.switched_s = time.time()
        if wanted is Phase.RETIRE and others:
            assert is_right, "the key that signs would go"
            self._check_nobody_is_left()
            self._restart(IssuerChange(keep_old_keys=False))


class IssuerPerson(Person):
    """Sets the flags for issuers as they are printed."""

    option = "--issuer"
    file = _federation(
        {"url": NEW_ISSUER, "keys": "bucket", "bucket": {"name": "shop-oidc"}}, {"id": "cluster-2", "formerIds": ["cluster"]}
    )
    _STEP: ClassVar = re.compile(
        r"(?:^ +kube-apiserver: --service-account-issuer=\S+.*\n)+(?= +kube-apiserver: --api-audiences=)", re.MULTILINE
    )

    @property
    def accepted(self) -> list[str]:
        assert self.sandbox.cluster
        return list(self.sandbox.cluster.issuers)

    @property
    def is_through(self) -> bool:
        return self.accepted == [NEW_ISSUER]

    def asked(self, text: str) -> list[list[str]]:
        return [re.findall(r"issuer=(\S+)", step[0]) for step in self._STEP.finditer(text)]

    def signer(self, token: CompactToken) -> str:
        return str(token.payload.get("iss"))

    def do(self, wanted: list[str], *, is_back: bool) -> None:
        del is_back
        before = self.accepted
        if before == wanted:
            return
        if set(before) - set(wanted):
            assert before[0] in wanted, "the issuer that signs would go"
            self._check_nobody_is_left()
        self._restart(IssuerChange(issuer=wanted[0], accepted_issuers=tuple(wanted[1:])))
        if before[0] != wanted[0]:
            self.switched_s = time.time()


PEOPLE: Final[Mapping[str, type[Person]]] = {one.option: one for one in (KeyPerson, IssuerPerson)}


@dataclass
class Witness:
    """Keeps a token of each key, or issuer, that has signed: while the API server accepts it, Google takes its tokens."""

    kube: KubeClient
    http: httpx2.Client
    pool: PoolName
    held: dict[str, Secret[str]] = field(default_factory=dict)

    def look(self, person: Person) -> None:
        """Exchange one token of each that is in use."""
        fresh = request_token(self.kube, ACCOUNT, audiences=[self.pool.provider("cluster").audience]).value
        self.held[person.signer(parse(fresh.reveal()))] = fresh
        self.held = {name: token for name, token in self.held.items() if name in person.accepted}
        for token in self.held.values():
            issuer = str(parse(token.reveal()).payload.get("iss"))
            Exchanger(self.pool.provider(_PROVIDERS[issuer]), http=self.http).federated_token(token)


@dataclass
class Trip:
    """One rotation in a sandbox of its own.

    Attributes:
        world: Where podpass processes come from.
        sandbox: Both sides.
        middle: The man in the middle.
        person: Who is at the control plane.
        witness: Who sees that nobody is refused.
    """

    world: World
    sandbox: HostedSandbox
    middle: Middle
    person: Person
    witness: Witness

    @classmethod
    @contextmanager
    def begin(cls, world: World, state: str, option: str) -> Iterator[Self]:
        """Begin in a state."""
        with ExitStack() as stack:
            sandbox, middle = stack.enter_context(world.from_state(state))
            assert sandbox.cluster
            kube = stack.enter_context(connect(from_dict(sandbox.cluster.admin_kubeconfig())))
            http = stack.enter_context(_client(sandbox.environment()))
            witness = Witness(kube, http, PoolName(sandbox.settings.project_number, "shop"))
            trip = cls(world, sandbox, middle, PEOPLE[option](sandbox, world.forge.output), witness)
            trip.witness.look(trip.person)
            yield trip

    def arguments(self, *direction: str) -> list[str]:
        """Return the arguments of a run."""
        return rotate(self.world, self.person.option, *direction)

    def run(self, arguments: list[str], gallows: Gallows, every: int = 0) -> int:
        """Run podpass once, then see that Google takes what is in use."""
        brew(self.sandbox, every)
        with self.person.at_hand():
            code = self.world.forge.run(arguments, self.middle, gallows)
        self.sandbox.clear_faults()
        self.witness.look(self.person)
        assert code in {0, 1, -9} or "[config.rotation-none]" in self.world.said, self.world.said
        return code

    def next_arguments(self, direction: str) -> list[str] | None:
        """Return what a person runs next, by what was said last; None: the rotation has ended."""
        said = self.world.said
        if "[config.rotation-none]" in said:
            return None if self.person.is_through or direction == "--abort" else self.arguments()
        if "[config.rotation-under-way]" in said:
            return self.arguments("--resume")
        return self.arguments(direction)

    def finish(self, direction: str, weathers: tuple[int, ...] = (0,) * 4) -> None:
        """Run until it is done."""
        said = []
        for every in weathers:
            arguments = self.next_arguments(direction)
            if arguments is None or self.run(arguments, Gallows(), every) == 0:
                return
            said.append(self.world.said)
        if self.next_arguments(direction) is not None:
            raise AssertionError("\n".join(said))

    @property
    def end(self) -> Any:  # noqa: ANN401 - JSON
        """What there is on both sides, and what the control plane accepts."""
        return stable(self.sandbox), self.person.accepted


def rotate(world: World, option: str, *direction: str) -> list[str]:
    """Return the arguments of a rotation, whose federation file is there then."""
    file = world.folder / f"shop{option}.yaml"
    file.write_text(PEOPLE[option].file)
    return ["rotate", option, "--yes", "--wait", "30s", "--longest-token", f"{LONGEST_S}s", "--file", str(file), *direction]


def _client(environment: Mapping[str, str]) -> httpx2.Client:
    trust = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
    return httpx2.Client(proxy=environment["HTTPS_PROXY"], verify=trust, trust_env=False, timeout=30)


def prepare(world: World) -> None:
    """Make the state `ready`: the federation is applied, its workload's account is there."""

    def build(sandbox: HostedSandbox, middle: Middle) -> None:
        assert sandbox.cluster
        with connect(from_dict(sandbox.cluster.admin_kubeconfig())) as kube:
            ensure_service_account(kube, ACCOUNT)
        file = world.folder / "shop.yaml"
        file.write_text(KeyPerson.file)
        assert world.forge.run(["apply", "--yes", "--file", str(file)], middle, Gallows()) == 0, world.said

    world.make("ready", "nothing", build)
