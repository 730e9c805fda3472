"""Public datasets that are known by name: where they come from, under which licence, and how they are read."""

from dataclasses import dataclass

from sparsecover.errors import DataError, nearest


@dataclass(frozen=True)
class RemoteFile:
    """One file of a publisher, with the MD5 checksum that the libraries that mirror it agree on."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class KnownDataset:
    """A public dataset.

    Attributes:
        layout: its name for ``data.dataset``.
        files: archives to unpack side by side; empty where a login or a licence forbids downloading.
        holds: folders that are there once it is unpacked.
        steps: what to do by hand where ``files`` is empty.
    """

    name: str
    title: str
    layout: str
    licence: str
    home: str
    files: tuple[RemoteFile, ...] = ()
    holds: tuple[str, ...] = ()
    steps: str = ""


KNOWN = {
    known.name: known
    for known in (
        KnownDataset(
            name="landcoverai",
            title="LandCover.ai v1: 41 orthophotos of Poland, 25 and 50 cm, 5 classes (1.5 GB)",
            layout="landcoverai",
            licence="CC BY-NC-SA 4.0",
            home="https://landcover.ai.linuxpolska.com",
            files=(
                RemoteFile(
                    "https://landcover.ai.linuxpolska.com/download/landcover.ai.v1.zip",
                    "3268c89070e8734b4e91d531c0617e03",
                ),
            ),
            holds=("images", "masks"),
        ),
        KnownDataset(
            name="deepglobe",
            title="DeepGlobe land cover 2018: 803 satellite images of 50 cm, 7 classes (2.9 GB)",
            layout="deepglobe",
            licence="DeepGlobe terms of use; research only",
            home="https://www.kaggle.com/datasets/balraj98/deepglobe-land-cover-classification-dataset",
            holds=("train",),
            steps=(
                "1. Log in at https://www.kaggle.com and accept the terms of "
                "balraj98/deepglobe-land-cover-classification-dataset.\n"
                "2. Download the archive, or run: kaggle datasets download "
                "balraj98/deepglobe-land-cover-classification-dataset\n"
                "3. Unpack it, so that {root} holds train/ and metadata.csv.\n"
                "4. Use data: {{dataset: deepglobe, root: {root}}}."
            ),
        ),
        KnownDataset(
            name="oxford-pet",
            title="Oxford-IIIT Pet: 7,390 photographs with trimaps (0.8 GB)",
            layout="oxford-pet",
            licence="CC BY-SA 4.0",
            home="https://www.robots.ox.ac.uk/~vgg/data/pets/",
            files=(
                RemoteFile(
                    "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"
                ),
                RemoteFile(
                    "https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz",
                    "95a8c909bbe2e81eed6a22bccdf3f68f",
                ),
            ),
            holds=("images", "annotations"),
        ),
    )
}


def find_known(name: str) -> KnownDataset:
    """The dataset of this name, or DataError with the nearest ones."""
    if name not in KNOWN:
        raise DataError(f"There is no known dataset {name!r}. {nearest(name, KNOWN)}")
    return KNOWN[name]
