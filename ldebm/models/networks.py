"""Encoder and decoder in the arrangements the rows use."""

from dataclasses import dataclass

from torch import nn

from ldebm.models.decoder import Decoder
from ldebm.models.encoder import Encoder


@dataclass(frozen=True)
class SentenceSize:
    """Sizes of the networks every row shares.

    `bfloat16` runs encoder and decoder under autocast.
    """

    vocabulary: int
    embedding: int
    hidden: int
    dropout: float
    bfloat16: bool = False


def one_embedding(
    size: SentenceSize, latent_dim: int, *, tied: bool, step_dim: int | None = None
) -> tuple[Encoder, Decoder]:
    """Encoder and decoder that share one embedding (the AE and VAE family)."""
    reader = decoder(size, latent_dim, tied=tied, step_dim=step_dim)
    return Encoder(reader.embedding, size.hidden, bfloat16=size.bfloat16), reader


def two_embeddings(size: SentenceSize, latent_dim: int) -> tuple[Encoder, Decoder]:
    """Encoder and decoder with an embedding each, the decoder's tied to the output layer.

    The arrangement of the GM-VAE family, SVEBM and LDEBM.
    """
    encoder = Encoder(
        nn.Embedding(size.vocabulary, size.embedding), size.hidden, bfloat16=size.bfloat16
    )
    return encoder, decoder(size, latent_dim, tied=True)


def decoder(
    size: SentenceSize, latent_dim: int, *, tied: bool, step_dim: int | None = None
) -> Decoder:
    """A decoder with its own embedding; its steps see the last `step_dim` entries of z, or all."""
    embedding = nn.Embedding(size.vocabulary, size.embedding)
    step = latent_dim if step_dim is None else step_dim
    return Decoder(
        embedding, size.hidden, latent_dim, step, size.dropout, tied=tied, bfloat16=size.bfloat16
    )
