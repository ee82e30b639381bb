"""From parameters to a model, new or trained."""

from pathlib import Path

from ldebm.config import Params
from ldebm.context import Context
from ldebm.models.networks import SentenceSize
from ldebm.models.sentence import SentenceModel
from ldebm.runtime import checkpoint


def build_model(
    params: Params, key: str, vocabulary: int, precision: str = "float32"
) -> SentenceModel:
    """The model that the block `models.<key>` describes, with freshly drawn weights."""
    one = params.sentence_model
    size = SentenceSize(vocabulary, one.embedding, one.hidden, one.dropout, precision == "bfloat16")
    return params.models[key].build(size)


def build(context: Context) -> SentenceModel:
    """The context's model with freshly drawn weights, on the CPU, in training mode."""
    return build_model(
        context.params, context.key, len(context.corpus.vocabulary), context.precision
    )


def load(context: Context, weights: Path) -> SentenceModel:
    """The trained model of a file, on the context's device, in evaluation mode."""
    model = build(context)
    checkpoint.restore_model(model, checkpoint.load(weights)[0], weights)
    return model.to(context.device).eval()
