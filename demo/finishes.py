# SPDX-License-Identifier: Apache-2.0
"""What things are made of: procedural Principled materials by name, such as "walnut" or "rust wool".

Only nodes and sockets that Blender 4.2 to 5.2 share are used, so the room looks the same in each of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import bpy


class Finish(NamedTuple):
    """A surface: its colour, how it is woven or grained, and how it meets the light."""

    colour: str
    roughness: float = 0.5
    metallic: float = 0.0
    kind: str = "plain"
    second: str = ""
    scale: float = 1.0


FINISHES = {
    "plaster": Finish("#E9E1D2", 0.9, kind="plaster"),
    "sage plaster": Finish("#7F9384", 0.9, kind="plaster"),
    "ceiling white": Finish("#F3F0EA", 0.95),
    "white lacquer": Finish("#EFECE4", 0.35),
    "oak planks": Finish("#B98D5C", 0.42, kind="planks", second="#A47747"),
    "walnut": Finish("#5A3620", 0.4, kind="wood", second="#8A5A36"),
    "ash": Finish("#D2B184", 0.45, kind="wood", second="#E5CBA3"),
    "teak": Finish("#8F5B31", 0.42, kind="wood", second="#B57C49"),
    "rust wool": Finish("#963A1B", 0.95, kind="fabric"),
    "mustard wool": Finish("#D59A1E", 0.95, kind="fabric"),
    "cream wool": Finish("#EADFCB", 0.95, kind="fabric"),
    "teal velvet": Finish("#1E5F66", 0.7, kind="fabric"),
    "plum velvet": Finish("#6A2C45", 0.7, kind="fabric"),
    "rose wool": Finish("#D08A83", 0.95, kind="fabric"),
    "linen": Finish("#E6DDC8", 0.9, kind="thin", second="#E6DDC8"),
    "paper shade": Finish("#F6E6C8", 0.9, kind="thin", second="#FFE9C4"),
    "rug": Finish("#E9DCC2", 0.98, kind="rug", second="#27456B"),
    "wicker": Finish("#A97B45", 0.8, kind="woven", second="#7C552B", scale=55.0),
    "terracotta": Finish("#B65F3B", 0.8),
    "soil": Finish("#2B1D14", 0.95),
    "leaf": Finish("#2F6B35", 0.45, kind="mottled", second="#1C4A26", scale=5.0),
    "cactus skin": Finish("#5E8C4A", 0.6, kind="mottled", second="#4B7440", scale=9.0),
    "stem": Finish("#4E7D3A", 0.6),
    "petal": Finish("#E4572E", 0.5),
    "pale petal": Finish("#F4B6A6", 0.5),
    "brass": Finish("#C99B4A", 0.28, 1.0),
    "steel": Finish("#B9BCC0", 0.3, 1.0),
    "black metal": Finish("#1B1C1E", 0.45, 0.6),
    "mirror": Finish("#F4F6F6", 0.02, 1.0),
    "glass": Finish("#D9F0EC", 0.0, kind="glass"),
    "celadon glaze": Finish("#7FB0A2", 0.18),
    "cobalt glaze": Finish("#1F3F8A", 0.15),
    "ivory glaze": Finish("#F0E6D2", 0.2),
    "bottle green enamel": Finish("#1F4D3A", 0.3),
    "vinyl": Finish("#101012", 0.35),
    "ink": Finish("#22262B", 0.7),
    "canvas": Finish("#F1E4CB", 0.9),
    "paint sun": Finish("#D9502E", 0.8),
    "paint hill": Finish("#28566B", 0.8),
    "paint dune": Finish("#D9A441", 0.8),
    "paint dusk": Finish("#8A3B4F", 0.8),
    "orange peel": Finish("#E5821F", 0.5, kind="mottled", second="#DE7414", scale=40.0),
    "lemon peel": Finish("#EBC52C", 0.45),
    "apple skin": Finish("#A92A23", 0.3, kind="mottled", second="#C7582B", scale=6.0),
    "globe": Finish("#2F6F9F", 0.35, kind="continents", second="#C9B46B", scale=7.5),
    "book red": Finish("#9E2F2B", 0.6),
    "book blue": Finish("#2B4F81", 0.6),
    "book green": Finish("#3E6B4F", 0.6),
    "book ochre": Finish("#C58A2B", 0.6),
    "book ivory": Finish("#E8DDC6", 0.6),
    "page": Finish("#F2EAD8", 0.9),
    "tungsten glow": Finish("#FFB469", kind="glow", scale=9.0),
}


def get_material(name: str) -> bpy.types.Material:
    """The material of that name, made when first asked for."""
    if name not in bpy.data.materials:
        _paint(_Nodes(bpy.data.materials.new(name)), FINISHES[name])
    return bpy.data.materials[name]


def make_sky() -> bpy.types.World:
    """A pale evening sky over a green horizon, which one sees through the window."""
    world = bpy.data.worlds.new("sky")
    nodes = _Nodes(world)
    up = nodes.add("ShaderNodeSeparateXYZ", Vector=nodes.coordinates((1, 1, 1), "Generated")).outputs["Z"]
    height = nodes.add("ShaderNodeMapRange", Value=up, From_Min=-0.3, From_Max=0.7).outputs["Result"]
    colours = {0.0: "#6F7F5A", 0.28: "#93A07C", 0.31: "#F3E3C9", 0.45: "#C5DCEF", 1.0: "#6FA3D8"}
    background = nodes.of_kind("ShaderNodeBackground")
    nodes.feed(background.inputs["Color"], nodes.ramp(height, colours))
    nodes.feed(background.inputs["Strength"], 1.4)
    return world


def to_linear(colour: str) -> tuple[float, float, float, float]:
    """An sRGB hex colour in the scene's linear light, with alpha 1."""
    red, green, blue = (int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))
    return _decode(red), _decode(green), _decode(blue), 1.0


