"""What a training run says while it runs; a change here makes no result stale."""

from ldebm.runtime import console

Entry = dict[str, float]


class Console:
    """`ldebm.runtime.console.Console` of a training run, whose rule may stop it early."""

    def __init__(self, name: str, total_steps: int) -> None:
        self.console = console.Console(f"train {name}", total_steps, bound="at most ")
        self.valid = ""

    def show(self, entry: Entry) -> None:
        """Say how the run stands."""
        if "valid_loss" in entry:
            self.valid = f", valid {entry['valid_loss']:.2f}"
        speed = f"{entry['tokens_per_second']:,.0f} tokens/s"
        self.console.show(int(entry["step"]), f"loss {entry['loss']:.2f}{self.valid}, {speed}")

    def close(self) -> None:
        """Leave the terminal tidy."""
        self.console.close()
