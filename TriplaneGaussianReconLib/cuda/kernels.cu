// What runs on NVIDIA GPUs: the rasterizer (launched by rasterizer/cuda.py, defined in rasterizer/__init__.py), the
// activations (activation.py) and the tri-plane field (field.py).
//
// Self-contained: compiled by NVRTC for REAL = float or double, without any header.  Kernels take integers as long
// long, numbers as double, arrays as pointers.
//
// Geometry, as in `cpu_kernels`.  On a stack of parallel planes, with t the signed distance of a plane from a centre,
//     x - centre = u * B_u + v * B_v + t * B_t,    q = across * u^2 + along * v^2 + through * t^2,
// where B_u is the column step, B_v the row step sheared along the columns, and B_t the path that the conditional 2D
// Gaussian follows from plane to plane.  This split is made in float64, once per Gaussian and kernel, because pixel
// indices cancel badly in float32; what is done for every pixel is in `real`, relative to the Gaussian.
//
// Sums repeat bit by bit.  Where threads add to the same number (pixels in the modes that are sums, moments in mode
// alpha) they add 64-bit integers, whose order does not matter, scaled so that the largest conceivable sum just fits.
// Everything else is summed by one thread, or by one warp in a fixed order.

// The source is several programs, so that nobody waits for what is not used; PART says which one is compiled.
#define SUMS 0   // the rasterizer in the modes that are sums, and the activations
#define ALPHA 1  // the rasterizer in mode alpha
#define FIELD 2  // the tri-plane field

typedef REAL real;
typedef long long i64;
typedef unsigned long long u64;

#define EPSILON real(1e-6)     // as in rasterizer/definitions.py
#define MAX_ALPHA real(0.99)   // as in rasterizer/definitions.py
#define ALL 0xffffffffu        // every lane of a warp
#define SHAPE 10               // moments of 1, u, v, t, uu, uv, ut, vv, vt, tt
#define SLOT 4                 // moments of 1, u, v, t
#define CROWD 512              // Gaussians that reach more pixels than this are drawn by a whole warp

// ---- numbers

__device__ __forceinline__ float exponential(float x) { return __expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float quotient(float a, float b) { return __fdividef(a, b); }
__device__ __forceinline__ double quotient(double a, double b) { return a / b; }
__device__ __forceinline__ i64 nearest(float x) { return __float2ll_rn(x); }
__device__ __forceinline__ i64 nearest(double x) { return __double2ll_rn(x); }

// The power of two by which numbers up to `largest` are multiplied so that the sum of `count` of them fits 62 bits.
__device__ __forceinline__ real scale_for(float largest, i64 count)
{
    const int exponent = int((__float_as_uint(largest) >> 23) & 255u) - 126;  // largest < 2^exponent
    return real(ldexp(1.0, min(62 - exponent - (64 - __clzll(count)), 120)));
}

__device__ __forceinline__ bool usable(float largest) { return largest <= 3.4e38f; }  // neither infinite nor NaN

__device__ __forceinline__ void add(u64* sum, real number) { atomicAdd(sum, u64(nearest(number))); }

// Raises bounds[0, COUNT) to `largest`, over the block; every thread must call it.  NaN counts as more than infinity.
template <int COUNT>
__device__ __forceinline__ void raise(float* bounds, const float* largest)
{
    __shared__ unsigned of_block[COUNT];
    if (threadIdx.x < COUNT) of_block[threadIdx.x] = 0;
    __syncthreads();
    for (int n = 0; n < COUNT; ++n) {
        unsigned bits = __float_as_uint(largest[n]) & 0x7fffffffu;  // non-negative floats are ordered as their bits are
        for (int step = 16; step; step >>= 1) bits = max(bits, __shfl_xor_sync(ALL, bits, step));
        if (threadIdx.x % 32 == 0) atomicMax(of_block + n, bits);
    }
    __syncthreads();
    if (threadIdx.x < COUNT) atomicMax((unsigned*)bounds + threadIdx.x, of_block[threadIdx.x]);
}

#if PART != FIELD

// ---- planes and Gaussians

// A stack of planes sorted by depth.  frame: column step, row step, normal, and the dual vectors that give a point's
// column and row, (5, 3).  depths: mm along the normal.  columns, rows: what to subtract from a point's coordinates in
// the frame to get its column and row.  places: where each plane stands in the stack.
struct Stack {
    const double *frame, *depths, *columns, *rows, *places;
    int planes, height, width;
};

__device__ __forceinline__ Stack stack_of(const double* data, i64 planes, i64 height, i64 width)
{
    const double* depths = data + 15;
    return {data, depths, depths + planes, depths + 2 * planes, depths + 3 * planes, int(planes), int(height),
            int(width)};
}

// The tensors of `Gaussians`.
struct Cloud {
    i64 count;
    int slots;
    const real *centres, *precisions, *weights, *values, *slopes;
    const int* channels;
};

#define CLOUD_ARGUMENTS                                                                                               \
    i64 count, i64 slots, const real *centres, const real *precisions, const real *weights, const real *values,       \
        const real *slopes, const int *channels
#define STACK_ARGUMENTS const double *stack_data, i64 planes, i64 height, i64 width
#define CLOUD_AND_STACK                                                                                               \
    const Cloud cloud = {count, int(slots), centres, precisions, weights, values, slopes, channels};                  \
    const Stack stack = stack_of(stack_data, planes, height, width);

// The diagonal form of a Gaussian and where it lies; across, along and through are 0 unless it is positive definite.
struct Form {
    double across, along, through, shear, column_drift, row_drift, depth, column, row;
};

__device__ __forceinline__ Form split(const Cloud& cloud, const Stack& stack, i64 i)
{
    const double *c = stack.frame, *r = c + 3, *n = c + 6, *to_column = c + 9, *to_row = c + 12;
    const real* packed = cloud.precisions + 6 * i;
    const double xx = packed[0], xy = packed[1], xz = packed[2], yy = packed[3], yz = packed[4], zz = packed[5];
    const double x = cloud.centres[3 * i], y = cloud.centres[3 * i + 1], z = cloud.centres[3 * i + 2];
    // The precision in the basis (column step, row step, normal).
    const double a0 = xx * c[0] + xy * c[1] + xz * c[2], a1 = xy * c[0] + yy * c[1] + yz * c[2],
                 a2 = xz * c[0] + yz * c[1] + zz * c[2];
    const double b0 = xx * r[0] + xy * r[1] + xz * r[2], b1 = xy * r[0] + yy * r[1] + yz * r[2],
                 b2 = xz * r[0] + yz * r[1] + zz * r[2];
    const double cross = a0 * r[0] + a1 * r[1] + a2 * r[2], row_row = b0 * r[0] + b1 * r[1] + b2 * r[2];
    const double column_normal = a0 * n[0] + a1 * n[1] + a2 * n[2], row_normal = b0 * n[0] + b1 * n[1] + b2 * n[2];
    const double normal_normal = xx * n[0] * n[0] + yy * n[1] * n[1] + zz * n[2] * n[2]
                                 + 2.0 * (xy * n[0] * n[1] + xz * n[0] * n[2] + yz * n[1] * n[2]);
    // LDL' of it.
    Form f;
    f.across = a0 * c[0] + a1 * c[1] + a2 * c[2];
    const double inverse = 1.0 / f.across;
    f.shear = cross * inverse;
    f.along = row_row - f.shear * cross;
    f.row_drift = (f.shear * column_normal - row_normal) / f.along;
    f.column_drift = -column_normal * inverse - f.shear * f.row_drift;
    f.through = normal_normal + column_normal * f.column_drift + row_normal * f.row_drift;
    if (!(f.across > 0.0 && f.along > 0.0 && f.through > 0.0))
        f.across = f.along = f.through = f.shear = f.column_drift = f.row_drift = 0.0;
    f.depth = x * n[0] + y * n[1] + z * n[2];
    f.column = x * to_column[0] + y * to_column[1] + z * to_column[2];
    f.row = x * to_row[0] + y * to_row[1] + z * to_row[2];
    return f;
}

// A slot's value at the centre and its change per unit of u, v and t.
struct Line {
    real level, u, v, t;
    __device__ __forceinline__ real at(real u_, real v_, real t_) const { return level + u * u_ + v * v_ + t * t_; }
};

__device__ __forceinline__ Line line_of(const Cloud& cloud, const Stack& stack, const Form& f, i64 i, int slot)
{
    const double *c = stack.frame, *r = c + 3, *n = c + 6;
    const i64 at = i * cloud.slots + slot;
    const double x = cloud.slopes[3 * at], y = cloud.slopes[3 * at + 1], z = cloud.slopes[3 * at + 2];
    const double column = x * c[0] + y * c[1] + z * c[2], row = x * r[0] + y * r[1] + z * r[2];
    const double normal = x * n[0] + y * n[1] + z * n[2];
    return {cloud.values[at], real(column), real(row - f.shear * column),
            real(normal + f.column_drift * column + f.row_drift * row)};
}

__device__ __forceinline__ real depth_reach(const Form& f, double cutoff)
{
    return sqrt(real(cutoff) / real(f.through)) * real(1.00001);
}

// How many planes lie below `depth`.
__device__ __forceinline__ int planes_below(const Stack& stack, double depth)
{
    int low = 0, high = stack.planes;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (stack.depths[middle] < depth) low = middle + 1; else high = middle;
    }
    return low;
}

