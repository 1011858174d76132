"""Where a version came from and what became of it, as a graph: data, encoder, code and seed → run → version → successors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from learning.models import Snapshot, TrainingRun
from serving.models import ModelVersion

SUCCESSORS = 5
WIDTH, HEIGHT, ACROSS, DOWN = 200, 52, 256, 68  # of a box, and from one box to the next
LETTERS = 26


@dataclass(frozen=True)
class Node:
    """``kind`` is data, encoder, environment, settings, run, version, parent or successor; ``column`` its place in a drawing."""

    id: str
    kind: str
    name: str
    column: int
    number: int | None = None  # of a version


@dataclass(frozen=True)
class Edge:
    source: str
    target: str
    role: str


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def as_json(self) -> dict[str, Any]:
        kept = ({k: v for k, v in asdict(n).items() if k != "column" and v is not None} for n in self.nodes)
        return {"nodes": list(kept), "edges": [asdict(e) for e in self.edges]}


def lineage(version: ModelVersion) -> Graph:
    """The graph around one version."""
    own = Node(f"version:{version.number}", "version", f"v{version.number} {version.kind}", 2, version.number)
    nodes, edges = [own], list[Edge]()
    run = TrainingRun.objects.filter(model=version).select_related("snapshot__successor").first()
    for node, edge in [*_origin(run, own), *_parent(version, own), *_successors(version, own)]:
        nodes.append(node)
        edges.append(edge)
    return Graph(tuple(nodes), tuple(edges))


def _origin(run: TrainingRun | None, own: Node) -> list[tuple[Node, Edge]]:
    """The five parts of a run, and the run; nothing for a version that no run of ours made."""
    if run is None:
        return []
    made = Node(f"run:{run.pk}", "run", f"{run.pk} {run.state}", 1)
    environment = f"Python {run.environment.get('python', '?')}, code {str(run.environment.get('code', '?'))[:8]}"
    parts = [
        (Node(f"data:{run.snapshot.sha256}", "data", str(run.snapshot), 0), "data"),
        (Node(f"encoder:{run.encoder_sha}", "encoder", run.encoder_sha[:12], 0), "embeddings"),
        (Node(f"environment:{run.pk}", "environment", environment, 0), "environment"),
        (Node(f"settings:{run.pk}", "settings", f"seed {run.seed}", 0), "hyper-parameters and seed"),
    ]
    found = [(node, Edge(node.id, made.id, role)) for node, role in parts]
    return [*found, (made, Edge(made.id, own.id, "weights")), *_left_of(run.snapshot)]


def _left_of(snapshot: Snapshot) -> list[tuple[Node, Edge]]:
    after = snapshot.successor
    if after is None:
        return []
    left = Node(f"data:{after.sha256}", "data", str(after), 1)
    return [(left, Edge(f"data:{snapshot.sha256}", left.id, "after an erasure"))]


def _parent(version: ModelVersion, own: Node) -> list[tuple[Node, Edge]]:
    if version.parent is None:
        return []
    n = version.parent.number
    parent = Node(f"version:{n}", "parent", f"v{n} {version.parent.kind}", 1, n)
    return [(parent, Edge(parent.id, own.id, "served before"))]


def _successors(version: ModelVersion, own: Node) -> list[tuple[Node, Edge]]:
    nodes = [
        Node(f"version:{v.number}", "successor", f"v{v.number} {v.kind}", 3, v.number)
        for v in version.children.order_by("-number")[:SUCCESSORS]
    ]
    return [(node, Edge(own.id, node.id, "compared with")) for node in nodes]


@dataclass(frozen=True)
class Box:
    """A node with its place, in SVG units."""

    node: Node
    x: int
    y: int

    @property
    def name(self) -> str:
        whole = self.node.name
        return whole if len(whole) <= LETTERS else whole[: LETTERS - 1] + "…"


@dataclass(frozen=True)
class Drawing:
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    width: int
    height: int


def drawn(graph: Graph) -> Drawing:
    """Columns from left to right, each centred; edges as curves from the right of a box to the left of the next."""
    columns: list[list[Node]] = [[n for n in graph.nodes if n.column == c] for c in range(4)]
    used = [c for c in columns if c]
    height = max(len(c) for c in used) * DOWN - (DOWN - HEIGHT)
    boxes = {node.id: box for place, column in enumerate(used) for node, box in _placed(column, place, height)}
    paths = [_curve(boxes[e.source], boxes[e.target]) for e in graph.edges]
    return Drawing(tuple(boxes.values()), tuple(paths), (len(used) - 1) * ACROSS + WIDTH, height)


def _placed(column: Sequence[Node], place: int, height: int) -> list[tuple[Node, Box]]:
    top = (height - (len(column) * DOWN - (DOWN - HEIGHT))) // 2
    return [(node, Box(node, place * ACROSS, top + n * DOWN)) for n, node in enumerate(column)]


def _curve(a: Box, b: Box) -> str:
    x1, y1, x2, y2 = a.x + WIDTH, a.y + HEIGHT // 2, b.x, b.y + HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"
