// The rasterizer in mode `alpha`: every tile sorts the Gaussians that touch it, and composites them front to back.

#define TILES_AT_ONCE 4   // per multiprocessor, which limits the registers of a thread
#define MOST_SORTED 1024  // entries of a tile that are sorted at a time
#define MOST_KEPT 512     // entries of a tile that are composited at a time
#define ROUNDS 2          // candidates that a thread looks at in one go
#define BATCH 64          // entries whose geometry is in shared memory at a time; all together at most MOST_SLOTS slots
#define WARP_SUMS 16      // what `sixteen_over_warp` sums

static_assert(MOST_KEPT + ROUNDS * TILE_THREADS <= MOST_SORTED, "candidates must fit beside the entries that are kept");
static_assert(TILE_THREADS == TILE * TILE && TILE % 8 == 0, "a tile consists of warps of 4 rows x 8 columns");
static_assert(SHAPE_MOMENTS + SLOT_MOMENTS <= WARP_SUMS, "a warp sums the moments of shape and first slot at once");

__device__ __forceinline__ float quotient(float a, float b) { return __fdividef(a, b); }
__device__ __forceinline__ double quotient(double a, double b) { return a / b; }

// Sums 16 numbers over the warp, and returns number lane / 2 of the sums.  Overwrites `numbers`.
__device__ __forceinline__ real sixteen_over_warp(real* numbers, int lane)
{
#pragma unroll
    for (int half = 8; half; half /= 2) {
        const bool upper = lane & (2 * half);
#pragma unroll
        for (int n = 0; n < half; ++n) {
            const real given = upper ? numbers[n] : numbers[n + half], kept = upper ? numbers[n + half] : numbers[n];
            numbers[n] = kept + __shfl_xor_sync(FULL_WARP, given, 2 * half);
        }
    }
    return numbers[0] + __shfl_xor_sync(FULL_WARP, numbers[0], 1);
}

// What decides whether a Gaussian may touch a tile, in float32.  high, wide: how far from the centre q rises by 1.
struct alignas(16) Outline {
    float depth, through, row, column, row_drift, column_drift, high, wide;
};

static_assert(sizeof(Outline) == OUTLINE_NUMBERS * sizeof(float), "Python allocates outlines");

// A list for each band of tiles: which Gaussians may touch it.  entries (planes, bands, capacity): their places in the
// order of depth.  counts (planes, bands): how many there are.  A list with a larger count than `capacity` is not used.
struct Lists {
    int capacity, *counts, *entries;
};

// Fills outlines (N,), in the order of sorted_ids (N,), and the lists.  `counts` must be 0 before.
extern "C" __global__ __launch_bounds__(LIGHT_THREADS) void
outline(CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, const i64* sorted_ids, Outline* outlines, i64 capacity,
        int* counts, int* entries)
{
    CLOUD_AND_STACK
    const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (n >= cloud.count) return;
    const Form f = split(cloud, stack, sorted_ids[n]);
    const float high = 1 / float(f.along), wide = 1 / float(f.across) + float(f.shear * f.shear) * high;
    const Outline o = {float(f.depth), f.through > 0.0 ? float(f.through) : __int_as_float(0x7fc00000), float(f.row),
                       float(f.column), float(f.row_drift), float(f.column_drift), sqrtf(high), sqrtf(wide)};
    outlines[n] = o;
    const Reach reach = reach_of(f, stack, cutoff);
    const int bands = (stack.height + TILE - 1) / TILE;
    for (int plane = reach.first; plane < reach.end; ++plane) {
        const float t = float(stack.depths[plane]) - o.depth, room = float(cutoff) * 1.01f - o.through * t * t;
        const float row = float(f.row - stack.rows[plane]) + t * o.row_drift;
        const float half = o.high * sqrtf(fmaxf(room, 0.0f)) + 0.1f;  // larger than in `touches`
        const int first = int(fmaxf((row - half) / TILE, 0.0f)), last = int(fminf((row + half) / TILE, bands - 0.5f));
        for (int band = first; row + half >= 0.0f && band <= last; ++band) {
            const int list = plane * bands + band, at = atomicAdd(counts + list, 1);
            if (at < capacity) entries[i64(list) * capacity + at] = int(n);
        }
    }
}

