"""Parameter files, and values in them, that cannot be used."""

from reliability.bad_case import BadInput, all_of, directory, file, link, missing, nothing

FETCH = "ldebm data fetch"
LAID = f"{FETCH} --overlay overlay.yaml --root ."


def _file(name: str, content: str | bytes, says: str) -> BadInput:
    """A parameter file that is no parameter file."""
    return BadInput(f"params.yaml: {name}", file("params.yaml", content), FETCH, says)


def _laid(content: str, says: str, command: str = LAID) -> BadInput:
    """A value, laid over the parameters."""
    return BadInput(f"overlay {content[:60]}", file("overlay.yaml", content), command, says)


def _deep(depth: int) -> str:
    return f"seeds: {'[' * depth}{']' * depth}\n"


def _laughs() -> str:
    """A block of 9 levels, each of nine times the one before."""
    return "".join(
        f"l{level}: &l{level} [{', '.join([f'*l{level - 1}' if level else 'ha'] * 9)}]\n"
        for level in range(9)
    )


FILES = [
    BadInput("no params.yaml", missing("params.yaml"), FETCH, "params.yaml: cannot be read"),
    BadInput(
        "params.yaml a folder", directory("params.yaml"), FETCH, "params.yaml: cannot be read"
    ),
    BadInput(
        "params.yaml a loop of links",
        all_of(missing("params.yaml"), link("params.yaml", "params.yaml")),
        FETCH,
        "params.yaml: cannot be read",
    ),
    BadInput("no overlay", nothing, LAID, "overlay.yaml: cannot be read"),
    BadInput("overlay a folder", nothing, f"{FETCH} --overlay text", "text: cannot be read"),
    BadInput(
        "params of 300 characters", nothing, f"{FETCH} --params {'p' * 300}", "cannot be read"
    ),
    BadInput(
        "params a device", nothing, f"{FETCH} --params /dev/null", "/dev/null: holds no mapping"
    ),
    _file("empty", "", "holds no mapping"),
    _file("blanks only", " \n\n", "holds no mapping"),
    _file("a comment only", "# seeds\n", "holds no mapping"),
    _file("a list", "- 1\n", "holds no mapping"),
    _file("a word", "vae\n", "holds no mapping"),
    _file("latin-1", "seeds: [1] # é\n".encode("latin-1"), "is not UTF-8"),
    _file("UTF-16", "seeds: [1]\n".encode("utf-16"), "is not UTF-8"),
    _file("UTF-16 without a mark", "seeds: [1]\n".encode("utf-16-le"), "no valid YAML"),
    _file("NUL bytes", b"seeds: [1]\0\n", "no valid YAML"),
    _file("tabs", "data:\n\tcorpus: ptb\n", "no valid YAML"),
    _file("a bracket left open", "seeds: [1,\n", "no valid YAML"),
    _file("two documents", "seeds: [1]\n---\nseeds: [2]\n", "no valid YAML"),
    _file("an unknown alias", "seeds: *a\n", "no valid YAML"),
    _file(
        "a Python object",
        "seeds: !!python/object/apply:os.system ['touch pwned']\n",
        "no valid YAML",
    ),
    _file("a key twice", "seeds: [1]\nseeds: [2]\n", "the key seeds is given twice"),
    _file("a block that holds itself", "data: &a {corpus: *a}\n", "cannot be used"),
    _file("a list that holds itself", "seeds: &a [*a]\n", "cannot be used"),
    _file("5,000 digits", f"seeds: [{'9' * 5000}]\n", "cannot be used"),
    _file("5,000 hexadecimal digits", f"seeds: [0x{'f' * 5000}]\n", "cannot be used"),
    _file("a time that is none", "seeds: !!timestamp x\n", "cannot be used"),
    _file("a number that is none", "seeds: !!int ''\n", "cannot be used"),
    _file("a truth that is none", "seeds: !!bool x\n", "cannot be used"),
    _file("a base that is none", "seeds: 190:20:30.15:x\n", "missing|seeds"),
    _file("a billion laughs", _laughs(), r"judge: unknown|unknown key"),
    _file("300 deep", _deep(300), "nested too deeply|seeds.0"),
    _file("3,000 deep", _deep(3000), "nested too deeply"),
    _file("a key that is a list", "? [a]\n: 1\n", "no valid YAML|unknown key"),
    _file("a key that is a mapping", "? {a: 1}\n: 1\n", "no valid YAML"),
    _file("a date", "seeds: 2020-01-01\n", "missing|seeds"),
    _file("an impossible date", "seeds: 2020-13-45\n", "."),
    _file("binary", bytes(range(256)), "is not UTF-8"),
    _file("nothing but an empty mapping", "{}\n", "missing"),
]  # fmt: skip

