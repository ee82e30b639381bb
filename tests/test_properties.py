"""What has to hold for any input: drawn by hypothesis, the same examples every time."""

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from ldebm import params
from ldebm.data.corpus import Corpus, tokenize
from ldebm.data.download import import_texts
from ldebm.data.vocabulary import SPECIALS, UNK, Vocabulary
from ldebm.errors import UserError
from ldebm.pipeline.manifest import read_manifest
from ldebm.runtime import checkpoint
from ldebm.runtime.store import redacted

# anything but white space, control characters, halves of a character and byte-order marks
LETTERS = st.characters(
    exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"), exclude_characters="\ufeff"
)
WORDS = st.text(LETTERS, min_size=1, max_size=5).filter(lambda word: word not in SPECIALS)
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For all examples of a property, one after the other."""
    with TemporaryDirectory() as name:
        yield Path(name)


def refusal(work: Callable[[], object]) -> str:
    """What a UserError says that ends the work, or nothing."""
    try:
        work()
    except UserError as error:
        return str(error)
    return ""


@given(SENTENCES, st.none() | st.integers(1, 8))
def test_a_vocabulary_gives_back_the_words_that_it_has(
    sentences: list[list[str]], limit: int | None
) -> None:
    vocabulary = Vocabulary.build(sentences, limit)
    counts = Counter(word for sentence in sentences for word in sentence)
    kept = [word for word in vocabulary.words[3:] if word != UNK]
    assert limit is None or len(vocabulary) - 3 <= limit
    others = counts.keys() - {*kept, UNK}
    assert all(counts[word] >= counts[other] for word in kept for other in others)
    for sentence in sentences:
        expected = [UNK if word in others else word for word in sentence]
        assert vocabulary.decode(vocabulary.encode(sentence)) == expected


@given(sentences=SENTENCES)
@example(sentences=[["a\u200db", "\u0301", "\U0010ffff"], ["<unk>"]])
def test_any_words_come_through_the_data_steps(sentences: list[list[str]], folder: Path) -> None:
    sentences = [*sentences, ["known"]]
    text = "".join(" ".join(words) + "\n" for words in sentences)
    files = [folder / f"{split}.txt" for split in ("train", "valid", "test")]
    for file in files:
        file.write_text(text, encoding="utf-8", newline="\n")
    import_texts(folder / "raw", *files)
    tokenize(folder / "raw", folder / "tokens", None)
    corpus = Corpus.open(folder / "tokens")
    assert [line.split(" ") for line in corpus.texts(corpus.test)] == sentences


@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(content="a\u2028b\x1cc\x85\n".encode())
def test_any_bytes_are_a_text_or_one_line(content: bytes, folder: Path) -> None:
    path = folder / "any.txt"
    path.write_bytes(content)

    def take() -> None:
        import_texts(folder / "raw", path, path, path)
        tokenize(folder / "raw", folder / "tokens", None)

    refused = refusal(take)
    assert refused.isprintable()
    if not refused:
        corpus = Corpus.open(folder / "tokens")
        words = [word for line in corpus.texts(corpus.train) for word in line.split(" ")]
        assert words == content.decode("utf-8-sig").split()


YAML = st.text("{}[]:,-&*!<>?|'\"#%@` \nab1.e_", max_size=40)


@given(content=st.binary(max_size=40) | YAML.map(str.encode))
@example(content=b"seeds: !!timestamp x")
@example(content=b"&a [*a]")
@example(content=rb'models: {"a\nb": {row: VAE}}')
def test_any_bytes_are_parameters_or_one_line(content: bytes, folder: Path) -> None:
    path = folder / "params.yaml"
    path.write_bytes(content)
    refused = refusal(lambda: params.load(path))  # nothing so short has all keys
    assert refused
    assert refused.isprintable()


NAMES = st.sampled_from("abcd")
TREES = st.recursive(
    st.integers(0, 9), lambda below: st.dictionaries(NAMES, below, max_size=3), max_leaves=8
)
BLOCKS = st.dictionaries(NAMES, TREES, max_size=3)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(tree, dict) and tree:
        return {
            key: value
            for name, below in tree.items()
            for key, value in leaves(below, (*path, name)).items()
        }
    return {path: tree}


@given(BLOCKS, BLOCKS)
def test_an_overlay_has_its_way_and_nothing_else_changes(
    base: dict[str, Any], overlay: dict[str, Any]
) -> None:
    before = copy.deepcopy(base)
    merged = params.merge(base, overlay)
    assert base == before
    assert params.merge(merged, overlay) == merged
    given_, found = leaves(overlay), leaves(merged)
    for path, value in given_.items():
        assert value == {} or found[path] == value
    for path, value in leaves(base).items():
        related = [one for one in given_ if one[: len(path)] == path or path[: len(one)] == one]
        assert related or found[path] == value


@given(BLOCKS, BLOCKS)
def test_a_star_is_every_entry_for_the_keys_it_has(
    base: dict[str, Any], below: dict[str, Any]
) -> None:
    def held(entry: Any, laid: Any) -> Any:
        if not isinstance(entry, dict) or not isinstance(laid, dict):
            return laid
        return {key: held(entry[key], value) for key, value in laid.items() if key in entry}

    one_by_one = {name: params.merge(entry, held(entry, below)) for name, entry in base.items()}
    assert params.merge(base, {"*": below}) == one_by_one


PARTS = st.sampled_from(["..", ".", "", "/", "//", "a", "sub", "a.txt", "\0", "\n", "~", "$HOME"])
PATHS = st.lists(PARTS, max_size=5).map("/".join) | st.text(max_size=8)
OUTPUTS = st.dictionaries(PATHS, st.just("0" * 64) | st.text(max_size=3), max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=3), below),
    max_leaves=4,
)
MANIFESTS = st.fixed_dictionaries({"fingerprint": st.just("0" * 64) | JSON, "outputs": OUTPUTS})


@given(content=(MANIFESTS | JSON).map(lambda one: json.dumps(one).encode()) | st.binary())
@example(content=b"[" * 100_000)
def test_names_of_a_manifest_stay_inside(content: bytes, folder: Path) -> None:
    home = folder / "deep" / "home"
    home.mkdir(parents=True, exist_ok=True)
    (home / "manifest.json").write_bytes(content)
    refused = refusal(lambda: read_manifest(home))
    assert refused.isprintable()
    manifest = None if refused else read_manifest(home)
    for name in (manifest or {"outputs": {}})["outputs"]:
        path = (home / name).resolve()
        assert path != home.resolve()
        assert path.is_relative_to(home.resolve())


EDITS = st.lists(st.tuples(st.integers(0, 9999), st.integers(1, 255)), min_size=1, max_size=4)
CUTS = st.tuples(st.integers(0, 9999), st.integers(0, 9999), st.binary(max_size=9))


@given(edits=EDITS, cut=st.none() | CUTS)
@example(edits=[(0, 1)], cut=(0, 9999, b""))
def test_a_damaged_checkpoint_is_never_taken_for_another(
    edits: list[tuple[int, int]], cut: tuple[int, int, bytes] | None, folder: Path
) -> None:
    path = folder / "checkpoint.safetensors"
    tensors, state = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2).half()}, {"step": 3}
    checkpoint.save(path, tensors, state)
    content = bytearray(path.read_bytes())
    for place, flips in edits:
        content[place % len(content)] ^= flips
    if cut is not None:
        start, end = sorted(place % len(content) for place in cut[:2])
        content[start:end] = cut[2]
    path.write_bytes(content)
    with suppress(checkpoint.DamagedError):
        found, said = checkpoint.load(path)
        assert said == state
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)


SECRETS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=4)


@given(secret=SECRETS, user=st.from_regex("[a-z]{2,6}", fullmatch=True), escaped=st.booleans())
@example(secret="pa@ss/word", user="me", escaped=False)
def test_no_password_is_left_in_a_text(secret: str, user: str, escaped: bool) -> None:
    secret = f"{secret}-1x9Z"  # so that it is no part of the rest by chance
    uri = f"http://{user}:{quote(secret, safe='') if escaped else secret}@some.host:5000/store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        said = redacted(f"no answer from {uri}: {secret} was refused by some.host at {uri}/api")
    assert secret not in said
    assert re.search(r"1x9Z", said) is None
    assert "some.host" in said