// Where a Gaussian's section with one plane lies: the rows and columns that it may reach, and what q needs.
struct Section {
    unsigned pixel;     // number of the box's first pixel, counted over all planes of the stack
    int top, left;      // of the box, on the plane
    int rows, columns;  // of the box
    real row, column;  // of the first pixel, relative to the centre
    real across, along, shear, t, rest;  // rest: through * t^2
};

// Returns false if the plane is not reached.  The box is a little too large; q decides about each pixel.
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

// One row of a section.  v: of the row; u: of its first pixel, growing by 1 per pixel; rest: q where u is 0.
struct Row {
    unsigned pixel;
    real u, v, rest;
};

__device__ __forceinline__ Row row_of(const Section& s, const Stack& stack, int r)
{
    const real v = s.row + real(r);
    return {s.pixel + unsigned(r) * stack.width, s.column + s.shear * v, v, s.along * v * v + s.rest};
}

// Which planes a Gaussian may reach: first <= plane < end.
struct Reach {
    int first, end;
};

__device__ __forceinline__ Reach reach_of(const Form& f, const Stack& stack, double cutoff)
{
    if (!(f.through > 0.0)) return {0, 0};
    const real deep = depth_reach(f, cutoff);
    Reach reach = {planes_below(stack, f.depth - deep), 0};
    reach.end = reach.first;
    while (reach.end < stack.planes && stack.depths[reach.end] <= f.depth + deep) ++reach.end;
    return reach;
}

// Whether a Gaussian reaches so many pixels that a whole warp should share them.
__device__ __forceinline__ bool crowded(const Form& f, const Reach& reach, double cutoff)
{
    if (reach.first == reach.end) return false;
    const real high = real(1) / real(f.along), shear = real(f.shear);
    const real wide = real(1) / real(f.across) + shear * shear * high;
    return real(4 * cutoff) * sqrt(wide * high) * real(reach.end - reach.first) > real(CROWD);
}

// How the pixels of a section are shared out: all by one thread, or every lane of a warp some of 4 rows x 8 columns.
struct Share {
    int first_row, row_step, first_column, column_step;
};

__device__ __forceinline__ Share whole() { return {0, 1, 0, 1}; }
__device__ __forceinline__ Share of_lane(int lane) { return {lane / 8, 4, lane % 8, 8}; }

// ---- bounds

// Raises bounds (4,) to the largest weight, weight times value inside a Gaussian, value, and reach in depth (mm).
extern "C" __global__ __launch_bounds__(256) void
bound(CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, float* bounds)
{
    CLOUD_AND_STACK
    const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    float weight = 0, product = 0, value = 0, reach = 0;
    if (i < cloud.count) {
        const Form f = split(cloud, stack, i);
        if (f.through > 0.0) {
            const real wide = sqrt(real(cutoff) / real(f.across)), high = sqrt(real(cutoff) / real(f.along));
            const real deep = depth_reach(f, cutoff), own = abs(cloud.weights[i]);
            real largest = 0;
            for (int s = 0; s < cloud.slots; ++s) {
                const Line line = line_of(cloud, stack, f, i, s);
                const real here = abs(line.level) + abs(line.u) * wide + abs(line.v) * high + abs(line.t) * deep;
                largest = here <= largest ? largest : here;  // keeps NaN
            }
            value = float(largest * real(1.001)), weight = float(own), reach = float(deep);
            product = weight * value;
        }
    }
    const float largest[4] = {weight, product, value, reach};
    raise<4>(bounds, largest);
}

#endif
#if PART == SUMS

// ---- modes that are sums

// What one Gaussian adds: SLOTS slots from `begin` on, and its weight if begin is 0.  Pointers are null for what is not
// there or empty.
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

// Draws a Gaussian that no neighbour helps with: a warp shares its pixels.
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

// Smallest and largest number of the warp.
__device__ __forceinline__ int least(int number)
{
    for (int step = 16; step; step >>= 1) number = min(number, __shfl_xor_sync(ALL, number, step));
    return number;
}
__device__ __forceinline__ int most(int number) { return -least(-number); }

// Lets the boxes of a warp begin side by side: each one column after that of the lane before, all in the same row.
// Does so where that moves them by one pixel at most; `s` then begins `up` rows and `back` columns before the box.
__device__ __forceinline__ void line_up(const Stack& stack, int lane, bool there, Section& s, int& up, int& back)
{
    const int far = 1 << 28, top = least(there ? s.top : far), left = least(there ? s.left - lane : far);
    const bool close = top >= most(there ? s.top : -far) - 1 && left >= most(there ? s.left - lane : -far) - 1;
    up = close && there ? s.top - top : 0;
    back = close && there ? s.left - lane - left : 0;
    s.pixel -= unsigned(up) * stack.width + back;
    s.row -= real(up), s.column -= real(back);
}

