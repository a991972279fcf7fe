"""Where Gaussians start."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..config.gaussians import PlacementConfig
from ..config.labels import LabelConfig
from ..config.registration import FlowConfig
from ..data.gap_sampling import evenly, layer_count, layer_stride
from ..data.geometry import PlaneStack
from ..labels.bounds import Bounds, Course, bounded
from ..labels.channels import LabelChannels
from ..labels.occupancy import Occupancies
from ..labels.shape_interpolation import between, on_slice
from ..labels.signed_distance import Boxed, boxed
from ..registration.optical_flow import Correspondence
from ..runtime.image_operations import CPU, bordered, constants, dilated, gradient, transferred, warped
from ..runtime.memory import placement_bytes
from ..runtime.processors import usable_threads
from ..runtime.threads import serial_opencv, serial_torch, shares, workers
from ..self_supervised.label_super_resolution import LabelSuperResolution
from ..self_supervised.slice_context import SliceContext
from .cloud import GaussianParameters


@dataclass(frozen=True)
class Gaps:
    """What is known about the space between the observed slices, in the model's frame and units.

    Attributes:
        planes: The observed slices, ascending along z.
        slices: [plane, row, column], their pixels.
        correspondence: Displacement across each gap.
        predictions: Per gap [n, row, column], evenly spaced; `data.gap_sampling` tells which of them carry Gaussians.
        background: Value where nothing is.
        layers: [layer, plane, row, column] label values, or None.
        channels: Which channel is which label, or None.
        label_super_resolutions: Number of predictions in a gap -> network that finds labels in such gaps.
        label_config, flow_config: Of the preset.
        thickness: mm, of the slices.
    """

    planes: PlaneStack
    slices: np.ndarray
    correspondence: Correspondence
    predictions: tuple[Tensor, ...]
    background: float
    layers: np.ndarray | None = None
    channels: LabelChannels | None = None
    label_super_resolutions: Mapping[int, LabelSuperResolution] = field(default_factory=dict)
    label_config: LabelConfig = LabelConfig()
    flow_config: FlowConfig = FlowConfig()
    thickness: float = 0.0


def along_displacement(gaps: Gaps, in_plane_sigma: float, depth_sigmas: tuple[float, float], opacity: float,
                       depth_range: tuple[float, float], config: PlacementConfig, device: torch.device = CPU
                       ) -> GaussianParameters:
    """Place a Gaussian on every pixel of each observed slice and of some planes in each gap.

    Those in gaps are tilted along the displacement.  As both carry Gaussians of their own, what was seen and what was
    predicted do not compete.  Where everything is background, no Gaussian is placed.

    Args:
        gaps: What is known.
        in_plane_sigma: Standard deviation in the plane, pixels.
        depth_sigmas: Standard deviation along the depth axis, as a multiple of the distance between predicted planes:
            in gaps of which every plane carries Gaussians, and in those of which every other does.
        opacity: Weight of every Gaussian, between 0 and 1.
        depth_range: (lowest, highest) z in mm to cover; beyond the outermost observed slices these are repeated.
        config: What else decides about the result.
        device: Where to work and to keep the Gaussians.

    Returns:
        Gaussians in the order of their layers along z, within a layer row by row: neighbours are near each other.
    """
    offsets, widths = gaps.planes.offsets, np.diff(gaps.planes.offsets)
    counts = np.array([len(p) for p in gaps.predictions])
    # A plane between two layers lies a whole pitch from either: they must be wide enough to meet there.
    apart = np.array([count > layer_count(count) for count in counts])
    sigmas = np.where(apart, depth_sigmas[1], depth_sigmas[0]) * (widths / (counts + 1))
    copies = [[(0.0, float(sigmas[max(plane - 1, 0):plane + 1].min()))] for plane in range(len(offsets))]
    below = _repeats(offsets[0] - depth_range[0], widths[0], config)
    copies[0] = [(-shift, sigma) for shift, sigma in below][::-1] + copies[0]
    copies[-1] += _repeats(depth_range[1] - offsets[-1], widths[-1], config)
    source = _Source.of(gaps, config, device)

    def place(numbers: np.ndarray) -> dict[str, Tensor]:
        """The Gaussians of several observed slices, one after another, and of the gaps after them."""
        on_planes, in_gaps = zip(*(outlines[plane].result() for plane in numbers), strict=True)
        layers = [source.copied(numbers, [copies[plane] for plane in numbers], on_planes)]
        gap_numbers = numbers[numbers < len(widths)]
        for count in np.unique(counts[gap_numbers][counts[gap_numbers] > 0]):
            alike = gap_numbers[counts[gap_numbers] == count]
            layers.append(source.between(alike, sigmas[alike], [in_gaps[gap - numbers[0]] for gap in alike]))
        return _placed(_joined(layers), gaps, in_plane_sigma, config)

    size = placement_bytes(gaps.slices[0].size, max(map(layer_count, counts)), gaps.layers is not None)
    with (serial_opencv(), serial_torch(), ThreadPoolExecutor(usable_threads()) as host,
          ThreadPoolExecutor(workers(device)) as pool):
        outlines = [host.submit(source.outlines, plane) for plane in range(len(offsets))]
        placed = list(pool.map(place, shares(np.arange(len(offsets)), size, device)))
    tensors = _concatenated(placed)
    weights = torch.full((len(tensors["centres"]),), float(np.log(opacity / (1.0 - opacity))), device=device)
    return GaussianParameters(raw_weights=weights, **tensors)


def _repeats(beyond: float, width: float, config: PlacementConfig) -> list[tuple[float, float]]:
    """(distance, depth sigma) in mm of the copies of an outermost slice that cover what lies `beyond` it."""
    return [((number + 0.5) * width, config.repeated_depth_sigma * width)
            for number in range(int(np.ceil(beyond / width - 1e-3)))]


def _concatenated(clouds: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Concatenate the fields of several clouds, which are emptied; a slot that no Gaussian uses is left out."""
    used = torch.stack([(cloud["channels"] != 0).any(dim=0) for cloud in clouds]).any(dim=0).tolist()
    slots = [0, *(number for number, is_used in enumerate(used) if is_used)]
    if len(slots) < len(used):
        for cloud in clouds:
            cloud.update({name: cloud[name][:, slots] for name in ("values", "slopes", "channels")})
    return {name: torch.cat([cloud.pop(name) for cloud in clouds]) for name in list(clouds[0])}