def _decode(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


class _Nodes:
    """The node tree of a material or world, with short words for adding to it."""

    def __init__(self, owner: bpy.types.Material | bpy.types.World) -> None:
        if not owner.node_tree:  # always there from Blender 5.0 on, where setting use_nodes warns
            owner.use_nodes = True
        self.tree: Any = owner.node_tree

    def of_kind(self, kind: str) -> Any:
        """The one node of that kind that every new tree has."""
        return next(node for node in self.tree.nodes if node.bl_idname == kind)

    @property
    def principled(self) -> Any:
        return self.of_kind("ShaderNodeBsdfPrincipled")

    def add(self, kind: str, **inputs: Any) -> Any:
        """A node; each keyword sets or, given a socket, feeds the input of that name (underscores are spaces)."""
        node = self.tree.nodes.new(kind)
        for key, value in inputs.items():
            self.feed(node.inputs[key.replace("_", " ")], value)
        return node

    def feed(self, socket: Any, value: Any) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def coordinates(self, scale: tuple[float, float, float], source: str = "Object") -> Any:
        """Texture coordinates stretched by `scale`."""
        coordinates = self.add("ShaderNodeTexCoord")
        return self.add("ShaderNodeMapping", Vector=coordinates.outputs[source], Scale=scale).outputs["Vector"]

    def noise(self, vector: Any, scale: float, detail: float = 3.0, distortion: float = 0.0) -> Any:
        node = self.add("ShaderNodeTexNoise", Vector=vector, Scale=scale, Detail=detail, Distortion=distortion)
        return node.outputs[0]

    def math(self, operation: str, first: Any, second: Any) -> Any:
        node = self.tree.nodes.new("ShaderNodeMath")
        node.operation = operation
        self.feed(node.inputs[0], first)
        self.feed(node.inputs[1], second)
        return node.outputs[0]

    def ramp(self, factor: Any, stops: dict[float, str], constant: bool = False) -> Any:
        """Colours by factor, smooth or in steps."""
        node = self.add("ShaderNodeValToRGB", Fac=factor)
        node.color_ramp.interpolation = "CONSTANT" if constant else "LINEAR"
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, colour) in zip(elements, sorted(stops.items()), strict=True):
            element.position, element.color = position, to_linear(colour)
        return node.outputs["Color"]

    def bump(self, height: Any, strength: float, distance: float = 0.002) -> None:
        node = self.add("ShaderNodeBump", Height=height, Strength=strength, Distance=distance)
        self.feed(self.principled.inputs["Normal"], node.outputs["Normal"])

    def colour(self, socket: Any) -> None:
        self.feed(self.principled.inputs["Base Color"], socket)


def _paint(nodes: _Nodes, finish: Finish) -> None:
    inputs = nodes.principled.inputs
    inputs["Base Color"].default_value = to_linear(finish.colour)
    inputs["Roughness"].default_value = finish.roughness
    inputs["Metallic"].default_value = finish.metallic
    if finish.kind != "plain":
        _KINDS[finish.kind](nodes, finish)


def _plaster(nodes: _Nodes, finish: Finish) -> None:
    nodes.bump(nodes.noise(nodes.coordinates((1, 1, 1)), 45.0, 6.0), 0.25)


def _fabric(nodes: _Nodes, finish: Finish) -> None:
    nodes.principled.inputs["Sheen Weight"].default_value = 0.12
    nodes.bump(nodes.noise(nodes.coordinates((1, 1, 1)), 260.0, 2.0), 0.5)


def _wood(nodes: _Nodes, finish: Finish) -> None:
    along = nodes.coordinates((0.9, 9.0, 9.0))
    figure = nodes.noise(along, 2.2, 5.0, 1.3)
    nodes.colour(nodes.ramp(figure, {0.3: finish.colour, 0.7: finish.second}))


