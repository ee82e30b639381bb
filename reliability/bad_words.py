"""Command lines that cannot be meant, for every verb of `ldebm` and for Snakemake."""

from reliability.bad_case import BadInput, all_of, directory, fifo, file, link, nothing

LONG = "x" * 300


def _words(command: str, says: str) -> BadInput:
    """A command on the project as it is."""
    return BadInput(command[:70], nothing, command, says)


def _given(name: str, content: bytes, command: str, says: str) -> BadInput:
    """Standard input."""
    return BadInput(f"input {name}", file("lines", content), f"{command} < lines", says)


def _samples(name: str, content: str | bytes, says: str) -> BadInput:
    """A file of samples to score."""
    command = "ldebm score --samples own.txt --references text/test.txt"
    return BadInput(f"samples: {name}", file("own.txt", content), command, says)


def _config(name: str, words: str, says: str) -> BadInput:
    """What Snakemake's --config is given."""
    return BadInput(f"snakemake {name}", nothing, f"snakemake --dry-run {words}", says)


VERBS = [
    _words("ldebm", "the following arguments are required: VERB"),
    _words("ldebm trian vae", "invalid choice: 'trian'"),
    _words("ldebm data", "the following arguments are required: STEP"),
    _words("ldebm data fetsh", "invalid choice: 'fetsh'"),
    _words("ldebm data fetch vae", "unrecognized arguments: vae"),
    _words("ldebm data fetch --rooot x", "unrecognized arguments: --rooot x"),
    _words("ldebm data fetch --root", "--root: expected one argument"),
    _words(f"ldebm data fetch --root {LONG}", "File name too long"),
    _words("ldebm data fetch --root /proc", "/proc"),
    _words("ldebm data fetch --root /proc/1/mem", "/proc/1/mem"),
    _words("ldebm data fetch --root /dev/null", "/dev/null.*Not a directory"),
    _words("ldebm train", "the following arguments are required: MODEL"),
    _words("ldebm train vea", "'vea' is no model of the parameters; there are: vae"),
    _words("ldebm train ''", "'' is no model of the parameters"),
    _words("ldebm train ../vae", "'../vae' is no model of the parameters"),
    _words("ldebm train real", "'real' is no model of the parameters"),
    _words("ldebm train 'a\nb'", r"'a\\nb' is no model of the parameters"),
    _words("ldebm train vae --seed x", "argument --seed: 'x' is no seed"),
    _words("ldebm train vae --seed -1", "argument --seed: '-1' is no seed"),
    _words("ldebm train vae --seed 1.5", "argument --seed: '1.5' is no seed"),
    _words(f"ldebm train vae --seed {'9' * 30}", "is no seed"),
    _words("ldebm train vae vae", "unrecognized arguments: vae"),
    _words(f"ldebm train vae --params {LONG}", "cannot be read"),
    _words("ldebm sample vea", "'vea' is no model of the parameters"),
    _words("ldebm sample dgm_vae", "models/dgm_vae/seed1 is not there yet; run `ldebm train"),
    _words("ldebm sample vae --seed 2", "models/vae/seed2 is not there yet; run `ldebm train"),
    _words("ldebm judge vea", "'vea' is no model of the parameters"),
    _words("ldebm judge rnn_lm", "samples/rnn_lm/seed1 is not there yet; run `ldebm sample"),
    _words("ldebm evaluate vea", "'vea' is no model of the parameters"),
    _words("ldebm evaluate real", "'real' is no model of the parameters"),
    _words("ldebm evaluate rnn_lm", "samples/rnn_lm/seed1 is not there yet; run `ldebm sample"),
    _words("ldebm likelihood vea", "'vea' is no model of the parameters"),
    _words("ldebm likelihood real", "'real' is no model of the parameters"),
    _words("ldebm likelihood dgm_vae", "models/dgm_vae/seed1 is not there yet"),
    _words("ldebm table", "is not there yet; run `ldebm"),
    _words("ldebm table --results", "--results: expected one argument"),
    _words("ldebm table vae", "unrecognized arguments: vae"),
    _words("ldebm plan --root /dev/null", "/dev/null"),
    _words(f"ldebm plan --root {LONG}", "File name too long"),
    _words("ldebm plan --params text", "text: cannot be read"),
    _words("ldebm models --overlay text", "text: cannot be read"),
    _words("ldebm models vae", "unrecognized arguments: vae"),
    _words("DVC_ROOT=/no/such ldebm sync", "DVC_ROOT=/no/such is no folder; unset it"),
    _words("ldebm sync vae", "unrecognized arguments: vae"),
]  # fmt: skip

