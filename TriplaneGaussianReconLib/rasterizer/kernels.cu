// The rasterizer on NVIDIA GPUs; `cuda.py` launches these kernels, `__init__.py` defines what they compute.
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

typedef REAL real;
typedef long long i64;
typedef unsigned long long u64;

#define EPSILON real(1e-6)     // as in definitions.py
#define MAX_ALPHA real(0.99)   // as in definitions.py
#define ALL 0xffffffffu        // every lane of a warp
#define SHAPE 10               // moments of 1, u, v, t, uu, uv, ut, vv, vt, tt
#define SLOT 4                 // moments of 1, u, v, t
#define CROWD 512              // Gaussians that reach more pixels than this are drawn by a whole warp

// ---- numbers

__device__ __forceinline__ float exponential(float x) { return __expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
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

// Raises `bound` to `largest` over the block; every thread must call it.  NaN counts as more than infinity.
__device__ __forceinline__ void raise(float* bound, float largest)
{
    unsigned bits = __float_as_uint(largest) & 0x7fffffffu;  // non-negative floats are ordered as their bits are
    for (int step = 16; step; step >>= 1) bits = max(bits, __shfl_xor_sync(ALL, bits, step));
    if (threadIdx.x % 32 == 0 && bits > __float_as_uint(*(volatile float*)bound)) atomicMax((unsigned*)bound, bits);
}

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

// The diagonal form of a Gaussian and where it lies; all of across, along, through are 0 unless it is positive definite.
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

// Where a Gaussian's section with one plane lies: rows and columns that it may reach (inclusive), and what q needs.
struct Section {
    int first_row, last_row, first_column, last_column;
    real row, column;  // of the first row and column, relative to the centre
    real across, along, shear, t, rest;  // rest: through * t^2
    __device__ __forceinline__ real u(int r, int c) const
    {
        return column + real(c - first_column) + shear * v(r);
    }
    __device__ __forceinline__ real v(int r) const { return row + real(r - first_row); }
    __device__ __forceinline__ real q(real u, real v) const { return across * u * u + along * v * v + rest; }
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
    const double left = max(ceil(centre_column - wide), 0.0), right = min(floor(centre_column + wide), stack.width - 1.0);
    if (!(top <= bottom && left <= right)) return false;
    s.first_row = int(top), s.last_row = int(bottom), s.first_column = int(left), s.last_column = int(right);
    s.row = real(top - centre_row), s.column = real(left - centre_column);
    return true;
}

// Calls visit(place, pixel, u, v, t, G) for the pixels that a Gaussian reaches: number `first` and every `step`-th.
template <class Visit>
__device__ __forceinline__ void walk(const Form& f, const Stack& stack, double cutoff, int first, int step, Visit visit)
{
    if (!(f.through > 0.0)) return;
    const real reach = depth_reach(f, cutoff);
    for (int plane = planes_below(stack, f.depth - reach);
         plane < stack.planes && stack.depths[plane] <= f.depth + reach; ++plane) {
        Section s;
        if (!section(f, stack, plane, cutoff, s)) continue;
        const int place = int(stack.places[plane]), columns = s.last_column - s.first_column + 1;
        int r = s.first_row, c = s.first_column + first;
        while (c > s.last_column) c -= columns, ++r;
        while (r <= s.last_row) {
            const real v = s.v(r), u = s.u(r, c), q = s.q(u, v);
            if (q <= real(cutoff)) visit(place, r * stack.width + c, u, v, s.t, exponential(real(-0.5) * q));
            c += step;
            while (c > s.last_column) c -= columns, ++r;
        }
    }
}

// Whether a Gaussian reaches so many pixels that a whole warp should share them.
__device__ __forceinline__ bool crowded(const Form& f, const Stack& stack, double cutoff)
{
    if (!(f.through > 0.0)) return false;
    const real reach = depth_reach(f, cutoff), high = real(1) / real(f.along), shear = real(f.shear);
    const real wide = real(1) / real(f.across) + shear * shear * high;
    const int reached = planes_below(stack, f.depth + reach) - planes_below(stack, f.depth - reach);
    return real(4 * cutoff) * sqrt(wide * high) * real(reached) > real(CROWD);
}

// Runs work(i, form, first lane's number, step) for every Gaussian: by its own thread, or by the whole warp if it is
// crowded; `mine` tells whether the thread is the one that Gaussian i belongs to.
template <class Work>
__device__ __forceinline__ void share_out(const Cloud& cloud, const Stack& stack, double cutoff, Work work)
{
    const i64 own = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    const int lane = threadIdx.x % 32;
    Form f = {};
    if (own < cloud.count) f = split(cloud, stack, own);
    const bool busy = crowded(f, stack, cutoff);
    unsigned waiting = __ballot_sync(ALL, busy);
    if (own < cloud.count && !busy) work(own, f, 0, 1, true);
    while (waiting) {
        const int turn = __ffs(waiting) - 1;
        waiting &= waiting - 1;
        const i64 i = __shfl_sync(ALL, own, turn);
        work(i, split(cloud, stack, i), lane, 32, lane == turn);
    }
}

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
            value = float(largest * real(1.001)), weight = float(own), product = float(own) * value, reach = float(deep);
        }
    }
    raise(bounds, weight);
    raise(bounds + 1, product);
    raise(bounds + 2, value);
    raise(bounds + 3, reach);
}

