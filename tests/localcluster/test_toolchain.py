from pathlib import Path

import pytest

from localcluster import packages, toolchain
from localcluster.cli import parse_flags
from localcluster.errors import LocalClusterError
from localcluster.packages import Requirement
from localcluster.places import SOURCE


@pytest.mark.parametrize(
    ("text", "want"),
    [("go1.26.8", (1, 26, 8)), ("go1.26", (1, 26)), ("go1.27rc1", (1, 27)), ("devel", ())],
)
def test_versions(text: str, want: tuple[int, ...]) -> None:
    assert toolchain.parse_version(text) == want


def test_the_newest_version_that_a_module_asks_for_is_required() -> None:
    assert toolchain.parse_version(toolchain.required_go()) >= (1, 25)


def test_the_source_of_every_program_decides_the_cache() -> None:
    listed = {path.relative_to(SOURCE.parent).as_posix() for path in toolchain.source_files()}
    assert {"kube/go.mod", "kube/go.sum", "kube/main.go", "kube/cmd/storage/main.go", "tools/go.mod"} <= listed


def test_versions_are_linked_into_the_programs() -> None:
    command = toolchain.build_command(toolchain.TARGETS[0], Path("/folder"))
    assert any("gitVersion=v1.35.4" in part for part in command)
    assert "-trimpath" in command


def test_versions_agree_with_the_modules() -> None:
    kube = (SOURCE / "go.mod").read_text()
    tools = (SOURCE.parent / "tools" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {toolchain.KUBERNETES}" in kube
    for module, version in (("helm.sh/helm/v3", "v3.22.0"), ("sigs.k8s.io/kwok", "v0.8.0")):
        assert f"{module} {version}" in tools
        assert any(version in target.variables.values() for target in toolchain.TARGETS)


def test_an_old_go_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.19.8\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalClusterError, match=r"version is go1\.19\.8, must be 1\.\d+"):
        toolchain.check_go()


def test_no_go_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalClusterError, match="go: not found"):
        toolchain.check_go()


def test_a_missing_program_is_told_by_its_package_once() -> None:
    absent = (Requirement("no-such-a", "package-a"), Requirement("no-such-b", "package-a"), Requirement("sh", "dash"))
    assert packages.missing(absent) == ["package-a"]


def test_flags_by_component() -> None:
    found = parse_flags(["etcd=--a=1", "etcd=--b", "kubelet=-v=4"])
    assert found == {"etcd": ("--a=1", "--b"), "kubelet": ("-v=4",)}


@pytest.mark.parametrize("value", ["etcd", "etcd=a", "--a=1"])
def test_what_is_no_flag_is_told(value: str) -> None:
    with pytest.raises(LocalClusterError, match="COMPONENT=--FLAG"):
        parse_flags([value])


def write_compiler(folder: Path, *, fails_at: str) -> None:
    """Put a `go` on the PATH that writes an empty program, but fails for one."""
    module = folder / "module"
    for path in ("node/fast", "node/heartbeat-with-lease", "pod/fast"):
        (module / "kustomize" / "stage" / path).mkdir(parents=True, exist_ok=True)
    for path in toolchain._KWOK_STAGES.values():
        (module / "kustomize" / "stage" / path).touch()
    go = folder / "go"
    go.write_text(
        f"""#!/bin/sh
case "$1" in
env) echo go1.99 ;;
list) echo {module} ;;
build) while [ "$1" != -o ]; do shift; done
  case "$2" in */{fails_at}) echo "no {fails_at}" >&2; exit 1 ;; esac
  : > "$2" ;;
esac
""",
    )
    go.chmod(0o755)


def test_a_build_that_fails_leaves_no_half_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_compiler(tmp_path, fails_at="kwok")
    with pytest.raises(LocalClusterError, match="no kwok"):
        toolchain.programs(lambda _: None)
    write_compiler(tmp_path, fails_at="nothing")
    said: list[str] = []
    folder = toolchain.programs(said.append)
    assert {"kube", "kwok", "helm", "kubectl", "stages"} <= {path.name for path in folder.iterdir()}
    assert any("building kwok" in text for text in said)
    assert toolchain.programs(lambda _: pytest.fail("built again")) == folder
