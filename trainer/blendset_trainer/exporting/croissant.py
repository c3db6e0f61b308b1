# SPDX-License-Identifier: Apache-2.0
"""Croissant 1.1: the Hugging Face export, and a croissant.json that describes it and says where its pictures come from.

The format: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html; provenance is in the terms of W3C PROV-O.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa

from blendset import __version__
from blendset.dataset import Dataset
from blendset.files import sha256_file
from blendset.records import read_json, write_json
from blendset_trainer.exporting import huggingface
from blendset_trainer.exporting.source import Source, by_scene

FILES, VIEWS, SPLITS = "parquet-files", "views", "splits"
PARQUET = "application/x-parquet"
TYPES = {pa.string(): "sc:Text", pa.int64(): "sc:Integer", pa.float64(): "sc:Float"}
SPLIT_KINDS = {"train": "cr:TrainingSplit", "test": "cr:TestSplit"}
OWN_TERMS = """
    annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileObject fileProperty
    fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path readLines recordSet references regex
    repeated replace samplingRate sdVersion separator source subField transform unArchive value
""".split()
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in OWN_TERMS},
}
"""Of the specification's appendix 1, with PROV-O."""


def export(source: Source, out: Path) -> int:
    """Write the parquet files, then what describes them; columns of lists of records are left to the parquet schema."""
    exported = huggingface.export(source, out)
    record = source.dataset.record
    known = {"license": record.licence, "creator": record.creator and {"@type": "sc:Person", "name": record.creator}}
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": record.name,
        "description": f"{_made(source)}, from {len(by_scene(source.views))} 3D scenes.",
        **{name: value for name, value in known.items() if value},
        **_provenance(source),
        "distribution": [*_files(out), _file_set()],
        "recordSet": [_splits(source), _views(source.dataset)],
    }
    write_json(out / "croissant.json", document)
    return exported


# ---- where it comes from ---------------------------------------------------------------------------------------------


def _made(source: Source) -> str:
    """How many views there are of which source."""
    counts = Counter(view.source for view in source.views)
    return ", ".join(f"{count} views of source '{kind}'" for kind, count in sorted(counts.items()))


def _provenance(source: Source) -> dict[str, Any]:
    rendered = [view for view in source.views if view.source == "render"]
    return {
        "rai:hasSyntheticData": any(view.source != "photo" for view in source.views),
        "rai:dataCollection": f"{_made(source)}: 'render' was path traced by Blender's Cycles from the scenes under "
        "prov:wasDerivedFrom, with cameras that Blendset placed; 'synthetic' was made by a generative model.",
        "rai:dataCollectionType": "Software Collection",
        "rai:machineAnnotationTools": f"Blendset {__version__}",
        "prov:wasDerivedFrom": [
            _scene(source.dataset, scene, len(views)) for scene, views in by_scene(rendered).items()
        ],
        "prov:wasGeneratedBy": [_run(source.dataset, run) for run in sorted({view.run for view in rendered})],
    }


def _scene(dataset: Dataset, scene: str, views: int) -> dict[str, Any]:
    """The file that views were rendered from; the dataset's licence is that of its scenes."""
    record = dataset.scene(scene)
    entity = {"@type": ["prov:Entity", "sc:CreativeWork"], "@id": f"scenes/{scene}", "name": record.blend_name}
    licence = {"license": dataset.record.licence} if dataset.record.licence else {}
    return {**entity, "sha256": record.blend_sha256, "description": f"{views} views", **licence}


def _run(dataset: Dataset, run: str) -> dict[str, Any]:
    facts = read_json(dataset.run_path(run))
    renderer = f"Blender {facts['blender']} ({facts['build_hash']}), Cycles on {facts['device']}"
    return {
        "@type": "prov:Activity",
        "prov:label": f"rendering {run}",
        "prov:used": {"@id": f"scenes/{facts['scene']}"},
        "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "prov:label": renderer},
    }


# ---- what is in it ---------------------------------------------------------------------------------------------------


def _files(out: Path) -> list[dict[str, Any]]:
    """Each parquet file with its hash, for who downloads it."""
    return [
        {
            "@type": "cr:FileObject",
            "@id": path.stem,
            "name": path.name,
            "contentUrl": path.relative_to(out).as_posix(),
            "contentSize": f"{path.stat().st_size} B",
            "encodingFormat": PARQUET,
            "sha256": sha256_file(path),
        }
        for path in sorted((out / "data").iterdir())
    ]


def _file_set() -> dict[str, Any]:
    return {"@type": "cr:FileSet", "@id": FILES, "encodingFormat": PARQUET, "includes": "data/*.parquet"}


def _splits(source: Source) -> dict[str, Any]:
    """Which splits there are; the file's name tells whose a view is."""
    name, url = f"{SPLITS}/name", f"{SPLITS}/url"
    return {
        "@type": "cr:RecordSet",
        "@id": SPLITS,
        "dataType": "cr:Split",
        "key": {"@id": name},
        "field": [
            {"@type": "cr:Field", "@id": name, "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": url, "dataType": "sc:URL"},
        ],
        "data": [{name: split, url: SPLIT_KINDS[split]} for split in source.splits(*SPLIT_KINDS)],
    }


def _views(dataset: Dataset) -> dict[str, Any]:
    path = {"fileProperty": "fullpath"}
    return {
        "@type": "cr:RecordSet",
        "@id": VIEWS,
        "key": {"@id": f"{VIEWS}/view_id"},
        "field": [
            _field("image", "sc:ImageObject", {"column": "image"}, transform={"jsonPath": "bytes"}),
            _field(
                "split",
                "sc:Text",
                path,
                transform={"regex": "(?:data/)?([a-z]+)"},
                references={"field": {"@id": f"{SPLITS}/name"}},
            ),
            *(
                _field(column.name, TYPES[column.type], {"column": column.name})
                for column in huggingface.schema_of(dataset)
                if column.type in TYPES
            ),
        ],
    }


def _field(
    name: str, kind: str, extract: dict[str, str], transform: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    origin = {"fileSet": {"@id": FILES}, "extract": extract}
    told = {"@type": "cr:Field", "@id": f"{VIEWS}/{name}", "name": name, "dataType": kind}
    return {**told, "source": origin | ({"transform": transform} if transform else {}), **more}
