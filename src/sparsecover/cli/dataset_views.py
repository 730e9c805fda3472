"""What ``data`` and ``extract`` show."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from sparsecover.cli.console import err, out
from sparsecover.datasets import KNOWN
from sparsecover.labels import class_counts

if TYPE_CHECKING:
    from sparsecover.classes import ClassScheme
    from sparsecover.datasets import Split
    from sparsecover.patches import Extraction
    from sparsecover.pipeline.label_files import Spent

_SIZES_SHOWN = 3


def show_known() -> None:
    """Known datasets, their licences, and whether they can be downloaded without a login."""
    table = Table("name", "what", "licence", "download")
    for known in KNOWN.values():
        table.add_row(known.name, known.title, known.licence, "yes" if known.files else "by hand, after a login")
    out.print(table)
    out.print("Fetch one with: sparsecover data get NAME")


def show_dataset(described: dict[str, Any]) -> None:
    """Pairs, sizes, class shares, problems."""
    out.print(f"{_counted(described['pairs'], 'pair')}{_sides(described)}, {_sizes(described['sizes'])}")
    names = described["bands"]
    listed = ", ".join(names[:12]) + (f", ... {names[-1]}" if len(names) > 12 else "")
    out.print(Text(f"{_counted(len(names), 'band')} of {described['dtype']}: {listed}"))
    table = Table("code", "class", "pixels", "share")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in described["classes"]:
        table.add_row(str(row["code"]), Text(row["name"]), f"{row['pixels']:,}", f"{row['share']:.2%}")
    out.print(table)
    out.print(f"{described['labelled_share']:.2%} of all pixels are labelled.")
    if described["unlabelled_pairs"]:
        out.print(Text(f"Without any label: {', '.join(described['unlabelled_pairs'])}."))
    for note in described["notes"]:
        out.print("[yellow]warning[/]" if note in described["left_out"] else "[dim]note[/]   ", Text(note))


def _counted(number: int, what: str, many: str | None = None) -> str:
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"


def _sides(described: dict[str, Any]) -> str:
    parts = [f"{side} {number}" for side, number in described["splits"].items()]
    windows = [f"{side} {number}" for side, number in described["windows"].items()]
    text = f" ({', '.join(parts)})" if parts else ""
    return text + (f" with windows ({', '.join(windows)})" if windows else "")


def _sizes(sizes: list[list[int]]) -> str:
    shown = [f"{height} x {width} px" + (f" ({n})" if len(sizes) > 1 else "") for height, width, n in sizes]
    more = len(sizes) - _SIZES_SHOWN
    return ", ".join(shown[:_SIZES_SHOWN]) + (f" and {_counted(more, 'other size')}" if more > 0 else "")


def show_split(split: "Split", scheme: "ClassScheme") -> None:
    """Scenes and labelled pixels by side."""
    sides = split.sides
    table = Table("", *sides)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("scenes", *(f"{len(pairs):,}" for pairs in sides.values()), end_section=True)
    counts = [class_counts([pair.labels for pair in pairs], len(scheme)) for pairs in sides.values()]
    for index, name in enumerate(scheme.names):
        table.add_row(Text(name), *(f"{side[index]:,}" for side in counts))
    out.print(table)
    for note in split.notes:
        out.print("[dim]note[/]   ", Text(note))


def show_spent(spent: "Spent") -> None:
    """Kept labels by class and in all; classes that fell short."""
    table = Table("code", "class", "of pixels", "kept", "share")
    for column in table.columns[2:]:
        column.justify = "right"
    rows = zip(spent.scheme.classes, spent.available, spent.kept, strict=True)
    for land, available, kept in rows:
        table.add_row(str(land.code), Text(land.name), f"{available:,}", f"{kept:,}", _share(kept, available))
    table.add_section()
    total, kept = spent.available.sum(), spent.kept.sum()
    table.add_row("", "all", f"{total:,}", f"{kept:,}", _share(kept, total))
    out.print(table)
    for note in spent.notes:
        out.print("[dim]note[/]   ", Text(note))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4%}" if whole else "-"


def show_extraction(extraction: "Extraction") -> None:
    """Patches by side, what was left out and why, what failed."""
    sides = Counter(row["split"] for row in extraction.rows)
    listed = ", ".join(f"{side} {number}" for side, number in sides.items())
    out.print(f"{_counted(len(extraction.rows), 'patch', 'patches')} in {extraction.folder} ({listed})")
    for reason, number in extraction.skipped.items():
        out.print(f"Left out: {number:,} ({reason})")
    for note in extraction.notes:
        out.print("[dim]note[/]   ", Text(note))
    for failure in extraction.failures:
        err.print("[red]failed[/] ", Text(failure))


def show_patches(described: dict[str, Any]) -> None:
    """Patches and labelled pixels by side."""
    sides = described["patches"]
    table = Table("", *sides)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("patches", *(f"{number:,}" for number in sides.values()), end_section=True)
    for name, pixels in described["classes"].items():
        table.add_row(Text(name), *(f"{pixels[side]:,}" for side in sides))
    out.print(table)
    sizes = ", ".join(map(str, described["size_px"]))
    out.print(f"Labelled pixels by class; patches of {sizes} px from {_counted(described['sources'], 'scene')}.")
