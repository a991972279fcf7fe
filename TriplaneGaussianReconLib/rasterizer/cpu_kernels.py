"""Compiled inner loops of the rasterizer for CPUs; `cpu` calls them.

Geometry.  On a stack of parallel planes, with t the signed distance of a plane from a centre, the quadratic form is
diagonal in the coordinates (u, v, t) of

    x - centre = u * B_u + v * B_v + t * B_t,    q = across * u^2 + along * v^2 + through * t^2,

where B_u is the column step, B_v the row step sheared along the columns, and B_t the path that the conditional 2D
Gaussian follows from plane to plane.  Hence the planes, the rows of a plane and the columns of a row that a Gaussian
reaches are exact intervals, and moments in (u, v, t) carry everything that the gradients need.  This is done in
float64, relative to the Gaussian, because pixel indices cancel badly in float32.  Only what is done for every pixel is
in the type of the data.

Rows are short (2 to 20 pixels).  They are handled in blocks of LANES pixels, whose surplus lanes have the weight 0.
Arrays that are addressed by block therefore have LANES spare elements at their end.

The functions without underscore do the items `begin` to before `end` of their work.  Items do not touch each other's
memory, and the functions release the interpreter lock, so plain threads can run them in parallel.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .compiling import compiled, inlined
from .definitions import EPSILON, MAX_ALPHA, SHAPE_MOMENTS, SLOT_MOMENTS
from .simd import LANES, exponential, load, ramp, splat, store, total, where_less


class Cloud(NamedTuple):
    """The tensors of `Gaussians` as contiguous arrays."""

    centres: np.ndarray
    precisions: np.ndarray
    weights: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    channels: np.ndarray


class Tiling(NamedTuple):
    """Tiles of `slab` neighbouring planes x `band` rows, numbered slab by slab."""

    slab: int
    band: int
    bands: int
    height: int
    width: int


# ---- geometry

@compiled
def _split(cloud, stack, i):  # type: ignore[no-untyped-def]
    """Return the diagonal form of Gaussian `i` and where it lies.

    across, along (1/pixel^2), through (1/mm^2): see the module's text; all 0 unless the precision is positive definite.
    shear: columns by which B_v moves per row.  column_drift, row_drift: pixels by which B_t moves per mm of depth.
    depth (mm), column, row: the centre, columns and rows in the sense of `SortedPlanes`.
    """
    frame = stack.frame
    x, y, z = float(cloud.centres[i, 0]), float(cloud.centres[i, 1]), float(cloud.centres[i, 2])
    xx, xy, xz = float(cloud.precisions[i, 0]), float(cloud.precisions[i, 1]), float(cloud.precisions[i, 2])
    yy, yz, zz = float(cloud.precisions[i, 3]), float(cloud.precisions[i, 4]), float(cloud.precisions[i, 5])
    c0, c1, c2 = frame[0, 0], frame[0, 1], frame[0, 2]
    r0, r1, r2 = frame[1, 0], frame[1, 1], frame[1, 2]
    n0, n1, n2 = frame[2, 0], frame[2, 1], frame[2, 2]
    # The precision in the basis (column step, row step, normal).
    a0, a1, a2 = xx * c0 + xy * c1 + xz * c2, xy * c0 + yy * c1 + yz * c2, xz * c0 + yz * c1 + zz * c2
    b0, b1, b2 = xx * r0 + xy * r1 + xz * r2, xy * r0 + yy * r1 + yz * r2, xz * r0 + yz * r1 + zz * r2
    across, cross = a0 * c0 + a1 * c1 + a2 * c2, a0 * r0 + a1 * r1 + a2 * r2
    row_row = b0 * r0 + b1 * r1 + b2 * r2
    column_normal, row_normal = a0 * n0 + a1 * n1 + a2 * n2, b0 * n0 + b1 * n1 + b2 * n2
    normal_normal = (xx * n0 * n0 + yy * n1 * n1 + zz * n2 * n2
                     + 2.0 * (xy * n0 * n1 + xz * n0 * n2 + yz * n1 * n2))
    # LDL' of it.
    shear = cross / across
    along = row_row - shear * cross
    row_drift = (shear * column_normal - row_normal) / along
    column_drift = -column_normal / across - shear * row_drift
    through = normal_normal + column_normal * column_drift + row_normal * row_drift
    if not (across > 0.0 and along > 0.0 and through > 0.0):
        across, along, through = 0.0, 0.0, 0.0
    depth = x * n0 + y * n1 + z * n2
    column = x * frame[3, 0] + y * frame[3, 1] + z * frame[3, 2]
    row = x * frame[4, 0] + y * frame[4, 1] + z * frame[4, 2]
    return across, along, through, shear, column_drift, row_drift, depth, column, row


@compiled
def _first_at_or_above(sorted_depths, depth):  # type: ignore[no-untyped-def]
    """Return how many of `sorted_depths` lie below `depth`."""
    low, high = 0, len(sorted_depths)
    while low < high:
        middle = (low + high) // 2
        if sorted_depths[middle] < depth:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _reached_planes(stack, depth, through, cutoff):  # type: ignore[no-untyped-def]
    """Return the first plane that a Gaussian may reach and the one after the last; exact but for rounding."""
    if not through > 0.0:
        return 0, 0
    radius = math.sqrt(cutoff / through) * (1.0 + 1e-12)
    first = _first_at_or_above(stack.depths, depth - radius)
    last = first
    while last < len(stack.depths) and stack.depths[last] <= depth + radius:
        last += 1
    return first, last


@compiled
def _interval(first, last, count):  # type: ignore[no-untyped-def]
    """Return the first and the last integer in [first, last] and in [0, count); empty if last < first."""
    first, last = max(first, 0.0), min(last, count - 1.0)
    if not first <= last:
        return 0, -1
    return math.ceil(first), math.floor(last)


# ---- lists of tiles

@inlined
def _reached_columns(centre, v, room, form, cutoff, width):  # type: ignore[no-untyped-def]
    """Return what a Gaussian reaches in a row: the middle, first and last column, and its log in the middle.

    centre: column of its centre on this plane.  v: rows from there.  room: what is left of `cutoff` on this plane.
    form: along, 1 / across and shear, see `_split`.
    """
    along, wide, shear = form
    left = max(room - along * v * v, 0.0)
    middle, radius = centre - shear * v, math.sqrt(left * wide)
    first, last = _interval(middle - radius, middle + radius, width)
    return middle, first, last, 0.5 * (left - cutoff)


@compiled
def list_tiles(begin, end, cloud, stack, tiling, cutoff, share, cursors, serials, ids, places, starts):  # type: ignore
    """Count, or write, which Gaussians reach which tile; an entry is one Gaussian in one tile.

    share: Gaussians per chunk.  cursors: (chunks, tiles) int64, goes up by one for each entry.  With empty `ids` that
    is all.  Otherwise the cursors say where in `ids` (entries,) the next entry goes, `serials` (chunks,) int64 which
    number it has when entries are counted Gaussian by Gaussian; that goes to `places` (entries,), and the number of
    each Gaussian's first entry to `starts` (N + 1,), unless `places` is empty.
    """
    writing, numbering = len(ids) > 0, len(places) > 0
    count = len(cloud.weights)
    for chunk in range(begin, end):
        serial = serials[chunk]
        for i in range(chunk * share, min((chunk + 1) * share, count)):
            _, along, through, _, _, row_drift, depth, _, row = _split(cloud, stack, i)
            plane, plane_end = _reached_planes(stack, depth, through, cutoff)
            radius = math.sqrt(cutoff / along)  # on the plane where it is largest
            while plane < plane_end:
                slab = plane // tiling.slab
                slab_end = min(plane_end, (slab + 1) * tiling.slab)
                lowest, highest = math.inf, -math.inf
                while plane < slab_end:
                    middle = row + (stack.depths[plane] - depth) * row_drift - stack.rows[plane]
                    lowest, highest = min(lowest, middle), max(highest, middle)
                    plane += 1
                first, last = _interval(lowest - radius, highest + radius, tiling.height)
                if first > last:
                    continue
                for band in range(first // tiling.band, last // tiling.band + 1):
                    tile = slab * tiling.bands + band
                    if writing:
                        ids[cursors[chunk, tile]] = i
                        if numbering:
                            places[cursors[chunk, tile]] = serial
                    cursors[chunk, tile] += 1
                    serial += 1
            if numbering:
                starts[i + 1] = serial


@compiled
def _stable_order(keys):  # type: ignore[no-untyped-def]
    """Return `np.argsort(keys, kind="stable")`, by a plain merge sort, which compiles seven times faster."""
    count = len(keys)
    order, merged = np.empty(count, np.int64), np.empty(count, np.int64)
    for n in range(count):
        order[n] = n
    width = 1
    while width < count:
        for low in range(0, count, 2 * width):
            middle, high = min(low + width, count), min(low + 2 * width, count)
            left, right = low, middle
            for n in range(low, high):
                if right >= high or (left < middle and keys[order[left]] <= keys[order[right]]):
                    merged[n] = order[left]
                    left += 1
                else:
                    merged[n] = order[right]
                    right += 1
        order, merged = merged, order
        width *= 2
    return order


@compiled
def sort_tiles(begin, end, tile_starts, depths, stack, bands, ids, places):  # type: ignore[no-untyped-def]
    """Sort the entries of each tile (one plane high) by the distance of their Gaussian to the plane, stably."""
    for tile in range(begin, end):
        first, count = tile_starts[tile], tile_starts[tile + 1] - tile_starts[tile]
        distances, old_ids, old_places = np.empty(count), np.empty(count, np.int32), np.empty(count, np.int64)
        for n in range(count):
            old_ids[n], old_places[n] = ids[first + n], places[first + n]
            distances[n] = abs(depths[old_ids[n]] - stack.depths[tile // bands])
        order = _stable_order(distances)
        for n in range(count):
            ids[first + n], places[first + n] = old_ids[order[n]], old_places[order[n]]


# ---- pixels of a row

@compiled
def _shape(u, left, peak, curve):  # type: ignore[no-untyped-def]
    """Return `exp(peak + curve u^2)` in the first `left` lanes and 0 in the others."""
    real = type(peak)
    shape = exponential(splat(peak) + splat(curve) * u * u)
    return where_less(ramp(real(0)), splat(real(left)), shape, splat(real(0)))


@compiled
def _add(array, start, lanes):  # type: ignore[no-untyped-def]
    store(array, start, load(array, start) + lanes)


@compiled
def _fill_lines(cloud, stack, i, shear, column_drift, row_drift, lines):  # type: ignore[no-untyped-def]
    """Write to `lines` (S, 4) each slot's value at the centre and its change per unit of u, v and t."""
    frame = stack.frame
    for s in range(lines.shape[0]):
        column, row, normal = 0.0, 0.0, 0.0
        for a in range(3):
            slope = float(cloud.slopes[i, s, a])
            column += slope * frame[0, a]
            row += slope * frame[1, a]
            normal += slope * frame[2, a]
        lines[s, 0] = cloud.values[i, s]
        lines[s, 1] = column
        lines[s, 2] = row - shear * column
        lines[s, 3] = normal + column_drift * column + row_drift * row