// ---- modes that are sums

// Adds every Gaussian to sums (planes, channels + 1, height, width), scaled integers; the last channel is the weight.
extern "C" __global__ __launch_bounds__(128) void
scatter(CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, i64 channel_count, const float* bounds, u64* sums)
{
    CLOUD_AND_STACK
    if (!usable(bounds[0]) || !usable(bounds[1])) return;
    const real weight_scale = scale_for(bounds[0], count), value_scale = scale_for(bounds[1], count * slots);
    const i64 area = height * width;
    share_out(cloud, stack, cutoff, [&](i64 i, const Form& f, int first, int step, bool) {
        const real weight = cloud.weights[i];
        if (cloud.slots == 1) {
            const Line line = line_of(cloud, stack, f, i, 0);
            const int channel = cloud.channels[i];
            walk(f, stack, cutoff, first, step, [&](int place, int pixel, real u, real v, real t, real shape) {
                u64* at = sums + place * (channel_count + 1) * area + pixel;
                const real share = weight * shape;
                add(at + channel_count * area, share * weight_scale);
                add(at + channel * area, share * line.at(u, v, t) * value_scale);
            });
            return;
        }
        for (int s = 0; s < cloud.slots; ++s) {
            const Line line = line_of(cloud, stack, f, i, s);
            const int channel = cloud.channels[i * cloud.slots + s];
            const bool empty = line.level == 0 && line.u == 0 && line.v == 0 && line.t == 0;
            if (s > 0 && empty) continue;
            walk(f, stack, cutoff, first, step, [&](int place, int pixel, real u, real v, real t, real shape) {
                u64* at = sums + place * (channel_count + 1) * area + pixel;
                const real share = weight * shape;
                if (s == 0) add(at + channel_count * area, share * weight_scale);
                if (!empty) add(at + channel * area, share * line.at(u, v, t) * value_scale);
            });
        }
    });
}

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
    const u64* from = sums + plane * (channel_count + 1) * area + pixel;
    const real weight = fine ? real(i64(from[channel_count * area])) * weight_unit : broken;
    const real factor = normalised ? value_unit / (weight + EPSILON) : value_unit;
    weight_sum[n] = weight;
    for (i64 c = 0; c < channel_count; ++c)
        channels[(plane * channel_count + c) * area + pixel] = fine ? real(i64(from[c * area])) * factor : broken;
}

