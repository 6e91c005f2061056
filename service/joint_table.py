"""A joint decision for people to read: what each part gave, and what decided."""

from rich.console import Console
from rich.table import Table

from service.schemas import FusedVerifyAnswer


def print_parts(answer: FusedVerifyAnswer, console: Console) -> None:
    """Print what each part gave, and in one line what decided."""
    table = Table("part", "passes", "similarity", "threshold", "max FMR")
    for name, part in answer.parts.items():
        passes = "yes" if part.match else "no"
        table.add_row(name, passes, f"{part.similarity:.3f}", f"{part.threshold:.3f}", f"{part.max_fmr:g}")
    console.print(table)
    console.print(f"require {answer.require}: {explain(answer)}", highlight=False)


def explain(answer: FusedVerifyAnswer) -> str:
    """What a joint decision rests on: what failed, or what the sum made up for."""
    failed = [name for name, part in answer.parts.items() if not part.match]
    sum_passes = answer.similarity >= answer.threshold
    if answer.require == "sum":
        if not sum_passes:
            return "the sum of both failed"
        return "the sum of both passes" + (f", though {' and '.join(failed)} alone would not" if failed else "")
    if not sum_passes:
        failed.append("the sum of both")
    return f"failed: {', '.join(failed)}" if failed else "each part and the sum of both pass"
