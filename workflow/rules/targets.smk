# Before any work: what is asked for can be made, and a line on where and how long. Snakemake tells the targets only after this, so
# they are looked for among its words: those that name a folder of outputs.

OUTPUTS = tuple(f"{ROOT}{kind}/" for kind in ("data", "work/models", *KINDS.values()))
for TARGET in [word for word in sys.argv[1:] if word.startswith(OUTPUTS)]:
    if not Path(TARGET).exists() and not any(rule.is_producer(TARGET) for rule in workflow.rules):
        NEAR = get_close_matches(TARGET, [f"{one.output.as_posix()}/manifest.json" for one in PROJECT.steps()], 1)
        sys.exit(f"ldebm: error: {TARGET}: nothing makes it{f'; did you mean {NEAR[0]}?' if NEAR else ''}")

announce.once(PROJECT.params, STALE, workflow.resource_settings.cores or 1)
