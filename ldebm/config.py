"""The types of params.yaml: keys, bounds, and what each block means. Read by `ldebm.params`."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializeAsAny,
    field_validator,
)

from ldebm.outside import is_outside

if TYPE_CHECKING:
    from ldebm.models.networks import SentenceSize
    from ldebm.models.sentence import SentenceModel

Positive = Annotated[float, Field(ge=1e-30)]  # float32 has few digits below, and no inverse
NonNegative = Annotated[float, Field(ge=0)]
Several = Annotated[int, Field(ge=2)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
SEEDS = 2**32  # NumPy's range
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class Block(BaseModel):
    """A mapping of params.yaml: unknown keys are refused, no number is guessed from a string."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_counted(cls, value: Any) -> Any:
        """No setting means a larger number, and torch would fail at it in obscure words."""
        if isinstance(value, int) and abs(value) >= SEEDS:
            raise ValueError(f"should be less than {SEEDS}")
        return value


class TextFiles(Block):
    """A user's own corpus: three UTF-8 text files, one sentence a line.

    `preprocessing`, `FILE.py:FUNCTION`, maps each line to a sentence; then `lowercase` and
    `tokenizer` make words of it (null: what stands between spaces).
    """

    train: str
    valid: str
    test: str
    preprocessing: Annotated[str, Field(pattern=r"\.py:\w+$")] | None = None
    tokenizer: Literal["treebank"] | None = None
    lowercase: bool = False


class GrammarCorpus(Block):
    """Sentences of the splits drawn from the embedded grammar, and the seed of the draw."""

    seed: Seed
    train: PositiveInt
    valid: PositiveInt
    test: PositiveInt


class Data(Block):
    """Which corpus, where it comes from, and how many word types are kept (null: all)."""

    corpus: Literal["ptb", "grammar"] | TextFiles
    source: str | None
    vocabulary_limit: PositiveInt | None
    grammar: GrammarCorpus


class SentenceSettings(Block):
    """Sizes of the encoder and decoder every row shares; `max_tokens` counts <s> and </s>."""

    embedding: PositiveInt
    hidden: PositiveInt
    dropout: Fraction
    max_tokens: Annotated[int, Field(ge=3)]


class Optimisation(Block):
    """Adam's settings; rates and bounds of the gradient norm for each parameter group of the model.

    Of every `bucket` batches in turn the sentences are sorted by length, which spares padding; 1
    shuffles plainly. Over the last `cooldown` epochs of the longest possible run all rates fall
    linearly to 0, beside what else changes them (null, as published: nothing).
    """

    batch: PositiveInt
    bucket: PositiveInt
    learning_rate: dict[str, Positive]
    clip: dict[str, Positive]
    cooldown: PositiveInt | None = None


class PatienceTraining(Optimisation):
    """Validate every so many steps, keep the best, lower the rate when it is worse, stop in the
    end.

    The rules are those of `ldebm.training.policies.PatiencePolicy`.
    """

    stop: Literal["patience"]
    validate_every: PositiveInt
    max_validations: PositiveInt
    patience: PositiveInt
    patience_factor: Positive
    improvement: Positive
    decay: Positive
    min_learning_rate: Positive


class EpochTraining(Optimisation):
    """A fixed number of passes; `select` keeps the last, or the one of best validation BLEU.

    `energy_average` is the decay of a moving average over steps, which is validated and kept in
    place of the energy network's last weights (null, as published).
    """

    stop: Literal["epochs"]
    epochs: PositiveInt
    select: Literal["last", "valid_bleu"]
    energy_average: Annotated[float, Field(gt=0, lt=1)] | None = None


Training = Annotated[PatienceTraining | EpochTraining, Field(discriminator="stop")]


class RowConfig(Block, ABC):
    """A row of the table: the keys of its block below `models`, and how it is composed from them.

    A subclass is a family of rows that differ by its keys alone. Keys that a family adds are its
    fields; the values in params.yaml are the published ones.
    """

    names: ClassVar[tuple[str, ...]]  # what `row` may say: the rows' names in the table
    source: ClassVar[str]  # where the family was published
    optimised: ClassVar[tuple[str, ...]] = ("sentence",)  # parameter groups, named in `training`
    tied: ClassVar[bool] = False  # whether the output layer is the embedding, as wide as hidden

    row: str
    training: Training

    @abstractmethod
    def build(self, size: "SentenceSize") -> "SentenceModel":
        """The model with freshly drawn weights.

        Imports what it needs, so that parameters are read fast.
        """

    @property
    def name(self) -> str:
        """The row's name in the table."""
        return self.names[0] if is_outside(self.row) else self.row


class Judge(Block):
    """The language model that scores samples (reverse perplexity), named as in AWD-LSTM's code.

    `precision` is that of its training; scores are always computed in float32.
    """

    train_sentences: PositiveInt
    valid_sentences: PositiveInt
    embedding: PositiveInt
    hidden: PositiveInt
    layers: PositiveInt
    dropouti: Fraction  # on the embedded words
    dropouth: Fraction  # between layers
    dropout: Fraction  # on the last layer's output
    dropoute: Fraction  # whole words of the embedding
    weight_drop: Fraction  # on the hidden-to-hidden weights
    alpha: float  # activation regularisation
    beta: float  # temporal activation regularisation
    weight_decay: float
    clip: Positive
    batch: PositiveInt
    learning_rate: Positive
    bptt: PositiveInt
    epochs: PositiveInt
    nonmono: PositiveInt
    valid_batch: PositiveInt = 10
    test_batch: PositiveInt = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: Seed


class AnnealedSettings(Block):
    """Annealed importance sampling: test sentences (the same for every row), chains of each.

    `simulated` sentences of the model's own are bounded from both sides.
    """

    sentences: PositiveInt
    chains: PositiveInt
    temperatures: Annotated[int, Field(ge=8, multiple_of=4)]
    simulated: PositiveInt


class Evaluation(Block):
    """How much is sampled, and how the likelihood is estimated.

    `likelihood_sentences`, of the published estimators, null: the whole test set.
    """

    samples: PositiveInt
    sample_batch: PositiveInt
    likelihood_samples: PositiveInt
    likelihood_chunk: PositiveInt
    likelihood_sentences: PositiveInt | None
    annealed: AnnealedSettings
    seed: Seed


class Run(Block):
    """Where the work is done, and in which arithmetic."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]


class Params(Block):
    """The whole of params.yaml."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    rows: Annotated[list[str], Field(min_length=1)] | None = None  # keys of `models`; null: all
    data: Data
    sentence_model: SentenceSettings
    models: dict[str, SerializeAsAny[RowConfig]]
    metrics: list[str] = []  # of a user's own, FILE.py:CLASS
    judge: Judge
    evaluation: Evaluation
    run: Run
