"""What a metric is called in MLflow, which shows those of one group together."""

import re

# Metrics are shown in groups, train/ valid/ test/ judge/ prior/: by our own names, the first that
# fits; what fits none is in the group of the verb that says it.
GROUPS = {
    r"(valid_)?prior_(fit\w*)": r"prior/\1\2",
    r"((generated|posterior)_\w+)": r"prior/\1",
    r"(valid|judge)_(\w+)": r"\1/\2",
    r"(\w+_standard_error|effective_chains|acceptance|fall_from_\w+|still_falling|gap)": (
        r"test/estimate/\1"
    ),
}
GROUP_OF_VERB = {"train": "train/", "judge": "test/", "evaluate": "test/", "likelihood": "test/"}


def grouped(name: str, verb: str) -> str:
    """What a metric is called in MLflow."""
    for pattern, group in GROUPS.items():
        if found := re.fullmatch(pattern, name):
            return found.expand(group)
    return f"{GROUP_OF_VERB.get(verb, '')}{name}"
