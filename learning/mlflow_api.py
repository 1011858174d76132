"""MLflow's tracking server over its REST API (mlflow.org/docs, "REST API"; version 2.0 of the interface).

The client library is not needed: it would bring a web server and a cloud SDK into the worker. Every call here may be made
again: what exists is found and used. Bundles are uploaded through the server's artifact proxy; where a server keeps
artifacts elsewhere (`--no-serve-artifacts`), `upload` says so and the rest is mirrored without them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

T = TypeVar("T")
BATCH = 100  # parameters and tags in one request
MOST_METRICS = 1000
SECONDS = 30.0
PROXY = "mlflow-artifacts:/"
EXISTS = "RESOURCE_ALREADY_EXISTS"
MISSING = "RESOURCE_DOES_NOT_EXIST"


class Refused(Exception):
    """The server answered with an error; `code` is MLflow's own."""

    def __init__(self, call: str, status: int, code: str, message: str) -> None:
        super().__init__(f"MLflow refused {call} ({status} {code}): {message[:300]}")
        self.code = code


@dataclass(frozen=True)
class RemoteRun:
    """A run as the server knows it."""

    id: str
    artifact_uri: str


class Server:
    """One tracking server; use it as a context manager. httpx.HTTPError where it cannot be reached."""

    def __init__(self, url: str, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=SECONDS, follow_redirects=False)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *what: object) -> None:
        self._http.close()

    def experiment(self, name: str) -> str:
        """The id of an experiment, which is created where there is none."""
        try:
            found = self._get("experiments/get-by-name", experiment_name=name)
        except Refused as error:
            if error.code != MISSING:
                raise
        else:
            return str(found["experiment"]["experiment_id"])
        try:
            return str(self._post("experiments/create", name=name)["experiment_id"])
        except Refused as error:
            if error.code != EXISTS:
                raise
        return str(self._get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])

    def run(self, experiment: str, *, tag: tuple[str, str], name: str, started_ms: int) -> RemoteRun:
        """The run that carries a tag, which is created where there is none: a killed caller finds its own again."""
        key, value = tag
        wanted = f"tags.`{key}` = '{value}'"
        found = self._post("runs/search", experiment_ids=[experiment], filter=wanted, max_results=1).get("runs", [])
        info = (
            found[0]["info"]
            if found
            else self._post(
                "runs/create",
                experiment_id=experiment,
                run_name=name,
                start_time=started_ms,
                tags=[{"key": key, "value": value}],
            )["run"]["info"]
        )
        return RemoteRun(info["run_id"], info["artifact_uri"])

    def log(
        self, run: RemoteRun, *, params: Mapping[str, str], metrics: Mapping[str, float], tags: Mapping[str, str], at_ms: int, step: int
    ) -> None:  # fmt: skip
        """Parameters, metrics and tags. The same metric at the same time and step counts once."""
        for part in _parts(list(params.items()), BATCH):
            self._post("runs/log-batch", run_id=run.id, params=_pairs(part))
        for measured in _parts(list(metrics.items()), MOST_METRICS):
            rows = [{"key": k, "value": v, "timestamp": at_ms, "step": step} for k, v in measured]
            self._post("runs/log-batch", run_id=run.id, metrics=rows)
        for part in _parts(list(tags.items()), BATCH):
            self._post("runs/log-batch", run_id=run.id, tags=_pairs(part))

    def dataset(self, run: RemoteRun, *, name: str, digest: str, source: str) -> None:
        """What the run was trained on, by its digest."""
        known = {"name": name, "digest": digest, "source_type": "enso", "source": source}
        self._post("runs/log-inputs", run_id=run.id, datasets=[{"dataset": known, "tags": []}])

    def end(self, run: RemoteRun, *, status: str, ended_ms: int) -> None:
        """``status`` is FINISHED or FAILED."""
        self._post("runs/update", run_id=run.id, status=status, end_time=ended_ms)

    def upload(self, run: RemoteRun, path: str, content: bytes) -> bool:
        """Put an artifact where the run keeps its own; False where the server does not pass artifacts on."""
        if not run.artifact_uri.startswith(PROXY):
            return False
        place = quote(f"{run.artifact_uri.removeprefix(PROXY)}/{path}")
        self._checked(
            f"upload of {path}", self._http.put(f"/api/2.0/mlflow-artifacts/artifacts/{place}", content=content)
        )
        return True

    def version(self, model: str, run: RemoteRun, *, folder: str, tags: Mapping[str, str]) -> str:
        """The registered version that a run made; model and version are created where there is none."""
        try:
            self._post("registered-models/create", name=model)
        except Refused as error:
            if error.code != EXISTS:
                raise
        found = self._get("model-versions/search", filter=f"run_id='{run.id}'").get("model_versions", [])
        own = [v for v in found if v["name"] == model]
        made = own[0] if own else self._post(
            "model-versions/create", name=model, source=f"{run.artifact_uri}/{folder}", run_id=run.id
        )["model_version"]  # fmt: skip
        number = str(made["version"])
        for key, value in tags.items():
            self._post("model-versions/set-tag", name=model, version=number, key=key, value=value)
        return number

    def name(self, model: str, aliases: Sequence[str], version: str) -> None:
        """Exactly these aliases point to a version; others of the model stay as they are."""
        known = self._get("registered-models/get", name=model)["registered_model"].get("aliases", [])
        held = {a["alias"] for a in known if str(a["version"]) == version}
        for alias in held - set(aliases):
            self._checked(
                f"removal of the alias {alias}",
                self._http.request(
                    "DELETE", "/api/2.0/mlflow/registered-models/alias", json={"name": model, "alias": alias}
                ),
            )
        for alias in set(aliases) - held:
            self._post("registered-models/alias", name=model, alias=alias, version=version)

    def _get(self, call: str, **params: str) -> dict[str, Any]:
        return self._checked(call, self._http.get(f"/api/2.0/mlflow/{call}", params=params))

    def _post(self, call: str, **body: Any) -> dict[str, Any]:
        return self._checked(call, self._http.post(f"/api/2.0/mlflow/{call}", json=body))

    def _checked(self, call: str, answer: httpx.Response) -> dict[str, Any]:
        try:
            told = answer.json() if answer.content else {}  # an upload is answered by nothing
        except ValueError:
            told = None
        if answer.status_code != httpx.codes.OK or not isinstance(told, dict):
            known = told if isinstance(told, dict) else {}
            raise Refused(
                call, answer.status_code, str(known.get("error_code", "")), str(known.get("message", "no JSON"))
            )
        return told


def _pairs(items: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in items]


def _parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[at : at + most] for at in range(0, len(items), most))