// Draws the Gaussians of a warp side by side.  Neighbours in memory usually are neighbours in space: while all lanes
// move from pixel to pixel of a row, a lane hands its sum for a pixel on to the lane before it, which visits that pixel
// next, and only sums that nobody takes go to memory.  Sums are integers, so this changes nothing but the time.
template <int SLOTS>
__device__ __forceinline__ void scatter_together(const Stack& stack, const Form& f, const Reach& reach, double cutoff,
                                                 const Paint<SLOTS>& paint, int lane)
{
    bool same[SLOTS + 1];  // whether the next lane adds to the same channel
    for (int n = 0; n <= SLOTS; ++n) {
        const u64 own = u64(n < SLOTS ? paint.sums[n < SLOTS ? n : 0] : paint.weight_sum);
        same[n] = __shfl_down_sync(ALL, own, 1) == own && own;
    }
    for (int plane = reach.first; __any_sync(ALL, plane < reach.end); ++plane) {
        Section s = {};
        const bool there = plane < reach.end && section(f, stack, plane, cutoff, s);
        int up, back;
        line_up(stack, lane, there, s, up, back);
        const int rows = there ? up + s.rows : 0, columns = there ? back + s.columns : 0;
        for (int r = 0; __any_sync(ALL, r < rows); ++r) {
            const bool here = r < rows;
            const Row row = row_of(s, stack, r);
            // Lanes without a row stand far from each other and from every pixel.
            unsigned pixel = here ? row.pixel : 0xf0000000u + lane * 0x10000u;
            const bool next = __shfl_down_sync(ALL, pixel, 1) == pixel + 1 && lane < 31;  // hands on to this lane
            const bool taken = __shfl_up_sync(ALL, pixel, 1) == pixel - 1 && lane > 0;    // takes from this lane
            real level[SLOTS];
            i64 sums[SLOTS + 1];
            bool give[SLOTS + 1];
#pragma unroll
            for (int n = 0; n <= SLOTS; ++n) {
                if (n < SLOTS) level[n] = paint.lines[n].level + paint.lines[n].v * row.v + paint.lines[n].t * s.t;
                sums[n] = 0;
                const bool same_before = __shfl_up_sync(ALL, int(same[n]), 1);
                give[n] = taken && same_before;
            }
            for (int c = 0; __any_sync(ALL, here && c < columns); ++c, ++pixel) {
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
                    const i64 handed = __shfl_down_sync(ALL, sums[n], 1);
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

// Adds every Gaussian to sums (channels + 1, planes, height, width), scaled integers; the last channel is the weight.
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
    for (unsigned waiting = __ballot_sync(ALL, busy); waiting; waiting &= waiting - 1) {
        const i64 i = __shfl_sync(ALL, own, __ffs(waiting) - 1);
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

extern "C" __global__ __launch_bounds__(128, 6) void scatter_image(SCATTER_ARGUMENTS) { SCATTER(1) }
extern "C" __global__ __launch_bounds__(128) void scatter_slots(SCATTER_ARGUMENTS) { SCATTER(3) }

// Turns sums into channels (planes, channels, height, width) and weight_sum (planes, height, width).
extern "C" __global__ __launch_bounds__(256) void
resolve(i64 count, i64 slots, i64 planes, i64 area, i64 channel_count, i64 normalised, const float* bounds,
        const u64* sums, real* channels, real* weight_sum)
{
    const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (n >= planes * area) return;
    const bool fine = usable(bounds[0]) && usable(bounds[1]);
    const real broken = __int_as_float(0x7fc00000);  // NaN in, NaN out
    const real weight_unit = real(1) / scale_for(bounds[0], count);
    const real value_unit = real(1) / scale_for(bounds[1], count * slots);
    const i64 plane = n / area, pixel = n % area;
    const real weight = fine ? real(i64(sums[channel_count * planes * area + n])) * weight_unit : broken;
    const real factor = normalised ? value_unit / (weight + EPSILON) : value_unit;
    weight_sum[n] = weight;
    for (i64 c = 0; c < channel_count; ++c)
        channels[(plane * channel_count + c) * area + pixel] =
            fine ? real(i64(sums[c * planes * area + n])) * factor : broken;
}

#endif
#if PART != FIELD

// ---- moments and gradients

// Fills source (channels + 2, planes, height, width) with what the pixels hand back: the gradient of each channel's sum
// and of the weight sum, and in mode alpha the gradient times the result, summed over everything composited.  Raises
// gains (2,) (unless null) to the largest gradient of a channel and of the weight sum.
extern "C" __global__ __launch_bounds__(256) void
prepare(i64 planes, i64 area, i64 channel_count, i64 normalised, const real* channels, const real* weight_sum,
        const real* channel_gradient, const real* sum_gradient, real* source, float* gains)
{
    const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    real own = 0, largest = 0;
    if (n < planes * area) {
        const i64 plane = n / area, pixel = n % area;
        const real weight = weight_sum[n];
        const real factor = normalised ? real(1) / (weight + EPSILON) : real(1);
        const i64 volume = planes * area;
        real rest = 0;
        for (i64 c = 0; c < channel_count; ++c) {
            const i64 at = (plane * channel_count + c) * area + pixel;
            rest += channel_gradient[at] * channels[at];
            source[c * volume + n] = channel_gradient[at] * factor;
            largest = abs(channel_gradient[at]) <= largest ? largest : abs(channel_gradient[at]);
        }
        own = normalised ? sum_gradient[n] - rest * factor : sum_gradient[n];
        source[channel_count * volume + n] = own;
        source[(channel_count + 1) * volume + n] = rest + own * weight;
    }
    if (!gains) return;
    const float of_pixel[2] = {float(largest), float(own)};
    raise<2>(gains, of_pixel);
}

// Sums over the pixels of one Gaussian.  shape: of dL / d(w G) * G times 1, u, v, t, uu, uv, ut, vv, vt, tt (only the
// first is needed without gradients of centre and precision).  slot: of dL / d(value) times 1, u, v, t.
template <int SLOTS>
struct Moments {
    real shape[SHAPE], slot[SLOTS][SLOT];
    __device__ __forceinline__ void clear()
    {
        for (int n = 0; n < SHAPE; ++n) shape[n] = 0;
    }
    __device__ __forceinline__ void clear_slots()
    {
        for (int s = 0; s < SLOTS; ++s)
            for (int n = 0; n < SLOT; ++n) slot[s][n] = 0;
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

__device__ __forceinline__ real over_warp(real number)
{
    for (int step = 16; step; step >>= 1) number += __shfl_xor_sync(ALL, number, step);
    return number;
}

// Sums 16 numbers over the warp, destroying them; returns number lane / 2.
__device__ __forceinline__ real sixteen_over_warp(real* numbers, int lane)
{
#pragma unroll
    for (int half = 8; half; half /= 2) {
        const bool upper = lane & (2 * half);
#pragma unroll
        for (int n = 0; n < half; ++n) {
            const real given = upper ? numbers[n] : numbers[n + half], kept = upper ? numbers[n + half] : numbers[n];
            numbers[n] = kept + __shfl_xor_sync(ALL, given, 2 * half);
        }
    }
    return numbers[0] + __shfl_xor_sync(ALL, numbers[0], 1);
}

// Where gradients go; null for those that are not wanted.
struct Gradients {
    real *centres, *precisions, *weights, *values, *slopes;
};

#define GRADIENT_ARGUMENTS                                                                                            \
    real *centre_gradient, real *precision_gradient, real *weight_gradient, real *value_gradient, real *slope_gradient
#define GRADIENTS {centre_gradient, precision_gradient, weight_gradient, value_gradient, slope_gradient}

// B_u, B_v, B_t.
__device__ __forceinline__ void basis_of(const Stack& stack, const Form& f, real basis[3][3])
{
    const double *c = stack.frame, *r = c + 3, *n = c + 6;
    for (int a = 0; a < 3; ++a) {
        basis[0][a] = real(c[a]);
        basis[1][a] = real(r[a] - f.shear * c[a]);
        basis[2][a] = real(n[a] + f.column_drift * c[a] + f.row_drift * r[a]);
    }
}

// Writes the gradients of one slot; adds what the centre gets from it to `pull` (3,).
__device__ __forceinline__ void finish_slot(const Cloud& cloud, i64 at, const real basis[3][3], const real* moments,
                                            const Gradients& to, real* pull)
{
    to.values[at] = moments[0];
    for (int a = 0; a < 3; ++a) {
        if (to.slopes) to.slopes[3 * at + a] = moments[1] * basis[0][a] + moments[2] * basis[1][a]
                                               + moments[3] * basis[2][a];
        pull[a] -= moments[0] * cloud.slopes[3 * at + a];
    }
}

// Writes the gradients of weight, centre and precision.
__device__ __forceinline__ void finish_shape(const Cloud& cloud, i64 i, const real basis[3][3], const real* moments,
                                             const Gradients& to, const real* slot_pull)
{
    to.weights[i] = moments[0];
    if (!to.centres) return;
    const real scale = real(-0.5) * cloud.weights[i];  // dG / dq
    const real* p = cloud.precisions + 6 * i;
    // arm: sum of dL/dq (x - centre); second: of dL/dq (x - centre) (x - centre)'.
    real arm[3], second[3][3], turned[3][3];
    const real m[3][3] = {{moments[4], moments[5], moments[6]}, {moments[5], moments[7], moments[8]},
                          {moments[6], moments[8], moments[9]}};
    for (int a = 0; a < 3; ++a) {
        arm[a] = scale * (moments[1] * basis[0][a] + moments[2] * basis[1][a] + moments[3] * basis[2][a]);
        for (int b = 0; b < 3; ++b)
            turned[b][a] = m[b][0] * basis[0][a] + m[b][1] * basis[1][a] + m[b][2] * basis[2][a];
    }
    for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b)
            second[a][b] =
                scale * (basis[0][a] * turned[0][b] + basis[1][a] * turned[1][b] + basis[2][a] * turned[2][b]);
    real* precision = to.precisions + 6 * i;
    precision[0] = second[0][0], precision[1] = 2 * second[0][1], precision[2] = 2 * second[0][2];
    precision[3] = second[1][1], precision[4] = 2 * second[1][2], precision[5] = second[2][2];
    to.centres[3 * i] = slot_pull[0] - 2 * (p[0] * arm[0] + p[1] * arm[1] + p[2] * arm[2]);
    to.centres[3 * i + 1] = slot_pull[1] - 2 * (p[1] * arm[0] + p[3] * arm[1] + p[4] * arm[2]);
    to.centres[3 * i + 2] = slot_pull[2] - 2 * (p[2] * arm[0] + p[4] * arm[1] + p[5] * arm[2]);
}

#endif
#if PART == SUMS

// Adds the pixels of one Gaussian to its moments: SLOTS slots from `begin` on, and what concerns its weight if it is 0.
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

// Collects the gradients of one Gaussian, SLOTS slots in each round over its pixels; `mine`: whether to write them.
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
                for (int m = 0; m < SLOT; ++m) sums.slot[n][m] = over_warp(sums.slot[n][m]);
            const real weight = cloud.weights[i];
            for (int m = 0; m < SLOT; ++m) sums.slot[n][m] *= weight;
            if (mine && begin + n < cloud.slots)
                finish_slot(cloud, i * cloud.slots + begin + n, basis, sums.slot[n], gradients, slot_pull);
        }
    }
    if (together)
        for (int m = 0; m < (FULL ? SHAPE : 1); ++m) sums.shape[m] = over_warp(sums.shape[m]);
    if (mine) finish_shape(cloud, i, basis, sums.shape, gradients, slot_pull);
}

// Every Gaussian collects its gradients: one thread each, or a warp where it is crowded.
template <int SLOTS, bool FULL>
__device__ __forceinline__ void gather_all(const Cloud& cloud, const Stack& stack, double cutoff, i64 channel_count,
                                           const real* source, const Gradients& gradients)
{
    const i64 own = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    const int lane = threadIdx.x % 32;
    unsigned waiting = 0;
    bool together = false, mine = own < cloud.count;
    i64 i = own;
    // The first turn is for everybody's own Gaussian, each further one for a crowded Gaussian of the warp.
    while (true) {
        const Form f = i < cloud.count ? split(cloud, stack, i) : Form{};
        const Reach reach = reach_of(f, stack, cutoff);
        if (!together) {
            const bool busy = crowded(f, reach, cutoff);
            waiting = __ballot_sync(ALL, busy);
            mine = mine && !busy;
        }
        if (together || mine)
            gather_one<SLOTS, FULL>(cloud, stack, f, reach, cutoff, i, channel_count, source, gradients, lane, together,
                                    mine);
        if (!waiting) return;
        const int turn = __ffs(waiting) - 1;
        waiting &= waiting - 1;
        i = __shfl_sync(ALL, own, turn);
        together = true, mine = lane == turn;
    }
}

#define GATHER_ARGUMENTS                                                                                              \
    CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, i64 channel_count, const real *source, GRADIENT_ARGUMENTS
#define GATHER(SLOTS, FULL)                                                                                           \
    CLOUD_AND_STACK                                                                                                   \
    gather_all<SLOTS, FULL>(cloud, stack, cutoff, channel_count, source, GRADIENTS);

extern "C" __global__ __launch_bounds__(128, 6) void gather_image(GATHER_ARGUMENTS) { GATHER(1, true) }
extern "C" __global__ __launch_bounds__(128) void gather_image_values(GATHER_ARGUMENTS) { GATHER(1, false) }
extern "C" __global__ __launch_bounds__(128) void gather_slots(GATHER_ARGUMENTS) { GATHER(6, true) }
extern "C" __global__ __launch_bounds__(128) void gather_slots_values(GATHER_ARGUMENTS) { GATHER(6, false) }

#endif
#if PART == ALPHA

// ---- mode alpha

// Tiles per multiprocessor that registers should allow.
#define ALPHA_BLOCKS 4
#define TILE 16      // pixels along each side of a tile; one thread each
#define MOST 1024    // entries of a tile that are sorted at a time
#define KEPT 512     // entries of a tile that are composited at a time
#define ROUNDS 2     // candidates that a thread looks at at a time; KEPT + ROUNDS * TILE * TILE entries must fit
#define BATCH 64     // entries whose geometry stands ready at a time
#define LINES 512    // slots of these entries, all together

// What decides whether a Gaussian may touch a tile.  high, wide: half its extent where q rises by 1.
struct alignas(16) Outline {
    float depth, through, row, column, row_drift, column_drift, high, wide;
};

// Which Gaussians, by their place in the order of depth, may touch which band of tiles: entries (planes, bands,
// capacity) and how many there are, counts (planes, bands).  Where there are more than fit, the list is of no use.
struct Lists {
    int capacity, *counts, *entries;
};

// Fills outlines (N,) in the order of sorted_ids (N,), and the lists; counts are 0 before.
extern "C" __global__ __launch_bounds__(256) void
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
        const float half = o.high * sqrtf(fmaxf(room, 0.0f)) + 0.1f;  // more than `touches` takes
        const int first = int(fmaxf((row - half) / TILE, 0.0f)), last = int(fminf((row + half) / TILE, bands - 0.5f));
        for (int band = first; row + half >= 0.0f && band <= last; ++band) {
            const int list = plane * bands + band, at = atomicAdd(counts + list, 1);
            if (at < capacity) entries[i64(list) * capacity + at] = int(n);
        }
    }
}

// Gaussians by depth: depths (N,) ascending, ids (N,).
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

// The order of compositing: nearest to the plane first, by number where distances are equal.
struct Key {
    double distance;
    int id;
    __device__ __forceinline__ bool before(const Key& other) const
    {
        return distance < other.distance || (distance == other.distance && id < other.id);
    }
};

// One Gaussian on one tile.  row, column: of the tile's corner, relative to the centre.  high, wide: half its extent on
// the plane.  unit_u, unit_v, in_t: what turns u and v into units where q is 1, and t in such units.
struct alignas(16) Entry {
    real row, column, across, along, shear, t, rest, weight, high, wide, unit_u, unit_v, in_t;
    int id;
    // Which of the entries from `first` on may reach the 4 rows x 8 columns of a warp: a bit for each.
    static __device__ __forceinline__ unsigned seen(const Entry* entries, int first, int size, int warp, int lane)
    {
        bool reaches = false;
        if (first + lane < size) {
            const Entry& e = entries[first + lane];
            const real row = e.row + real(warp / 2 * 4) + real(1.5), column = e.column + real(warp % 2 * 8) + real(3.5);
            reaches = abs(row) <= e.high + real(1.51) && abs(column) <= e.wide + real(3.51);
        }
        return __ballot_sync(ALL, reaches);
    }
};

struct Tile {
    int plane, place, row, column;
    double depth;
};

__device__ __forceinline__ bool touches(const Outline& o, const Stack& stack, const Tile& tile, double cutoff)
{
    // Indices of pixels cancel in float32: everything is taken a little larger than it is.
    const float t = float(tile.depth) - o.depth, room = float(cutoff) * 1.01f - o.through * t * t;
    if (!(room >= 0.0f)) return false;
    const float reach = sqrtf(room), half = 0.5f * (TILE - 1) + 0.02f;
    const float row = o.row + t * o.row_drift - float(stack.rows[tile.plane] + tile.row) - 0.5f * (TILE - 1);
    const float column = o.column + t * o.column_drift - float(stack.columns[tile.plane] + tile.column)
                         - 0.5f * (TILE - 1);
    return fabsf(row) <= o.high * reach + half && fabsf(column) <= o.wide * reach + half;
}

// Sorts keys[0, count); room up to the next power of two is used.  All threads of the block must call it.
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

// Calls visit(entries, lines, channels, n) for the Gaussians on a tile, front to back, in batches of n; lines and
// channels hold `slots` numbers per entry.  All threads of the block take part.  Tiles with more Gaussians than fit are
// gone through several times, each time for the next ones.
template <class Visit>
__device__ __forceinline__ void front_to_back(const Cloud& cloud, const Stack& stack, const Tile& tile, double cutoff,
                                              const ByDepth& sorted, const Outline* outlines, const Lists& lists,
                                              float reach, Visit visit)
{
    __shared__ Key keys[MOST];
    __shared__ Entry entries[BATCH];
    __shared__ Line lines[LINES];
    __shared__ int channels[LINES];
    __shared__ int found;
    const int thread = threadIdx.x, threads = blockDim.x;
    const int batch = min(BATCH, LINES / max(cloud.slots, 1));
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
            if (so_far > MOST - ROUNDS * threads) {  // keep the nearest, leave the others for later
                sort_keys(keys, so_far);
                limit = keys[KEPT - 1];
                more = true;
                if (thread == 0) found = KEPT;
                __syncthreads();
            }
        }
        int count = found;
        sort_keys(keys, count);
        if (count > KEPT) count = KEPT, more = true;
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
    /* A warp covers 8 columns x 4 rows. */                                                                           \
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;                                                       \
    const int row = warp / 2 * 4 + lane / 8, column = warp % 2 * 8 + lane % 8;                                        \
    const bool inside = tile.row + row < stack.height && tile.column + column < stack.width;                          \
    const i64 area = i64(stack.height) * stack.width;                                                                 \
    const i64 pixel = i64(tile.row + row) * stack.width + tile.column + column;

// Composites drawn (planes, channels, height, width), zero before, and weight_sum; one block of 256 threads a tile.
extern "C" __global__ __launch_bounds__(256, ALPHA_BLOCKS) void
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

// No moment of one pixel exceeds this, from `gains` as `prepare` left them; lengths are in units where q is 1.
__device__ __forceinline__ float largest_moment(const float* gains, const float* bounds, i64 slots, double cutoff)
{
    const float gain = gains[1] + gains[0] * (bounds[2] * slots + 1);
    return 204.0f * gain * fmaxf(float(cutoff), 1.0f);  // 2 / (1 - MAX_ALPHA) and the rest of `pull`
}

// Adds up the moments of every Gaussian, scaled integers, in moments (N, SHAPE + SLOT * slots).
extern "C" __global__ __launch_bounds__(256, ALPHA_BLOCKS) void
peel(CLOUD_ARGUMENTS, STACK_ARGUMENTS, TILE_ARGUMENTS, const real* source, const float* gains, u64* moments)
{
    TILE_AND_PIXEL
    const float largest = largest_moment(gains, bounds, slots, cutoff);
    if (!usable(largest)) return;
    const real scale = scale_for(largest, planes * area);
    const i64 volume = planes * area, moment_count = SHAPE + SLOT * slots;
    const real* from = source + tile.place * area + pixel;
    // What is composited behind a Gaussian is everything less what has been passed: one visit is enough.
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
                // In units where q is 1 moments are about as large as the gradient itself.
                const real in_u = u * e.unit_u, in_v = v * e.unit_v, in_t = e.in_t;
                u64* to = moments + e.id * moment_count;
                real gain = own, sums[16] = {};
                for (int s = 0; s < cloud.slots; ++s) {
                    const int channel = channels_of[n * cloud.slots + s];
                    const real wanted = channel == 0 ? image_wanted : hit ? from[channel * volume] : real(0);
                    const real pull = share * wanted;
                    gain += wanted * lines[n * cloud.slots + s].at(u, v, e.t);
                    if (s == 0) {  // goes with the shape
                        sums[10] = pull, sums[11] = pull * in_u, sums[12] = pull * in_v, sums[13] = pull * in_t;
                        continue;
                    }
                    const real part[SLOT] = {pull, pull * in_u, pull * in_v, pull * in_t};
                    for (int m = 0; m < SLOT; ++m) {
                        const real total = over_warp(part[m]);
                        if (lane == m) add(to + SHAPE + SLOT * s + m, total * scale);
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
                if (lane % 2 == 0 && moment < min(SHAPE + SLOT * int(slots), 14)) add(to + moment, total * scale);
            }
    });
}

