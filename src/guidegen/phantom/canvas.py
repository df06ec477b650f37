"""The voxel grid that a phantom is painted on, and the strokes: tubes, surfaces of small balls, ellipsoids.

Organs are placed in *canonical* coordinates (u, v, w) in mm of an average man: u to the Right, v Anterior, w Superior;
u = 0 is the midline, v = 0 the middle of the trunk, w = 0 the lower end of L5. A patient's own coordinates (x, y, z) in
mm follow by scaling (height, frame) and a smooth random displacement.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from guidegen.phantom.tissue import Tissue

FIELD_STEP = 24.0
"""mm between the nodes on which the displacement is computed; it is interpolated linearly in between."""


class Box(NamedTuple):
    """A part of the grid: its slices and the canonical coordinates of its voxels, shape of the part, float32."""

    where: tuple[slice, slice, slice]
    u: np.ndarray
    v: np.ndarray
    w: np.ndarray


@dataclass(frozen=True)
class Warp:
    """Canonical = own / scale + displacement(own / scale); the displacement is a sum of a few long waves."""

    scale: np.ndarray
    """Shape (3,)."""
    vectors: np.ndarray
    """Wave vectors in rad/mm, shape (n, 3)."""
    phases: np.ndarray
    """Shape (n,)."""
    amplitudes: np.ndarray
    """mm, shape (n, 3)."""

    @classmethod
    def draw(cls, rng: np.random.Generator, scale: np.ndarray, amplitude: float = 3.2, waves: int = 6) -> "Warp":
        """Draw waves of 170 to 420 mm length, each with a standard deviation of `amplitude` mm per axis."""
        directions = rng.normal(size=(waves, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = rng.uniform(170.0, 420.0, (waves, 1))
        return cls(
            np.asarray(scale, float),
            directions * 2 * np.pi / lengths,
            rng.uniform(0, 2 * np.pi, waves),
            rng.normal(0, amplitude, (waves, 3)) / np.sqrt(waves / 2),
        )

    def displace(self, points: np.ndarray) -> np.ndarray:
        """Displacement in mm at scaled points, shape (…, 3)."""
        return np.sin(points @ self.vectors.T + self.phases) @ self.amplitudes

    def to_own(self, points: np.ndarray) -> np.ndarray:
        """Own coordinates of canonical points, shape (N, 3), by fixed-point iteration."""
        scaled = points - self.displace(points)
        for _ in range(3):
            scaled = points - self.displace(scaled)
        return scaled * self.scale


def _interpolation_matrix(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    position = np.clip((at - nodes[0]) / (nodes[1] - nodes[0]), 0, len(nodes) - 1.001)
    low = position.astype(int)
    matrix = np.zeros((len(at), len(nodes)), np.float32)
    rows = np.arange(len(at))
    matrix[rows, low] = 1 - (position - low)
    matrix[rows, low + 1] = position - low
    return matrix


class Canvas:
    """Label and tissue of every voxel; later strokes paint over earlier ones.

    Args:
        axes: own coordinates in mm of the voxel centres along x, y and z (ascending, uniform).
        warp: the patient's deviation from the average body.
    """

    def __init__(self, axes: tuple[np.ndarray, np.ndarray, np.ndarray], warp: Warp) -> None:
        self.axes = axes
        self.warp = warp
        self.shape = tuple(len(axis) for axis in axes)
        self.origin = np.array([axis[0] for axis in axes])
        self.spacing = np.array([axis[1] - axis[0] for axis in axes])
        self.label = np.zeros(self.shape, np.uint8)
        self.tissue = np.zeros(self.shape, np.uint8)
        self.size = float(np.sqrt(warp.scale[0] * warp.scale[1]))
        self.coordinates = self._warp_grid()

    def _warp_grid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scaled = [axis / s for axis, s in zip(self.axes, self.warp.scale, strict=True)]
        nodes = [np.arange(a[0] - 1, a[-1] + FIELD_STEP + 1, FIELD_STEP) for a in scaled]
        field = self.warp.displace(np.stack(np.meshgrid(*nodes, indexing="ij"), -1)).astype(np.float32)
        mx, my, mz = (_interpolation_matrix(n, a) for n, a in zip(nodes, scaled, strict=True))
        result = []
        for axis in range(3):
            part = np.tensordot(mx, field[..., axis], (1, 0))
            part = np.tensordot(part, my, (1, 1))
            part = np.tensordot(part, mz, (1, 1))
            part += np.expand_dims(scaled[axis].astype(np.float32), [d for d in range(3) if d != axis])
            result.append(part)
        return result[0], result[1], result[2]

    @property
    def levels(self) -> np.ndarray:
        """Canonical height w of each slice at the midline, shape (Z,)."""
        return self.axes[2] / self.warp.scale[2]

    def cut(
        self, low: tuple[float, float, float], high: tuple[float, float, float], margin: float = 14.0
    ) -> Box | None:
        """Return the part of the grid around a canonical box, None where it lies outside the grid."""
        where = []
        for axis in range(3):
            ends = np.array([low[axis] - margin, high[axis] + margin]) * self.warp.scale[axis]
            first, last = (ends - self.origin[axis]) / self.spacing[axis]
            start, stop = max(0, int(np.floor(first))), min(self.shape[axis], int(np.ceil(last)) + 1)
            if start >= stop:
                return None
            where.append(slice(start, stop))
        whole = (where[0], where[1], where[2])
        u, v, w = (c[whole] for c in self.coordinates)
        return Box(whole, u, v, w)

    def fill(self, box: Box, inside: np.ndarray, label: int | None, tissue: int | None) -> None:
        """Paint the voxels of a box where `inside` is true; None leaves label or tissue as they are."""
        if label is not None:
            self.label[box.where][inside] = label
        if tissue is not None:
            self.tissue[box.where][inside] = tissue

    def stamp(
        self,
        points: np.ndarray,
        radii: np.ndarray | float,
        label: int | None,
        tissue: int | None,
        over: np.ndarray | None = None,
        shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Paint balls of `radii` mm around canonical `points`, shape (N, 3).

        Args:
            points: canonical coordinates.
            radii: one radius or one per point.
            label: source label, None to keep.
            tissue: tissue, None to keep.
            over: boolean table (256,) of the tissues that may be painted over, None for all.
            shift: added to the own coordinates, mm.
        """
        radius = np.maximum(np.broadcast_to(radii, len(points)) * self.size, 0.55 * self.spacing[0])
        position = (self.warp.to_own(points) + shift - self.origin) / self.spacing
        reach = np.ceil(radius.max() / self.spacing).astype(int)
        low, high = position[:, 2] > -reach[2] - 1, position[:, 2] < self.shape[2] + reach[2]
        position, radius = position[low & high], radius[low & high]
        if not len(position):
            return
        base = np.rint(position).astype(np.int32)
        offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
        rest = (base - position).astype(np.float32)
        distance = np.zeros((len(base), len(offsets)), np.float32)
        for axis in range(3):
            step = rest[:, axis, None] + offsets[None, :, axis].astype(np.float32)
            distance += (step * np.float32(self.spacing[axis])) ** 2
        which, offset = np.nonzero(distance <= (radius**2).astype(np.float32)[:, None])
        voxels = base[which] + offsets[offset]
        voxels = voxels[np.all((voxels >= 0) & (voxels < self.shape), axis=1)]
        flat = np.ravel_multi_index((voxels[:, 0], voxels[:, 1], voxels[:, 2]), self.shape)
        if over is not None:
            flat = flat[over[self.tissue.reshape(-1)[flat]]]
        if label is not None:
            self.label.reshape(-1)[flat] = label
        if tissue is not None:
            self.tissue.reshape(-1)[flat] = tissue

    def tube(
        self,
        controls: np.ndarray,
        radii: list[float] | float,
        label: int | None,
        tissue: int | None,
        over: np.ndarray | None = None,
    ) -> None:
        """Paint a smooth tube through canonical control points, radius interpolated between them."""
        points, radius = trace_curve(controls, radii)
        self.stamp(points, radius, label, tissue, over)

    def ellipsoid(
        self,
        centre: np.ndarray,
        radii: tuple[float, float, float],
        label: int | None,
        tissue: int | None,
        rotation: np.ndarray | None = None,
        over: np.ndarray | None = None,
    ) -> None:
        """Paint an ellipsoid; `rotation` (3, 3) turns canonical offsets into the ellipsoid's axes."""
        reach = max(radii)
        box = self.cut(tuple(np.subtract(centre, reach)), tuple(np.add(centre, reach)))
        if box is None:
            return
        inside = measure_ellipsoid(box, centre, radii, rotation) <= 1
        if over is not None:
            inside &= over[self.tissue[box.where]]
        self.fill(box, inside, label, tissue)


