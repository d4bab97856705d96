"""What a model decided on tensor data while it was traced, for formats that cannot check it."""

from __future__ import annotations

from portwright.capture import CapturedProgram
from portwright.errors import DataDependentError


def refuse(captured: CapturedProgram, allowed: bool, target: str) -> None:
    """The model's own assertions (torch._check) may go; what decided its path may not.

    Raises:
        DataDependentError: there are such decisions and they are not allowed.
    """
    if allowed:
        return
    assumed = [
        f"  {guard['text']} at {guard['source']}"
        for guard in captured.program.guards()
        if guard["about_data"] and guard["kind"] != "assert"
    ]
    if assumed:
        raise DataDependentError(
            "the model decides on tensor data, and what it decided for the sample inputs would be "
            f"wrong for other data without a sign, because {target} has no assertions:\n"
            + "\n".join(assumed)
            + "\nChange these lines to tensor operations, or set allow_data_assumptions=True when "
            "all inputs will have such data"
        )