// Fills source (planes, channels + 2, height, width) with what the pixels hand back: the gradient of each channel's sum
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
        real* to = source + plane * (channel_count + 2) * area + pixel;
        real rest = 0;
        for (i64 c = 0; c < channel_count; ++c) {
            const i64 at = (plane * channel_count + c) * area + pixel;
            rest += channel_gradient[at] * channels[at];
            to[c * area] = channel_gradient[at] * factor;
            largest = abs(channel_gradient[at]) <= largest ? largest : abs(channel_gradient[at]);
        }
        own = normalised ? sum_gradient[n] - rest * factor : sum_gradient[n];
        to[channel_count * area] = own;
        to[(channel_count + 1) * area] = rest + own * weight;
    }
    if (!gains) return;
    raise(gains, float(largest));
    raise(gains + 1, float(own));
}

// ---- moments and gradients

// Sums over the pixels of one Gaussian.  shape: of dL / d(w G) * G times 1, u, v, t, uu, uv, ut, vv, vt, tt (only the
// first is needed without gradients of centre and precision).  slot: of dL / d(value) times 1, u, v, t.
template <int SLOTS>
struct Moments {
    real shape[SHAPE], slot[SLOTS][SLOT];
    __device__ __forceinline__ void clear()
    {
        for (int n = 0; n < SHAPE; ++n) shape[n] = 0;
        for (int s = 0; s < SLOTS; ++s)
            for (int n = 0; n < SLOT; ++n) slot[s][n] = 0;
    }
    __device__ __forceinline__ void add_shape(real pull, real u, real v, real t)
    {
        const real pull_u = pull * u, pull_v = pull * v, pull_t = pull * t;
        shape[0] += pull, shape[1] += pull_u, shape[2] += pull_v, shape[3] += pull_t;
        shape[4] += pull_u * u, shape[5] += pull_u * v, shape[6] += pull_u * t;
        shape[7] += pull_v * v, shape[8] += pull_v * t, shape[9] += pull_t * t;
    }
    __device__ __forceinline__ void add_slot(int s, real pull, real u, real v, real t)
    {
        slot[s][0] += pull, slot[s][1] += pull * u, slot[s][2] += pull * v, slot[s][3] += pull * t;
    }
};

__device__ __forceinline__ real over_warp(real number)
{
    for (int step = 16; step; step >>= 1) number += __shfl_xor_sync(ALL, number, step);
    return number;
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
        for (int b = 0; b < 3; ++b) turned[b][a] = m[b][0] * basis[0][a] + m[b][1] * basis[1][a] + m[b][2] * basis[2][a];
    }
    for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b)
            second[a][b] = scale * (basis[0][a] * turned[0][b] + basis[1][a] * turned[1][b] + basis[2][a] * turned[2][b]);
    real* precision = to.precisions + 6 * i;
    precision[0] = second[0][0], precision[1] = 2 * second[0][1], precision[2] = 2 * second[0][2];
    precision[3] = second[1][1], precision[4] = 2 * second[1][2], precision[5] = second[2][2];
    to.centres[3 * i] = slot_pull[0] - 2 * (p[0] * arm[0] + p[1] * arm[1] + p[2] * arm[2]);
    to.centres[3 * i + 1] = slot_pull[1] - 2 * (p[1] * arm[0] + p[3] * arm[1] + p[4] * arm[2]);
    to.centres[3 * i + 2] = slot_pull[2] - 2 * (p[2] * arm[0] + p[4] * arm[1] + p[5] * arm[2]);
}

