"""What a training run says while it runs; no part of what it computes, so a change here makes no result stale."""

import sys

from tqdm import tqdm

Row = dict[str, float]


class Console:
    """A progress bar on a terminal, else a plain line for every row of the history that was validated, and one a minute."""

    def __init__(self, name: str, total_steps: int) -> None:
        self.name, self.total_steps, self.said = name, total_steps, 0.0
        self.bar = tqdm(total=total_steps, desc=name, unit="step") if sys.stderr.isatty() else None

    def show(self, row: Row) -> None:
        """Say how the run stands."""
        if self.bar is not None:
            self.bar.update(int(row["step"]) - self.bar.n)
            self.bar.set_postfix(
                loss=f"{row['loss']:.2f}", tokens_s=f"{row['tokens_per_second']:.0f}"
            )
        elif "valid_loss" in row or row["seconds"] - self.said > 60:
            self.said = row["seconds"]
            left = (self.total_steps - row["step"]) * row["seconds"] / row["step"]
            valid = f", valid {row['valid_loss']:.2f}" if "valid_loss" in row else ""
            print(
                f"{self.name}: step {row['step']:.0f}/{self.total_steps}, loss {row['loss']:.2f}{valid}, "
                f"{row['tokens_per_second']:.0f} tokens/s, at most {left / 60:.0f} min left",
                flush=True,
            )

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self.bar is not None:
            self.bar.close()
