# The pipeline: corpus, models, samples, scores, table. One rule a verb of `ldebm`, in workflow/rules.
#   snakemake --cores 4 results/table.csv                              everything, at the sizes of params.yaml
#   snakemake --cores 4 --workflow-profile demo                        the small corpus, into results/demo
# `--config` takes params=FILE, overlay=FILE (replaces some of params), root=FOLDER (data, models), results=FOLDER, threads=N (a job).

report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/steps.smk"


rule all:
    default_target: True
    input:
        f"{RESULTS}table.csv",


include: "workflow/rules/targets.smk"


onstart:
    VIEW.start(logger)


onerror:
    VIEW.stop()
    if VIEW.interrupted:
        print("ldebm: interrupted; the work is kept; the same command goes on from the last checkpoints")


onsuccess:  # a table that does without a model that failed is whole, and no success
    VIEW.stop()
    if "table" in VIEW.made:
        print(closing(PROJECT.results))
    if any(job.rule.name == "table" for job in workflow.dag.jobs):
        no_failures()
