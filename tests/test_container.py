"""The container: its own commands make a service, run here without an engine for containers."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
import yaml
from fastapi.testclient import TestClient
from packaging.requirements import Requirement
from PIL import Image
from ports import free_port

from fmnist_utils import data
from fmnist_utils.photos.predictor import Predictor
from fmnist_utils.service.app import create_app

ROOT = Path(__file__).parents[1]
# An image may have 600 MB, and 130 of them are python:3.13-slim.
MEGABYTES = 450
LOCKS = ("requirements.lock", "requirements-serve.lock")


def _lines() -> list[str]:
    """Return the Dockerfile's instructions, each in one line."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return [line for line in text.replace("\\\n", "").splitlines() if line]


class Stage:
    """A stage of the Dockerfile, in a folder that stands for the root of its file system."""

    def __init__(self, root: Path) -> None:
        self.root, self.environment, self.says = root, dict[str, str](), dict[str, str]()
        for name in ("srv", "tmp"):
            (root / name).mkdir(parents=True)

    def moved(self, text: str) -> str:
        """Return a text with the stage's folders in place of the root's."""
        return re.sub(r"(?<![\w.])/(srv|tmp)\b", rf"{self.root}/\1", text)

    def copy(self, arguments: str, context: Path, stages: dict[str, "Stage"]) -> None:
        *sources, target = arguments.split()
        if sources[0].startswith("--from="):
            origin = stages[sources.pop(0).removeprefix("--from=")]
            sources = [origin.moved(source) for source in sources]
        for source in sources:
            path = context / source
            if path.is_dir():
                shutil.copytree(path, self.moved(target), dirs_exist_ok=True)
            else:
                shutil.copy(path, self.moved(target))

    def command(self, name: str) -> list[str]:
        """Return what ENTRYPOINT, CMD or HEALTHCHECK runs."""
        found: list[str] = json.loads(self.says[name][self.says[name].index("[") :])
        return found


def _context(folder: Path) -> Path:
    """Copy what .dockerignore lets pass; it names what does."""
    folder.mkdir()
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    everything, *lines = [line for line in lines if not line.startswith("#")]
    assert everything == "*"
    ignored = shutil.ignore_patterns(*(line[3:] for line in lines if line.startswith("**/")))
    for name in (line[1:] for line in lines if line.startswith("!")):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def _built(folder: Path, python: Path) -> Stage:
    """Do what the Dockerfile says; return its last stage."""
    context = _context(folder / "context")
    stages: dict[str, Stage] = {}
    for line in _lines():
        instruction, _, rest = line.partition(" ")
        match instruction:
            case "FROM":
                name = rest.rpartition(" ")[2]
                stage = stages[name] = Stage(folder / f"stage{len(stages)}")
            case "COPY":
                stage.copy(rest, context, stages)
            case "RUN":
                path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
                environment = {**os.environ, "PATH": path}
                subprocess.run(["sh", "-c", stage.moved(rest)], env=environment, check=True)
            case "ENV":
                pairs = (pair.split("=", 1) for pair in shlex.split(stage.moved(rest)))
                stage.environment |= dict(pairs)
            case "USER" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                stage.says[instruction] = rest
            case _:
                pytest.fail(f"{instruction} is not simulated: add it to Stage.")
    return stage


def _as_user(user: str) -> list[str]:
    """Return what begins a command to be run as another user, where this one may become another."""
    if os.getuid() != 0:
        return []
    user, group = user.split(":")
    begin = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    if all(parent.stat().st_mode & 0o001 for parent in Path(sys.base_prefix).parents):
        return begin
    # Python lies where only its owner looks: let the user read everything, and write nothing.
    return [*begin, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder that other users may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def _running(stage: Stage, python: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run what the Dockerfile says, at a port that is free; give the process and its address."""
    port = str(free_port())
    # A proxy that does not answer is no network.
    environment = dict.fromkeys(["HTTP_PROXY", "HTTPS_PROXY"], "http://127.0.0.1:9")
    environment |= {"PATH": f"{python.parent}:/usr/bin:/bin", **stage.environment}
    as_user = _as_user(stage.says["USER"])
    command = [*as_user, *stage.command("ENTRYPOINT"), *stage.command("CMD"), "--port", port]
    health = [part.replace(stage.says["EXPOSE"], port) for part in stage.command("HEALTHCHECK")]
    running = subprocess.Popen(command, cwd="/", env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(60):
            check = subprocess.run(
                [*as_user, *health], env=environment, check=False, capture_output=True
            )
            if check.returncode == 0:
                break
            assert running.poll() is None, "It ended by itself."
        else:
            pytest.fail("It is not healthy.")
        yield running, f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def test_what_the_dockerfile_builds_is_small_and_serves_without_rights() -> None:
    drawn = io.BytesIO()
    Image.fromarray(data.sketches(1, seed=0).images[0]).resize((280, 280)).save(drawn, "PNG")
    with TestClient(create_app(Predictor())) as client:
        post = {"content": drawn.getvalue(), "headers": {"content-type": "image/png"}}
        expected = client.post("/v1/predict", **post).json()

    with _folder() as folder:
        python = folder / "python" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)
        stage = _built(folder, python)
        installed = stage.root / "srv"
        assert not {"tensorflow", "keras", "matplotlib"} & {
            path.name for path in installed.iterdir()
        }
        assert sum(path.lstat().st_size for path in installed.rglob("*")) < 1e6 * MEGABYTES
        (stage.root / "tmp").chmod(0o1777)
        subprocess.run(["chmod", "-R", "a-w", installed], check=True)

        with (
            _running(stage, python) as (running, address),
            httpx2.Client(base_url=address, trust_env=False) as client,
        ):
            assert psutil.Process(running.pid).uids().effective != 0
            assert client.get("/readyz").json() == {"status": "ready"}
            assert client.post("/v1/predict", **post).json() == expected
            running.terminate()
            assert running.wait(30) in (0, -signal.SIGTERM)


def test_the_service_is_locked_at_the_versions_that_are_tested() -> None:
    locks = [(ROOT / name).read_text(encoding="utf-8") for name in LOCKS]
    tested, served = ({*lock.replace("\\\n", "").splitlines()} for lock in locks)
    assert served <= tested
    names = {Requirement(pin.partition(" --hash")[0]).name for pin in served}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    assert {Requirement(text).name for text in asked} <= names


def test_deployments_ask_for_what_the_service_has() -> None:
    """Paths, the metric, the port and the user are named in three files."""
    says = dict(line.split(" ", 1) for line in _lines() if line.split(" ")[0] in ("USER", "EXPOSE"))
    user, port = int(says["USER"].split(":")[0]), int(says["EXPOSE"])
    compose = yaml.safe_load((ROOT / "compose.yml").read_text(encoding="utf-8"))
    assert compose["services"]["fmnist"]["ports"] == [f"127.0.0.1:{port}:{port}"]

    text = (ROOT / "deploy" / "kubernetes.yml").read_text(encoding="utf-8")
    deployment, _, autoscaler = yaml.safe_load_all(text)
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"]["runAsUser"] == user
    assert container["ports"][0]["containerPort"] == port
    annotations = pod["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port)
    with TestClient(create_app(Predictor())) as client:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert client.get(container[probe]["httpGet"]["path"]).is_success
        (metric,) = (m["pods"]["metric"] for m in autoscaler["spec"]["metrics"] if "pods" in m)
        assert f"\n{metric['name']} " in client.get(annotations["prometheus.io/path"]).text
