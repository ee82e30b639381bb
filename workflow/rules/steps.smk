# A rule for each verb of `ldebm`. A model that fails says so in its outputs and `model_failed` lets its status pass; the rest goes on.


rule raw:
    input:
        inputs_of(PROJECT.raw()),
    output:
        update(f"{ROOT}data/raw/manifest.json"),
    log:
        f"{ROOT}work/logs/raw.log",
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm data fetch > {log:q} 2>&1"


rule tokens:
    input:
        inputs_of(PROJECT.tokens()),
    output:
        update(f"{ROOT}data/tokens/manifest.json"),
    log:
        f"{ROOT}work/logs/tokens.log",
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm data tokenize > {log:q} 2>&1"


# train, sample, judge, evaluate, likelihood
for NAME, VERB in ON_MODEL.items():

    rule:
        name:
            NAME
        input:
            inputs_on_model(NAME),
        output:
            update(f"{ROOT}{VERB.kind}/{{model}}/seed{{seed}}/manifest.json"),
        params:
            command=f"ldebm {NAME}",
        wildcard_constraints:
            model=asked.models_of(PROJECT, NAME),
        log:
            f"{ROOT}work/logs/{NAME}-{{model}}-seed{{seed}}.log",
        threads: THREADS
        resources:
            gpu=int(ON_GPU),
        conda:
            "../envs/ldebm.yaml"
        shell:
            "{params.command} {wildcards.model:q} --seed {wildcards.seed:q} > {log:q} 2>&1 || model_failed"


rule table:
    input:
        inputs_of(PROJECT.table()),
    output:
        update(f"{RESULTS}manifest.json"),
        update(f"{RESULTS}table.md"),
        update(f"{RESULTS}metrics.json"),
        update(f"{RESULTS}curves.csv"),
        *(reported(*one) for one in REPORTED),
    log:
        f"{ROOT}work/logs/table.log",
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm table > {log:q} 2>&1 || model_failed"


# For DVC, a stage of which is all that is made of a model: work/models/vae stands for models/vae/seed*, samples/vae/seed*, and so on.
rule model:
    input:
        lambda wildcards: [f"{one.output.as_posix()}/manifest.json" for one in PROJECT.steps() if one.key == wildcards.model],
    output:
        touch(f"{ROOT}work/models/{{model}}"),