@dataclass(frozen=True)
class _Layers:
    """What the Gaussians on some planes start from; the first axis of everything is the layer, in any order.

    origins: (3,) mm of pixel [0, 0].  log_depths: of the Gaussians.  images: [row, column].  tilts: [row, column, 2]
    shear.  trends: [row, column] change per mm along the tilt.  foreground: [row, column] bool, where the image is not
    background.  channels, values, label_trends: [pixel, slot] as of `Occupancies.slots`, trends per mm; no slots
    without labels.
    """

    origins: Tensor
    log_depths: Tensor
    images: Tensor
    tilts: Tensor
    trends: Tensor
    foreground: Tensor
    channels: Tensor
    values: Tensor
    label_trends: Tensor


def _joined(layers: list[_Layers]) -> _Layers:
    return _Layers(*(torch.cat([getattr(some, f.name) for some in layers]) for f in fields(_Layers)))


@dataclass(frozen=True)
class _Source:
    """Gaps on a device, and the layers that they make.

    slices: [plane, row, column].  full, gated: [gap, row, column, 2] displacement in pixels.  numbers: [layer, plane,
    row, column] as of `LabelChannels.numbered`, where there are networks for labels.
    """

    gaps: Gaps
    config: PlacementConfig
    slices: Tensor
    full: Tensor
    gated: Tensor
    numbers: Tensor | None
    label_super_resolutions: Mapping[int, LabelSuperResolution]

    @classmethod
    def of(cls, gaps: Gaps, config: PlacementConfig, device: torch.device) -> _Source:
        motion, numbers = gaps.correspondence.on(device), None
        if gaps.label_super_resolutions and gaps.layers is not None and gaps.channels is not None:
            numbers = torch.from_numpy(gaps.channels.numbered(gaps.layers)).to(device)
        return cls(gaps, config, torch.from_numpy(gaps.slices).to(device), motion.displacement,
                   motion.gated(gaps.flow_config), numbers,
                   {count: network.on(device) for count, network in gaps.label_super_resolutions.items()})

    def network_distances(self, gap: int, outlines: Boxed) -> Tensor | None:
        """Signed distances [n, pixel] that a network finds in a gap; None where none was trained for that."""
        predicted, positions = self.gaps.predictions[gap], self.gaps.planes.offsets
        network = self.label_super_resolutions.get(len(predicted))
        if self.numbers is None or network is None or not network.bridges(positions[gap + 1] - positions[gap]):
            return None
        context = SliceContext.around(np.array([gap]), positions, evenly(len(predicted)), network.size)
        return network.distances(self.slices, self.numbers, predicted, context, outlines)

    def outlines(self, plane: int) -> tuple[Boxed | None, tuple[Boxed, list[Bounds | None]] | None]:
        """Where labels are on one observed slice, and in the gap after it."""
        layers, channels, planes = self.gaps.layers, self.gaps.channels, self.gaps.planes
        config = self.gaps.label_config
        if layers is None or channels is None:
            return None, None
        on_plane = boxed(channels, [layers[:, plane]], config)
        if plane + 1 == len(planes) or not len(self.gaps.predictions[plane]):
            return on_plane, None
        course = Course.at(plane, layers, planes.offsets, self.gaps.thickness, config)
        rest, bounds = bounded(channels, course, len(self.gaps.predictions[plane]), config)
        return on_plane, (boxed(channels, rest, config, course.slices), bounds)

    def _foreground(self, planes: np.ndarray) -> Tensor:
        """[plane, row, column] bool: where observed slices, or what lies next to them, are not background."""
        predictions, result = self.gaps.predictions, []
        for plane in planes.tolist():
            near = [self.slices[plane]]
            for gap, neighbour, nearest in ((plane - 1, plane - 1, -1), (plane, plane + 1, 0)):
                if 0 <= gap < len(predictions):
                    near.append(predictions[gap][nearest] if len(predictions[gap]) else self.slices[neighbour])
            result.append(self._differs(torch.stack(near)).any(dim=0))
        return torch.stack(result)

    def copied(self, planes: np.ndarray, copies: Sequence[Sequence[tuple[float, float]]],
               outlines: Sequence[Boxed | None]) -> _Layers:
        """Layers of observed slices; copies: (shift along z, depth sigma) mm, for each slice one or several."""
        device, source = self.slices.device, np.repeat(np.arange(len(planes)), [len(copy) for copy in copies])
        shifts, sigmas = np.concatenate(copies).T
        images = self.slices[transferred(planes[source], device)]
        slots = self._slots([on_slice(boxes, self.gaps.label_config, device)
                              for boxes in outlines if boxes is not None], len(planes))
        return _Layers(
            constants(self.gaps.planes.origins[planes[source]] + np.outer(shifts, [0.0, 0.0, 1.0]), device),
            constants(np.log(sigmas), device), images, images.new_zeros(()).expand(*images.shape, 2),
            images.new_zeros(()).expand(images.shape), self._foreground(planes)[transferred(source, device)],
            *(table[transferred(source, device)] for table in slots))

    def between(self, numbers: np.ndarray, depth_sigmas: np.ndarray,
                outlines: Sequence[tuple[Boxed, list[Bounds | None]] | None]) -> _Layers:
        """The layers of Gaussians in gaps that are all predicted on the same number of planes."""
        planes, device = self.gaps.planes, self.slices.device
        first, second = self.slices[transferred(np.stack([numbers, numbers + 1]), device)][:, :, None]
        course = torch.cat([first, torch.stack([self.gaps.predictions[gap] for gap in numbers]), second], dim=1)
        inner = course.shape[1] - 2
        count, stride, step = layer_count(inner), layer_stride(inner), 1.0 / (inner + 1)
        before, here, after = (course[:, n:n + inner:stride].flatten(0, 1) for n in range(3))
        gated = self.gated[transferred(numbers, device)]

        def on_layers(images: Tensor) -> Tensor:
            return images[:, None].expand(-1, count, *images.shape[1:]).flatten(0, 1)

        across, fractions = planes.origins[numbers + 1] - planes.origins[numbers], step * np.c_[1:inner + 1:stride]
        widths = constants(across[:, 2], device)[:, None, None]
        leans = constants(across[:, :2] / across[:, 2:], device)[:, None, None]
        tilts = _combined(gated / widths[..., None], _in_plane_steps(planes)) + leans
        shift = on_layers(gated)
        rise = warped(after, shift, step) - warped(before, shift, -step)
        labels = [label for gap, known in zip(numbers, outlines, strict=True) if known is not None
                  for label in between(known[0], self.full[gap], self.gated[gap], inner, self.gaps.label_config,
                                       self.network_distances(int(gap), known[0]), known[1])]
        channels, values, label_trends = self._slots(labels, len(here))
        return _Layers(
            constants((planes.origins[numbers, None] + fractions * across[:, None]).reshape(-1, 3), device),
            constants(np.log(depth_sigmas).repeat(count), device), here, on_layers(tilts),
            rise / (2 * step * on_layers(widths)), self._differs(before) | self._differs(here) | self._differs(after),
            channels, values, label_trends / on_layers(widths))

    def _differs(self, images: Tensor) -> Tensor:
        return (images - self.gaps.background).abs() > self.config.background_tolerance

    def _slots(self, labels: Sequence[Occupancies], layers: int) -> tuple[Tensor, Tensor, Tensor]:
        """Channels, values and trends (per gap) [layer, pixel, slot] of `labels` on each layer; no slots without."""
        pixels = self.slices[0].numel()
        if not labels:
            none = self.slices.new_zeros(layers, pixels, 0)
            return none.int(), none, none
        channels, values, trends = zip(*(
            on_layer.slots(pixels, self.gaps.label_config.most_slots) for on_layer in labels), strict=True)
        return torch.stack(channels), torch.stack(values), torch.stack(trends)


