"""What is in a dataset: pairs, sizes, class shares."""

from collections import Counter
from typing import Any

import numpy as np

from sparsecover.datasets.pair import Dataset


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Plain values for printing and JSON.

    Returns:
        ``pairs``; ``splits`` (pairs by side, where the dataset gives sides) and ``windows`` (by side, where a published
        split is made of windows); ``sizes`` ([height, width, pairs], the
        commonest first); ``bands`` (names) and ``dtype``; ``labelled_share`` of all pixels; ``classes`` (code, name,
        pixels and share of the labelled pixels); ``unlabelled_pairs``; ``notes``, and among
        them ``left_out``: files that could not be used.
    """
    classes = len(dataset.scheme)
    by_pair = np.stack([pair.labels.counts(classes) for pair in dataset.pairs])
    counts = by_pair.sum(axis=0)
    sizes = Counter((pair.scene.grid.height, pair.scene.grid.width) for pair in dataset.pairs)
    first = dataset.pairs[0].scene
    return {
        "pairs": len(dataset.pairs),
        "splits": dict(Counter(pair.split for pair in dataset.pairs if pair.split)),
        "windows": dict(_windows(dataset)),
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
        "left_out": dataset.left_out,
    }


def _windows(dataset: Dataset) -> Counter[str]:
    windows: Counter[str] = Counter()
    for pair in dataset.pairs:
        if pair.split and pair.windows:
            windows[pair.split] += len(pair.windows)
    return windows
