"""Meshes of an optional package hang on the arms, joint on joint, and change nothing but the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nightlab.errors import UsageError
from robots.profiles import YamBenchProfile, load_profile
from robots.worlds.yam_bench import START, YamBenchWorld

BAR = "0.02 0.02 0  -0.02 0.02 0  0.02 -0.02 0  -0.02 -0.02 0  0.02 0.02 {0}  -0.02 0.02 {0}  0.02 -0.02 {0}  -0.02 -0.02 {0}"


def arm_xml() -> str:
    """An arm of half the size, lying along -x, with the names of a YAM; every link is a red bar on its joint."""
    meshes = "".join(
        f'<mesh name="m{k}" vertex="{BAR.format(size)}"/>' for k, size in enumerate((0.06, 0.03, 0.132, 0.12, 0.05))
    )
    lay = 'euler="0 -1.5707963 0"'  # a bar along z of a body that lies along -x
    geom = '<geom type="mesh" mesh="m{}" rgba="1 0 0 1" {}/>'
    return f"""<mujoco><compiler angle="radian"/><asset>{meshes}</asset><worldbody>
<body name="base">{geom.format(0, "")}
<body name="link1" pos="0 0 0.05"><joint name="joint1" axis="0 0 1"/>{geom.format(1, "")}
<body name="link2" pos="0 0 0.03"><joint name="joint2" axis="0 1 0"/>{geom.format(2, lay)}
<body name="link3" pos="-0.132 0 0"><joint name="joint3" axis="0 1 0"/>{geom.format(3, lay)}
<body name="link4" pos="-0.1225 0 0"><joint name="joint4" axis="0 1 0"/>{geom.format(4, lay)}
<body name="link5" pos="-0.03 0 0"><joint name="joint5" axis="0 0 1"/><geom size="0.01"/>
<body name="link6" pos="-0.025 0 0"><joint name="joint6" axis="1 0 0"/><geom size="0.01"/>
</body></body></body></body></body></body></body></worldbody></mujoco>"""


def profile(look: str) -> YamBenchProfile:
    loaded = load_profile("nominal", "yam_bench").model_dump()
    return YamBenchProfile.model_validate({**loaded, "look": look})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "i2rt" / "robot_models" / "arm" / "yam"
    folder.mkdir(parents=True)
    (tmp_path / "i2rt" / "__init__.py").write_text("")
    (folder / "yam.xml").write_text(arm_xml())
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder / "yam.xml"


def test_links_lie_on_ours(package: Path) -> None:
    world = YamBenchWorld(profile("yam"), 1)
    model, data = world._model, world._data
    for body, length in (("link2", 0.264), ("link3", 0.245)):
        for arm in ("left", "right"):
            index = model.body(f"{arm}_{body}").id
            geom = next(
                g
                for g in range(model.body_geomadr[index], model.body_geomadr[index] + model.body_geomnum[index])
                if model.geom_type[g] == 7
            )
            vertices = model.mesh_vert[model.mesh_vertadr[model.geom_dataid[geom]] :][:8]
            placed = vertices @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
            local = (placed - data.xpos[index]) @ data.xmat[index].reshape(3, 3)
            assert local[:, 2].min() == pytest.approx(0.0, abs=1e-4), "begins at its joint"
            assert local[:, 2].max() == pytest.approx(length, rel=0.03), "ends at the next one"
            assert np.abs(local[:, :2].mean(axis=0)).max() < 1e-4
    red = world.render("side").astype(int)
    assert ((red[..., 0] > 120) & (red[..., 1] < 60) & (red[..., 2] < 60)).sum() > 200


def test_physics_is_the_same(package: Path) -> None:
    ends = []
    for look in ("primitives", "yam"):
        world = YamBenchWorld(profile(look), 1)
        world.teleport(START, 3)
        action = world.hold_action()
        for _ in range(20):
            action["right_pose"] = action["right_pose"] - [0, 0, 0.002, 0, 0, 0]
            world.step({key: value.copy() for key, value in action.items()})
        seen = world.observe()
        ends.append([*seen["right_tcp"], *seen["right_wrench"], *seen["right_q"]])
    assert ends[0] == pytest.approx(ends[1], abs=1e-9)


def test_missing_extra_says_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"pip install 'nightlab\[so101\]'"):
        YamBenchWorld(profile("so101"), 1)
    with pytest.raises(UsageError, match="primitives, so101, yam"):
        YamBenchWorld(profile("chrome"), 1)


def test_another_arm_is_refused(package: Path) -> None:
    package.write_text(arm_xml().replace('name="joint3"', 'name="knee"'))
    with pytest.raises(UsageError, match="not the arm that look 'yam' expects"):
        YamBenchWorld(profile("yam"), 1)
