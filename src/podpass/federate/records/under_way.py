# SPDX-License-Identifier: Apache-2.0
"""What `podpass rotate` has begun and not ended, for every command that changes or judges a federation.

There is one place for it, whatever is rotated, so there is one rotation at a time: the config map rotation-NAME in podpass-system.
"""

from dataclasses import dataclass
from typing import Final, Literal

from podpass.federate.model.plan import Caution
from podpass.federate.records import state_text
from podpass.federate.records.issuer_move import KIND as MOVE
from podpass.federate.records.issuer_move import IssuerMove
from podpass.federate.records.receipt import NAMESPACE
from podpass.kube.client import KubeClient
from podpass.kube.config_maps import get_config_map

KEY: Final = "rotation.json"
Option = Literal["--key", "--issuer"]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A rotation that has begun.

    Attributes:
        option: What is rotated, as `podpass rotate` names it.
        move: The move, where that is the issuer.
    """

    option: Option
    move: IssuerMove | None = None

    @property
    def sentence(self) -> str:
        """Say what it is."""
        if self.move is None:
            return "A rotation of the cluster's signing key is under way."
        way = f"{self.move.leaves.issuer} to {self.move.stays.issuer}"
        return f"A move of the issuer is under way{', back' if self.move.is_back else ''} from {way}; its next step is `{self.move.phase}`."

    @property
    def next_step(self) -> str:
        """Say how it ends."""
        return f"`podpass rotate {self.option} --resume` goes on, --abort goes back."

    def caution(self) -> Caution:
        """Return what a reader of a plan should know."""
        kept = " Until it has ended, both providers are kept, and both issuers' keys." if self.move else ""
        return Caution("rotation-under-way", f"{self.sentence}{kept} {self.next_step}")


def name_of(federation: str) -> str:
    """Return the name of the config map."""
    return f"rotation-{federation}"


def read(client: KubeClient, federation: str) -> UnderWay | None:
    """Return what has begun; None: nothing.

    Raises:
        ConfigError: The config map is there and cannot be read.
    """
    found = get_config_map(client, NAMESPACE, name_of(federation))
    if found is None:
        return None
    text, origin = found.data.get(KEY, ""), f"The config map {NAMESPACE}/{name_of(federation)}"
    if state_text.kind_of(text, origin=origin) == MOVE:
        return UnderWay("--issuer", IssuerMove.from_text(text, origin=origin))
    return UnderWay("--key")
