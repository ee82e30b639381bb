rule sample:
    input:
        rules.tokens.output,
        lambda wildcards: [] if wildcards.model == REAL else expand(rules.train.output, **wildcards),
        stamp=stamp_of("sample"),
    output:
        update(f"{ROOT}samples/{SEED_FOLDER}/manifest.json"),
        update(f"{ROOT}samples/{SEED_FOLDER}/samples.txt"),
    params:
        slice=slice_of("sample"),
    log:
        f"{ROOT}work/logs/sample-{{model}}-seed{{seed}}.log",
    threads: THREADS
    resources:
        gpu=int(ON_GPU),
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm sample {wildcards.model} --seed {wildcards.seed} 2>&1 | tee -i {log}"


rule judge:
    input:
        rules.tokens.output,
        rules.sample.output,
        stamp=stamp_of("judge"),
    output:
        update(f"{ROOT}judgements/{SEED_FOLDER}/manifest.json"),
        update(f"{ROOT}judgements/{SEED_FOLDER}/scores.json"),
    params:
        slice=slice_of("judge"),
    log:
        f"{ROOT}work/logs/judge-{{model}}-seed{{seed}}.log",
    threads: THREADS
    resources:
        gpu=int(ON_GPU),
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm judge {wildcards.model} --seed {wildcards.seed} 2>&1 | tee -i {log}"


rule evaluate:
    input:
        rules.tokens.output,
        rules.train.output,
        rules.sample.output,
        stamp=stamp_of("evaluate"),
    output:
        update(f"{ROOT}evaluations/{SEED_FOLDER}/manifest.json"),
        update(f"{ROOT}evaluations/{SEED_FOLDER}/scores.json"),
    params:
        slice=slice_of("evaluate"),
    log:
        f"{ROOT}work/logs/evaluate-{{model}}-seed{{seed}}.log",
    threads: THREADS
    resources:
        gpu=int(ON_GPU),
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm evaluate {wildcards.model} --seed {wildcards.seed} 2>&1 | tee -i {log}"
