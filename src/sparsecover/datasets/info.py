"""What is in a dataset: pairs, sizes, class shares."""

from collections import Counter
from typing import Any

import numpy as np

from sparsecover.datasets.pair import Dataset


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Plain values for printing and JSON.

    Returns:
        ``pairs``; ``splits`` (pairs by side, where the dataset gives sides); ``sizes`` ([height, width, pairs], the
        commonest first); ``bands`` (names) and ``dtype``; ``labelled_share`` of all pixels; ``classes`` (code, name,
        pixels and share of the labelled pixels); ``unlabelled_pairs``; ``notes``.
    """
    classes = len(dataset.scheme)
    by_pair = np.stack([pair.labels.counts(classes) for pair in dataset.pairs])
    counts = by_pair.sum(axis=0)
    sizes = Counter((pair.scene.grid.height, pair.scene.grid.width) for pair in dataset.pairs)
    first = dataset.pairs[0].scene
    return {
        "pairs": len(dataset.pairs),
        "splits": dict(Counter(pair.split for pair in dataset.pairs if pair.split)),
        "sizes": [[*size, number] for size, number in sizes.most_common()],
        "bands": [band.name for band in first.bands],
        "dtype": str(first.dtype),
        "labelled_share": float(counts.sum() / sum(pair.scene.grid.window.size for pair in dataset.pairs)),
        "classes": [
            {"code": c.code, "name": c.name, "pixels": int(n), "share": float(n / max(counts.sum(), 1))}
            for c, n in zip(dataset.scheme.classes, counts, strict=True)
        ],
        "unlabelled_pairs": [p.name for p, n in zip(dataset.pairs, by_pair, strict=True) if not n.any()],
        "notes": dataset.notes,
    }