def _planks(nodes: _Nodes, finish: Finish) -> None:
    grain = nodes.noise(nodes.coordinates((1.2, 16.0, 1.0)), 2.5, 6.0, 0.8)
    light = nodes.ramp(grain, {0.3: finish.colour, 0.75: "#CBA374"})
    dark = nodes.ramp(grain, {0.3: "#8F6538", 0.75: finish.second})
    brick = nodes.add(
        "ShaderNodeTexBrick",
        Vector=nodes.coordinates((1, 1, 1)),
        Color1=light,
        Color2=dark,
        Mortar=to_linear("#4A3019"),
    )
    for name, value in {"Scale": 1.0, "Mortar Size": 0.0025, "Brick Width": 1.5, "Row Height": 0.14}.items():
        brick.inputs[name].default_value = value
    nodes.colour(brick.outputs["Color"])


def _thin(nodes: _Nodes, finish: Finish) -> None:
    """Cloth or paper that light shines through."""
    back = nodes.add("ShaderNodeBsdfTranslucent", Color=to_linear(finish.second))
    both = nodes.add("ShaderNodeMixShader", Fac=0.5)
    nodes.feed(both.inputs[1], nodes.principled.outputs["BSDF"])
    nodes.feed(both.inputs[2], back.outputs["BSDF"])
    nodes.feed(nodes.of_kind("ShaderNodeOutputMaterial").inputs["Surface"], both.outputs["Shader"])


def _rug(nodes: _Nodes, finish: Finish) -> None:
    """Stripes across the ends, woven chevrons between them."""
    here = nodes.add("ShaderNodeSeparateXYZ", Vector=nodes.coordinates((1, 1, 1))).outputs
    zigzag = nodes.math("ADD", here["X"], nodes.math("PINGPONG", here["Y"], 0.17))
    rows = nodes.math("MULTIPLY", nodes.math("PINGPONG", zigzag, 0.085), 1 / 0.085)
    woven = nodes.ramp(rows, {0.0: "#C7673F", 0.12: finish.colour, 0.8: "#8FA3A8", 0.9: finish.colour}, constant=True)
    across = nodes.add("ShaderNodeSeparateXYZ", Vector=nodes.coordinates((1, 1, 1), "Generated")).outputs["X"]
    bands = {0.0: finish.second, 0.045: finish.colour, 0.08: "#C7673F", 0.12: finish.colour, 0.135: finish.second}
    bands |= {0.15: finish.colour, 0.85: finish.second, 0.865: finish.colour}
    bands |= {0.88: "#C7673F", 0.92: finish.colour, 0.955: finish.second}
    border = nodes.ramp(across, bands, constant=True)
    middle = nodes.ramp(across, {0.0: "#000000", 0.2: "#FFFFFF", 0.8: "#000000"}, constant=True)
    mix = nodes.add("ShaderNodeMix")
    mix.data_type = "RGBA"  # sockets by position: the names repeat for every data type
    for index, value in ((0, middle), (6, border), (7, woven)):
        nodes.feed(mix.inputs[index], value)
    nodes.colour(mix.outputs[2])
    nodes.bump(nodes.noise(nodes.coordinates((1, 1, 1)), 180.0, 2.0), 0.8)


def _woven(nodes: _Nodes, finish: Finish) -> None:
    checks = nodes.add("ShaderNodeTexChecker", Vector=nodes.coordinates((1, 1, 1)), Scale=finish.scale)
    checks.inputs["Color1"].default_value = to_linear(finish.colour)
    checks.inputs["Color2"].default_value = to_linear(finish.second)
    nodes.colour(checks.outputs["Color"])
    nodes.bump(checks.outputs["Fac"], 0.6, 0.004)


def _mottled(nodes: _Nodes, finish: Finish) -> None:
    patches = nodes.noise(nodes.coordinates((1, 1, 1)), finish.scale)
    nodes.colour(nodes.ramp(patches, {0.35: finish.colour, 0.65: finish.second}))


def _continents(nodes: _Nodes, finish: Finish) -> None:
    land = nodes.noise(nodes.coordinates((1, 1, 1)), finish.scale, 6.0)
    nodes.colour(nodes.ramp(land, {0.0: finish.colour, 0.53: finish.second, 0.66: "#7A8C4E"}, constant=True))


def _glass(nodes: _Nodes, finish: Finish) -> None:
    nodes.principled.inputs["Transmission Weight"].default_value = 1.0
    nodes.principled.inputs["IOR"].default_value = 1.45


def _glow(nodes: _Nodes, finish: Finish) -> None:
    nodes.principled.inputs["Emission Color"].default_value = to_linear(finish.colour)
    nodes.principled.inputs["Emission Strength"].default_value = finish.scale


_KINDS = {
    "plaster": _plaster,
    "fabric": _fabric,
    "wood": _wood,
    "planks": _planks,
    "thin": _thin,
    "rug": _rug,
    "woven": _woven,
    "mottled": _mottled,
    "continents": _continents,
    "glass": _glass,
    "glow": _glow,
}