MODELS = [
    _laid("models: {vae: {row: [VAE]}}", r"models\.vae\.row: \['VAE'\] is no row"),
    _laid("models: {vae: {row: null}}", r"models\.vae\.row: None is no row"),
    _laid("models: {vae: {row: 3}}", r"models\.vae\.row: 3 is no row"),
    _laid("models: {vae: {row: vae}}", r"'vae' is no row; known rows: .*VAE"),
    _laid('models: {vae: {row: "absent.py:Row"}}', r"absent\.py: is no Python file"),
    _laid('models: {vae: {row: "text.py"}}', r"text\.py: is no Python file"),
    _laid('models: {vae: {row: "a\\0b.py:Row"}}', r"is no Python file"),
    _laid('models: {vae: {row: "\\uD800.py:Row"}}', r"is no Python file"),
    _laid("models: {vae: 3}", r"models\.vae"),
    _laid("models: 3", r"models"),
    _laid("models: null", r"models"),
    _laid("models: [vae]", r"models"),
    _laid("models: {vea: {latent_dim: 3}}", r"models\.vea"),
    _laid("models: {real: {row: VAE}}", r"models\.real: the name cannot be used"),
    _laid('models: {"../x": {row: VAE}}', r"models\.\.\./x: the name cannot be used"),
    _laid('models: {"a b": {row: VAE}}', r"the name cannot be used"),
    _laid('models: {"": {row: VAE}}', r"the name cannot be used"),
    _laid('models: {"$(touch pwned)": {row: VAE}}', r"the name cannot be used"),
    _laid('models: {"a\\nb": {row: VAE}}', r"the name cannot be used"),
    _laid(
        "models: {vae: {latent_dims: 3}}", r"models\.vae\.latent_dims: unknown key.*latent_dim\?"
    ),
    _laid("models: {vae: {latent_dim: forty}}", r"models\.vae\.latent_dim: .*'forty'"),
    _laid("models: {vae: {latent_dim: 0}}", r"models\.vae\.latent_dim: .*0"),
    _laid("models: {vae: {latent_dim: -4}}", r"models\.vae\.latent_dim: .*-4"),
    _laid("models: {vae: {latent_dim: 2.5}}", r"models\.vae\.latent_dim: .*2\.5"),
    _laid("models: {vae: {latent_dim: .nan}}", r"models\.vae\.latent_dim: .*nan"),
    _laid("models: {vae: {latent_dim: null}}", r"models\.vae\.latent_dim: .*None"),
    _laid("models: {vae: {kl_slope: .nan}}", r"models\.vae\.kl_slope"),
    _laid("models: {vae: {kl_slope: .inf}}", r"models\.vae\.kl_slope"),
    _laid("models: {vae: {training: {batch: 0}}}", r"models\.vae\.training\.\S*batch: .*0"),
    _laid("models: {vae: {training: {stop: soon}}}", r"models\.vae\.training.*soon"),
    _laid("models: {vae: {training: {learning_rate: {sentence: .inf}}}}", r"learning_rate"),
    _laid("models: {vae: {training: {learning_rate: {sentnce: 1.0}}}}", r"learning_rate"),
    _laid("models: {vae: {training: {learning_rate: 1.0}}}", r"learning_rate"),
    _laid('models: {"*": {latent_dimm: 3}}', r"models\.\*\.latent_dimm: no entry.*latent_dim\?"),
    _laid('models: {"*": {training: {epoch: 3}}}', r"models\.\*\.training\.epoch: no entry"),
    _laid('models: {"*": 3}', r"models"),
    _laid('"*": {hiden: 3}', r"\*\.hiden: no entry.*hidden\?"),
]  # fmt: skip

