"""Setting up a real Push-T table, one step per call; nothing moves and nothing asks.

python -m robots.drivers.push_t_setup sheet sheet.png --side-m 0.16       # print it at its size
python -m robots.drivers.push_t_setup picture station.yaml                # camera.png, and table.png straightened
python -m robots.drivers.push_t_setup tip station.yaml                    # where the rod's tip is; arm by hand
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from nightlab.errors import NightlabError

DPI = 300
M_PER_INCH = 0.0254


def main(argv: list[str] | None = None) -> int:
    """Exit code 2: it could not; one line says why."""
    parser = argparse.ArgumentParser(
        prog="python -m robots.drivers.push_t_setup", description=(__doc__ or "").split("\n")[0]
    )
    steps = parser.add_subparsers(dest="step", required=True)
    sheet = steps.add_parser("sheet", help="the table as a picture to print")
    sheet.add_argument("out", type=Path)
    sheet.add_argument("--side-m", type=float, required=True, help="side of the table, as in station.yaml")
    for name, text in (
        ("picture", "what the camera sees, and the table straightened"),
        ("tip", "where the rod's tip is"),
    ):
        steps.add_parser(name, help=text).add_argument("station", type=Path, help="station.yaml")
    arguments = parser.parse_args(argv)
    try:
        if arguments.step == "sheet":
            print(write_sheet(arguments.out, arguments.side_m))
        else:
            print((show_picture if arguments.step == "picture" else show_tip)(arguments.station))
    except NightlabError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def write_sheet(path: Path, side_m: float) -> str:
    """The empty table, at 300 dpi. Raises UsageError for a side that no printer has."""
    import cv2

    from nightlab import geometry as g
    from nightlab.errors import UsageError
    from robots.worlds.push_t_camera import render_table

    if not 0.05 <= side_m <= 1.0:
        raise UsageError(f"--side-m {side_m:g}: 0.05 to 1 m, as in station.yaml")
    size = round(side_m / M_PER_INCH * DPI)
    nowhere = (-1e4, -1e4)
    if not cv2.imwrite(str(path), render_table(nowhere, (*nowhere, 0.0), size)[..., ::-1]):
        raise UsageError(f"{path} cannot be written; a name that ends in .png")
    unit = side_m / g.TABLE_PX
    return (
        f"{path}: print it at {DPI} dpi, {1000 * side_m:.0f} mm a side, on matt paper. The T: bar {120e3 * unit:.1f} x "
        f"{30e3 * unit:.1f} mm, stem {30e3 * unit:.1f} x {90e3 * unit:.1f} mm, RGB 119 136 153. The rod's foot: a disc of "
        f"{2e3 * g.AGENT_RADIUS_PX * unit:.1f} mm, RGB 65 105 225"
    )


def show_picture(station: Path) -> str:
    """Save what the camera sees; read corners and colours off camera.png in any image viewer."""
    import cv2

    from robots.cell_config import read_cell
    from robots.drivers import open_cameras
    from robots.drivers.options import read_options
    from robots.drivers.push_t_table import Table
    from robots.drivers.so101_push_t import PushTOptions

    cell = read_cell(station)
    options = read_options(PushTOptions, cell.config, f"driver 'so101_push_t' of {cell.station}")
    camera = open_cameras(cell.model_copy(update={"cameras": {"top": options.camera}}))["top"]
    try:
        rgb = camera.render()
    finally:
        camera.close()
    table = Table(options.corners_px, options.colours)
    straight = table.straightened(rgb)
    pose = table.block_pose(straight)
    cv2.imwrite("camera.png", rgb[..., ::-1])
    cv2.imwrite("table.png", straight[..., ::-1])
    where = "not found" if pose is None else f"at ({pose[0]:.0f}, {pose[1]:.0f}) px, {pose[2]:.2f} rad"
    return f"camera.png: what the camera sees; table.png: straightened, in the printed colours. The T: {where}"


def show_tip(station: Path) -> str:
    """Where the rod's tip is, by the joints. The servos let go first: hold the arm, bring the tip to a mark, call this."""
    from robots.cell_config import read_cell
    from robots.drivers import so101
    from robots.drivers.options import read_options
    from robots.drivers.so101_kinematics import Kinematics
    from robots.drivers.so101_push_t import PushTOptions, Reach

    cell = read_cell(station)
    options = read_options(PushTOptions, cell.config, f"driver 'so101_push_t' of {cell.station}")
    arm = so101.make(options.arm, cell.model_copy(update={"kind": "so101", "home": {}}))
    try:
        arm.stop("teaching")
        joints = np.asarray(arm.observe()["joint_pos"])
        tip = Kinematics(options.table.tool_m, options.table.joint_offset_rad).tip(tuple(joints.tolist()))
        said = ", ".join(f"{value:.3f}" for value in joints)
        line = f"joints {said} rad; tip {tip.r_m:.4f} m from the pan axis, {tip.z_m:.4f} m high, leaning {tip.lean_rad:.3f} rad"
        try:
            (x, y), above = Reach(options.table, arm.spec()).place(joints)
        except NightlabError as error:
            return f"{line}. {error}"
        return f"{line}; on the table ({x:.0f}, {y:.0f}) px, {1000 * above:.1f} mm above the pushing height"
    finally:
        arm.close()


if __name__ == "__main__":
    sys.exit(main())
