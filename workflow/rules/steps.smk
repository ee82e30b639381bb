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
        "ldebm data fetch 2>&1 | tee -i {log:q}"


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
        "ldebm data tokenize 2>&1 | tee -i {log:q}"


# train, sample, judge, evaluate, likelihood
for VERB, KIND in KINDS.items():

    rule:
        name:
            VERB
        input:
            inputs_on_model(VERB),
        output:
            update(f"{ROOT}{KIND}/{{model}}/seed{{seed}}/manifest.json"),
        params:
            command=f"ldebm {VERB}",
        wildcard_constraints:
            model=models_of(VERB),
        log:
            f"{ROOT}work/logs/{VERB}-{{model}}-seed{{seed}}.log",
        threads: THREADS
        resources:
            gpu=int(ON_GPU),
        conda:
            "../envs/ldebm.yaml"
        shell:
            "{params.command} {wildcards.model:q} --seed {wildcards.seed:q} 2>&1 | tee -i {log:q} || model_failed"


rule table:
    input:
        inputs_of(PROJECT.table()),
    output:
        update(f"{RESULTS}manifest.json"),
        update(f"{RESULTS}table.csv"),
        update(f"{RESULTS}table.md"),
        update(f"{RESULTS}metrics.json"),
    log:
        f"{ROOT}work/logs/table.log",
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm table 2>&1 | tee -i {log:q} || model_failed"


# For DVC, whose stages hold all seeds of a model: work/seeds/models/vae stands for models/vae/seed*, and so on.
rule seeds:
    input:
        lambda wildcards: [
            f"{one.output.as_posix()}/manifest.json"
            for one in PROJECT.steps()
            if (KINDS.get(one.verb), one.key) == (wildcards.kind, wildcards.model)
        ],
    output:
        touch(f"{ROOT}work/seeds/{{kind}}/{{model}}"),
