"""A language model is tuned on preferences, goes on where it was stopped, and is served as what was trained."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from learning.core.language import base as bases
from learning.core.language.base import Base, LanguageModelError, read_base
from learning.core.language.export import ADAPTER, GRAPH, WEIGHTS, export
from learning.core.language.rows import Encoder, Judged, Preferred, Tokens, log_probabilities
from learning.core.language.tuning import State, TuningConfig, adapter_of, in_batches, reference_of, tune, with_adapter
from serving.artifacts import write_bundle
from serving.drafter import KIND, TOKENIZER, Drafter
from tests.learning.core.language.tiny import save_tiny, tiny

pytestmark = pytest.mark.skipif(bases.missing() is not None, reason=str(bases.missing()))
PROMPT = "Inquiry: {}\nReply:"
GOOD, BAD = " Your money is on its way back.", " See the help page."
ASKED = ("I want my money back.", "Please refund me.", "Refund my parcel!", "My money, please")
PAIRS = [Preferred(PROMPT.format(a), GOOD, BAD) for a in ASKED]
JUDGED = [Judged(p.prompt, r, r == GOOD) for p in PAIRS for r in (GOOD, BAD)]
FAST = TuningConfig(epochs=6, batch=2, learning_rate=5e-3, rank=4, keep_every=5, sft=0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return tiny(tmp_path_factory.mktemp("base"))


def margins(model, rows) -> np.ndarray:
    logp = reference_of(model, rows, 4)
    now = torch.stack([in_batches(model, side, 4) for side in (rows.first, rows.second)], dim=1)
    return ((now - logp)[:, 0] - (now - logp)[:, 1]).numpy()


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_what_people_prefer_becomes_likelier_than_what_they_reject(base: Base, method: str) -> None:
    encoder, config = Encoder(base, limit=128), replace(FAST, method=method)
    model = with_adapter(base.model(), config)
    rows = encoder.pairs(PAIRS) if method == "dpo" else encoder.judged(JUDGED)
    found = tune(model, rows, config)
    assert found[0] == pytest.approx(
        np.log(2) if method == "dpo" else 0.5, abs=1e-5
    )  # the policy still is the reference
    assert found[-1] < found[0]
    assert (margins(model, encoder.pairs(PAIRS)) > 0).all()


def test_supervised_tuning_makes_the_reply_that_people_liked_likelier(base: Base) -> None:
    config = replace(FAST, method="sft")
    model = with_adapter(base.model(), config)
    rows = Encoder(base, limit=128).judged([j for j in JUDGED if j.liked])
    before = in_batches(model, rows.first, 4)
    tune(model, rows, config)
    assert (in_batches(model, rows.first, 4) > before + 1).all()


def test_a_tuning_that_was_stopped_ends_with_the_same_adapter(base: Base) -> None:
    class Killed(Exception): ...

    kept: list[bytes] = []

    def keep(state: State) -> None:
        kept.append(state.to_bytes())
        if len(kept) == 2:
            raise Killed

    rows, whole = Encoder(base, limit=128).pairs(PAIRS), with_adapter(base.model(), FAST)
    tune(whole, rows, FAST)
    with pytest.raises(Killed):
        tune(with_adapter(base.model(), FAST), rows, FAST, keep=keep)
    resumed, state = with_adapter(base.model(), FAST), State.from_bytes(kept[-1])
    assert state.step == 10
    assert len(tune(resumed, rows, FAST, state=state)) == 2
    assert all(torch.equal(a, b) for a, b in zip(adapter_of(whole).values(), adapter_of(resumed).values(), strict=True))


def test_cached_log_probabilities_of_the_reference_change_nothing(base: Base) -> None:
    rows, found = Encoder(base, limit=128).pairs(PAIRS), []
    for cached in (True, False):
        config = replace(FAST, epochs=2, cache_reference=cached)
        found.append(tune(with_adapter(base.model(), config), rows, config))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_the_log_probability_of_a_reply_is_the_sum_over_its_tokens_whatever_it_is_padded_to(base: Base) -> None:
    model = base.model()
    short, long = Tokens((5, 6, 7, 0), 2), Tokens((5, 6, 9, 8, 7, 11, 12, 0), 3)
    with torch.no_grad():
        together = log_probabilities(model, [short, long])
        z = torch.log_softmax(model(input_ids=torch.tensor([short.ids])).logits[0], dim=-1)
    assert float(together[0]) == pytest.approx(float(z[1, 7] + z[2, 0]), abs=1e-5)
    assert float(together[1]) == pytest.approx(float(in_batches(model, [long], 1)[0]), abs=1e-5)


def test_what_does_not_fit_is_left_out_and_counted(base: Base) -> None:
    rows = Encoder(base, limit=40).pairs([*PAIRS, Preferred(PROMPT.format("x " * 200), GOOD, BAD)])
    assert (len(rows), rows.left_out) == (4, 1)
    with pytest.raises(LanguageModelError, match="no example fits"):
        tune(None, Encoder(base, limit=40).pairs([]), FAST)


def test_the_exported_model_says_what_the_tuned_one_says_and_writes_the_preferred_reply(base: Base, tmp_path) -> None:
    config = replace(FAST, method="sft", epochs=40, learning_rate=1e-2)
    model, encoder = with_adapter(base.model(), config), Encoder(base, limit=128)
    rows = encoder.judged([j for j in JUDGED if j.liked])
    tune(model, rows, config)
    files, gap = export(model, adapter_of(model), [s.ids[: s.start + n] for n, s in enumerate(rows.first)])
    assert gap < 1e-5
    assert {GRAPH, ADAPTER} <= files.keys() <= {GRAPH, WEIGHTS, ADAPTER}
    files[TOKENIZER] = (base.directory / "tokenizer.json").read_bytes()
    bundle = write_bundle(tmp_path, files, {"kind": KIND, "end": list(base.end), "context": base.context})
    written = Drafter.load(bundle).write(PAIRS[0].prompt)
    assert written is not None
    assert (written.text, written.ended) == (GOOD.strip(), True)
    assert Drafter.load(bundle).write(PAIRS[0].prompt, most=2).ended is False
    assert Drafter.load(bundle).write("x " * 300) is None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("method", "ppo", "method"),
        ("epochs", 0, "epochs"),
        ("learning_rate", -1.0, "learning_rate"),
        ("rank", 0, "rank"),
    ],
)
def test_a_knob_that_makes_no_sense_is_named(field: str, value: object, said: str) -> None:
    with pytest.raises(LanguageModelError, match=said):
        replace(FAST, **{field: value})


@pytest.mark.parametrize(
    ("damage", "said"),
    [(lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json is missing"),
     (lambda d: (d / "model.safetensors").unlink(), "no weights as safetensors"),
     (lambda d: (d / "config.json").write_text("["), "no JSON"),
     (lambda d: (d / "config.json").write_text(json.dumps({"eos_token_id": None})), "eos_token_id"),
     (lambda d: (d / "config.json").write_text(json.dumps({"eos_token_id": 0})), "max_position_embeddings")],
)  # fmt: skip
def test_a_directory_that_cannot_be_used_says_what_is_wrong(tmp_path, damage, said: str) -> None:
    save_tiny(tmp_path)
    damage(tmp_path)
    with pytest.raises(LanguageModelError, match=said):
        read_base(tmp_path)


def test_weights_that_are_no_language_model_are_refused_in_a_sentence(tmp_path) -> None:
    save_tiny(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(LanguageModelError, match="no causal language model"):
        read_base(tmp_path).model()