// Turns the moments of `peel` into gradients.
extern "C" __global__ __launch_bounds__(128) void
finish(CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, const float* bounds, const float* gains, const u64* moments,
       GRADIENT_ARGUMENTS)
{
    CLOUD_AND_STACK
    const Gradients gradients = GRADIENTS;
    const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= cloud.count) return;
    const float largest = largest_moment(gains, bounds, slots, cutoff);
    const real broken = __int_as_float(0x7fc00000);  // NaN in, NaN out
    const real scale = usable(largest) ? real(1) / scale_for(largest, planes * height * width) : broken;
    const Form f = split(cloud, stack, i);
    real basis[3][3], slot_pull[3] = {0, 0, 0}, shape[SHAPE], slot[SLOT];
    basis_of(stack, f, basis);
    const bool there = f.through > 0.0;
    const real unit_u = there ? real(1) / sqrt(real(f.across)) : real(0);
    const real unit_v = there ? real(1) / sqrt(real(f.along)) : real(0);
    const real unit_t = there ? real(1) / sqrt(real(f.through)) : real(0);
    const real units[SHAPE] = {1, unit_u, unit_v, unit_t, unit_u * unit_u, unit_u * unit_v, unit_u * unit_t,
                               unit_v * unit_v, unit_v * unit_t, unit_t * unit_t};
    const u64* from = moments + i * (SHAPE + SLOT * slots);
    for (int s = 0; s < cloud.slots; ++s) {
        for (int m = 0; m < SLOT; ++m) slot[m] = real(i64(from[SHAPE + SLOT * s + m])) * scale * units[m];
        finish_slot(cloud, i * cloud.slots + s, basis, slot, gradients, slot_pull);
    }
    for (int m = 0; m < SHAPE; ++m) shape[m] = real(i64(from[m])) * scale * units[m];
    finish_shape(cloud, i, basis, shape, gradients, slot_pull);
}

