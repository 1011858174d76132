"""The manifests are valid by Kubernetes' own schemas, and hold what a cluster should hold us to."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import settings

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ops" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
FILES = list(KUSTOMIZATION["resources"])
EVERY: list[dict[str, Any]] = [d for name in FILES for d in yaml.safe_load_all((FOLDER / name).read_text())]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DEPLOYMENTS = {d["metadata"]["name"]: d for d in EVERY if d["kind"] == "Deployment"}
PODS = {d["metadata"]["name"]: d["spec"]["template"] for d in EVERY if d["kind"] in ("Deployment", "Job")}


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {d["metadata"]["name"]: d for d in EVERY if d["kind"] == kind}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    return only


def test_every_file_is_in_the_kustomization():
    assert {p.name for p in FOLDER.glob("*.yaml")} == {*FILES, "kustomization.yaml"}


@pytest.mark.parametrize("document", EVERY, ids=lambda d: f"{d['kind']}-{d['metadata']['name']}")
def test_each_manifest_is_valid_by_the_schemas_of_kubernetes(document):
    validator = pytest.importorskip("kubernetes_validate", reason="the schemas are not installed: make setup")
    validator.validate(document, validator.latest_version(), strict=True)


def test_what_runs_is_what_compose_runs():
    ours = set(COMPOSE) - {"postgres", "redis"}
    assert set(PODS) == ours
    for name in ours - {"web", "worker", "learner"}:
        assert container(PODS[name])["command"] == COMPOSE[name]["command"]
    for name in ("worker", "learner"):
        assert container(PODS[name])["command"] == COMPOSE[name]["command"]


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_runs_without_privileges_on_a_read_only_root(name):
    pod, one = PODS[name]["spec"], container(PODS[name])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert {"cpu", "memory"} <= set(one["resources"]["requests"])
    assert "memory" in one["resources"]["limits"]


@pytest.mark.parametrize("name", sorted(PODS))
def test_what_a_pod_writes_lies_in_its_volumes(name):
    mounts = {m["mountPath"]: m.get("readOnly", False) for m in container(PODS[name])["volumeMounts"]}
    assert set(mounts) == {"/tmp", "/var/lib/enso"}
    assert mounts["/tmp"] is False
    assert mounts["/var/lib/enso"] is (name not in ("learner", "live"))  # who makes bundles and deltas


@pytest.mark.parametrize("name", sorted(PODS))
def test_secrets_come_by_reference_and_from_nowhere_else(name):
    one = container(PODS[name])
    assert one["envFrom"] == [{"configMapRef": {"name": "enso"}}, {"secretRef": {"name": "enso"}}]
    assert "env" not in one


def test_no_secret_stands_in_a_manifest():
    assert not named("Secret")
    told = set(named("ConfigMap")["enso"]["data"])
    assert not {k for k in told if any(w in k for w in ("SECRET_KEY", "TOKEN", "PASSWORD", "VAULT", "DATABASE_URL"))}


def test_every_setting_of_the_config_map_is_one():
    text = (ROOT / "config" / "settings.py").read_text()
    theirs = {"NUMBA_CACHE_DIR"}
    assert all(f'"{name}"' in text for name in set(named("ConfigMap")["enso"]["data"]) - theirs)
    assert settings.LOG_FORMAT in ("json", "line")


def test_whatever_answers_or_should_show_signs_of_life_is_probed():
    probed = {name for name in DEPLOYMENTS if "livenessProbe" in container(PODS[name])}
    assert probed == set(DEPLOYMENTS) - {"live"}  # it ends by itself where it cannot go on
    web = container(PODS["web"])
    assert web["readinessProbe"]["httpGet"]["path"] == web["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert web["livenessProbe"]["httpGet"]["path"] == "/healthz"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert web[probe]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


def test_a_rollout_of_the_web_server_drops_nobody():
    assert DEPLOYMENTS["web"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pause = int(shlex.join(container(PODS["web"])["lifecycle"]["preStop"]["exec"]["command"]).split()[-1])
    assert 0 < pause < PODS["web"]["spec"]["terminationGracePeriodSeconds"] - 30


def test_what_there_may_be_several_of_is_scaled_and_kept_up_through_a_drain():
    assert set(named("HorizontalPodAutoscaler")) == set(named("PodDisruptionBudget")) == {"web", "worker"}
    for name, scaler in named("HorizontalPodAutoscaler").items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == name
        assert scaler["spec"]["minReplicas"] >= 2
        assert "replicas" not in DEPLOYMENTS[name]["spec"]  # else each apply would undo the scaler
    for name in ("beat", "live"):
        assert (DEPLOYMENTS[name]["spec"]["replicas"], DEPLOYMENTS[name]["spec"]["strategy"]) == (
            1,
            {"type": "Recreate"},
        )


def test_selectors_find_the_pods_that_they_mean():
    for name, one in DEPLOYMENTS.items():
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert one["spec"]["selector"]["matchLabels"] == labels == {
            "app.kubernetes.io/name": "enso", "app.kubernetes.io/component": name,
        }  # fmt: skip
    for name, budget in named("PodDisruptionBudget").items():
        assert budget["spec"]["selector"] == DEPLOYMENTS[name]["spec"]["selector"]
    assert named("Service")["web"]["spec"]["selector"] == DEPLOYMENTS["web"]["spec"]["selector"]["matchLabels"]


def test_nothing_is_reached_from_outside_but_the_web_server():
    policies = named("NetworkPolicy")
    assert policies["enso"]["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "enso"}
    assert set(policies["enso"]["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert [n for n, p in policies.items() if p["spec"].get("ingress")] == ["enso-web"]
    for rule in [r for p in policies.values() for r in p["spec"].get("egress", []) if "to" in r]:
        assert "169.254.0.0/16" in rule["to"][0]["ipBlock"]["except"]  # no machine's metadata service
