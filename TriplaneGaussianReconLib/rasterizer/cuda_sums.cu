// The rasterizer in the modes that are sums, `normalised` and `additive`.

#define CROWD 512  // a Gaussian that reaches more pixels than this is drawn by a whole warp

// ---- sections of Gaussians with planes

// A Gaussian's section with one plane: the box of pixels that it may reach, and what q needs.
struct Section {
    unsigned pixel;     // number of the box's first pixel, counted over all planes of the stack
    int top, left;      // of the box, on the plane
    int rows, columns;  // of the box
    real row, column;   // of the first pixel, relative to the centre
    real across, along, shear, t, rest;  // rest: through * t^2
};

// Returns false if the Gaussian does not reach the plane.  The box is a little too large: q decides about each pixel.
__device__ __forceinline__ bool section(const Form& f, const Stack& stack, int plane, double cutoff, Section& s)
{
    const double t = stack.depths[plane] - f.depth, rest = f.through * t * t;
    if (!(rest <= cutoff)) return false;
    const double centre_row = f.row + t * f.row_drift - stack.rows[plane];
    const double centre_column = f.column + t * f.column_drift - stack.columns[plane];
    s.across = real(f.across), s.along = real(f.along), s.shear = real(f.shear), s.t = real(t), s.rest = real(rest);
    const real room = real(cutoff - rest) * real(1.00001);
    const double high = sqrt(room / s.along), wide = sqrt(room / s.across + s.shear * s.shear * (room / s.along));
    const double top = max(ceil(centre_row - high), 0.0), bottom = min(floor(centre_row + high), stack.height - 1.0);
    const double left = max(ceil(centre_column - wide), 0.0);
    const double right = min(floor(centre_column + wide), stack.width - 1.0);
    if (!(top <= bottom && left <= right)) return false;
    s.top = int(top), s.left = int(left);
    s.rows = int(bottom) - s.top + 1, s.columns = int(right) - s.left + 1;
    s.row = real(top - centre_row), s.column = real(left - centre_column);
    s.pixel = (unsigned(stack.places[plane]) * stack.height + s.top) * stack.width + s.left;
    return true;
}

// One row of a section.  v: of the row.  u: of its first pixel; it grows by 1 per pixel.  rest: q where u is 0.
struct Row {
    unsigned pixel;
    real u, v, rest;
};

__device__ __forceinline__ Row row_of(const Section& s, const Stack& stack, int r)
{
    const real v = s.row + real(r);
    return {s.pixel + unsigned(r) * stack.width, s.column + s.shear * v, v, s.along * v * v + s.rest};
}

// Whether a Gaussian reaches so many pixels that a whole warp should share them.
__device__ __forceinline__ bool crowded(const Form& f, const Reach& reach, double cutoff)
{
    if (reach.first == reach.end) return false;
    const real high = real(1) / real(f.along), shear = real(f.shear);
    const real wide = real(1) / real(f.across) + shear * shear * high;
    return real(4 * cutoff) * sqrt(wide * high) * real(reach.end - reach.first) > real(CROWD);
}

// Which pixels of a section a thread visits: all of them, or one of every 4 rows x 8 columns, a warp together.
struct Share {
    int first_row, row_step, first_column, column_step;
};

__device__ __forceinline__ Share whole() { return {0, 1, 0, 1}; }
__device__ __forceinline__ Share of_lane(int lane) { return {lane / 8, 4, lane % 8, 8}; }

// ---- forward

// What one Gaussian adds to pixels: SLOTS slots from `begin` on, and its weight if `begin` is 0.  Pointers are null for
// what does not exist or is zero.
template <int SLOTS>
struct Paint {
    real weight, weight_scale, value_scale;
    u64 *weight_sum, *sums[SLOTS];
    Line lines[SLOTS];
};

template <int SLOTS>
__device__ __forceinline__ Paint<SLOTS> paint_of(const Cloud& cloud, const Stack& stack, const Form& f, i64 i,
                                                 int begin, i64 channel_count, const float* bounds, u64* sums)
{
    const i64 volume = i64(stack.planes) * stack.height * stack.width;
    Paint<SLOTS> paint;
    paint.weight = cloud.weights[i];
    paint.weight_scale = scale_for(bounds[0], cloud.count);
    paint.value_scale = scale_for(bounds[1], cloud.count * cloud.slots);
    paint.weight_sum = begin == 0 ? sums + channel_count * volume : nullptr;
#pragma unroll
    for (int s = 0; s < SLOTS; ++s) {
        paint.sums[s] = nullptr;
        paint.lines[s] = Line{0, 0, 0, 0};
        if (begin + s >= cloud.slots) continue;
        const Line line = paint.lines[s] = line_of(cloud, stack, f, i, begin + s);
        if (line.level != 0 || line.u != 0 || line.v != 0 || line.t != 0)
            paint.sums[s] = sums + cloud.channels[i * cloud.slots + begin + s] * volume;
    }
    return paint;
}

