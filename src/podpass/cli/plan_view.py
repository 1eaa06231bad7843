# SPDX-License-Identifier: Apache-2.0
"""How a plan, its progress and its end look to a person: within 80 columns, but for addresses, values and commands.

Those are never broken: they are copied.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from podpass.cli.wrapping import WIDTH, wrap
from podpass.names.quoting import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from podpass.federate.execution.run import Event
    from podpass.federate.model.change import Change, FieldChange
    from podpass.federate.model.plan import Plan, Subject
    from podpass.federate.safety.allowances import Allowances

_LOOKS = {
    "create": ("+", "green", "create", "created"),
    "update": ("~", "yellow", "change", "changed"),
    "undelete": ("^", "cyan", "undelete", "undeleted"),
    "adopt": ("=", "cyan", "adopt", "adopted"),
    "delete": ("-", "red", "delete", "deleted"),
}
_LONG = 66  # what an indent leaves of a line


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command: rich would end it, and take stdout away even where it is stderr that nobody reads."""
        raise  # noqa: PLE0704 - called while the error is handled


def console(*, stderr: bool = False) -> Console:
    """Return a console for stdout or stderr: colours and bold letters on a terminal only and not with NO_COLOR, at most 80 columns."""
    made = _Console(stderr=stderr, highlight=False, soft_wrap=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
    made.width = min(made.width, WIDTH)
    return made


def show_subject(subject: "Subject", out: Console, cluster: str = "") -> None:
    """Print whose federation this is; `cluster` as a person knows it."""
    number = f" ({subject.project_number})" if subject.project_number else ""
    out.print(Text(f"Federation {subject.federation}", style="bold"), soft_wrap=True)
    for name, value in (("cluster", cluster), ("issuer", subject.issuer), ("project", f"{subject.project}{number}")):
        if value:
            out.print(Text(f"  {name:<8} {value}"), soft_wrap=True)
    out.print()


def show_plan(plan: "Plan", out: Console, cluster: str = "", allowances: "Allowances | None" = None) -> None:
    """Print what would change, and what a reader should know; where the operator has not allowed something yet, how it is allowed."""
    from podpass.federate.safety.allowances import Allowances

    show_subject(plan.subject, out, cluster)
    for change in plan.changes:
        _show_change(change, out, allowances or Allowances())
    if plan.changes:
        out.print()
    for caution in plan.warnings:
        # What stands in lines of its own is to be copied.
        words, newline, lines = caution.message.partition("\n")
        wrapped = wrap(words, first=len("Note: "), columns=out.width)
        out.print(Text.assemble(("Note: ", "yellow"), f"{wrapped}{newline}{lines}"), soft_wrap=True)
        out.print()
    out.print(Text(summary(plan), style="bold"))


def show_changes(changes: Iterable["Change"], out: Console) -> None:
    """Print changes without what is around a plan."""
    for change in changes:
        _show_change(change, out)


def summary(plan: "Plan") -> str:
    """Say in one sentence what the plan would do."""
    counts = plan.counts()
    if not counts:
        return "Nothing to change: Google and the cluster are as the file says."
    return "To do: " + ", ".join(f"{_LOOKS[action.value][2]} {count}" for action, count in counts.items()) + "."


def _show_change(change: "Change", out: Console, allowances: "Allowances | None" = None) -> None:
    """Print a change; with `allowances`, those of a plan, also what the operator has to allow still. `destroy` has none: it asks once."""
    sign, colour, verb, _ = _LOOKS[change.action.value]
    hint = f"  {verb}" if _is_granted(change, allowances) else _hint(change, allowances)
    out.print(Text.assemble((f"  {sign} ", colour), change.address, (hint, "dim")), soft_wrap=True)
    for field in change.fields:
        out.print(_field(field), soft_wrap=True)


def _is_granted(change: "Change", allowances: "Allowances | None") -> bool:
    """Say whether what has to be allowed is: the plan need not ask for it any more."""
    from podpass.federate.safety.allowances import is_allowed

    return change.action in {"undelete", "adopt"} and allowances is not None and is_allowed(change, allowances)


def _hint(change: "Change", allowances: "Allowances | None") -> str:
    if change.action == "delete":
        return _why_deleted(change) + ("" if _may_delete(change, allowances) else ", needs --allow-delete")
    if change.action == "undelete":
        return "  undelete" if change.known else "  undelete, needs --allow-undelete"
    if change.action == "adopt":
        return f"  another's, needs --adopt {change.address}" if change.is_anothers else "  exists, needs --adopt"
    if change.action == "create" and change.owner:
        return f"  {change.owner}"
    return f"  selected by {change.origin}" if change.origin else ""


def _why_deleted(change: "Change") -> str:
    if change.is_unwitnessed:
        return f"  delete: {change.owner}"
    return "  delete: no selector gives it any more" if change.lapsed else "  delete"


def _may_delete(change: "Change", allowances: "Allowances | None") -> bool:
    from podpass.federate.safety.allowances import is_allowed

    return allowances is None or is_allowed(change, allowances)


def _field(field: "FieldChange") -> Text:
    """Return a field's change in one line, or in three where it is long."""
    before, after = (printable(_value(field.name, value)) for value in (field.before, field.after))
    if len(field.name) + len(before) + len(after) <= _LONG:
        return Text.assemble(f"      {field.name}: ", (before, "red"), " -> ", (after, "green"))
    return Text.assemble(f"      {field.name}:\n        - ", (before, "red"), "\n        + ", (after, "green"))


def _value(name: str, value: Any) -> str:  # noqa: ANN401 - a JSON value
    if value in (None, "", [], {}):
        return "none"
    if name == "oidc.jwksJson":
        return _keys(value)
    if name == "content":
        return f"{_keys(str(value))}, sha256 {hashlib.sha256(str(value).encode()).hexdigest()[:8]}"
    return value if isinstance(value, str) else json.dumps(value)  # whole: what differs may stand at its end


def _keys(text: str) -> str:
    try:
        kids = [str(key.get("kid"))[:8] for key in json.loads(text)["keys"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{len(text)} characters"
    return f"{len(kids)} key{'' if len(kids) == 1 else 's'} ({', '.join(kids)})"


@contextmanager
def progress() -> Iterator["Callable[[Event], None]"]:
    """Show on stderr what is being done: a line for each change that is made, and on a terminal what is under way."""
    err = console(stderr=True)
    under_way: list[str] = []
    with err.status("") if sys.stderr.isatty() else _no_status() as status:

        def show(event: "Event") -> None:
            key = event.step.key
            if event.happened == "started":
                under_way.append(key)
            elif event.happened != "waiting":
                under_way.remove(key)
            if event.happened == "done":
                for change in event.step.changes:
                    sign, colour, _, done = _LOOKS[change.action.value]
                    _tell(err, Text.assemble((f"  {sign} ", colour), change.address, (f"  {done}", "dim")))
            elif event.happened == "failed":
                _tell(err, Text.assemble(("  ! ", "red"), key, ("  failed", "dim")))
            if status is not None:
                status.update(Text(_under_way(under_way, event)[: err.width - 4]))

        yield show


def _tell(err: Console, line: Text) -> None:
    """Print a line of progress; where it cannot be had (a full disk, a reader that has gone), what is being done goes on without it."""
    try:
        err.print(line, soft_wrap=True)
    except OSError:
        err.quiet = True


@contextmanager
def reading() -> Iterator[None]:
    """Show on a terminal that both sides are being read: it takes seconds, and nothing seems to happen meanwhile."""
    with console(stderr=True).status("Reading the cluster and Google") if sys.stderr.isatty() else nullcontext():
        yield


def _under_way(keys: list[str], event: "Event") -> str:
    """Say what is being made; of what is tried again, why: nothing seems to happen meanwhile."""
    return f"trying again: {event.step.key}: {event.detail}" if event.happened == "waiting" else ", ".join(keys[:2])


@contextmanager
def _no_status() -> Iterator[None]:
    yield None