#endif
#if PART == SUMS

// ---- activations: what is trained to what is drawn, as GaussianParameters.precisions and .drawn

struct Shape {
    real xx, xy, yy, x, y, depth;  // in-plane precision, tilts, precision along the depth axis
};

__device__ __forceinline__ Shape shape_of(const real* tilts, const real* in_plane, const real* log_depths, i64 i)
{
    const real a = exp(in_plane[3 * i]), b = in_plane[3 * i + 1], c = exp(in_plane[3 * i + 2]);
    return {a * a, a * b, b * b + c * c, tilts[2 * i], tilts[2 * i + 1], exp(real(-2) * log_depths[i])};
}

__device__ __forceinline__ real sigmoid(real x) { return real(1) / (real(1) + exp(-x)); }

// Fills precisions (N, 6) and weights (N,).
extern "C" __global__ __launch_bounds__(256) void
activate(i64 count, const real* tilts, const real* in_plane, const real* log_depths, const real* raw_weights,
         real* precisions, real* weights)
{
    const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const Shape s = shape_of(tilts, in_plane, log_depths, i);
    const real xz = -(s.xx * s.x + s.xy * s.y), yz = -(s.xy * s.x + s.yy * s.y);
    real* p = precisions + 6 * i;
    p[0] = s.xx, p[1] = s.xy, p[2] = xz, p[3] = s.yy, p[4] = yz, p[5] = s.depth - s.x * xz - s.y * yz;
    weights[i] = sigmoid(raw_weights[i]);
}

