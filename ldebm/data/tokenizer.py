"""From a sentence as people write it to its words, as a user's own corpus asks for."""

from collections.abc import Callable, Mapping
from typing import Any

Words = Callable[[str], list[str]]


def words_of(corpus: str | Mapping[str, Any]) -> Words:
    """What makes words of a sentence in a corpus: its name, or a user's own as plain values.

    Without `tokenizer`, or where it is null, words are what stands between spaces.
    """
    asked = {} if isinstance(corpus, str) else corpus
    split = treebank() if asked.get("tokenizer") == "treebank" else str.split
    if not asked.get("lowercase"):
        return split
    return lambda sentence: split(sentence.lower())


def treebank() -> Words:
    """Penn Treebank's conventions, by NLTK; a sentence that is in that form already stays as it is.

    For that, quotation marks stay `"`: the conventions' own, `` and '', would be read otherwise the
    second time.
    """
    from nltk.tokenize.treebank import TreebankWordTokenizer  # slow to import

    split = TreebankWordTokenizer().tokenize
    return lambda sentence: ['"' if word in ("``", "''") else word for word in split(sentence)]
