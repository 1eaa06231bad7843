# SPDX-License-Identifier: Apache-2.0
"""A rotation that many processes walk: the person at the control plane, and the witness, who keeps a token of each key in use."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httpx2
import yaml

from podpass.exchange.exchanger import Exchanger
from podpass.federate.rotation.instructions import instruction
from podpass.federate.rotation.rotation import Phase
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import from_dict
from podpass.kube.objects import ensure_service_account
from podpass.kube.tokens import request_token
from podpass.names import PoolName, Secret, ServiceAccountRef
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.token_issuer import make_key
from podpass.verify import parse, thumbprint_kid
from scenario.crash_walk.gallows import Gallows, Middle
from scenario.crash_walk.world import World, brew

ACCOUNT: Final = ServiceAccountRef("default", "shop")
LONGEST_S: Final = 1.0
FILE: Final = "shop.yaml"
# The same each time, so that two ends can be compared.
NEW_KEY: Final = make_key("p256")
NEW: Final = thumbprint_kid(NEW_KEY.public_key())
_FEDERATION: Final = {
    "apiVersion": "podpass.dev/v1alpha1",
    "kind": "Federation",
    "metadata": {"name": "shop"},
    "spec": {
        "google": {"project": "demo-project", "pool": {"id": "shop"}, "provider": {"id": "cluster"}},
        "workloads": [{"serviceAccount": str(ACCOUNT), "roles": ["roles/storage.admin"]}],
    },
}
# What is said first of the API server's flags tells the steps apart.
_ASKED: Final = {
    next(line for line in instruction(phase, None).lines if line.startswith("kube-apiserver: ")): phase
    for phase in (Phase.ANNOUNCE, Phase.SWITCH, Phase.RETIRE)
}


def write_federation(folder: Path) -> Path:
    """Write the federation file."""
    file = folder / FILE
    file.write_text(yaml.safe_dump(_FEDERATION))
    return file


def rotate(file: Path, *direction: str) -> list[str]:
    """Return the arguments of a rotation."""
    return ["rotate", "--key", "--yes", "--wait", "30s", "--longest-token", f"{LONGEST_S:.0f}s", "--file", str(file), *direction]


@dataclass
class Person:
    """Does to the control plane what podpass says, when it says so, and once.

    Attributes:
        cluster: The control plane.
        output: What podpass prints.
    """

    sandbox: HostedSandbox
    output: Path
    switched_s: float = 0.0
    problems: list[BaseException] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def kids(self) -> list[str]:
        """The keys that the API server accepts; the first one signs."""
        cluster: Any = self.sandbox.cluster
        return [thumbprint_kid(key.public_key()) for key in cluster._issuer.keys]

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
                asked = [_ASKED[line.strip()] for line in text.splitlines() if line.strip() in _ASKED]
                for phase in asked[done:]:
                    self._do(phase, is_back="Going back with" in text)
                done = len(asked)
                time.sleep(0.02)
        except BaseException as error:  # noqa: BLE001 - told where the block ends
            self.problems.append(error)

    def _do(self, phase: Phase, *, is_back: bool) -> None:
        signer, *others = self.kids
        is_right = (signer == NEW) is not is_back
        if phase is Phase.ANNOUNCE and not others:
            self._restart(IssuerChange(announce_key="p256"))
        if phase is Phase.SWITCH and not is_right:
            self._restart(IssuerChange(sign_with_announced=True))
            self.switched_s = time.time()
        if phase is Phase.RETIRE and others:
            assert is_right, "the key that signs would go"
            assert not self.switched_s or time.time() - self.switched_s > LONGEST_S - 1, "tokens of the leaving key live"
            self._restart(IssuerChange(keep_old_keys=False))

    def _restart(self, change: IssuerChange) -> None:
        cluster = self.sandbox.cluster
        assert cluster
        self.sandbox.run(cluster.restart(change))


@dataclass
class Witness:
    """Keeps a token of each key that has signed: while the API server accepts the key, Google takes its tokens."""

    kube: KubeClient
    exchanger: Exchanger
    held: dict[str, Secret[str]] = field(default_factory=dict)

    def look(self, accepted: list[str]) -> None:
        """Exchange one token of each key in use."""
        fresh = request_token(self.kube, ACCOUNT, audiences=[self.exchanger.provider.audience]).value
        self.held[str(parse(fresh.reveal()).kid)] = fresh
        self.held = {kid: token for kid, token in self.held.items() if kid in accepted}
        for token in self.held.values():
            self.exchanger.federated_token(token)


@dataclass
class Trip:
    """One rotation in a sandbox of its own.

    Attributes:
        world: Where podpass processes come from.
        file: The federation file.
        sandbox: Both sides.
        middle: The man in the middle.
    """

    world: World
    file: Path
    sandbox: HostedSandbox
    middle: Middle
    person: Person
    witness: Witness

    @classmethod
    @contextmanager
    def begin(cls, world: World, state: str) -> Iterator[Self]:
        """Begin in a state."""
        with ExitStack() as stack:
            sandbox, middle = stack.enter_context(world.from_state(state))
            assert sandbox.cluster
            kube = stack.enter_context(connect(from_dict(sandbox.cluster.admin_kubeconfig())))
            http = stack.enter_context(_client(sandbox.environment()))
            provider = PoolName(sandbox.settings.project_number, "shop").provider("cluster")
            witness = Witness(kube, Exchanger(provider, http=http))
            trip = cls(world, write_federation(world.folder), sandbox, middle, Person(sandbox, world.forge.output), witness)
            trip.witness.look(trip.person.kids)
            yield trip

    def run(self, arguments: list[str], gallows: Gallows, every: int = 0) -> int:
        """Run podpass once, then see that no key in use is unknown to Google."""
        brew(self.sandbox, every)
        with self.person.at_hand():
            code = self.world.forge.run(arguments, self.middle, gallows)
        self.sandbox.clear_faults()
        self.witness.look(self.person.kids)
        assert code in {0, 1, -9} or "[config.rotation-none]" in self.world.said, self.world.said
        return code

    def next_arguments(self, direction: str) -> list[str] | None:
        """Return what a person runs next, by what was said last; None: the rotation has ended."""
        said = self.world.said
        if "[config.rotation-none]" in said:
            is_over = self.person.kids == [NEW] or direction == "--abort"
            return None if is_over else rotate(self.file)
        if "[config.rotation-under-way]" in said:
            return rotate(self.file, "--resume")
        return rotate(self.file, direction)

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


def _client(environment: Mapping[str, str]) -> httpx2.Client:
    import ssl  # noqa: PLC0415 - here alone

    trust = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
    return httpx2.Client(proxy=environment["HTTPS_PROXY"], verify=trust, trust_env=False, timeout=30)


def prepare(world: World, file: Path) -> None:
    """Make the state `ready`: the federation is applied, its workload's account is there."""

    def build(sandbox: HostedSandbox, middle: Middle) -> None:
        assert sandbox.cluster
        with connect(from_dict(sandbox.cluster.admin_kubeconfig())) as kube:
            ensure_service_account(kube, ACCOUNT)
        assert world.forge.run(["apply", "--yes", "--file", str(file)], middle, Gallows()) == 0, world.said

    world.make("ready", "nothing", build)