// Fills the gradients of what `activate` took, from those of what it made.
extern "C" __global__ __launch_bounds__(256) void
activate_backward(i64 count, const real* tilts, const real* in_plane, const real* log_depths, const real* raw_weights,
                  const real* precision_gradient, const real* weight_gradient, real* tilt_gradient,
                  real* in_plane_gradient, real* log_depth_gradient, real* raw_weight_gradient)
{
    const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const Shape s = shape_of(tilts, in_plane, log_depths, i);
    const real *g = precision_gradient + 6 * i, zz = g[5];
    const real xx = g[0] - s.x * g[2] + s.x * s.x * zz;
    const real xy = g[1] - s.y * g[2] - s.x * g[4] + 2 * s.x * s.y * zz;
    const real yy = g[3] - s.y * g[4] + s.y * s.y * zz;
    tilt_gradient[2 * i] = 2 * zz * (s.xx * s.x + s.xy * s.y) - s.xx * g[2] - s.xy * g[4];
    tilt_gradient[2 * i + 1] = 2 * zz * (s.xy * s.x + s.yy * s.y) - s.xy * g[2] - s.yy * g[4];
    const real a = exp(in_plane[3 * i]), b = in_plane[3 * i + 1], c = exp(in_plane[3 * i + 2]);
    in_plane_gradient[3 * i] = a * (2 * a * xx + b * xy);
    in_plane_gradient[3 * i + 1] = a * xy + 2 * b * yy;
    in_plane_gradient[3 * i + 2] = 2 * c * c * yy;
    log_depth_gradient[i] = -2 * s.depth * zz;
    const real weight = sigmoid(raw_weights[i]);
    raw_weight_gradient[i] = weight * (real(1) - weight) * weight_gradient[i];
}

#endif

// ---- tri-plane field

#if PART == FIELD  // of FEATURES to a texel; its decoder: FUSED inputs (FEATURES or 3 * FEATURES), HIDDEN, OUTPUTS

#define FIELD_BLOCK 64
#define PITCH (FIELD_BLOCK + 1)  // of a row in shared memory; columns of 32 rows are in 32 banks
#define CONCATENATED (FUSED == 3 * FEATURES)

