# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the shape of objects depends on: fonts, caches, volumes, simulations."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

ObjectFile = tuple[str, bpy.types.Library | None, str, str]
"""A path, the library that it is relative to, what kind of file it is, and what is seen without it."""


def list_object_files(scene: bpy.types.Scene) -> Iterator[ObjectFile]:
    """Every file that the shape or the place of a thing that renders depends on."""
    for thing in list_rendered_objects(scene):
        library = thing.library
        if thing.type == "FONT":
            yield from _list_fonts(thing)
        if thing.type == "VOLUME" and thing.data.filepath:
            yield thing.data.filepath, thing.data.library, "volume", f"'{thing.name}' is empty"
        for holder in (*thing.constraints, *thing.modifiers):
            if (cache := getattr(holder, "cache_file", None)) is not None:
                yield cache.filepath, cache.library, "cache file", f"'{thing.name}' stays as it was saved"
        for modifier in thing.modifiers:
            if modifier.show_render:
                yield from ((path, library, kind, f"'{thing.name}' {effect}") for path, kind, effect in _read(modifier))
        for system in thing.particle_systems:
            if path := _find_point_cache(system.point_cache):
                yield path, library, "particle cache", f"'{thing.name}' has other particles or none"


def list_rendered_objects(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Objects of a scene, and of the collections that it instances, that are not switched off for rendering."""
    found: dict[str, bpy.types.Object] = {}
    waiting = list(scene.objects)
    while waiting:
        thing = waiting.pop()
        if thing.name_full not in found and not thing.hide_render:
            found[thing.name_full] = thing
            if thing.instance_type == "COLLECTION" and thing.instance_collection is not None:
                waiting += thing.instance_collection.all_objects
    return [found[name] for name in sorted(found)]


def _list_fonts(thing: bpy.types.Object) -> Iterator[ObjectFile]:
    for name in ("font", "font_bold", "font_italic", "font_bold_italic"):
        font = getattr(thing.data, name)
        if font is not None and font.filepath not in ("", "<builtin>") and not font.packed_file:
            yield font.filepath, font.library, "font", f"'{thing.name}' is set in Blender's own font"


def _read(modifier: bpy.types.Modifier) -> Iterator[tuple[str, str, str]]:
    """Path, kind and effect of the files of a modifier."""
    if modifier.type == "MESH_CACHE" and modifier.filepath:
        yield modifier.filepath, "mesh cache", "stays as it was modelled"
    elif modifier.type == "OCEAN" and modifier.is_cached:
        yield modifier.filepath, "ocean cache", "shows no waves"
    elif modifier.type == "MULTIRES" and modifier.is_external:
        yield modifier.filepath, "multires file", "lacks its fine shape"
    elif modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN" and modifier.domain_settings is not None:
        yield modifier.domain_settings.cache_directory, "fluid cache", "shows no smoke or liquid"
    elif modifier.type == "NODES":
        yield from _read_geometry_nodes(modifier)
    elif path := _find_point_cache(getattr(modifier, "point_cache", None)):
        yield path, "simulation cache", "stands as it was modelled"


def _read_geometry_nodes(modifier: bpy.types.Modifier) -> Iterator[tuple[str, str, str]]:
    for bake in modifier.bakes:
        if bake.use_custom_path and bake.directory:
            yield bake.directory, "bake of geometry nodes", "is computed anew or empty"
    for node in modifier.node_group.nodes if modifier.node_group else ():
        path = node.inputs.get("Path") if node.bl_idname.startswith("GeometryNodeImport") else None
        if path is not None and not path.is_linked and path.default_value:
            yield path.default_value, "file of an import node", "lacks what it would import"


def _find_point_cache(cache: bpy.types.PointCache | None) -> str:
    """The folder of a cache that is kept outside the file; "" for one that is not."""
    return cache.filepath if cache is not None and cache.use_external else ""