// Every Gaussian collects its gradients from the pixels that it reaches, SLOTS slots in each round over its pixels.
template <int SLOTS, bool FULL>
__device__ __forceinline__ void gather_all(const Cloud& cloud, const Stack& stack, double cutoff, i64 channel_count,
                                           const real* source, const Gradients& gradients)
{
    const i64 area = i64(stack.height) * stack.width;
    share_out(cloud, stack, cutoff, [&](i64 i, const Form& f, int first, int step, bool mine) {
        const real weight = cloud.weights[i];
        real basis[3][3], slot_pull[3] = {0, 0, 0};
        basis_of(stack, f, basis);
        Moments<SLOTS> sums;
        sums.clear();
        for (int begin = 0; begin == 0 || begin < cloud.slots; begin += SLOTS) {
            Line lines[SLOTS];
            i64 offsets[SLOTS];
#pragma unroll
            for (int s = 0; s < SLOTS; ++s) {
                for (int n = 0; n < SLOT; ++n) sums.slot[s][n] = 0;
                const bool there = begin + s < cloud.slots;
                offsets[s] = there ? cloud.channels[i * cloud.slots + begin + s] * area : -1;
                lines[s] = there ? line_of(cloud, stack, f, i, begin + s) : Line{0, 0, 0, 0};
            }
            walk(f, stack, cutoff, first, step, [&](int place, int pixel, real u, real v, real t, real shape) {
                const real* from = source + place * (channel_count + 2) * area + pixel;
                real pull = begin == 0 ? from[channel_count * area] : real(0);
#pragma unroll
                for (int s = 0; s < SLOTS; ++s) {
                    if (offsets[s] < 0) continue;
                    const real wanted = from[offsets[s]];
                    pull += wanted * lines[s].at(u, v, t);
                    sums.add_slot(s, weight * shape * wanted, u, v, t);
                }
                pull *= shape;
                if (FULL) sums.add_shape(pull, u, v, t); else sums.shape[0] += pull;
            });
#pragma unroll
            for (int s = 0; s < SLOTS; ++s) {
                if (step > 1)
                    for (int n = 0; n < SLOT; ++n) sums.slot[s][n] = over_warp(sums.slot[s][n]);
                if (mine && offsets[s] >= 0)
                    finish_slot(cloud, i * cloud.slots + begin + s, basis, sums.slot[s], gradients, slot_pull);
            }
        }
        if (step > 1)
            for (int n = 0; n < (FULL ? SHAPE : 1); ++n) sums.shape[n] = over_warp(sums.shape[n]);
        if (mine) finish_shape(cloud, i, basis, sums.shape, gradients, slot_pull);
    });
}

#define GATHER_ARGUMENTS                                                                                              \
    CLOUD_ARGUMENTS, STACK_ARGUMENTS, double cutoff, i64 channel_count, const real *source, GRADIENT_ARGUMENTS
#define GATHER(SLOTS, FULL)                                                                                           \
    CLOUD_AND_STACK                                                                                                   \
    gather_all<SLOTS, FULL>(cloud, stack, cutoff, channel_count, source, GRADIENTS);

extern "C" __global__ __launch_bounds__(128) void gather_image(GATHER_ARGUMENTS) { GATHER(1, true) }
extern "C" __global__ __launch_bounds__(128) void gather_image_values(GATHER_ARGUMENTS) { GATHER(1, false) }
extern "C" __global__ __launch_bounds__(128) void gather_slots(GATHER_ARGUMENTS) { GATHER(4, true) }
extern "C" __global__ __launch_bounds__(128) void gather_slots_values(GATHER_ARGUMENTS) { GATHER(4, false) }

// ---- mode alpha

#define TILE 16      // pixels along each side of a tile; one thread each
#define MOST 1024    // entries of a tile that are sorted at a time
#define KEPT 512     // entries of a tile that are composited at a time
#define BATCH 64     // entries whose geometry stands ready at a time
#define LINES 512    // slots of these entries, all together

// What decides whether a Gaussian may touch a tile.  high, wide: half its extent where q rises by 1.
struct Outline {
    float depth, through, row, column, row_drift, column_drift, high, wide;
};