// Gaussians in the order of depth: depths (N,) ascending, ids (N,).
struct ByDepth {
    i64 count;
    const double* depths;
    const i64* ids;
    __device__ __forceinline__ i64 below(double depth) const
    {
        i64 low = 0, high = count;
        while (low < high) {
            const i64 middle = (low + high) / 2;
            if (depths[middle] < depth) low = middle + 1; else high = middle;
        }
        return low;
    }
};

// The order of compositing: nearest to the plane first, and by index where distances are equal.
struct Key {
    double distance;
    int id;
    __device__ __forceinline__ bool before(const Key& other) const
    {
        return distance < other.distance || (distance == other.distance && id < other.id);
    }
};

// One Gaussian on one tile.  row, column: of the tile's corner, relative to the centre.  high, wide: half its extent on
// the plane.  unit_u, unit_v: factors that bring u and v into units where q is 1.  in_t: t in such units.
struct alignas(16) Entry {
    real row, column, across, along, shear, t, rest, weight, high, wide, unit_u, unit_v, in_t;
    int id;
    // Which of the entries from `first` on may reach the 4 rows x 8 columns of a warp, as a bit for each.
    static __device__ __forceinline__ unsigned seen(const Entry* entries, int first, int size, int warp, int lane)
    {
        bool reaches = false;
        if (first + lane < size) {
            const Entry& e = entries[first + lane];
            const real row = e.row + real(warp / (TILE / 8) * 4) + real(1.5);
            const real column = e.column + real(warp % (TILE / 8) * 8) + real(3.5);
            reaches = abs(row) <= e.high + real(1.51) && abs(column) <= e.wide + real(3.51);
        }
        return __ballot_sync(FULL_WARP, reaches);
    }
};

struct Tile {
    int plane, place, row, column;
    double depth;
};

__device__ __forceinline__ bool touches(const Outline& o, const Stack& stack, const Tile& tile, double cutoff)
{
    // Pixel indices cancel badly in float32, so everything is taken a little larger than it is.
    const float t = float(tile.depth) - o.depth, room = float(cutoff) * 1.01f - o.through * t * t;
    if (!(room >= 0.0f)) return false;
    const float reach = sqrtf(room), half = 0.5f * (TILE - 1) + 0.02f;
    const float row = o.row + t * o.row_drift - float(stack.rows[tile.plane] + tile.row) - 0.5f * (TILE - 1);
    const float column = o.column + t * o.column_drift - float(stack.columns[tile.plane] + tile.column)
                         - 0.5f * (TILE - 1);
    return fabsf(row) <= o.high * reach + half && fabsf(column) <= o.wide * reach + half;
}

// Sorts the first `count` keys.  Overwrites what follows them, up to the next power of two.  All threads of the block
// must call it.
__device__ __forceinline__ void sort_keys(Key* keys, int count)
{
    int size = 1;
    while (size < count) size *= 2;
    for (int n = count + threadIdx.x; n < size; n += blockDim.x) keys[n] = {1e300, 0x7fffffff};
    __syncthreads();
    for (int run = 2; run <= size; run *= 2)
        for (int gap = run / 2; gap; gap /= 2) {
            for (int n = threadIdx.x; n < size / 2; n += blockDim.x) {
                const int low = n / gap * 2 * gap + n % gap, high = low + gap;
                const Key a = keys[low], b = keys[high];
                if (((low & run) == 0) != a.before(b)) keys[low] = b, keys[high] = a;
            }
            __syncthreads();
        }
}

