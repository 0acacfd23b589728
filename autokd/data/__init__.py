"""Images, labels and splits: read once, cut the same way by every process, and augmented alike for all trials."""

from autokd.data.also_test import read_also_test
from autokd.data.array_file import array_file
from autokd.data.arrived import Arrived, read_arrived
from autokd.data.augment import AUGMENTATIONS, augment
from autokd.data.batches import Batch, eval_batches, train_batches, view_batches
from autokd.data.images import ImageSource, LazyImages, MemoryImages
from autokd.data.load import ImageData, load_data
from autokd.data.metadata import number_clusters, table_columns
from autokd.data.sources import SOURCES
from autokd.data.split import FurtherSet, Split
from autokd.data.thumbnail import Thumbnails
from autokd.data.views import Views

__all__ = [
    "AUGMENTATIONS",
    "SOURCES",
    "Arrived",
    "Batch",
    "FurtherSet",
    "ImageData",
    "ImageSource",
    "LazyImages",
    "MemoryImages",
    "Split",
    "Thumbnails",
    "Views",
    "array_file",
    "augment",
    "eval_batches",
    "load_data",
    "number_clusters",
    "read_also_test",
    "read_arrived",
    "table_columns",
    "train_batches",
    "view_batches",
]
