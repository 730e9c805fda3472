"""``sparsecover models``."""

import click


@click.command("models")
@click.option("--bands", type=click.IntRange(min=1), default=3, show_default=True, help="Input bands.")
@click.option("--num-classes", type=click.IntRange(min=2), default=5, show_default=True, help="Classes.")
def command(bands: int, num_classes: int) -> None:
    """List the networks: parameters, cost and stride.

    The cost is in GFLOP for a million pixels, a multiplication and an addition counting two. Inputs of any size are
    padded to the stride and cropped back.
    """
    from rich.console import Console
    from rich.table import Table

    from sparsecover.models.table import model_table

    table = Table("model", "parameters", "GFLOP/MPix", "stride", "note")
    for column in table.columns[:4]:
        column.no_wrap = True  # what is cut cannot be copied
    for column in table.columns[1:4]:
        column.justify = "right"
    for row in model_table(in_channels=bands, num_classes=num_classes):
        cost = row.gflop_per_megapixel
        figures = (_count(row.parameters), "-" if cost is None else f"{cost:,.0f}", _count(row.stride))
        table.add_row(row.name, *figures, row.note)
    Console().print(table)


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