// Calls visit(entries, lines, channels, n) for the Gaussians on a tile, front to back, n at a time.  lines and channels
// have an item for each slot of each entry.  All threads of the block must call it.  If a tile has more Gaussians than
// fit, it looks through the list again for the next ones.
template <class Visit>
__device__ __forceinline__ void front_to_back(const Cloud& cloud, const Stack& stack, const Tile& tile, double cutoff,
                                              const ByDepth& sorted, const Outline* outlines, const Lists& lists,
                                              float reach, Visit visit)
{
    __shared__ Key keys[MOST_SORTED];
    __shared__ Entry entries[BATCH];
    __shared__ Line lines[MOST_SLOTS];
    __shared__ int channels[MOST_SLOTS];
    __shared__ int found;
    const int thread = threadIdx.x, threads = blockDim.x;
    const int batch = min(BATCH, MOST_SLOTS / max(cloud.slots, 1));
    const int list = tile.plane * ((stack.height + TILE - 1) / TILE) + tile.row / TILE;
    const bool listed = lists.counts[list] <= lists.capacity;
    const int* const entry = lists.entries + i64(list) * lists.capacity;
    const i64 begin = listed ? 0 : sorted.below(tile.depth - reach);
    const i64 end = listed ? lists.counts[list] : sorted.below(tile.depth + reach * 1.000001 + 1e-12);
    Key last = {-1.0, -1};
    bool more = true;
    while (more) {
        more = false;
        Key limit = {1e300, 0x7fffffff};
        __syncthreads();
        if (thread == 0) found = 0;
        __syncthreads();
        for (i64 at = begin; at < end; at += ROUNDS * threads) {
            bool touched[ROUNDS];
            i64 candidates[ROUNDS];
#pragma unroll
            for (int n = 0; n < ROUNDS; ++n) {
                const i64 number = at + n * threads + thread;
                candidates[n] = number < end && listed ? entry[number] : number;
                touched[n] = number < end && touches(outlines[candidates[n]], stack, tile, cutoff);
            }
#pragma unroll
            for (int n = 0; n < ROUNDS; ++n) {
                if (!touched[n]) continue;
                const i64 candidate = candidates[n];
                const Key key = {fabs(sorted.depths[candidate] - tile.depth), int(sorted.ids[candidate])};
                if (last.before(key) && key.before(limit)) keys[atomicAdd(&found, 1)] = key;
            }
            __syncthreads();
            const int so_far = found;
            __syncthreads();
            if (so_far > MOST_SORTED - ROUNDS * threads) {  // keep the nearest, leave the others for later
                sort_keys(keys, so_far);
                limit = keys[MOST_KEPT - 1];
                more = true;
                if (thread == 0) found = MOST_KEPT;
                __syncthreads();
            }
        }
        int count = found;
        sort_keys(keys, count);
        if (count > MOST_KEPT) count = MOST_KEPT, more = true;
        if (count) last = keys[count - 1];
        for (int from = 0; from < count; from += batch) {
            const int size = min(batch, count - from);
            for (int n = thread; n < size; n += threads) {
                const int id = keys[from + n].id;
                const Form f = split(cloud, stack, id);
                const double t = tile.depth - f.depth, rest = f.through * t * t;
                const real across = real(f.across), along = real(f.along), shear = real(f.shear);
                const real room = max(real(cutoff - rest), real(0)) * real(1.0001), root = sqrt(real(rest));
                entries[n] = {real(tile.row - (f.row + t * f.row_drift - stack.rows[tile.plane])),
                              real(tile.column - (f.column + t * f.column_drift - stack.columns[tile.plane])),
                              across, along, shear, real(t), real(rest), cloud.weights[id], sqrt(room / along),
                              sqrt(room / across + shear * shear * (room / along)), sqrt(across), sqrt(along),
                              t < 0 ? -root : root, id};
                for (int s = 0; s < cloud.slots; ++s) {
                    lines[n * cloud.slots + s] = line_of(cloud, stack, f, id, s);
                    channels[n * cloud.slots + s] = cloud.channels[i64(id) * cloud.slots + s];
                }
            }
            __syncthreads();
            visit(entries, lines, channels, size);
            __syncthreads();
        }
    }
}

#define TILE_ARGUMENTS                                                                                                \
    i64 channel_count, double cutoff, const double *sorted_depths, const i64 *sorted_ids, const Outline *outlines,    \
        i64 capacity, int *counts, int *entries, const float *bounds
#define TILE_AND_PIXEL                                                                                                \
    CLOUD_AND_STACK                                                                                                   \
    const ByDepth sorted = {count, sorted_depths, sorted_ids};                                                        \
    const Lists lists = {int(capacity), counts, entries};                                                             \
    const int across_tiles = (stack.width + TILE - 1) / TILE, down_tiles = (stack.height + TILE - 1) / TILE;          \
    const int number = blockIdx.x % (across_tiles * down_tiles), plane = blockIdx.x / (across_tiles * down_tiles);    \
    const Tile tile = {plane, int(stack.places[plane]), number / across_tiles * TILE, number % across_tiles * TILE,   \
                       stack.depths[plane]};                                                                          \
    /* A warp covers 4 rows x 8 columns. */                                                                           \
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;                                                       \
    const int row = warp / (TILE / 8) * 4 + lane / 8, column = warp % (TILE / 8) * 8 + lane % 8;                      \
    const bool inside = tile.row + row < stack.height && tile.column + column < stack.width;                          \
    const i64 area = i64(stack.height) * stack.width;                                                                 \
    const i64 pixel = i64(tile.row + row) * stack.width + tile.column + column;

