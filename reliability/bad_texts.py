"""Texts of a user's own, and code for them, that cannot be used, or only with a word on it."""

from reliability.bad_case import (
    Arrange,
    BadInput,
    after,
    all_of,
    directory,
    fifo,
    file,
    link,
    missing,
    nothing,
)

FETCH = "ldebm data fetch"
TOKENIZE = "ldebm data tokenize"
LAID = f"{FETCH} --overlay overlay.yaml --root ."
TRAIN, TEST = "text/train.txt", "text/test.txt"
SENTENCES = b"a meal is good .\nthe song was new .\n"


def _train(name: str, content: bytes, says: str, used: bool = False) -> BadInput:
    """A training text."""
    return BadInput(f"training text: {name}", file(TRAIN, content), FETCH, says, used)


def _code(name: str, source: str | bytes, says: str) -> BadInput:
    """A preprocessing of a user's own."""
    overlay = "data: {corpus: {preprocessing: 'my_text.py:tokenised'}}"
    arrange = all_of(file("my_text.py", source), file("overlay.yaml", overlay))
    return BadInput(f"preprocessing: {name}", arrange, LAID, says)


def _function(body: str) -> str:
    return f"def tokenised(line):\n    {body}\n"


def _source(name: str, arrange: Arrange, says: str) -> BadInput:
    """A folder that ought to hold the treebank."""
    laid = file("overlay.yaml", "data: {corpus: ptb, source: bank}")
    return BadInput(f"data.source: {name}", all_of(arrange, laid), LAID, says)


FILES = [
    BadInput("no training text", missing(TRAIN), FETCH, "text/train.txt is no file"),
    BadInput("training text a folder", directory(TRAIN), FETCH, "text/train.txt is no file"),
    BadInput("training text a pipe", fifo(TRAIN), FETCH, "text/train.txt is no file"),
    BadInput("training text a loop of links", all_of(missing(TRAIN), link(TRAIN, "train.txt")),
             FETCH, "text/train.txt is no file"),
    BadInput("training text a dangling link", all_of(missing(TRAIN), link(TRAIN, "gone.txt")),
             FETCH, "text/train.txt is no file"),
    BadInput("training text a device", all_of(missing(TRAIN), link(TRAIN, "/dev/zero")),
             FETCH, "text/train.txt is no file"),
    BadInput("text with a NUL in its name", file("overlay.yaml", r'data: {corpus: {test: "a\0b"}}'),
             LAID, r"a\\x00b is no file"),
    BadInput("text with a surrogate in its name",
             file("overlay.yaml", r'data: {corpus: {test: "\uD800"}}'), LAID, "is no file"),
    BadInput("test text empty", file(TEST, b""), FETCH, "test.txt holds no sentence"),
    _train("empty", b"", "train.txt holds no sentence"),
    _train("empty lines only", b"\n\n \n\t\n", "train.txt holds no sentence"),
    _train("a byte-order mark only", b"\xef\xbb\xbf", "train.txt holds no sentence"),
]  # fmt: skip

CONTENTS = [
    _train("NUL in a word", b"a go\0od meal\n", r"train.txt, line 1: holds the character '\\x00'"),
    _train("NUL lines at the end", SENTENCES + b"\0" * 4096, "line 3: holds the character"),
    _train("an escape sequence", b"a \x1b[31mred\x1b[0m meal\n", r"line 1: .*'\\x1b'"),
    _train("a deleted character", b"a m\x7feal\n", r"line 1: .*'\\x7f'"),
    _train("controls of another code page", "a meal \u0093good\u0094\n".encode(), r"'\\x93'"),
    _train("CR-only line ends", SENTENCES.replace(b"\n", b"\r"), r"line 1: .*'\\r'"),
    _train("some CR-only line ends", SENTENCES + b"a\rb\n", r"line 3: .*'\\r'"),
    _train("a second byte-order mark", SENTENCES + b"\xef\xbb\xbfa meal\n", r"line 3: .*'\\ufeff'"),
    _train("latin-1", "a caf\xe9 .\n".encode("latin-1"), "train.txt, line 1: not UTF-8"),
    _train("latin-1 far down", SENTENCES * 99 + b"caf\xe9\n", "train.txt, line 199: not UTF-8"),
    _train("UTF-16", SENTENCES.decode().encode("utf-16"), "train.txt, line 1: not UTF-8"),
    _train("UTF-16 without a mark", SENTENCES.decode().encode("utf-16-le"), r"'\\x00'"),
    _train("UTF-32", SENTENCES.decode().encode("utf-32"), "train.txt, line 1: not UTF-8"),
    _train("an encoded surrogate", b"a \xed\xa0\x80 meal\n", "line 1: not UTF-8"),
    _train("a compressed file", b"\x1f\x8b\x08\x00" + bytes(range(256)), "line 1: not UTF-8"),
    _train("100,000 words in a line", b"word " * 100_000, "line 1: has 100,000 words"),
    _train("a reserved word", b"a <s> b\n", "train.txt, line 1: <s> is reserved"),
    _train("a byte-order mark", b"\xef\xbb\xbf" + SENTENCES, "^train: sentences 2,", True),
    _train("CRLF line ends", SENTENCES.replace(b"\n", b"\r\n"), "^train: sentences 2,", True),
    _train("no line end at its end", SENTENCES[:-1], "^train: sentences 2,", True),
    _train("blank lines", SENTENCES + b"\n\n", "^train: sentences 2, blank lines left out 2", True),
    _train("one sentence", b"a meal is good .\n", "^train: sentences 1,", True),
    BadInput("test text of unknown words only",
             all_of(file(TEST, b"quux xyzzy\n"), after("data", "fetch")), TOKENIZE,
             "data/raw/test.txt: none of its words is in the vocabulary"),
    BadInput("some unknown words", all_of(file(TEST, b"the xyzzy\n"), after("data", "fetch")),
             TOKENIZE, r"read as <unk>: 0\.0% of train, .*% of valid, 50\.0% of test$", True),
    BadInput("vocabulary limit of 1", file("overlay.yaml", "data: {vocabulary_limit: 1}"),
             f"{TOKENIZE} --overlay overlay.yaml --root .",
             "train.txt: none of its words is in the vocabulary.*raise data.vocabulary_limit"),
]  # fmt: skip

