"""Kaldi archives: reading, writing, random access by memory map, and the files of single objects.

An archive (ark) is a sequence of keys, each with a blank and an object behind it; its index (scp) has a line
"key ark:offset" for each of them.
"""

from spkdistill.arks.archives import (
    Record,
    read_archive,
    read_records,
    read_selected,
    subsample,
    write_archive,
)
from spkdistill.arks.compression import COMPRESSIONS
from spkdistill.arks.merging import (
    check_rejected,
    describe,
    describe_losses,
    merge,
    read_keys,
    read_rejected,
    write_rejected,
)
from spkdistill.arks.objects import (
    ObjectReader,
    ObjectWriter,
    encode_text,
    read_matrix,
    read_vector,
    reading_object,
    write_matrix,
    write_vector,
    writing_object,
)
from spkdistill.arks.reader import ArkReader
from spkdistill.arks.rounding import STORAGES, VectorWriter, describe_rounding
from spkdistill.arks.scp import read_scp
from spkdistill.arks.topk import Layout, TopKWriter, is_laid_out, layout_of, left_masses
from spkdistill.arks.writer import ArkWriter

__all__ = [
    "COMPRESSIONS",
    "STORAGES",
    "ArkReader",
    "ArkWriter",
    "Layout",
    "ObjectReader",
    "ObjectWriter",
    "Record",
    "TopKWriter",
    "VectorWriter",
    "check_rejected",
    "describe",
    "describe_losses",
    "describe_rounding",
    "encode_text",
    "is_laid_out",
    "layout_of",
    "left_masses",
    "merge",
    "read_archive",
    "read_keys",
    "read_matrix",
    "read_records",
    "read_rejected",
    "read_scp",
    "read_selected",
    "read_vector",
    "reading_object",
    "subsample",
    "write_archive",
    "write_matrix",
    "write_rejected",
    "write_vector",
    "writing_object",
]