// Composites drawn (planes, channels, height, width), which must be 0 before, and weight_sum.  One block a tile.
extern "C" __global__ __launch_bounds__(TILE_THREADS, TILES_AT_ONCE) void
composite(CLOUD_ARGUMENTS, STACK_ARGUMENTS, TILE_ARGUMENTS, real* drawn, real* weight_sum)
{
    TILE_AND_PIXEL
    real light = 1, image = 0, weight = 0;
    real* to = drawn + tile.place * channel_count * area + pixel;
    front_to_back(cloud, stack, tile, cutoff, sorted, outlines, lists, bounds[3],
                  [&](const Entry* entries, const Line* lines, const int* channels_of, int size) {
        for (int first = 0; first < size; first += 32)
            for (unsigned seen = Entry::seen(entries, first, size, warp, lane); seen; seen &= seen - 1) {
                const int n = first + __ffs(seen) - 1;
                const Entry& e = entries[n];
                const real v = e.row + row, u = e.column + column + e.shear * v;
                const real q = e.across * u * u + e.along * v * v + e.rest;
                if (!(inside && q <= real(cutoff))) continue;
                const real share = min(e.weight * exponential(real(-0.5) * q), MAX_ALPHA) * light;
                light -= share;
                weight += share;
                for (int s = n * cloud.slots; s < (n + 1) * cloud.slots; ++s) {
                    const int channel = channels_of[s];
                    const real part = share * lines[s].at(u, v, e.t);
                    if (channel == 0) image += part; else to[channel * area] += part;  // no other thread has this pixel
                }
            }
    });
    if (!inside) return;
    to[0] = image;
    weight_sum[tile.place * area + pixel] = weight;
}

// No moment of one pixel exceeds this.  gains: from `prepare`.  Lengths are in units where q is 1.
__device__ __forceinline__ float largest_moment(const float* gains, const float* bounds, i64 slots, double cutoff)
{
    const float gain = gains[1] + gains[0] * (bounds[2] * slots + 1);
    static_assert(204 * (1 - MAX_ALPHA) > 2, "`pull` of `peel` may be 2 / (1 - MAX_ALPHA) as large, and a little more");
    return 204.0f * gain * fmaxf(float(cutoff), 1.0f);
}

