"""What a training run says while it runs; a change here makes no result stale."""

import sys

from tqdm import tqdm

Entry = dict[str, float]


class Console:
    """A progress bar on a terminal, else a line for every validation, and one a minute."""

    def __init__(self, name: str, total_steps: int) -> None:
        self.name, self.total_steps, self.said = name, total_steps, 0.0
        self.bar = tqdm(total=total_steps, desc=name, unit="step") if sys.stderr.isatty() else None

    def show(self, entry: Entry) -> None:
        """Say how the run stands."""
        if self.bar is not None:
            self.bar.update(int(entry["step"]) - self.bar.n)
            self.bar.set_postfix(
                loss=f"{entry['loss']:.2f}", tokens_s=f"{entry['tokens_per_second']:.0f}"
            )
        elif "valid_loss" in entry or entry["seconds"] - self.said > 60:
            self.said = entry["seconds"]
            left = (self.total_steps - entry["step"]) * entry["seconds"] / entry["step"]
            valid = f", valid {entry['valid_loss']:.2f}" if "valid_loss" in entry else ""
            print(
                f"{self.name}: step {entry['step']:.0f}/{self.total_steps}, "
                f"loss {entry['loss']:.2f}{valid}, "
                f"{entry['tokens_per_second']:.0f} tokens/s, at most {left / 60:.0f} min left",
                flush=True,
            )

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self.bar is not None:
            self.bar.close()