// Draws one Gaussian, whose pixels the warp shares.
template <int SLOTS>
__device__ __forceinline__ void scatter_alone(const Stack& stack, const Form& f, const Reach& reach, double cutoff,
                                              const Paint<SLOTS>& paint, int lane)
{
    const Share share = of_lane(lane);
    for (int plane = reach.first; plane < reach.end; ++plane) {
        Section s;
        if (!section(f, stack, plane, cutoff, s)) continue;
        for (int r = share.first_row; r < s.rows; r += share.row_step) {
            const Row row = row_of(s, stack, r);
            for (int c = share.first_column; c < s.columns; c += share.column_step) {
                const real u = row.u + real(c), q = s.across * u * u + row.rest;
                if (!(q <= real(cutoff))) continue;
                const real drawn = paint.weight * exponential(real(-0.5) * q);
                if (paint.weight_sum) add(paint.weight_sum + row.pixel + c, drawn * paint.weight_scale);
#pragma unroll
                for (int n = 0; n < SLOTS; ++n)
                    if (paint.sums[n])
                        add(paint.sums[n] + row.pixel + c,
                            drawn * paint.lines[n].at(u, row.v, s.t) * paint.value_scale);
            }
        }
    }
}

// The smallest and the largest number of the warp.
__device__ __forceinline__ int least(int number)
{
    for (int step = 16; step; step >>= 1) number = min(number, __shfl_xor_sync(FULL_WARP, number, step));
    return number;
}
__device__ __forceinline__ int most(int number) { return -least(-number); }

// Aligns the boxes of a warp, if that moves none by more than one pixel: all begin in the same row, and each begins one
// column after that of the lane before.  `s` then begins `up` rows and `back` columns before the box.
__device__ __forceinline__ void line_up(const Stack& stack, int lane, bool there, Section& s, int& up, int& back)
{
    const int far = 1 << 28, top = least(there ? s.top : far), left = least(there ? s.left - lane : far);
    const bool close = top >= most(there ? s.top : -far) - 1 && left >= most(there ? s.left - lane : -far) - 1;
    up = close && there ? s.top - top : 0;
    back = close && there ? s.left - lane - left : 0;
    s.pixel -= unsigned(up) * stack.width + back;
    s.row -= real(up), s.column -= real(back);
}