// Adds to moments (N, SHAPE_MOMENTS + SLOT_MOMENTS * slots), scaled integers.
extern "C" __global__ __launch_bounds__(TILE_THREADS, TILES_AT_ONCE) void
peel(CLOUD_ARGUMENTS, STACK_ARGUMENTS, TILE_ARGUMENTS, const real* source, const float* gains, u64* moments)
{
    TILE_AND_PIXEL
    const float largest = largest_moment(gains, bounds, slots, cutoff);
    if (!usable(largest)) return;
    const real scale = scale_for(largest, planes * area);
    const i64 volume = planes * area, moment_count = SHAPE_MOMENTS + SLOT_MOMENTS * slots;
    const real* from = source + tile.place * area + pixel;
    // What lies behind a Gaussian is the whole result less what lies in front.  So one pass from the front is enough.
    real light = 1, behind = inside ? from[(channel_count + 1) * volume] : real(0);
    const real own = inside ? from[channel_count * volume] : real(0), image_wanted = inside ? from[0] : real(0);
    front_to_back(cloud, stack, tile, cutoff, sorted, outlines, lists, bounds[3],
                  [&](const Entry* entries, const Line* lines, const int* channels_of, int size) {
        for (int first = 0; first < size; first += 32)
            for (unsigned seen = Entry::seen(entries, first, size, warp, lane); seen; seen &= seen - 1) {
                const int n = first + __ffs(seen) - 1;
                const Entry& e = entries[n];
                const real v = e.row + row, u = e.column + column + e.shear * v;
                const real q = e.across * u * u + e.along * v * v + e.rest;
                const bool hit = inside && q <= real(cutoff);
                const real shape = hit ? exponential(real(-0.5) * q) : real(0), raw = e.weight * shape;
                const real opacity = min(raw, MAX_ALPHA), share = opacity * light;
                // In units where q is 1, moments are about as large as the gradient itself.
                const real in_u = u * e.unit_u, in_v = v * e.unit_v, in_t = e.in_t;
                u64* to = moments + e.id * moment_count;
                real gain = own, sums[WARP_SUMS] = {};
                for (int s = 0; s < cloud.slots; ++s) {
                    const int channel = channels_of[n * cloud.slots + s];
                    const real wanted = channel == 0 ? image_wanted : hit ? from[channel * volume] : real(0);
                    const real pull = share * wanted;
                    gain += wanted * lines[n * cloud.slots + s].at(u, v, e.t);
                    if (s == 0) {  // is summed together with the shape
                        sums[SHAPE_MOMENTS] = pull, sums[SHAPE_MOMENTS + 1] = pull * in_u;
                        sums[SHAPE_MOMENTS + 2] = pull * in_v, sums[SHAPE_MOMENTS + 3] = pull * in_t;
                        continue;
                    }
                    const real part[SLOT_MOMENTS] = {pull, pull * in_u, pull * in_v, pull * in_t};
                    for (int m = 0; m < SLOT_MOMENTS; ++m) {
                        const real total = over_warp(part[m]);
                        if (lane == m) add(to + SHAPE_MOMENTS + SLOT_MOMENTS * s + m, total * scale);
                    }
                }
                const real later = behind - share * gain;
                const real pull = raw > MAX_ALPHA ? real(0) : shape * (light * gain - quotient(later, 1 - opacity));
                if (hit) behind = later, light -= share;
                const real pull_u = pull * in_u, pull_v = pull * in_v, pull_t = pull * in_t;
                sums[0] = pull, sums[1] = pull_u, sums[2] = pull_v, sums[3] = pull_t;
                sums[4] = pull_u * in_u, sums[5] = pull_u * in_v, sums[6] = pull_u * in_t;
                sums[7] = pull_v * in_v, sums[8] = pull_v * in_t, sums[9] = pull_t * in_t;
                const real total = sixteen_over_warp(sums, lane);
                const int moment = lane / 2;
                if (lane % 2 == 0
                    && moment < min(SHAPE_MOMENTS + SLOT_MOMENTS * int(slots), SHAPE_MOMENTS + SLOT_MOMENTS))
                    add(to + moment, total * scale);
            }
    });
}

// Turns the moments of `peel` into gradients.
extern "C" __global__ __launch_bounds__(HEAVY_THREADS) void
finish(CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, const float* bounds, const float* gains, const u64* moments,
       GRADIENT_ARGUMENTS)
{
    CLOUD_AND_STACK
    const Gradients gradients = GRADIENTS;
    const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= cloud.count) return;
    const float largest = largest_moment(gains, bounds, slots, cutoff);
    const real scale = usable(largest) ? real(1) / scale_for(largest, planes * height * width) : not_a_number();
    const Form f = split(cloud, stack, i);
    real basis[3][3], slot_pull[3] = {0, 0, 0}, shape[SHAPE_MOMENTS], slot[SLOT_MOMENTS];
    basis_of(stack, f, basis);
    const bool there = f.through > 0.0;
    const real unit_u = there ? real(1) / sqrt(real(f.across)) : real(0);
    const real unit_v = there ? real(1) / sqrt(real(f.along)) : real(0);
    const real unit_t = there ? real(1) / sqrt(real(f.through)) : real(0);
    const real units[SHAPE_MOMENTS] = {1, unit_u, unit_v, unit_t, unit_u * unit_u, unit_u * unit_v, unit_u * unit_t,
                                       unit_v * unit_v, unit_v * unit_t, unit_t * unit_t};
    const u64* from = moments + i * (SHAPE_MOMENTS + SLOT_MOMENTS * slots);
    for (int s = 0; s < cloud.slots; ++s) {
        for (int m = 0; m < SLOT_MOMENTS; ++m)
            slot[m] = real(i64(from[SHAPE_MOMENTS + SLOT_MOMENTS * s + m])) * scale * units[m];
        finish_slot(cloud, i * cloud.slots + s, basis, slot, gradients, slot_pull);
    }
    for (int m = 0; m < SHAPE_MOMENTS; ++m) shape[m] = real(i64(from[m])) * scale * units[m];
    finish_shape(cloud, i, basis, shape, gradients, slot_pull);
}