ASKED = [
    _words("ldebm generate", "the following arguments are required: MODEL"),
    _words("ldebm generate vea", "'vea' is neither a folder with a run.json nor a model"),
    _words("ldebm generate ''", "'' is neither a folder with a run.json nor a model"),
    _words(f"ldebm generate {LONG}", "File name too long"),
    _words("ldebm reconstruct vae 'caf\udce9'", r"'caf\\udce9' is not UTF-8"),
    _words("python -m ldebm classify --json vae caf\udce9", r"'caf\\udce9' is not UTF-8"),
    _words("ldebm generate text", "'text' is neither a folder with a run.json nor a model"),
    _words("ldebm generate dgm_vae", "run `ldebm train dgm_vae --seed 1` first"),
    _words("ldebm generate vae --model-seed 7", "run `ldebm train vae --seed 7` first"),
    _words("ldebm generate vae --model-seed x", "argument --model-seed: 'x' is no seed"),
    _words("ldebm generate vae -n 0", "0 sentences cannot be drawn"),
    _words("ldebm generate vae -n -3", "-3 sentences cannot be drawn"),
    _words("ldebm generate vae -n many", "argument -n: invalid int value: 'many'"),
    _words(f"ldebm generate vae -n {'9' * 5000}", "argument -n: invalid int value"),
    _words("ldebm generate vae --seed -1", "argument --seed: '-1' is no seed"),
    _words(f"ldebm generate vae --seed {2**64}", "is no seed"),
    _words("ldebm generate vae --symbol 3", "VAE has neither symbols nor a code"),
    _words("ldebm generate vae --symbol x", "--symbol x: give a value"),
    _words("ldebm generate vae --symbol 1:2:3", "--symbol 1:2:3: give a value"),
    _words("ldebm generate vae --symbol :", "--symbol :: give a value"),
    _words(f"ldebm generate vae --symbol {'9' * 5000}", "give a value"),
    _words("ldebm generate vae extra", "unrecognized arguments: extra"),
    _words("ldebm generate models/vae/seed1 --row no.py:Row", "no.py: is no Python file"),
    _words("ldebm generate models/vae/seed1 --row VEA", "'VEA' is no row"),
    _words("ldebm generate models/vae/seed1 --row AE", "run.json: "),
    _words("ldebm reconstruct rnn_lm 'a meal'", "RNN-LM has no latent vector"),
    _words("ldebm reconstruct vae < /dev/null", "no sentence is given"),
    _given("not UTF-8", b"a caf\xe9\n", "ldebm reconstruct vae", "standard input.*not UTF-8"),
    _given("NUL bytes", b"a m\0eal\n", "ldebm reconstruct vae", "standard input, line 1: holds"),
    _given("CR-only line ends", b"a meal\ra song\r", "ldebm reconstruct vae", "standard input"),
    _given("not UTF-8, apart", b"\xe9\n", "python -m ldebm classify vae", "not UTF-8"),
    _words("ldebm interpolate vae 'a meal'", "the following arguments are required: SENTENCE"),
    _words("ldebm interpolate vae a b --steps 1", "has at least 2 steps, not 1"),
    _words("ldebm interpolate vae a b --steps -9", "has at least 2 steps, not -9"),
    _words("ldebm interpolate vae a b --steps x", "argument --steps: invalid int value: 'x'"),
    _words(f"ldebm interpolate vae the a --steps {10**13}", "not enough memory"),
    _words("ldebm interpolate rnn_lm a b", "RNN-LM has no latent vector"),
    _words("ldebm classify vae 'a meal'", "VAE has neither symbols nor a code"),
    _words("ldebm classify rnn_lm 'a meal'", "RNN-LM has neither symbols nor a code"),
    _words("ldebm classify vae < /dev/null", "no sentence is given"),
    _words("ldebm symbols vae", "VAE has neither symbols nor a code"),
    _words("ldebm symbols vea", "'vea' is neither a folder"),
    _words("ldebm symbols vae --seed 1e3", "argument --seed: '1e3' is no seed"),
]  # fmt: skip

