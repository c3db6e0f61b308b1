# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons about the folder that the views go to, and about settings as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from blendset.config import config_to_toml, load_config
from blendset.contact_page import write_contact_page
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import atomic_write
from blendset.verification import verify_dataset

from .. import rows
from ..properties import from_config, get_dataset_folder, to_config
from .button import Button


class BLENDSET_OT_verify(Button, bpy.types.Operator):
    """Check every file of the dataset against its record"""

    bl_idname = "blendset.verify"
    bl_label = "Verify"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> None:
        report = verify_dataset(Dataset(get_dataset_folder(context.scene)))
        rows.write_dataset_status(context)
        if report.problems:
            first = report.problems[0]
            raise BlendsetError(f"{len(report.problems)} problems, the first: {first.path} {first.what}")
        self.report({"INFO"}, f"{report.views} views are sound")


class BLENDSET_OT_open_folder(Button, bpy.types.Operator):
    """Show the dataset's folder in the system's file browser"""

    bl_idname = "blendset.open_folder"
    bl_label = "Open Folder"

    def act(self, context: bpy.types.Context) -> None:
        folder = get_dataset_folder(context.scene)
        if not folder.is_dir():
            raise BlendsetError(f"{folder} does not exist yet; render first.")
        bpy.ops.wm.path_open(filepath=str(folder))


class BLENDSET_OT_open_contact_sheet(Button, bpy.types.Operator):
    """Show all pictures of the dataset on one page in the web browser"""

    bl_idname = "blendset.open_contact_sheet"
    bl_label = "Open Contact Sheet"

    def act(self, context: bpy.types.Context) -> None:
        page = write_contact_page(Dataset(get_dataset_folder(context.scene)))
        self.report({"INFO"}, f"Wrote {page}")
        if not bpy.app.background:
            bpy.ops.wm.url_open(url=page.as_uri())


class BLENDSET_OT_copy_command(Button, bpy.types.Operator):
    """Copy the command that the companion package goes on with: captions for every view"""

    bl_idname = "blendset.copy_command"
    bl_label = "Copy Next Command"

    def act(self, context: bpy.types.Context) -> None:
        folder = get_dataset_folder(context.scene)
        context.window_manager.clipboard = f'blendset caption "{folder}" --with metadata'
        self.report({"INFO"}, f"Copied: {context.window_manager.clipboard}")


def _open_file_dialogue(operator: Any, context: bpy.types.Context) -> set[Any]:
    """Have the user choose a TOML file."""
    if not operator.filepath:
        operator.filepath = bpy.path.abspath("//blendset.toml") if bpy.data.filepath else "blendset.toml"
    context.window_manager.fileselect_add(operator)
    return {"RUNNING_MODAL"}


class BLENDSET_OT_settings_export(Button, bpy.types.Operator):
    """Write these settings as TOML, for the command line and for other machines"""

    bl_idname = "blendset.settings_export"
    bl_label = "Export Settings"

    filepath: bpy.props.StringProperty(subtype="FILE_PATH")
    filter_glob: bpy.props.StringProperty(default="*.toml", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        return _open_file_dialogue(self, context)

    def act(self, context: bpy.types.Context) -> None:
        atomic_write(Path(self.filepath), config_to_toml(to_config(context.scene)).encode())
        self.report({"INFO"}, f"Wrote {self.filepath}")


class BLENDSET_OT_settings_import(Button, bpy.types.Operator):
    """Take all settings from a TOML file"""

    bl_idname = "blendset.settings_import"
    bl_label = "Import Settings"
    bl_options = {"REGISTER", "UNDO"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH")
    filter_glob: bpy.props.StringProperty(default="*.toml", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        return _open_file_dialogue(self, context)

    def act(self, context: bpy.types.Context) -> None:
        from_config(context.scene, load_config(Path(self.filepath)))


CLASSES = (
    BLENDSET_OT_verify,
    BLENDSET_OT_open_folder,
    BLENDSET_OT_open_contact_sheet,
    BLENDSET_OT_copy_command,
    BLENDSET_OT_settings_export,
    BLENDSET_OT_settings_import,
)