def _placed(layers: _Layers, gaps: Gaps, in_plane_sigma: float, config: PlacementConfig) -> dict[str, Tensor]:
    """Put Gaussians on the pixels of `layers`; return the fields of GaussianParameters but the weights.

    A mean weighted by Gaussians flattens peaks by half the second derivative, and a full linear term overshoots by as
    much: half the in-plane gradient cancels both.
    """
    planes, device = gaps.planes, layers.images.device
    layer, row, column = _occupied(layers, config)
    pixel = (layer * planes.rows + row.clamp(0, planes.rows - 1)) * planes.columns + column.clamp(0, planes.columns - 1)
    to_mm = _in_plane_steps(planes)
    in_mm = _combined(0.5 * gradient(layers.images).flatten(0, 2)[pixel], np.linalg.inv(to_mm).T)
    tilts = layers.tilts.flatten(0, 2)[pixel]
    # The trend holds along the tilt, where x moves too: take out what the in-plane gradient contributes on the way.
    sideways = in_mm * tilts
    depth_slope = layers.trends.flatten()[pixel] - sideways[:, 0] - sideways[:, 1]
    channels, values, label_trends = (
        table.flatten(0, 1)[pixel] for table in (layers.channels, layers.values, layers.label_trends))
    image = layers.images.flatten()[pixel] - gaps.background
    slopes = image.new_zeros(len(pixel), 1 + channels.shape[1], 3)
    slopes[:, 0, :2], slopes[:, 0, 2], slopes[:, 1:, 2] = in_mm, depth_slope, label_trends
    factor = np.linalg.cholesky(np.linalg.inv(in_plane_sigma ** 2 * to_mm.T @ to_mm))
    in_plane = constants([np.log(factor[0, 0]), factor[1, 0], np.log(factor[1, 1])], device)
    steps = np.stack([planes.column_step, planes.row_step])
    return {
        "centres": layers.origins[layer] + _combined(torch.stack([column, row], dim=1).float(), steps),
        "tilts": tilts,
        "in_plane": in_plane.repeat(len(pixel), 1),
        "log_depths": layers.log_depths[layer],
        "values": torch.cat([image[:, None], values], dim=1),
        "slopes": slopes,
        "channels": functional.pad(channels, (1, 0)),  # slot 0 is the image
    }


def _occupied(layers: _Layers, config: PlacementConfig) -> tuple[Tensor, ...]:
    """Layer, row and column of the pixels that get a Gaussian, along z; the margin is outside the image."""
    foreground = layers.foreground | (layers.channels != 0).any(dim=-1).reshape(layers.foreground.shape)
    along_z = layers.origins[:, 2].argsort(stable=True)
    within_margin = bordered(foreground[along_z].float(), config.margin) > 0
    layer, row, column = dilated(within_margin, config.background_border).nonzero(as_tuple=True)
    return along_z[layer], row - config.margin, column - config.margin


def _in_plane_steps(planes: PlaneStack) -> np.ndarray:
    """(2, 2) mm: the steps along columns and along rows, x and y of each."""
    return np.stack([planes.column_step[:2], planes.row_step[:2]])


def _combined(pairs: Tensor, matrix: np.ndarray) -> Tensor:
    """[..., 2] @ (2, n), summed in a fixed order."""
    first, second = pairs.unbind(-1)
    return torch.stack([first * a + second * b for a, b in matrix.T.tolist()], dim=-1)