// Draws the Gaussians of a warp side by side.  Neighbours in memory are usually neighbours in space.  While all lanes
// move along a row, each hands its sum for a pixel to the lane before it, which visits that pixel next.  Only sums that
// no lane takes go to memory.  Sums are integers, so this saves time and changes no result.
template <int SLOTS>
__device__ __forceinline__ void scatter_together(const Stack& stack, const Form& f, const Reach& reach, double cutoff,
                                                 const Paint<SLOTS>& paint, int lane)
{
    bool same[SLOTS + 1];  // whether the next lane adds to the same channel
    for (int n = 0; n <= SLOTS; ++n) {
        const u64 own = u64(n < SLOTS ? paint.sums[n < SLOTS ? n : 0] : paint.weight_sum);
        same[n] = __shfl_down_sync(FULL_WARP, own, 1) == own && own;
    }
    for (int plane = reach.first; __any_sync(FULL_WARP, plane < reach.end); ++plane) {
        Section s = {};
        const bool there = plane < reach.end && section(f, stack, plane, cutoff, s);
        int up, back;
        line_up(stack, lane, there, s, up, back);
        const int rows = there ? up + s.rows : 0, columns = there ? back + s.columns : 0;
        for (int r = 0; __any_sync(FULL_WARP, r < rows); ++r) {
            const bool here = r < rows;
            const Row row = row_of(s, stack, r);
            // Lanes without a row get numbers that are next to no pixel and to no other lane's.
            unsigned pixel = here ? row.pixel : 0xf0000000u + lane * 0x10000u;
            const bool next = __shfl_down_sync(FULL_WARP, pixel, 1) == pixel + 1 && lane < 31;  // hands on to this lane
            const bool taken = __shfl_up_sync(FULL_WARP, pixel, 1) == pixel - 1 && lane > 0;    // takes from this lane
            real level[SLOTS];
            i64 sums[SLOTS + 1];
            bool give[SLOTS + 1];
#pragma unroll
            for (int n = 0; n <= SLOTS; ++n) {
                if (n < SLOTS) level[n] = paint.lines[n].level + paint.lines[n].v * row.v + paint.lines[n].t * s.t;
                sums[n] = 0;
                const bool same_before = __shfl_up_sync(FULL_WARP, int(same[n]), 1);
                give[n] = taken && same_before;
            }
            for (int c = 0; __any_sync(FULL_WARP, here && c < columns); ++c, ++pixel) {
                const real u = row.u + real(c), q = s.across * u * u + row.rest;
                if (here && r >= up && c >= back && c < columns && q <= real(cutoff)) {
                    const real drawn = paint.weight * exponential(real(-0.5) * q);
                    sums[SLOTS] += nearest(drawn * paint.weight_scale);
                    const real scaled = drawn * paint.value_scale;
#pragma unroll
                    for (int n = 0; n < SLOTS; ++n) sums[n] += nearest(scaled * (level[n] + paint.lines[n].u * u));
                }
#pragma unroll
                for (int n = 0; n <= SLOTS; ++n) {
                    u64* const to = n < SLOTS ? paint.sums[n < SLOTS ? n : 0] : paint.weight_sum;
                    if (to && sums[n] && !give[n]) atomicAdd(to + pixel, u64(sums[n]));
                    const i64 handed = __shfl_down_sync(FULL_WARP, sums[n], 1);
                    sums[n] = next && same[n] ? handed : 0;
                }
            }
#pragma unroll
            for (int n = 0; n <= SLOTS; ++n) {
                u64* const to = n < SLOTS ? paint.sums[n < SLOTS ? n : 0] : paint.weight_sum;
                if (to && sums[n]) atomicAdd(to + pixel, u64(sums[n]));
            }
        }
    }
}

// Adds all Gaussians to sums (channels + 1, planes, height, width), scaled integers.  The last channel is the weight.
template <int SLOTS>
__device__ __forceinline__ void scatter_all(const Cloud& cloud, const Stack& stack, double cutoff, i64 channel_count,
                                            const float* bounds, u64* sums)
{
    if (!usable(bounds[0]) || !usable(bounds[1])) return;
    const i64 own = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    const int lane = threadIdx.x % 32;
    const Form f = own < cloud.count ? split(cloud, stack, own) : Form{};
    const Reach reach = reach_of(f, stack, cutoff);
    const bool busy = crowded(f, reach, cutoff);
    for (int begin = 0; begin == 0 || begin < cloud.slots; begin += SLOTS) {
        Paint<SLOTS> paint = {};
        if (own < cloud.count) paint = paint_of<SLOTS>(cloud, stack, f, own, begin, channel_count, bounds, sums);
        scatter_together(stack, f, busy ? Reach{0, 0} : reach, cutoff, paint, lane);
    }
    for (unsigned waiting = __ballot_sync(FULL_WARP, busy); waiting; waiting &= waiting - 1) {
        const i64 i = __shfl_sync(FULL_WARP, own, __ffs(waiting) - 1);
        const Form other = split(cloud, stack, i);
        const Reach far = reach_of(other, stack, cutoff);
        for (int begin = 0; begin == 0 || begin < cloud.slots; begin += SLOTS)
            scatter_alone(stack, other, far, cutoff,
                          paint_of<SLOTS>(cloud, stack, other, i, begin, channel_count, bounds, sums), lane);
    }
}

#define SCATTER_ARGUMENTS                                                                                             \
    CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, i64 channel_count, const float *bounds, u64 *sums
#define SCATTER(SLOTS)                                                                                                \
    CLOUD_AND_STACK                                                                                                   \
    scatter_all<SLOTS>(cloud, stack, cutoff, channel_count, bounds, sums);

extern "C" __global__ __launch_bounds__(HEAVY_THREADS, 6) void scatter_image(SCATTER_ARGUMENTS) { SCATTER(1) }
extern "C" __global__ __launch_bounds__(HEAVY_THREADS) void scatter_slots(SCATTER_ARGUMENTS) { SCATTER(3) }