extern "C" __global__ __launch_bounds__(256) void
outline(CLOUD_ARGUMENTS, STACK_ARGUMENTS, Outline* outlines)
{
    CLOUD_AND_STACK
    const i64 i = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= cloud.count) return;
    const Form f = split(cloud, stack, i);
    const float high = 1 / float(f.along);
    outlines[i] = {float(f.depth), f.through > 0.0 ? float(f.through) : __int_as_float(0x7fc00000), float(f.row),
                   float(f.column), float(f.row_drift), float(f.column_drift), sqrtf(high),
                   sqrtf(1 / float(f.across) + float(f.shear * f.shear) * high)};
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

// One Gaussian on one tile; row, column: of the tile's corner, relative to the centre.
struct Entry {
    real row, column, across, along, shear, t, rest, weight;
    int id;
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

// Calls visit(entries, lines, n) for the Gaussians on a tile, front to back, in batches of n; lines holds `slots` lines
// per entry.  All threads of the block take part.  Tiles with more Gaussians than fit are gone through several times,
// each time for the next ones.
template <class Visit>
__device__ __forceinline__ void front_to_back(const Cloud& cloud, const Stack& stack, const Tile& tile, double cutoff,
                                              const ByDepth& sorted, const Outline* outlines, float reach, Visit visit)
{
    __shared__ Key keys[MOST];
    __shared__ Entry entries[BATCH];
    __shared__ Line lines[LINES];
    __shared__ int found;
    const int thread = threadIdx.x, threads = blockDim.x;
    const int batch = min(BATCH, LINES / max(cloud.slots, 1));
    const i64 begin = sorted.below(tile.depth - reach);
    const i64 end = sorted.below(tile.depth + reach * 1.000001 + 1e-12);
    Key last = {-1.0, -1};
    bool more = true;
    while (more) {
        more = false;
        Key limit = {1e300, 0x7fffffff};
        __syncthreads();
        if (thread == 0) found = 0;
        __syncthreads();
        for (i64 at = begin; at < end; at += threads) {
            if (at + thread < end) {
                const int id = int(sorted.ids[at + thread]);
                const Key key = {fabs(sorted.depths[at + thread] - tile.depth), id};
                if (last.before(key) && key.before(limit) && touches(outlines[id], stack, tile, cutoff))
                    keys[atomicAdd(&found, 1)] = key;
            }
            __syncthreads();
            const int so_far = found;
            __syncthreads();
            if (so_far > MOST - threads) {  // keep the nearest, leave the others for later
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
                const double t = tile.depth - f.depth;
                entries[n] = {real(tile.row - (f.row + t * f.row_drift - stack.rows[tile.plane])),
                              real(tile.column - (f.column + t * f.column_drift - stack.columns[tile.plane])),
                              real(f.across), real(f.along), real(f.shear), real(t), real(f.through * t * t),
                              cloud.weights[id], id};
                for (int s = 0; s < cloud.slots; ++s) lines[n * cloud.slots + s] = line_of(cloud, stack, f, id, s);
            }
            __syncthreads();
            visit(entries, lines, size);
            __syncthreads();
        }
    }
}

#define TILE_ARGUMENTS                                                                                                \
    i64 channel_count, double cutoff, const double *sorted_depths, const i64 *sorted_ids, const Outline *outlines,    \
        const float *bounds
#define TILE_AND_PIXEL                                                                                                \
    CLOUD_AND_STACK                                                                                                   \
    const ByDepth sorted = {count, sorted_depths, sorted_ids};                                                        \
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
extern "C" __global__ __launch_bounds__(256) void
composite(CLOUD_ARGUMENTS, STACK_ARGUMENTS, TILE_ARGUMENTS, real* drawn, real* weight_sum)
{
    TILE_AND_PIXEL
    real light = 1, image = 0, weight = 0;
    real* to = drawn + tile.place * channel_count * area + pixel;
    front_to_back(cloud, stack, tile, cutoff, sorted, outlines, bounds[3],
                  [&](const Entry* entries, const Line* lines, int size) {
        for (int n = 0; n < size; ++n) {
            const Entry e = entries[n];
            const real v = e.row + row, u = e.column + column + e.shear * v;
            const real q = e.across * u * u + e.along * v * v + e.rest;
            if (!(inside && q <= real(cutoff))) continue;
            const real share = min(e.weight * exponential(real(-0.5) * q), MAX_ALPHA) * light;
            light -= share;
            weight += share;
            for (int s = 0; s < cloud.slots; ++s) {
                const int channel = cloud.channels[i64(e.id) * cloud.slots + s];
                const real part = share * lines[n * cloud.slots + s].at(u, v, e.t);
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
extern "C" __global__ __launch_bounds__(256) void
peel(CLOUD_ARGUMENTS, STACK_ARGUMENTS, TILE_ARGUMENTS, const real* source, const float* gains, u64* moments)
{
    TILE_AND_PIXEL
    const float largest = largest_moment(gains, bounds, slots, cutoff);
    if (!usable(largest)) return;
    const real scale = scale_for(largest, planes * area);
    const real* from = source + tile.place * (channel_count + 2) * area + pixel;
    // What is composited behind a Gaussian is everything less what has been passed: one visit is enough.
    real light = 1, behind = inside ? from[(channel_count + 1) * area] : real(0);
    const real own = inside ? from[channel_count * area] : real(0);
    front_to_back(cloud, stack, tile, cutoff, sorted, outlines, bounds[3],
                  [&](const Entry* entries, const Line* lines, int size) {
        for (int n = 0; n < size; ++n) {
            const Entry e = entries[n];
            const real v = e.row + row, u = e.column + column + e.shear * v;
            const real q = e.across * u * u + e.along * v * v + e.rest;
            const bool hit = inside && q <= real(cutoff);
            if (!__any_sync(ALL, hit)) continue;
            const real shape = hit ? exponential(real(-0.5) * q) : real(0), raw = e.weight * shape;
            const real opacity = min(raw, MAX_ALPHA), share = opacity * light;
            const real unit_u = sqrt(e.across), unit_v = sqrt(e.along);
            const real unit_t = e.t != 0 ? sqrt(e.rest) / abs(e.t) : real(0);
            const i64 width_of_all = SHAPE + SLOT * slots;
            u64* to = moments + e.id * width_of_all;
            real gain = own;
            for (int s = 0; s < cloud.slots; ++s) {
                const i64 channel = cloud.channels[i64(e.id) * cloud.slots + s];
                const real wanted = hit ? from[channel * area] : real(0), pull = share * wanted;
                gain += wanted * lines[n * cloud.slots + s].at(u, v, e.t);
                const real one = over_warp(pull), first = over_warp(pull * u), second = over_warp(pull * v);
                const real mine[SLOT] = {one, first * unit_u, second * unit_v, one * e.t * unit_t};
                if (lane == 0)
                    for (int m = 0; m < SLOT; ++m) add(to + SHAPE + SLOT * s + m, mine[m] * scale);
            }
            const real later = behind - share * gain;
            real pull = raw > MAX_ALPHA ? real(0) : shape * (light * gain - later / (1 - opacity));
            if (hit) behind = later, light -= share;
            const real pull_u = pull * u * unit_u, pull_v = pull * v * unit_v, t = e.t * unit_t;
            const real one = over_warp(pull), in_u = over_warp(pull_u), in_v = over_warp(pull_v);
            const real uu = over_warp(pull_u * u * unit_u), uv = over_warp(pull_u * v * unit_v);
            const real vv = over_warp(pull_v * v * unit_v);
            const real mine[SHAPE] = {one, in_u, in_v, one * t, uu, uv, in_u * t, vv, in_v * t, one * t * t};
            if (lane == 0)
                for (int m = 0; m < SHAPE; ++m) add(to + m, mine[m] * scale);
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
