# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - the lines of the table are what the reader sees, whole
"""Which cluster is meant, and what is said when none is."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from podpass.errors import ConfigError
from podpass.kube.client import connect
from podpass.kube.kubeconfig import from_dict, load
from unit.kube.api_server import TOKEN, kubeconfig


def write(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content))
    return file


def named(name: str, server: str) -> dict[str, Any]:
    content = kubeconfig(server=server)
    content["current-context"] = content["contexts"][0]["name"] = name
    return content


def test_the_named_file_comes_first(tmp_path: Path) -> None:
    file = write(tmp_path / "mine", named("a", "https://a"))
    other = write(tmp_path / "other", named("b", "https://b"))
    assert load(file, environment={"KUBECONFIG": str(other)}).server == "https://a"


def test_then_kubeconfig_then_home_then_the_pod(tmp_path: Path) -> None:
    env = write(tmp_path / "env", named("e", "https://e"))
    write(tmp_path / "home/.kube/config", named("h", "https://h"))
    pod = tmp_path / "pod"
    for name, text in {"token": "t", "namespace": "apps\n", "ca.crt": ""}.items():
        pod.mkdir(exist_ok=True)
        (pod / name).write_text(text)
    home = {"HOME": str(tmp_path / "home")}
    in_pod = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    assert load(environment={**home, "KUBECONFIG": str(env)}).context == "e"
    assert load(environment=home).context == "h"
    access = load(environment=in_pod, in_cluster=pod)
    assert (access.context, access.server, access.namespace) == ("in-cluster", "https://[fd00::1]:443", "apps")


def test_files_of_the_list_are_merged_and_the_first_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "1", {**named("a", "https://a"), "current-context": ""})
    second = write(tmp_path / "2", {**named("b", "https://b"), "current-context": "b"})
    second_content = yaml.safe_load(second.read_text())
    second_content["clusters"][0]["name"] = second_content["contexts"][0]["context"]["cluster"] = "other"
    write(second, second_content)
    environment = {"KUBECONFIG": f"{tmp_path}/missing:{first}:{second}"}
    assert load(environment=environment).server == "https://b"
    assert load(context="a", environment=environment).server == "https://a"


def test_paths_are_relative_to_their_own_file(tmp_path: Path) -> None:
    content = kubeconfig({"client-certificate": "admin.crt", "client-key": "/keys/admin.key"})
    content["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    access = load(write(tmp_path / "deep/kubeconfig", content))
    assert access.config.cluster.certificate_auth == str(tmp_path / "deep/ca.crt")
    assert access.config.user is not None
    assert access.config.user.client_cert == str(tmp_path / "deep/admin.crt")
    assert access.config.user.client_key == "/keys/admin.key"


def test_the_context_says_who_and_where() -> None:
    content = kubeconfig()
    content["clusters"][0]["cluster"] |= {"proxy-url": "http://127.0.0.1:3128", "tls-server-name": "kubernetes"}
    content["contexts"][0]["context"]["namespace"] = "apps"
    access = from_dict(content)
    assert (access.context, access.namespace) == ("admin@demo", "apps")
    assert (access.proxy_url, access.tls_server_name) == ("http://127.0.0.1:3128", "kubernetes")
    assert from_dict(kubeconfig()).namespace == "default"


def broken(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - a kubeconfig's own values
    return {**kubeconfig(), **changes}


USER_LESS = broken(users=[])
CASES: dict[str, tuple[object, str | None, str]] = {
    "unknown context, nearest is told": (
        kubeconfig(),
        "admin@dmeo",
        "{file} has no context 'admin@dmeo'. It has: admin@demo. Did you mean 'admin@demo'? [config.context]",
    ),
    "no current context": (
        broken(**{"current-context": ""}),
        None,
        (
            "{file} has no current context. It has: admin@demo. Name one in a federation file's spec.cluster.context, "
            "by --context where no file is asked for, or by `kubectl config use-context`. "
            "[config.context]"
        ),
    ),
    "no contexts at all": (
        {},
        "x",
        (
            "{file} has no context 'x'. It has none at all. Name one in a federation file's spec.cluster.context, "
            "by --context where no file is asked for, or by `kubectl config use-context`. "
            "[config.context]"
        ),
    ),
    "missing user": (
        USER_LESS,
        None,
        (
            "{file} is not a usable kubeconfig. Its context 'admin@demo' names the user 'admin', which is not in it. "
            "Check it with `kubectl config view`. [config.kubeconfig]"
        ),
    ),
    "missing cluster": (
        broken(clusters=None),
        None,
        (
            "{file} is not a usable kubeconfig. Its context 'admin@demo' names the cluster 'demo', which is not in it. "
            "Check it with `kubectl config view`. [config.kubeconfig]"
        ),
    ),
    "not a mapping": (
        [1],
        None,
        "{file} is not a usable kubeconfig. It is not a mapping. Check it with `kubectl config view`. [config.kubeconfig]",
    ),
    "not a list": (
        broken(users={"a": 1}),
        None,
        (
            "{file} is not a usable kubeconfig. Its users are not a list of named entries. Check it with `kubectl config view`. "
            "[config.kubeconfig]"
        ),
    ),
    "a value of the wrong type": (
        kubeconfig({"token": ["secret-in-the-wrong-place"]}),
        None,
        (
            "{file} is not a usable kubeconfig. A value of its context 'admin@demo' has the wrong type. Check it with `kubectl config view`. "
            "[config.kubeconfig]"
        ),
    ),
    "a server that is no URL": (
        kubeconfig(server="demo:6443"),
        None,
        (
            "{file} is not a usable kubeconfig. The server of its context 'admin@demo' is 'demo:6443', which is no URL. "
            "Check it with `kubectl config view`. [config.kubeconfig]"
        ),
    ),
    "a server in the clear": (
        kubeconfig({"token": "t"}, server="http://demo.example:8080"),
        None,
        (
            "The server of the context 'admin@demo' is 'http://demo.example:8080', which is not https. The operator's credential, and the "
            "tokens that the cluster issues, would be seen by everybody on the way. Write https into the kubeconfig; plain http is for this "
            "machine only, as with `kubectl proxy`. [config.kubeconfig]"
        ),
    ),
    "auth-provider": (
        kubeconfig({"auth-provider": {"name": "gcp"}}),
        None,
        (
            "The context 'admin@demo' logs in with an auth-provider, which Kubernetes has removed. Fetch the kubeconfig anew with your cloud's "
            "tool: it will name a credential plugin (exec). [config.kubeconfig]"
        ),
    ),
    "impersonation": (
        kubeconfig({"token": "t", "as": "admin"}),
        None,
        (
            "The context 'admin@demo' impersonates another user. podpass would act as somebody else than the kubeconfig says, since it does not "
            "impersonate. Name a context without `as`. [config.kubeconfig]"
        ),
    ),
}


@pytest.mark.parametrize(("content", "context", "expected"), CASES.values(), ids=CASES)
def test_an_unusable_kubeconfig_is_told_with_its_cure(content: object, context: str | None, expected: str, tmp_path: Path) -> None:
    file = write(tmp_path / "kubeconfig", content)
    with pytest.raises(ConfigError) as caught:
        load(file, context)
    assert f"{caught.value} [{caught.value.full_code}]" == expected.format(file=file)


def test_no_kubeconfig_anywhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment={"HOME": str(tmp_path)}, in_cluster=tmp_path)
    assert str(caught.value) == (
        "There is no kubeconfig. KUBECONFIG is not set, ~/.kube/config does not exist, and this is not a pod. "
        "Set KUBECONFIG, or name a file in the spec.cluster.kubeconfig of a federation file."
    )


def test_a_folder_named_as_kubeconfig_is_told_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"The kubeconfig {tmp_path} is a folder. It is named by KUBECONFIG."):
        load(environment={"KUBECONFIG": str(tmp_path), "HOME": str(tmp_path)})


def test_a_kubeconfig_that_is_named_and_missing_is_told_with_who_named_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as named_by_file:
        load(tmp_path / "kubeconfig")
    with pytest.raises(ConfigError) as named_by_variable:
        load(environment={"KUBECONFIG": f"{tmp_path}/a:{tmp_path}/b", "HOME": str(tmp_path)})
    assert named_by_file.value.why == "It is named by spec.cluster.kubeconfig."
    assert (
        str(named_by_variable.value)
        == f"The kubeconfig {tmp_path}/a, {tmp_path}/b does not exist. It is named by KUBECONFIG. Correct KUBECONFIG."
    )


@pytest.mark.parametrize("raw", [b"a: [", b"\xff\x00", b"token: [secret-value"])
def test_a_file_that_is_not_yaml_is_not_quoted(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match="It is not YAML") as caught:
        load(file)
    assert caught.value.__cause__ is None
    assert "secret-value" not in str(caught.value)


def test_no_secret_is_in_a_repr() -> None:
    access = from_dict(
        kubeconfig({"token": TOKEN, "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x", "args": [TOKEN]}})
    )
    assert TOKEN not in repr(access)
    with connect(access) as client:
        assert TOKEN not in repr(client)
        assert repr(client) == "<KubeClient admin@demo https://demo.example:6443>"


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({}, {"certificate-authority-data": "bm90IGEgY2VydGlmaWNhdGU="}),
        ({}, {"certificate-authority": "/nowhere/ca.crt"}),
        ({"client-certificate-data": "eA==", "client-key-data": "eA=="}, {}),
        ({}, {"certificate-authority-data": "%%%"}),
    ],
)
def test_certificates_that_cannot_be_used_are_told(user: dict[str, str], cluster: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="The certificates of context 'admin@demo' cannot be used"):
        connect(from_dict(kubeconfig(user, **cluster)))


@pytest.mark.parametrize("server", ["http://127.0.0.1:8001", "http://localhost:8001", "http://[::1]:8001"])
def test_a_proxy_on_this_machine_may_be_plain(server: str) -> None:
    assert from_dict(kubeconfig(server=server)).server == server


def test_plain_http_through_a_proxy_is_refused_since_it_would_read_the_credential() -> None:
    content = kubeconfig({"token": "t"}, server="http://127.0.0.1:8001", **{"proxy-url": "http://proxy.example:3128"})
    with pytest.raises(ConfigError, match="requests there go through a proxy") as caught:
        from_dict(content)
    assert caught.value.next_step == "Write https into the kubeconfig, or remove proxy-url from it."
