"""Adding a cluster to a kubeconfig that may hold others, and taking it out again, by kubectl's own rules."""

import os
import subprocess
import tempfile
from pathlib import Path

from localcluster import documents
from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError
from localcluster.spec import write_atomically


def default_file() -> Path:
    """Return the kubeconfig that kubectl would write: the first of KUBECONFIG, or the one of the home folder."""
    listed = [entry for entry in os.environ.get("KUBECONFIG", "").split(os.pathsep) if entry]
    return Path(listed[0]) if listed else Path.home() / ".kube" / "config"


def add(cluster: Cluster, file: Path, *, context: str) -> None:
    """Add the cluster under that context's name, replacing an older one of the name, and make it the current one."""
    ours = documents.render_kubeconfig(cluster.layout, "admin", context=context)
    if not file.exists() or not file.read_text().strip():
        write_atomically(file, ours)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_text(ours)
        # The first file's values win, and its current context too.
        merged = _config(cluster.programs, f"{path}{os.pathsep}{file}", "view", "--flatten")
    write_atomically(file, merged)


def remove(programs: Path, file: Path, *, context: str) -> None:
    """Take the cluster of that context's name out of the file; no error if it is not in it."""
    if not file.exists():
        return
    current = _config(programs, str(file), "view", "--output=jsonpath={.current-context}").strip()
    listed = _config(programs, str(file), "view", "--output=jsonpath={.contexts[*].name}").split()
    if context not in listed:
        return
    if current == context:
        _config(programs, str(file), "unset", "current-context")
    for command in ("delete-context", "delete-cluster", "delete-user"):
        _config(programs, str(file), command, context)


def _config(programs: Path, files: str, *arguments: str) -> str:
    command = [str(programs / "kubectl"), "config", *arguments]
    environment = os.environ | {"KUBECONFIG": files}
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        raise LocalClusterError(f"kubectl config {' '.join(arguments)} of {files}: {result.stderr.strip()}")
    return result.stdout