SCORED = [
    _words("ldebm score", "the following arguments are required: --samples"),
    _words("ldebm score --samples", "--samples: expected one argument"),
    _words("ldebm score --samples no.txt", "cannot read no.txt"),
    _words("ldebm score --samples ''", "cannot read"),
    _words("ldebm score --samples text", "cannot read text"),
    _words(f"ldebm score --samples {LONG}", "File name too long"),
    _words("ldebm score --samples /dev/zero", "cannot read /dev/zero: it is no regular file"),
    _words("ldebm score --samples text/test.txt --references no.txt", "cannot read no.txt"),
    _words("ldebm score --samples text/test.txt --references text/valid.txt", "one reference a"),
    BadInput("samples a pipe", fifo("own.txt"), "ldebm score --samples own.txt", "no regular file"),
    BadInput("samples a folder", directory("own"), "ldebm score --samples own", "cannot read own"),
    BadInput("samples a loop of links", link("own", "own"), "ldebm score --samples own",
             "cannot read own: Too many levels"),
    _samples("empty", "", "BLEU needs one reference"),
    _samples("latin-1", "caf\xe9\n".encode("latin-1"), "own.txt, line 1: not UTF-8"),
    _samples("UTF-16", "a meal\n".encode("utf-16"), "own.txt, line 1: not UTF-8"),
    _samples("NUL bytes", "a\0b\n", r"own.txt, line 1: holds the character '\\x00'"),
    _samples("CR-only line ends", "a b\rc d\r", r"own.txt, line 1: holds the character '\\r'"),
    BadInput("blank samples", file("own.txt", "\n" * 50), "ldebm score --samples own.txt",
             "word KL needs words in both texts"),
    BadInput("too few samples", file("own.txt", "the\n"), "ldebm score --samples own.txt",
             "own.txt: rPPL needs 40 sentences"),
]  # fmt: skip

SNAKEMAKE = [
    _config("unknown key", "--config rooot=3", "--config rooot: unknown key; did you mean root"),
    _config("threads -3", "--config threads=-3", "--config threads: '-3' is no number of threads"),
    _config("threads many", "--config threads=many", "--config threads: 'many' is no number"),
    _config("threads a list", "--config threads=[1]", r"--config threads: .* is no number"),
    _config("root with braces", "--config root=a{b}", "--config root: 'a{b}': braces"),
    _config("root of 300 characters", f"--config root={LONG}", "File name too long"),
    _config("root a device", "--config root=/dev/null", "/dev/null"),
    _config("root a process", "--config root=/proc", "/proc"),
    _config("results a device", "--config results=/dev/null", "/dev/null"),
    _config("params not there", "--config params=no.yaml", "no.yaml: cannot be read"),
    _config("overlay a folder", "--config overlay=text", "text: cannot be read"),
    _config("unknown model", "-- models/vea/seed1/manifest.json",
            "models/vea/seed1/manifest.json.*did you mean models/vae/seed1/manifest.json"),
    _config("unknown model, its steps", "-- work/models/vea", "work/models/vea: nothing"),
    _config("no seed", "-- models/vae/seedx/manifest.json", "models/vae/seedx/manifest.json"),
    _config("a model that is not trained", "-- models/real/seed1/manifest.json", "models/real"),
    BadInput("snakemake parameters in latin-1", file("params.yaml", b"seeds: [1] # \xe9\n"),
             "snakemake --dry-run", "params.yaml: is not UTF-8"),
    BadInput("snakemake a key twice", file("params.yaml", "seeds: [1]\nseeds: [1]\n"),
             "snakemake --dry-run", "the key seeds is given twice"),
    BadInput("snakemake root a loop", link("r", "r"), "snakemake --dry-run --config root=r",
             "Too many levels"),
    BadInput("snakemake text a folder", directory("text/train.txt"), "snakemake --dry-run",
             "text/train.txt is no file"),
]  # fmt: skip

APART = [
    BadInput("apart: a pipe for parameters", all_of(fifo("own.txt")),
             "python -m ldebm score --samples own.txt", "no regular file"),
    _words("python -m ldebm train vea", "'vea' is no model of the parameters"),
    _words("python -m ldebm data fetch --root /proc", "/proc"),
]  # fmt: skip

CASES = [*VERBS, *ASKED, *SCORED, *SNAKEMAKE, *APART]
