# Before any work: what is asked for can be made, and a line on where and how long.

try:
    asked.check_targets(PROJECT, sys.argv[1:], lambda word: any(rule.is_producer(word) for rule in workflow.rules))
except UserError as error:
    sys.exit(f"ldebm: error: {error}")

announce.once(PROJECT.params, STALE, workflow.resource_settings.cores or 1)
