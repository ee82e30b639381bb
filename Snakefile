# The pipeline: corpus, models, samples, scores, table. One rule a verb of `ldebm`, in workflow/rules.
#   snakemake --cores 4                                                everything, at the sizes of params.yaml
#   snakemake --cores 4 --workflow-profile demo                        the small corpus, into results/demo
#   snakemake --cores 4 --config overlay=trial.yaml rows=vae,ldebm     two rows of a trial, into results/trial
# `--config` takes params=FILE, overlay=FILE (replaces some of params; has a folder of its own), rows=KEY,KEY (some of models),
# root=FOLDER (data, models), results=FOLDER, threads=N (a job). It reads all that follows: targets stand before it, or behind `--`.

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
    SENDING.start()


onerror:
    SENDING.close()
    VIEW.stop()
    if VIEW.interrupted:
        print("ldebm: interrupted; the work is kept; the same command goes on from the last checkpoints")


onsuccess:  # a table that does without a model that failed is whole, and no success
    SENDING.close()
    VIEW.stop()
    if "table" in VIEW.made:
        print(closing(PROJECT.results))
    if any(job.rule.name == "table" for job in workflow.dag.jobs):
        no_failures()