// Feature planes xy, yz, xz, one after the other: texels [row][column][feature].  Decoder: `hidden` (HIDDEN, FUSED) and
// `output` (OUTPUTS, HIDDEN) matrices with their biases.  fusion: (3, FEATURES) weights of the planes, unless
// concatenated.  limits: (OUTPUTS,).
struct Field {
    const real *box, *texels, *hidden, *hidden_bias, *output, *output_bias, *limits, *fusion;
    int counts[3];  // texels along x, y, z
};

#define FIELD_ARGUMENTS                                                                                               \
    i64 count, i64 count_x, i64 count_y, i64 count_z, const real *points, const real *box, const real *texels,        \
        const real *hidden, const real *hidden_bias, const real *output, const real *output_bias, const real *limits, \
        const real *fusion
#define FIELD_OF_ARGUMENTS                                                                                            \
    const Field field = {box, texels, hidden, hidden_bias, output, output_bias, limits, fusion,                       \
                         {int(count_x), int(count_y), int(count_z)}};

// Where a point lies on one plane: the texel before it, and the share of the next one along columns and rows.
struct Spot {
    int texel, columns;
    real x, y;
};

__device__ __forceinline__ Spot spot_of(const Field& field, const real* point, int plane)
{
    const int a = plane == 1 ? 1 : 0, b = plane == 0 ? 1 : 2;  // xy, yz, xz
    const int nx = field.counts[0], ny = field.counts[1], nz = field.counts[2];
    const int start = plane == 0 ? 0 : plane == 1 ? nx * ny : nx * ny + ny * nz;
    int whole[2];
    real part[2];
    for (int n = 0; n < 2; ++n) {
        const int axis = n ? b : a, most = field.counts[axis] - 1;
        const real extent = max(field.box[3 + axis] - field.box[axis], real(1e-6));
        const real at = min(max((point[axis] - field.box[axis]) / extent * real(most), real(0)), real(most));
        whole[n] = min(int(at), most - 1);
        part[n] = at - real(whole[n]);
    }
    return {start + whole[1] * field.counts[a] + whole[0], field.counts[a], part[0], part[1]};
}

// Samples the planes at a point and fuses them: inputs (FUSED,).
__device__ __forceinline__ void sample(const Field& field, const real* point, real* inputs)
{
    for (int f = 0; f < FUSED; ++f) inputs[f] = 0;
#pragma unroll
    for (int plane = 0; plane < 3; ++plane) {
        const Spot s = spot_of(field, point, plane);
        const real* at = field.texels + s.texel * FEATURES;
        const int down = s.columns * FEATURES;
#pragma unroll
        for (int f = 0; f < FEATURES; ++f) {
            const real top = at[f] + s.x * (at[f + FEATURES] - at[f]);
            const real bottom = at[down + f] + s.x * (at[down + f + FEATURES] - at[down + f]);
            const real value = top + s.y * (bottom - top);
            if (CONCATENATED) inputs[plane * FEATURES + f] = value;
            else inputs[f] += value * field.fusion[plane * FEATURES + f];
        }
    }
}

__device__ __forceinline__ real unit(const Field& field, const real* inputs, int h)
{
    real sum = field.hidden_bias[h];
#pragma unroll
    for (int f = 0; f < FUSED; ++f) sum += field.hidden[h * FUSED + f] * inputs[f];
    return max(sum, real(0));
}

// Fills residuals (N, OUTPUTS).
extern "C" __global__ __launch_bounds__(128) void field_decode(FIELD_ARGUMENTS, real* residuals)
{
    FIELD_OF_ARGUMENTS
    const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= count) return;
    real inputs[FUSED], units[HIDDEN];
    sample(field, points + 3 * i, inputs);
#pragma unroll
    for (int h = 0; h < HIDDEN; ++h) units[h] = unit(field, inputs, h);
    for (int o = 0; o < OUTPUTS; ++o) {
        real sum = field.output_bias[o];
#pragma unroll
        for (int h = 0; h < HIDDEN; ++h) sum += field.output[o * HIDDEN + h] * units[h];
        residuals[i * OUTPUTS + o] = field.limits[o] * tanh(sum);
    }
}

// No gradient of a sampled feature exceeds this.  All threads of the block must call it.
__device__ __forceinline__ float largest_feature_gradient(const Field& field, float largest_gradient)
{
    __shared__ float largest;
    if (threadIdx.x == 0) largest = 0;
    __syncthreads();
    for (int f = threadIdx.x; f < FUSED; f += blockDim.x) {
        real sum = 0;
        for (int h = 0; h < HIDDEN; ++h) {
            real reached = 0;
            for (int o = 0; o < OUTPUTS; ++o) reached += abs(field.output[o * HIDDEN + h]) * field.limits[o];
            sum += abs(field.hidden[h * FUSED + f]) * reached;
        }
        real most = CONCATENATED ? real(1) : real(0);
        for (int plane = 0; plane < 3 && !CONCATENATED; ++plane)
            most = max(most, abs(field.fusion[plane * FEATURES + f]));
        atomicMax((unsigned*)&largest, __float_as_uint(float(sum * most) * largest_gradient * 1.001f));
    }
    __syncthreads();
    return largest;
}

#define HIDDEN_WEIGHTS (HIDDEN * FUSED)
#define OUTPUT_WEIGHTS (OUTPUTS * HIDDEN)
#define FUSION_WEIGHTS (CONCATENATED ? 0 : 3 * FEATURES)
#define DECODER_WEIGHTS (HIDDEN_WEIGHTS + HIDDEN + OUTPUT_WEIGHTS + OUTPUTS + FUSION_WEIGHTS)
#define SHARE ((DECODER_WEIGHTS + FIELD_BLOCK - 1) / FIELD_BLOCK)

