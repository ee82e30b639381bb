rule train:
    input:
        rules.tokens.output,
        stamp=stamp_of("train"),
    output:
        update(f"{ROOT}models/{SEED_FOLDER}/manifest.json"),
        update(f"{ROOT}models/{SEED_FOLDER}/model.safetensors"),
    params:
        slice=slice_of("train"),
    log:
        f"{ROOT}work/logs/train-{{model}}-seed{{seed}}.log",
    threads: THREADS
    resources:
        gpu=int(ON_GPU),
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm train {wildcards.model} --seed {wildcards.seed} 2>&1 | tee -i {log}"


# For DVC, whose stages hold all seeds of a model: work/seeds/models/vae stands for models/vae/seed*, and so on.
rule seeds:
    input:
        lambda wildcards: expand(
            f"{ROOT}{{kind}}/{{model}}/seed{{seed}}/manifest.json",
            kind=wildcards.kind,
            model=wildcards.model,
            seed=[REAL_SEED] if wildcards.model == REAL else SEEDS,
        ),
    output:
        touch(f"{ROOT}work/seeds/{{kind}}/{{model}}"),