@compiled
def _level(lines, s, v, t):  # type: ignore[no-untyped-def]
    """Return the value of slot `s` in row v of plane t, where u is 0."""
    return lines[s, 0] + v * lines[s, 2] + t * lines[s, 3]


# ---- forward

@inlined
def _finish_tile(pixels, stack, tiling, tile, normalised, channels, weight_sum):  # type: ignore[no-untyped-def]
    """Write the sums of one tile, or the quotients, to where they belong."""
    real = weight_sum.dtype.type
    count = channels.shape[1]
    low_plane, low_row = (tile // tiling.bands) * tiling.slab, (tile % tiling.bands) * tiling.band
    planes, rows = min(tiling.slab, len(stack.depths) - low_plane), min(tiling.band, tiling.height - low_row)
    pitch = tiling.width + LANES
    for plane in range(planes):
        place = stack.places[low_plane + plane]
        for r in range(rows):
            start = (plane * rows + r) * (count + 2) * pitch
            for k in range(tiling.width):
                weight_sum[place, low_row + r, k] = pixels[start + count * pitch + k]
            for c in range(count):
                for k in range(tiling.width):
                    number = pixels[start + c * pitch + k]
                    if normalised:
                        number /= pixels[start + count * pitch + k] + real(EPSILON)
                    channels[place, c, low_row + r, k] = number


@inlined
def _draw_tile(cloud, stack, tiling, cutoff, ids, tile, alpha, normalised, channels, weight_sum):  # type: ignore
    """Draw the Gaussians `ids` on one tile and write its pixels."""
    real = cloud.weights.dtype.type
    none, ceiling = splat(real(0)), splat(real(MAX_ALPHA))
    count, slots = channels.shape[1], cloud.values.shape[1]
    low_plane, low_row = (tile // tiling.bands) * tiling.slab, (tile % tiling.bands) * tiling.band
    planes, rows = min(tiling.slab, len(stack.depths) - low_plane), min(tiling.band, tiling.height - low_row)
    # Per row of pixels: all channels, the weight sum, the transmittance.
    pitch = tiling.width + LANES
    stride = (count + 2) * pitch
    pixels = np.zeros(planes * rows * stride, cloud.weights.dtype)
    if alpha:
        for line in range(planes * rows):
            for k in range((count + 1) * pitch, stride):
                pixels[line * stride + k] = 1
    lines = np.empty((slots, 4))
    for i in ids:
        across, along, through, shear, column_drift, row_drift, depth, column, row = _split(cloud, stack, i)
        _fill_lines(cloud, stack, i, shear, column_drift, row_drift, lines)
        wide, high = 1.0 / across, 1.0 / along
        weight = splat(cloud.weights[i])
        curve = real(-0.5 * across)
        for plane in range(planes):
            t = stack.depths[low_plane + plane] - depth
            room = cutoff - t * t * through
            if not room >= 0.0:
                continue
            centre_row = row + t * row_drift - stack.rows[low_plane + plane] - low_row
            centre_column = column + t * column_drift - stack.columns[low_plane + plane]
            radius = math.sqrt(room * high)
            first_row, last_row = _interval(centre_row - radius, centre_row + radius, rows)
            for r in range(first_row, last_row + 1):
                v = r - centre_row
                middle, first, last, peak = _reached_columns(centre_column, v, room, (along, wide, shear), cutoff,
                                                             tiling.width)
                for begin in range(first, last + 1, LANES):
                    u = ramp(real(begin - middle))
                    share = weight * _shape(u, last + 1 - begin, real(peak), curve)
                    at = (plane * rows + r) * stride + begin
                    if alpha:
                        opacity = where_less(share, ceiling, share, ceiling)
                        share = opacity * load(pixels, at + (count + 1) * pitch)
                        _add(pixels, at + (count + 1) * pitch, none - share)
                    _add(pixels, at + count * pitch, share)
                    for s in range(slots):
                        value = splat(real(_level(lines, s, v, t))) + splat(real(lines[s, 1])) * u
                        _add(pixels, at + cloud.channels[i, s] * pitch, share * value)
    _finish_tile(pixels, stack, tiling, tile, normalised, channels, weight_sum)


@compiled
def draw(begin, end, cloud, stack, tiling, cutoff, ids, tile_starts, alpha, normalised, channels, weight_sum):  # type: ignore
    """Fill `channels` (P, C, rows, columns) and `weight_sum` (P, rows, columns), tile by tile."""
    for tile in range(begin, end):
        _draw_tile(cloud, stack, tiling, cutoff, ids[tile_starts[tile]:tile_starts[tile + 1]], tile, alpha,
                   normalised, channels, weight_sum)


# ---- backward

@compiled
def prepare(begin, end, channels, weight_sum, channel_gradient, sum_gradient, alpha, normalised, source):  # type: ignore
    """Fill `source` (P * rows * (C + 2) * columns + LANES,) with the gradients of the pixels, row by row of a plane.

    For each row: the gradient of each channel's sum and of the weight sum, and in mode alpha the gradient times the
    result, summed over everything that was composited.
    """
    _, count, height, width = channels.shape
    epsilon = weight_sum.dtype.type(EPSILON)
    for line in range(begin, end):
        plane, r = line // height, line % height
        lines = source[line * (count + 2) * width:(line + 1) * (count + 2) * width].reshape((count + 2, width))
        own, rest, result = lines[count], lines[count + 1], weight_sum[plane, r]
        rest[:] = 0
        for c in range(count):
            drawn, gradient, target = channels[plane, c, r], channel_gradient[plane, c, r], lines[c]
            for k in range(width):
                rest[k] += gradient[k] * drawn[k]
                target[k] = gradient[k] / (result[k] + epsilon) if normalised else gradient[k]
        for k in range(width):
            own[k] = sum_gradient[plane, r, k]
            if normalised:
                own[k] -= rest[k] / (result[k] + epsilon)
            if alpha:
                rest[k] += own[k] * result[k]


@compiled
def _add_shape_moments(moments, t, one, u, v, uu, uv, vv):  # type: ignore[no-untyped-def]
    """Add the moments of one plane to `moments` (SHAPE_MOMENTS,)."""
    moments[0] += one
    moments[1] += u
    moments[2] += v
    moments[3] += t * one
    moments[4] += uu
    moments[5] += uv
    moments[6] += t * u
    moments[7] += vv
    moments[8] += t * v
    moments[9] += t * t * one


@compiled
def _add_slot_moments(sums, s, slot_moments, lanes, u, v, t):  # type: ignore[no-untyped-def]
    """Add `lanes` times 1 (and u, v, t where asked for) to the blocks of slot `s` in `sums`."""
    at = s * slot_moments * LANES
    _add(sums, at, lanes)
    if slot_moments > 1:
        _add(sums, at + LANES, lanes * u)
        _add(sums, at + 2 * LANES, lanes * splat(v))
        _add(sums, at + 3 * LANES, lanes * splat(t))


@inlined
def _gather(cloud, stack, tiling, cutoff, i, source, count, form, lines, sums, moments):  # type: ignore
    """Add up Gaussian `i`'s shape moments in `moments` (SHAPE_MOMENTS,) and slot moments in the blocks of `sums`.

    form: what `_split` returns.  The shape moments weigh pixels by dL / d(w G) * G, the slots' by dL / d(value).
    """
    across, along, through, shear, column_drift, row_drift, depth, column, row = form
    wide, high = 1.0 / across, 1.0 / along
    real = cloud.weights.dtype.type
    none, weight, curve = splat(real(0)), splat(cloud.weights[i]), real(-0.5 * across)
    slots = cloud.values.shape[1]
    full, slot_moments = len(moments) > 1, len(sums) // max(slots * LANES, 1)
    first_plane, end_plane = _reached_planes(stack, depth, through, cutoff)
    for plane in range(first_plane, end_plane):
        t = stack.depths[plane] - depth
        room = cutoff - t * t * through
        if not room >= 0.0:
            continue
        centre_row = row + t * row_drift - stack.rows[plane]
        centre_column = column + t * column_drift - stack.columns[plane]
        radius = math.sqrt(room * high)
        first_row, last_row = _interval(centre_row - radius, centre_row + radius, tiling.height)
        one, one_u, one_v, one_uu, one_uv, one_vv = none, none, none, none, none, none
        for r in range(first_row, last_row + 1):
            v = r - centre_row
            middle, first, last, peak = _reached_columns(centre_column, v, room, (along, wide, shear), cutoff,
                                                         tiling.width)
            for begin in range(first, last + 1, LANES):
                u = ramp(real(begin - middle))
                shape = _shape(u, last + 1 - begin, real(peak), curve)
                at = (stack.places[plane] * tiling.height + r) * (count + 2) * tiling.width + begin
                pull = load(source, at + count * tiling.width)
                for s in range(slots):
                    gradient = load(source, at + cloud.channels[i, s] * tiling.width)
                    value = splat(real(_level(lines, s, v, t))) + splat(real(lines[s, 1])) * u
                    pull = pull + gradient * value
                    _add_slot_moments(sums, s, slot_moments, weight * shape * gradient, u, real(v), real(t))
                pull = pull * shape
                one = one + pull
                if full:
                    pull_u, pull_v = pull * u, pull * splat(real(v))
                    one_u, one_v = one_u + pull_u, one_v + pull_v
                    one_uu, one_uv, one_vv = one_uu + pull_u * u, one_uv + pull_v * u, one_vv + pull_v * splat(real(v))
        if full:
            _add_shape_moments(moments, t, total(one), total(one_u), total(one_v), total(one_uu), total(one_uv),
                               total(one_vv))
        else:
            moments[0] += total(one)


@compiled
def _finish(cloud, stack, i, form, moments, slot_sums, slot_moments, gradients):  # type: ignore[no-untyped-def]
    """Turn the moments of Gaussian `i` into its gradients.

    slot_sums: (S * slot_moments,).  Where only the first moment was taken the gradients of slopes, or of centre and
    precision, are left alone.
    """
    _, _, _, shear, column_drift, row_drift, _, _, _ = form
    frame = stack.frame
    basis = np.empty((3, 3))  # B_u, B_v, B_t
    for a in range(3):
        basis[0, a] = frame[0, a]
        basis[1, a] = frame[1, a] - shear * frame[0, a]
        basis[2, a] = frame[2, a] + column_drift * frame[0, a] + row_drift * frame[1, a]
    gradients.weights[i] = moments[0]
    for s in range(cloud.values.shape[1]):
        gradients.values[i, s] = slot_sums[s * slot_moments]
        if slot_moments > 1:
            for a in range(3):
                slope = 0.0
                for b in range(3):
                    slope += slot_sums[s * slot_moments + 1 + b] * basis[b, a]
                gradients.slopes[i, s, a] = slope
    if len(moments) == 1:
        return
    scale = -0.5 * float(cloud.weights[i])  # dG/dq
    packed = 0
    arm = np.zeros(3)  # sum of dL/dq (x - centre)
    for a in range(3):
        for b in range(3):
            arm[a] += scale * moments[1 + b] * basis[b, a]
    for a in range(3):
        for b in range(a, 3):
            second, entry = 0.0, 4
            for c in range(3):
                for d in range(c, 3):
                    second += moments[entry] * basis[c, a] * basis[d, b]
                    if c != d:
                        second += moments[entry] * basis[d, a] * basis[c, b]
                    entry += 1
            gradients.precisions[i, packed] = scale * second * (1.0 if a == b else 2.0)
            packed += 1
    for a in range(3):
        pull = 0.0
        for b in range(3):
            low, high = min(a, b), max(a, b)
            pull -= 2.0 * cloud.precisions[i, low * (5 - low) // 2 + high] * arm[b]
        for s in range(cloud.values.shape[1]):
            pull -= slot_sums[s * slot_moments] * float(cloud.slopes[i, s, a])
        gradients.centres[i, a] = pull


@compiled
def gather(begin, end, cloud, stack, tiling, cutoff, source, count, full, sloped, gradients):  # type: ignore
    """Fill `gradients` in the modes that are sums: every Gaussian gathers from the pixels that it reaches.

    full: whether gradients of centres and precisions are needed; sloped: whether those of slopes are.
    """
    slots = cloud.values.shape[1]
    slot_moments = SLOT_MOMENTS if sloped else 1
    lines = np.empty((slots, 4))
    moments = np.empty(SHAPE_MOMENTS if full else 1)
    sums = np.empty(slots * slot_moments * LANES, cloud.weights.dtype)
    slot_sums = np.empty(slots * slot_moments)
    for i in range(begin, end):
        form = _split(cloud, stack, i)
        _fill_lines(cloud, stack, i, form[3], form[4], form[5], lines)
        moments[:] = 0
        sums[:] = 0
        _gather(cloud, stack, tiling, cutoff, i, source, count, form, lines, sums, moments)
        for n in range(len(slot_sums)):
            slot_sums[n] = total(load(sums, n * LANES))
        _finish(cloud, stack, i, form, moments, slot_sums, slot_moments, gradients)


@inlined
def _peel_tile(cloud, stack, tiling, cutoff, ids, places, tile, source, count, full, sloped, entries):  # type: ignore
    """Go through one tile front to back and write the moments of each entry to `entries` (entries, moments).

    What is composited behind a Gaussian is everything less what has been passed, so one pass over the tile is enough.
    """
    real = cloud.weights.dtype.type
    slots = cloud.values.shape[1]
    none, whole, ceiling = splat(real(0)), splat(real(1)), splat(real(MAX_ALPHA))
    plane, low_row = tile // tiling.bands, (tile % tiling.bands) * tiling.band
    rows = min(tiling.band, tiling.height - low_row)
    shape_moments, slot_moments = SHAPE_MOMENTS if full else 1, SLOT_MOMENTS if sloped else 1
    pitch = tiling.width + LANES
    passing = np.ones(rows * pitch, cloud.weights.dtype)
    behind = np.zeros(rows * pitch, cloud.weights.dtype)
    base = (stack.places[plane] * tiling.height + low_row) * (count + 2) * tiling.width
    for r in range(rows):
        start = base + (r * (count + 2) + count + 1) * tiling.width
        for k in range(tiling.width):
            behind[r * pitch + k] = source[start + k]
    lines = np.empty((slots, 4))
    sums = np.empty(slots * slot_moments * LANES, cloud.weights.dtype)
    moments = np.empty(SHAPE_MOMENTS)
    for number in range(len(ids)):
        i = ids[number]
        across, along, through, shear, column_drift, row_drift, depth, column, row = _split(cloud, stack, i)
        _fill_lines(cloud, stack, i, shear, column_drift, row_drift, lines)
        wide, high = 1.0 / across, 1.0 / along
        weight, curve = splat(cloud.weights[i]), real(-0.5 * across)
        t = stack.depths[plane] - depth
        room = max(cutoff - t * t * through, 0.0)
        centre_row = row + t * row_drift - stack.rows[plane] - low_row
        centre_column = column + t * column_drift - stack.columns[plane]
        radius = math.sqrt(room * high)
        first_row, last_row = _interval(centre_row - radius, centre_row + radius, rows)
        sums[:] = 0
        one, one_u, one_v, one_uu, one_uv, one_vv = none, none, none, none, none, none
        for r in range(first_row, last_row + 1):
            v = r - centre_row
            middle, first, last, peak = _reached_columns(centre_column, v, room, (along, wide, shear), cutoff,
                                                         tiling.width)
            for begin in range(first, last + 1, LANES):
                u = ramp(real(begin - middle))
                shape = _shape(u, last + 1 - begin, real(peak), curve)
                raw = weight * shape
                opacity = where_less(raw, ceiling, raw, ceiling)
                here, at = r * pitch + begin, base + r * (count + 2) * tiling.width + begin
                light = load(passing, here)
                share = opacity * light
                gain = load(source, at + count * tiling.width)
                for s in range(slots):
                    gradient = load(source, at + cloud.channels[i, s] * tiling.width)
                    value = splat(real(_level(lines, s, v, t))) + splat(real(lines[s, 1])) * u
                    gain = gain + gradient * value
                    _add_slot_moments(sums, s, slot_moments, share * gradient, u, real(v), real(t))
                later = load(behind, here) - share * gain
                store(behind, here, later)
                store(passing, here, light - share)
                pull = where_less(ceiling, raw, none, shape * (light * gain - later / (whole - opacity)))
                one = one + pull
                if full:
                    pull_u, pull_v = pull * u, pull * splat(real(v))
                    one_u, one_v = one_u + pull_u, one_v + pull_v
                    one_uu, one_uv, one_vv = one_uu + pull_u * u, one_uv + pull_v * u, one_vv + pull_v * splat(real(v))
        place = places[number]
        moments[:] = 0
        _add_shape_moments(moments, t, total(one), total(one_u), total(one_v), total(one_uu), total(one_uv),
                           total(one_vv))
        for n in range(shape_moments):
            entries[place, n] = moments[n]
        for n in range(slots * slot_moments):
            entries[place, shape_moments + n] = total(load(sums, n * LANES))


@compiled
def peel(begin, end, cloud, stack, tiling, cutoff, ids, places, tile_starts, source, count, full, sloped, entries):  # type: ignore
    """Fill `entries` in mode alpha, tile by tile; `collect` follows."""
    for tile in range(begin, end):
        own = slice(tile_starts[tile], tile_starts[tile + 1])
        _peel_tile(cloud, stack, tiling, cutoff, ids[own], places[own], tile, source, count, full, sloped, entries)


@compiled
def collect(begin, end, cloud, stack, starts, entries, full, sloped, gradients):  # type: ignore[no-untyped-def]
    """Fill `gradients` from the `entries` of each Gaussian, which stand together from `starts` on."""
    shape_moments, slot_moments = SHAPE_MOMENTS if full else 1, SLOT_MOMENTS if sloped else 1
    for i in range(begin, end):
        moments = np.zeros(entries.shape[1])
        for n in range(starts[i], starts[i + 1]):
            for m in range(len(moments)):
                moments[m] += entries[n, m]
        _finish(cloud, stack, i, _split(cloud, stack, i), moments[:shape_moments], moments[shape_moments:],
                slot_moments, gradients)