// Adds to texel_sums, scaled integers in the order of texels, leaves in `largest_of_all` what `field_resolve` needs to
// scale them back, and fills decoder_gradient (blocks, DECODER_WEIGHTS), one sum per block, NaN before: hidden, its
// bias, output, its bias, fusion.  Every block goes through consecutive points, FIELD_BLOCK at a time: one thread each
// decodes them again; then each thread sums some of the decoder's weights, and some features of some points, whose
// neighbours mostly fall on the same texels.
extern "C" __global__ __launch_bounds__(FIELD_BLOCK) void
field_backward(FIELD_ARGUMENTS, const real* residual_gradient, const real* largest_gradient, float* largest_of_all,
               u64* texel_sums, real* decoder_gradient)
{
    __shared__ real weights[DECODER_WEIGHTS];  // here, since the compiler would fill the registers with them
    for (int n = threadIdx.x; n < DECODER_WEIGHTS; n += FIELD_BLOCK) {
        int left = n;
        if (left < HIDDEN_WEIGHTS) weights[n] = hidden[left];
        else if ((left -= HIDDEN_WEIGHTS) < HIDDEN) weights[n] = hidden_bias[left];
        else if ((left -= HIDDEN) < OUTPUT_WEIGHTS) weights[n] = output[left];
        else if ((left -= OUTPUT_WEIGHTS) < OUTPUTS) weights[n] = output_bias[left];
        else weights[n] = fusion[left - OUTPUTS];
    }
    hidden = weights, hidden_bias = hidden + HIDDEN_WEIGHTS, output = hidden_bias + HIDDEN;
    output_bias = output + OUTPUT_WEIGHTS, fusion = output_bias + OUTPUTS;
    FIELD_OF_ARGUMENTS
    __shared__ real inputs_of[FUSED][PITCH], pulls_of[FUSED][PITCH], units_of[HIDDEN][PITCH];
    __shared__ real unit_pulls[HIDDEN][PITCH], output_pulls[OUTPUTS][PITCH];
    __shared__ real samples_of[CONCATENATED ? 1 : 3 * FEATURES][PITCH];
    __shared__ Spot spots[3][FIELD_BLOCK];
    const float largest = largest_feature_gradient(field, float(*largest_gradient));
    if (blockIdx.x == 0 && threadIdx.x == 0) *largest_of_all = largest;
    if (!usable(largest)) return;
    const real scale = scale_for(largest, count);
    const int thread = threadIdx.x;
    real sums[SHARE];
    for (int n = 0; n < SHARE; ++n) sums[n] = 0;
    const i64 rounds = (count + i64(gridDim.x) * FIELD_BLOCK - 1) / (i64(gridDim.x) * FIELD_BLOCK);
    for (i64 turn = 0; turn < rounds; ++turn) {
        const i64 first = (i64(blockIdx.x) * rounds + turn) * FIELD_BLOCK, i = first + thread;
        const bool there = i < count;
        __syncthreads();
        if (there) {
            // Loops over units are not unrolled, or the decoder's weights would fill the registers.
            real row[FUSED];
            sample(field, points + 3 * i, row);
#pragma unroll 1
            for (int h = 0; h < HIDDEN; ++h) units_of[h][thread] = unit(field, row, h), unit_pulls[h][thread] = 0;
#pragma unroll 1
            for (int o = 0; o < OUTPUTS; ++o) {
                real sum = field.output_bias[o];
#pragma unroll 4
                for (int h = 0; h < HIDDEN; ++h) sum += field.output[o * HIDDEN + h] * units_of[h][thread];
                const real bent = tanh(sum);
                const real pull = residual_gradient[i * OUTPUTS + o] * field.limits[o] * (real(1) - bent * bent);
                output_pulls[o][thread] = pull;
#pragma unroll 4
                for (int h = 0; h < HIDDEN; ++h)
                    if (units_of[h][thread] > 0) unit_pulls[h][thread] += field.output[o * HIDDEN + h] * pull;
            }
#pragma unroll
            for (int f = 0; f < FUSED; ++f) inputs_of[f][thread] = row[f], row[f] = 0;
#pragma unroll 1
            for (int h = 0; h < HIDDEN; ++h) {
                const real pull = unit_pulls[h][thread];
#pragma unroll
                for (int f = 0; f < FUSED; ++f) row[f] += field.hidden[h * FUSED + f] * pull;
            }
#pragma unroll
            for (int f = 0; f < FUSED; ++f) pulls_of[f][thread] = row[f];
            for (int plane = 0; plane < 3; ++plane) spots[plane][thread] = spot_of(field, points + 3 * i, plane);
        }
        __syncthreads();
        const int size = int(min(i64(FIELD_BLOCK), count - first));
        // Features of texels: sums over runs of points between the same four of them.
        const int lanes = 3 * FEATURES, groups = max(FIELD_BLOCK / lanes, 1), run = (FIELD_BLOCK + groups - 1) / groups;
        for (int lane = thread; lane < lanes * groups; lane += FIELD_BLOCK) {
            const int group = lane / lanes, plane = lane % lanes / FEATURES, f = lane % FEATURES;
            const int end = min(size, (group + 1) * run);
            real corners[4] = {0, 0, 0, 0};
            for (int n = group * run; n < end; ++n) {
                const Spot s = spots[plane][n];
                real pull = pulls_of[CONCATENATED ? plane * FEATURES + f : f][n];
                if (!CONCATENATED) {
                    const real* at = field.texels + s.texel * FEATURES + f;
                    const int down = s.columns * FEATURES;
                    const real top = at[0] + s.x * (at[FEATURES] - at[0]);
                    const real bottom = at[down] + s.x * (at[down + FEATURES] - at[down]);
                    samples_of[CONCATENATED ? 0 : plane * FEATURES + f][n] = top + s.y * (bottom - top);
                    pull *= field.fusion[plane * FEATURES + f];
                }
                corners[0] += pull * (1 - s.x) * (1 - s.y), corners[1] += pull * s.x * (1 - s.y);
                corners[2] += pull * (1 - s.x) * s.y, corners[3] += pull * s.x * s.y;
                if (n + 1 < end && spots[plane][n + 1].texel == s.texel) continue;
                u64* to = texel_sums + s.texel * FEATURES + f;
                add(to, corners[0] * scale), add(to + FEATURES, corners[1] * scale);
                to += s.columns * FEATURES;
                add(to, corners[2] * scale), add(to + FEATURES, corners[3] * scale);
                corners[0] = corners[1] = corners[2] = corners[3] = 0;
            }
        }
        if (!CONCATENATED) __syncthreads();
#pragma unroll  // `sums` stay in registers
        for (int n = 0; n < SHARE; ++n) {
            int weight = thread + n * FIELD_BLOCK;
            const real *a, *b = nullptr;
            if (weight < HIDDEN_WEIGHTS) a = unit_pulls[weight / FUSED], b = inputs_of[weight % FUSED];
            else if ((weight -= HIDDEN_WEIGHTS) < HIDDEN) a = unit_pulls[weight];
            else if ((weight -= HIDDEN) < OUTPUT_WEIGHTS)
                a = output_pulls[weight / HIDDEN], b = units_of[weight % HIDDEN];
            else if ((weight -= OUTPUT_WEIGHTS) < OUTPUTS) a = output_pulls[weight];
            else if ((weight -= OUTPUTS) < FUSION_WEIGHTS) a = pulls_of[weight % FEATURES], b = samples_of[weight];
            else continue;
            real sum = 0;
#pragma unroll 4
            for (int k = 0; k < size; ++k) sum += b ? a[k] * b[k] : a[k];
            sums[n] += sum;
        }
    }
    for (int n = 0; n < SHARE; ++n)
        if (thread + n * FIELD_BLOCK < DECODER_WEIGHTS)
            decoder_gradient[i64(blockIdx.x) * DECODER_WEIGHTS + thread + n * FIELD_BLOCK] = sums[n];
}

// Turns sums (size,) of gradients of `count` points into numbers.
extern "C" __global__ __launch_bounds__(256) void
field_resolve(i64 size, i64 count, const float* largest, const u64* sums, real* gradient)
{
    const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (n >= size) return;
    const real broken = __int_as_float(0x7fc00000);  // NaN in, NaN out
    gradient[n] = usable(*largest) ? real(i64(sums[n])) / scale_for(*largest, count) : broken;
}

#endif