// Turns sums into channels (planes, channels, height, width) and weight_sum (planes, height, width).
extern "C" __global__ __launch_bounds__(LIGHT_THREADS) void
resolve(i64 count, i64 slots, i64 planes, i64 area, i64 channel_count, i64 normalised, const float* bounds,
        const u64* sums, real* channels, real* weight_sum)
{
    const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (n >= planes * area) return;
    const bool fine = usable(bounds[0]) && usable(bounds[1]);
    const real weight_unit = real(1) / scale_for(bounds[0], count);
    const real value_unit = real(1) / scale_for(bounds[1], count * slots);
    const i64 plane = n / area, pixel = n % area;
    const real weight = fine ? real(i64(sums[channel_count * planes * area + n])) * weight_unit : not_a_number();
    const real factor = normalised ? value_unit / (weight + EPSILON) : value_unit;
    weight_sum[n] = weight;
    for (i64 c = 0; c < channel_count; ++c)
        channels[(plane * channel_count + c) * area + pixel] =
            fine ? real(i64(sums[c * planes * area + n])) * factor : not_a_number();
}

// ---- backward

// Sums over the pixels of one Gaussian.  shape: of dL / d(w G) * G times 1, u, v, t, uu, uv, ut, vv, vt, tt.  Without
// gradients of centre and precision only the first is needed.  slot: of dL / d(value) times 1, u, v, t.
template <int SLOTS>
struct Moments {
    real shape[SHAPE_MOMENTS], slot[SLOTS][SLOT_MOMENTS];
    __device__ __forceinline__ void clear()
    {
        for (int n = 0; n < SHAPE_MOMENTS; ++n) shape[n] = 0;
    }
    __device__ __forceinline__ void clear_slots()
    {
        for (int s = 0; s < SLOTS; ++s)
            for (int n = 0; n < SLOT_MOMENTS; ++n) slot[s][n] = 0;
    }
    // Adds a row of pixels, from its sums with 1, u and u^2.
    template <bool FULL>
    __device__ __forceinline__ void add_row(real v, real t, real one, real one_u, real one_uu, const real* slots,
                                            const real* slots_u)
    {
        shape[0] += one;
        if (FULL) {
            const real one_v = one * v, one_t = one * t;
            shape[1] += one_u, shape[2] += one_v, shape[3] += one_t;
            shape[4] += one_uu, shape[5] += one_u * v, shape[6] += one_u * t;
            shape[7] += one_v * v, shape[8] += one_v * t, shape[9] += one_t * t;
        }
#pragma unroll
        for (int s = 0; s < SLOTS; ++s) {
            slot[s][0] += slots[s], slot[s][1] += slots_u[s];
            slot[s][2] += slots[s] * v, slot[s][3] += slots[s] * t;
        }
    }
};

// Adds the pixels of one Gaussian to its moments: of SLOTS slots from `begin` on, and of its weight if `begin` is 0.
template <int SLOTS, bool FULL>
__device__ __forceinline__ void collect(const Cloud& cloud, const Stack& stack, const Form& f, const Reach& reach,
                                        double cutoff, i64 i, int begin, i64 channel_count, const real* source,
                                        const Share& share, Moments<SLOTS>& sums)
{
    const i64 volume = i64(stack.planes) * stack.height * stack.width;
    const real* const own = source + channel_count * volume;
    const real* wanted[SLOTS];
    Line lines[SLOTS];
#pragma unroll
    for (int n = 0; n < SLOTS; ++n) {
        const bool there = begin + n < cloud.slots;
        wanted[n] = there ? source + cloud.channels[i * cloud.slots + begin + n] * volume : nullptr;
        lines[n] = there ? line_of(cloud, stack, f, i, begin + n) : Line{0, 0, 0, 0};
    }
    for (int plane = reach.first; plane < reach.end; ++plane) {
        Section s;
        if (!section(f, stack, plane, cutoff, s)) continue;
        for (int r = share.first_row; r < s.rows; r += share.row_step) {
            const Row row = row_of(s, stack, r);
            real level[SLOTS], slot[SLOTS], slot_u[SLOTS], one = 0, one_u = 0, one_uu = 0;
#pragma unroll
            for (int n = 0; n < SLOTS; ++n) {
                level[n] = lines[n].level + lines[n].v * row.v + lines[n].t * s.t;
                slot[n] = slot_u[n] = 0;
            }
            for (int c = share.first_column; c < s.columns; c += share.column_step) {
                const real u = row.u + real(c), q = s.across * u * u + row.rest;
                if (!(q <= real(cutoff))) continue;
                const real shape = exponential(real(-0.5) * q);
                real pull = begin == 0 ? own[row.pixel + c] : real(0);
#pragma unroll
                for (int n = 0; n < SLOTS; ++n) {
                    if (SLOTS > 1 && !wanted[n]) continue;
                    const real here = wanted[n][row.pixel + c], shaped = shape * here;
                    pull += here * (level[n] + lines[n].u * u);
                    slot[n] += shaped, slot_u[n] += shaped * u;
                }
                pull *= shape;
                one += pull;
                if (FULL) one_u += pull * u, one_uu += pull * u * u;
            }
            sums.template add_row<FULL>(row.v, s.t, one, one_u, one_uu, slot, slot_u);
        }
    }
}

