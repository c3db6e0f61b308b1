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
from blendset.records import write_json
from blendset_trainer.exporting import huggingface
from blendset_trainer.exporting.licences import list_all_licences
from blendset_trainer.exporting.source import ExportSource, group_by_scene
from blendset_trainer.synthetic_views import has_camera

FILE_SET_ID, VIEWS_ID, SPLITS_ID = "parquet-files", "views", "splits"
PARQUET = "application/x-parquet"
DATA_TYPES = {pa.string(): "sc:Text", pa.int64(): "sc:Integer", pa.float64(): "sc:Float"}
SPLIT_KINDS = {"train": "cr:TrainingSplit", "test": "cr:TestSplit"}
CROISSANT_TERMS = """
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
    **{term: f"cr:{term}" for term in CROISSANT_TERMS},
}
"""The JSON-LD context of the specification's appendix 1, with PROV-O."""


def export(source: ExportSource, out: Path) -> int:
    """Write the parquet files and croissant.json; return the number of views written.

    Columns that hold lists of records are described by the parquet schema only.
    """
    exported = huggingface.export(source, out)
    record = source.dataset.record
    licences = [name for name in list_all_licences(source) if name]
    known = {
        "license": licences[0] if len(licences) == 1 else licences,
        "creator": record.creator and {"@type": "sc:Person", "name": record.creator},
    }
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": record.name,
        "description": f"{_count_by_source(source)}{_count_scenes(source)}.",
        **{name: value for name, value in known.items() if value},
        **_describe_provenance(source),
        "distribution": [*_describe_files(out), _describe_file_set()],
        "recordSet": [_describe_splits(source), _describe_views(source)],
    }
    write_json(out / "croissant.json", document)
    return exported


# ---- provenance -----------------------------------------------------------------------------------------------------


def _count_by_source(source: ExportSource) -> str:
    """How many views of each source there are, as text."""
    counts = Counter(view.source for view in source.views)
    return ", ".join(f"{count} views of source '{kind}'" for kind, count in sorted(counts.items()))


def _count_scenes(source: ExportSource) -> str:
    """How many scenes the views are of, as the end of a sentence; views without a camera are of none."""
    scenes = {view.scene for view in source.views if has_camera(view.camera)}
    return f", from {len(scenes)} 3D scenes" if scenes else ""


def _describe_provenance(source: ExportSource) -> dict[str, Any]:
    """The fields about synthetic data, collection, and the scenes and runs that views come from."""
    rendered = [view for view in source.views if view.source == "render"]
    return {
        "rai:hasSyntheticData": any(view.source != "photo" for view in source.views),
        "rai:dataCollection": f"{_count_by_source(source)}: 'render' was path traced by Blender's Cycles from the "
        "scenes under prov:wasDerivedFrom, with cameras that Blendset placed; 'synthetic' was made by a generative "
        f"model{_describe_adopted(source)}.",
        "rai:dataCollectionType": "Software Collection",
        "rai:machineAnnotationTools": f"Blendset {__version__}",
        "prov:wasDerivedFrom": [
            _describe_scene(source.dataset, scene, len(views)) for scene, views in group_by_scene(rendered).items()
        ],
        "prov:wasGeneratedBy": [_describe_run(source.dataset, run) for run in sorted({view.run for view in rendered})],
    }


def _describe_adopted(source: ExportSource) -> str:
    """What adopted pictures are, as the end of a sentence; "" where there are none."""
    count = sum(view.view_id in source.adoptions for view in source.views)
    what = f"; {count} of them are pictures of other people, whose columns say licence, origin and creator"
    return what if count else ""


def _describe_scene(dataset: Dataset, scene: str, views: int) -> dict[str, Any]:
    """The .blend file that views were rendered from; the dataset's licence is that of its scenes."""
    record = dataset.scene(scene)
    entity = {"@type": ["prov:Entity", "sc:CreativeWork"], "@id": f"scenes/{scene}", "name": record.blend_name}
    licence = {"license": dataset.record.licence} if dataset.record.licence else {}
    return {**entity, "sha256": record.blend_sha256, "description": f"{views} views", **licence}


def _describe_run(dataset: Dataset, run: str) -> dict[str, Any]:
    """A rendering run as an activity, with the renderer as its agent."""
    facts = dataset.run(run)
    renderer = f"Blender {facts['blender']} ({facts['build_hash']}), Cycles on {facts['device']}"
    return {
        "@type": "prov:Activity",
        "prov:label": f"rendering {run}",
        "prov:used": {"@id": f"scenes/{facts['scene']}"},
        "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "prov:label": renderer},
    }


# ---- contents --------------------------------------------------------------------------------------------------------


def _describe_files(out: Path) -> list[dict[str, Any]]:
    """Each parquet file with its size and hash, so that a download can be checked."""
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


def _describe_file_set() -> dict[str, Any]:
    """All parquet files together."""
    return {"@type": "cr:FileSet", "@id": FILE_SET_ID, "encodingFormat": PARQUET, "includes": "data/*.parquet"}


def _describe_splits(source: ExportSource) -> dict[str, Any]:
    """The splits; the name of a view's file says which one it is in."""
    name, url = f"{SPLITS_ID}/name", f"{SPLITS_ID}/url"
    return {
        "@type": "cr:RecordSet",
        "@id": SPLITS_ID,
        "dataType": "cr:Split",
        "key": {"@id": name},
        "field": [
            {"@type": "cr:Field", "@id": name, "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": url, "dataType": "sc:URL"},
        ],
        "data": [{name: split, url: SPLIT_KINDS[split]} for split in source.group_by_split(*SPLIT_KINDS)],
    }


def _describe_views(source: ExportSource) -> dict[str, Any]:
    """The fields of a view: its picture, its split and the plain columns."""
    path = {"fileProperty": "fullpath"}
    return {
        "@type": "cr:RecordSet",
        "@id": VIEWS_ID,
        "key": {"@id": f"{VIEWS_ID}/view_id"},
        "field": [
            _build_field("image", "sc:ImageObject", {"column": "image"}, transform={"jsonPath": "bytes"}),
            _build_field(
                "split",
                "sc:Text",
                path,
                transform={"regex": "(?:data/)?([a-z]+)"},
                references={"field": {"@id": f"{SPLITS_ID}/name"}},
            ),
            *(
                _build_field(column.name, DATA_TYPES[column.type], {"column": column.name})
                for column in huggingface.build_schema(source)
                if column.type in DATA_TYPES
            ),
        ],
    }


def _build_field(
    name: str, kind: str, extract: dict[str, str], transform: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """A field of a view that is extracted from the parquet files."""
    origin = {"fileSet": {"@id": FILE_SET_ID}, "extract": extract}
    field = {"@type": "cr:Field", "@id": f"{VIEWS_ID}/{name}", "name": name, "dataType": kind}
    return {**field, "source": origin | ({"transform": transform} if transform else {}), **more}
