rule raw:
    input:
        own_texts,
        stamp=stamp_of("raw"),
    output:
        update(f"{ROOT}data/raw/manifest.json"),
    params:
        slice=slice_of("raw"),
    log:
        f"{ROOT}work/logs/raw.log",
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm data fetch 2>&1 | tee -i {log}"


rule tokens:
    input:
        rules.raw.output,
        stamp=stamp_of("tokens"),
    output:
        update(f"{ROOT}data/tokens/manifest.json"),
    params:
        slice=slice_of("tokens"),
    log:
        f"{ROOT}work/logs/tokens.log",
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm data tokenize 2>&1 | tee -i {log}"