// Collects the gradients of one Gaussian, SLOTS slots in each round over its pixels.  together: the warp shares them.
// mine: this thread writes the result.
template <int SLOTS, bool FULL>
__device__ __forceinline__ void gather_one(const Cloud& cloud, const Stack& stack, const Form& f, const Reach& reach,
                                           double cutoff, i64 i, i64 channel_count, const real* source,
                                           const Gradients& gradients, int lane, bool together, bool mine)
{
    real basis[3][3], slot_pull[3] = {0, 0, 0};
    Moments<SLOTS> sums;
    sums.clear();
    for (int begin = 0; begin == 0 || begin < cloud.slots; begin += SLOTS) {
        sums.clear_slots();
        collect<SLOTS, FULL>(cloud, stack, f, reach, cutoff, i, begin, channel_count, source,
                             together ? of_lane(lane) : whole(), sums);
        basis_of(stack, f, basis);
#pragma unroll
        for (int n = 0; n < SLOTS; ++n) {
            if (together)
                for (int m = 0; m < SLOT_MOMENTS; ++m) sums.slot[n][m] = over_warp(sums.slot[n][m]);
            const real weight = cloud.weights[i];
            for (int m = 0; m < SLOT_MOMENTS; ++m) sums.slot[n][m] *= weight;
            if (mine && begin + n < cloud.slots)
                finish_slot(cloud, i * cloud.slots + begin + n, basis, sums.slot[n], gradients, slot_pull);
        }
    }
    if (together)
        for (int m = 0; m < (FULL ? SHAPE_MOMENTS : 1); ++m) sums.shape[m] = over_warp(sums.shape[m]);
    if (mine) finish_shape(cloud, i, basis, sums.shape, gradients, slot_pull);
}

// Collects the gradients of all Gaussians: one thread each, or a warp for one that is crowded.
template <int SLOTS, bool FULL>
__device__ __forceinline__ void gather_all(const Cloud& cloud, const Stack& stack, double cutoff, i64 channel_count,
                                           const real* source, const Gradients& gradients)
{
    const i64 own = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    const int lane = threadIdx.x % 32;
    unsigned waiting = 0;
    bool together = false, mine = own < cloud.count;
    i64 i = own;
    // In the first turn every thread takes its own Gaussian; in each further one the warp takes a crowded one.
    while (true) {
        const Form f = i < cloud.count ? split(cloud, stack, i) : Form{};
        const Reach reach = reach_of(f, stack, cutoff);
        if (!together) {
            const bool busy = crowded(f, reach, cutoff);
            waiting = __ballot_sync(FULL_WARP, busy);
            mine = mine && !busy;
        }
        if (together || mine)
            gather_one<SLOTS, FULL>(cloud, stack, f, reach, cutoff, i, channel_count, source, gradients, lane, together,
                                    mine);
        if (!waiting) return;
        const int turn = __ffs(waiting) - 1;
        waiting &= waiting - 1;
        i = __shfl_sync(FULL_WARP, own, turn);
        together = true, mine = lane == turn;
    }
}

#define GATHER_ARGUMENTS                                                                                              \
    CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, i64 channel_count, const real *source, GRADIENT_ARGUMENTS
#define GATHER(SLOTS, FULL)                                                                                           \
    CLOUD_AND_STACK                                                                                                   \
    gather_all<SLOTS, FULL>(cloud, stack, cutoff, channel_count, source, GRADIENTS);

extern "C" __global__ __launch_bounds__(HEAVY_THREADS, 6) void gather_image(GATHER_ARGUMENTS) { GATHER(1, true) }
extern "C" __global__ __launch_bounds__(HEAVY_THREADS) void gather_image_values(GATHER_ARGUMENTS) { GATHER(1, false) }
extern "C" __global__ __launch_bounds__(HEAVY_THREADS) void gather_slots(GATHER_ARGUMENTS) { GATHER(6, true) }
extern "C" __global__ __launch_bounds__(HEAVY_THREADS) void gather_slots_values(GATHER_ARGUMENTS) { GATHER(6, false) }
