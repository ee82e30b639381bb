rule table:
    input:
        outputs_of_table,
        stamp=stamp_of("table"),
    output:
        update(f"{RESULTS}manifest.json"),
        update(f"{RESULTS}table.csv"),
        update(f"{RESULTS}table.md"),
        update(f"{RESULTS}metrics.json"),
    params:
        slice=slice_of("table"),
    log:
        f"{ROOT}work/logs/table.log",
    conda:
        "../envs/ldebm.yaml"
    shell:
        "ldebm table 2>&1 | tee -i {log}"