CODE = [
    BadInput("no preprocessing there",
             file("overlay.yaml", "data: {corpus: {preprocessing: 'no.py:f'}}"), LAID, r"no\.py"),
    BadInput("preprocessing without a function",
             file("overlay.yaml", "data: {corpus: {preprocessing: my_text.py}}"), LAID,
             r"data\.corpus\.preprocessing"),
    _code("no such name", "x = 1\n", "defines no 'tokenised'"),
    _code("no function", "tokenised = 3\n", "preprocessing fails: TypeError"),
    _code("no Python", "def (:\n", r"my_text\.py: cannot be read as source"),
    _code("a NUL byte", b"x = 1\0\n", r"my_text\.py: cannot be read as source"),
    _code("not UTF-8", "# \xe9\nx = 1\n".encode("latin-1"), "cannot be read as source"),
    _code("9,000 brackets deep", f"x = {'[' * 9000}{']' * 9000}\n", "cannot be read as source"),
    _code("a sum of 90,000", f"x = {'1+' * 90000}1\n", "cannot be read as source"),
    _code("fails at once", "raise ValueError('a\\nb')\n", "fails when it is run: ValueError"),
    _code("ends the program", "import sys\nsys.exit(0)\n", "fails when it is run: SystemExit"),
    _code("imports what is not there", "import no_such_module\n", "ModuleNotFoundError"),
    _code("fails on a line", _function("return line[999]"), "train.txt, line 1: .*IndexError"),
    _code("ends on a line", _function("raise SystemExit(0)"), "train.txt, line 1: .*SystemExit"),
    _code("gives None", _function("return None"), "train.txt, line 1: .*gives None, no sentence"),
    _code("gives a list", _function("return line.split()"), "train.txt, line 1: .*TypeError"),
    _code("gives bytes", _function("return line.encode()"), "train.txt, line 1: .*TypeError"),
    _code("gives nothing", _function("return ''"), "train.txt holds no sentence"),
    _code("gives a surrogate", _function("return chr(0xd800)"), "line 1: .*UnicodeEncodeError"),
    _code("gives a reserved word", _function("return '<pad>'"), "line 1: <pad> is reserved"),
]  # fmt: skip

BANK = [
    _source("not there", nothing, r"data\.source: cannot read bank/ptb\.train\.txt"),
    _source("a file", file("bank", ""), r"data\.source: cannot read bank/ptb\.train\.txt"),
    _source("a pipe in it", all_of(directory("bank"), fifo("bank/ptb.train.txt")), "named pipe"),
    _source("a folder in it", directory("bank/ptb.train.txt"), "cannot read bank/ptb.train.txt"),
    _source("another text", file("bank/ptb.train.txt", SENTENCES), "is not the expected file"),
    BadInput("data.source with a NUL", file("overlay.yaml", r'data: {corpus: ptb, source: "a\0"}'),
             LAID, r"data\.source: cannot read a\\x00/ptb"),
    BadInput("LDEBM_DATA_SOURCE not there", file("overlay.yaml", "data: {corpus: ptb}"),
             f"LDEBM_DATA_SOURCE=/no/such/folder {LAID}", "cannot read /no/such/folder/ptb"),
    BadInput("LDEBM_DATA_SOURCE of 300 characters", file("overlay.yaml", "data: {corpus: ptb}"),
             f"LDEBM_DATA_SOURCE={'s' * 300} {LAID}", "File name too long"),
]  # fmt: skip

CASES = [*FILES, *CONTENTS, *CODE, *BANK]