OTHERS = [
    _laid("sentence_model: {hiden: 3}", r"sentence_model\.hiden: unknown key.*hidden\?"),
    _laid("sentence_model: {max_tokens: 2}", r"sentence_model\.max_tokens: .*2"),
    _laid("sentence_model: {dropout: 1.0}", r"sentence_model\.dropout"),
    _laid("sentence_model: {dropout: .nan}", r"sentence_model\.dropout"),
    _laid("sentence_model: {hidden: 100000000000}", r"sentence_model\.hidden"),
    _laid("sentence_model: null", r"sentence_model"),
    _laid("seeds: []", r"seeds"),
    _laid("seeds: 1", r"seeds"),
    _laid("seeds: [1, 1]", r"seeds: .*twice"),
    _laid("seeds: ['1']", r"seeds\.0"),
    _laid("seeds: [1.5]", r"seeds\.0"),
    _laid("seeds: [true]", r"seeds\.0"),
    _laid("seeds: [99999999999999999999999]", r"seeds\.0"),
    _laid("data: {corpus: wikitext}", r"data\.corpus: .*wikitext"),
    _laid("data: {corpus: [a, b, c]}", r"data\.corpus"),
    _laid("data: {corpus: {preprocessing: my_text}}", r"data\.corpus\.preprocessing"),
    _laid("data: {vocabulary_limit: 0}", r"data\.vocabulary_limit: .*0"),
    _laid("data: {vocabulary_limit: -1}", r"data\.vocabulary_limit: .*-1"),
    _laid("data: {vocabulary_limit: many}", r"data\.vocabulary_limit: .*many"),
    _laid("data: {corpus: grammar, grammar: {train: 0}}", r"data\.grammar\.train: .*0"),
    _laid("data: {corpus: grammar, grammar: {seed: -1}}", r"data\.grammar\.seed"),
    _laid("run: {device: tpu}", r"run\.device: .*tpu"),
    _laid(
        "run: {device: cuda}",
        r"run\.device: cuda is asked for",
        "ldebm train vae --seed 9 --overlay overlay.yaml --root .",
    ),
    _laid("run: {precision: float64}", r"run\.precision: .*float64"),
    _laid("judge: {epochs: 0}", r"judge\.epochs: .*0"),
    _laid("judge: {layers: 0}", r"judge\.layers: .*0"),
    _laid("judge: {alpha: .nan}", r"judge\.alpha"),
    _laid("judge: {seed: 99999999999999999999999}", r"judge\.seed"),
    _laid("judge: {train_sentences: 4000}", r"evaluation\.samples: 40, and the judge needs"),
    _laid("evaluation: {samples: 0}", r"evaluation\.samples"),
    _laid("evaluation: {seed: -5}", r"evaluation\.seed"),
    _laid("evaluation: {annealed: {temperatures: 9}}", r"evaluation\.annealed\.temperatures: .*9"),
    _laid("evaluation: {likelihood_sentences: 0}", r"evaluation\.likelihood_sentences"),
    _laid("metrics: bleu", r"metrics"),
    _laid("metrics: [bleu]", r"metrics: bleu: is no Python file"),
    _laid("metrics: ['absent.py:X']", r"absent\.py: is no Python file"),
    _laid("extra: 3", r"extra: unknown key"),
    _laid("judgee: {epochs: 3}", r"judgee: unknown key.*judge\?"),
    _laid("1: 2", r"1: Keys should be strings"),
    _laid("null: 2", r"None: Keys should be strings"),
]  # fmt: skip

CASES = [*FILES, *MODELS, *OTHERS]
