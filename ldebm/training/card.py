"""What makes a trained model's folder stand alone: the record of its run, its words, and a card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldebm.data.files import write_json
from ldebm.data.vocabulary import Vocabulary
from ldebm.outside import is_outside

RECORD, VOCABULARY, CARD = "run.json", "vocabulary.txt", "README.md"
CARD_TEXT = """\
# {row}, seed {seed}

A sentence model, {row} ({source}): posterior {posterior}; prior {prior}; regularisers
{regularisers}.
{total:,} weights in `model.safetensors`; what it was made with is in `run.json`, its words are in
`vocabulary.txt`.

## Trained on

{corpus}: {train_sentences:,} sentences, {word_types:,} word types (<pad>, <s> and </s> included),
at most {max_tokens} tokens a sentence. {steps:,} steps ({epochs:.3g} epochs) of {batch} sentences
in {seconds:.0f} s on {device}; the weights are those of step {kept_step:,}.

It knows words of that text only. Sentences are taken {taken}.

## Use

```python
import ldebm

model = ldebm.load({arguments})  # the path of this folder
model.sample(3)
```

`encode`, `decode`, `reconstruct`, `interpolate`, `arithmetic`, `classify`, `symbols` and `score`
are its other methods, as far as the row has what they need; `help(model)` has their shapes.

## Scores

They are not known when a model is trained. The project it was trained in keeps them in
`scores.json` of `evaluations/{model}/seed{seed}`, `likelihoods/{model}/seed{seed}` and
`judgements/{model}/seed{seed}`, beside `models/`, and in the table of its results.
"""


def describe(folder: Path, record: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    """Write all but the weights: run.json, vocabulary.txt and README.md."""
    write_json(folder / RECORD, record)
    vocabulary.save(folder / VOCABULARY)
    (folder / CARD).write_text(card(record), encoding="utf-8")


def card(record: Mapping[str, Any]) -> str:
    """The model card, Markdown."""
    data, row = record["data"], record["parameters"]["row"]
    corpus = data["corpus"]
    if not isinstance(corpus, str):  # a user's own files
        corpus = f"The text in `{Path(corpus['train']).name}`"
    corpus = {"ptb": "Penn Treebank", "grammar": "Text of ldebm's own grammar"}.get(corpus, corpus)
    place = f"models/{record['model']}/seed{record['seed']}"
    return CARD_TEXT.format(
        **{**record, **record["composition"], **data, "corpus": corpus},
        total=sum(record["weights"].values()),
        max_tokens=record["sentence_model"]["max_tokens"],
        batch=record["parameters"]["training"]["batch"],
        taken=_taken(data["corpus"]),
        arguments=f'"{place}"' + (f', row="{row}"' if is_outside(row) else ""),
    )


def _taken(corpus: str | Mapping[str, Any]) -> str:
    """How words are made of a sentence, as `ldebm.data.tokenizer` does it."""
    asked = {} if isinstance(corpus, str) else corpus
    case = "in lower case, " if asked.get("lowercase") else ""
    if asked.get("tokenizer"):
        return f"as people write them: {case}tokenised by the conventions of {asked['tokenizer']}"
    return f"{case}tokenised already, their words between spaces"
