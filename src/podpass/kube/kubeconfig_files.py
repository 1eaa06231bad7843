# SPDX-License-Identifier: Apache-2.0
"""The files of a kubeconfig: found as kubectl finds them, read, merged."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from podpass.errors import ConfigError

MEMBERS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
"""The lists of a kubeconfig, and what each entry holds beside its name."""
_DEFAULT = Path("~/.kube/config")
_PATHS_IN_CLUSTER = ("certificate-authority",)
_PATHS_IN_USER = ("client-certificate", "client-key", "tokenFile")


def find(path: Path | None, environment: Mapping[str, str]) -> list[Path]:
    """Return the files that are meant; none where there is none.

    Args:
        path: The one that is named; None: kubectl's rules.
        environment: For KUBECONFIG and HOME.

    Raises:
        ConfigError: A file is named that is not there.
    """
    if path is not None:
        if not path.is_file():
            raise _missing([path], "spec.cluster.kubeconfig")
        return [path]
    listed = [Path(part).expanduser() for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    if listed:
        # As kubectl: files of the list that do not exist are passed over, but not all of them.
        if there := [file for file in listed if file.is_file()]:
            return there
        raise _missing(listed, "KUBECONFIG")
    home = Path(environment["HOME"]) / ".kube/config" if environment.get("HOME") else _DEFAULT.expanduser()
    return [home] if home.is_file() else []


def _missing(files: list[Path], named_by: str) -> ConfigError:
    names = ", ".join(str(file) for file in files)
    state = "is a folder" if any(file.is_dir() for file in files) else "does not exist"
    what = f"The kubeconfig {names} {state}."
    return ConfigError(what, f"It is named by {named_by}.", f"Correct {named_by}.", code="config.kubeconfig-none")


def merged(files: list[Path]) -> dict[str, Any]:
    """Read files into one kubeconfig: who comes first wins; paths in it are absolute then.

    Raises:
        ConfigError: One cannot be read.
    """
    whole: dict[str, Any] = {"current-context": None}
    for file in files:
        content = _read(file)
        whole["current-context"] = whole["current-context"] or content.get("current-context")
        for kind in MEMBERS:
            known = {item["name"] for item in whole.setdefault(kind, [])}
            whole[kind] += [item for item in entries(content, kind, str(file)) if item["name"] not in known]
    return whole


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"The kubeconfig {file} cannot be read.", f"{error.strerror}.", "", code="config.kubeconfig") from error
    except (yaml.YAMLError, UnicodeDecodeError):
        # The parser's words may quote the file, and the file holds keys.
        raise broken(str(file), "It is not YAML.") from None
    if not isinstance(content, dict):
        raise broken(str(file), "It is not a mapping.")
    for kind, paths in (("clusters", _PATHS_IN_CLUSTER), ("users", _PATHS_IN_USER)):
        for item in entries(content, kind, str(file)):
            _make_absolute(item.get(MEMBERS[kind]), paths, file.absolute().parent)
    return content


def _make_absolute(settings: object, keys: tuple[str, ...], folder: Path) -> None:
    """Paths in a kubeconfig are relative to it; so is a plugin's command, if it is a path at all."""
    if not isinstance(settings, dict):
        return
    for key in keys:
        if settings.get(key):
            settings[key] = str(folder / str(settings[key]))
    plugin = settings.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        plugin["command"] = str(folder / plugin["command"])


def entries(content: Mapping[str, Any], kind: str, source: str) -> list[dict[str, Any]]:
    """Return the named entries of one of the lists.

    Raises:
        ConfigError: It is no such list.
    """
    items = content.get(kind) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items):
        raise broken(source, f"Its {kind} are not a list of named entries.")
    return items


def broken(source: str, why: str) -> ConfigError:
    """Return the error for a kubeconfig that kubectl could not use either."""
    return ConfigError(f"{source} is not a usable kubeconfig.", why, "Check it with `kubectl config view`.", code="config.kubeconfig")