def measure_ellipsoid(
    box: Box, centre: np.ndarray, radii: tuple[float, float, float], rotation: np.ndarray | None = None
) -> np.ndarray:
    """Return the squared relative radius of the box's voxels: 1 on the surface of the ellipsoid, 0 at its centre."""
    offsets = (box.u - np.float32(centre[0]), box.v - np.float32(centre[1]), box.w - np.float32(centre[2]))
    if rotation is not None:
        r = rotation.astype(np.float32)
        offsets = tuple(r[i, 0] * offsets[0] + r[i, 1] * offsets[1] + r[i, 2] * offsets[2] for i in range(3))
    a, b, c = (np.float32(1 / r) for r in radii)
    return (offsets[0] * a) ** 2 + (offsets[1] * b) ** 2 + (offsets[2] * c) ** 2


def trace_curve(
    controls: np.ndarray, radii: list[float] | float, step: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 3) and radii (N,) along a smooth curve; points lie at most a third of a radius apart."""
    controls = np.asarray(controls, float)
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(controls, axis=0), axis=1))])
    radius = np.broadcast_to(radii, len(controls)).astype(float)
    step = step or float(np.clip(radius.min() / 2.5, 1.8, 6.0))
    along = np.linspace(0, lengths[-1], max(2, int(lengths[-1] / step) + 1))
    values = PchipInterpolator(lengths, np.column_stack([controls, radius]))(along)
    return values[:, :3], values[:, 3]


def rotate(axis: int, degrees: float) -> np.ndarray:
    """Return the rotation matrix (3, 3) about axis 0, 1 or 2."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def allow(*tissues: Tissue) -> np.ndarray:
    """Return the boolean table (256,) that is true for the given tissues."""
    table = np.zeros(256, bool)
    table[list(tissues)] = True
    return table
