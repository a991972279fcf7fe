// The rasterizer on a GPU: planes, Gaussians, and how a Gaussian lies on planes.  rasterize.py has the formulas.
//
// Geometry, as in cpu_kernels.py.  On a stack of parallel planes, with t the signed distance of a plane from a centre,
//     x - centre = u * B_u + v * B_v + t * B_t,    q = across * u^2 + along * v^2 + through * t^2,
// where B_u is the column step, B_v the row step sheared along the columns, and B_t the path that the conditional 2D
// Gaussian follows from plane to plane.  `split` works this out in float64, once per Gaussian and kernel, because pixel
// indices cancel badly in float32.  What is done for every pixel is in `real`, relative to the Gaussian.

__device__ __forceinline__ float exponential(float x) { return __expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }

// A stack of planes sorted by depth; the fields are those of `SortedPlanes` in definitions.py, all as double.
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

// A Gaussian's quadratic form in (u, v, t), and where its centre lies.  across, along and through are 0 unless the
// precision is positive definite.
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
    // Its LDL' decomposition.
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

// A slot's value at the centre, and its change per unit of u, v and t.
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

// How far from its centre (mm of depth) a Gaussian reaches planes, a little more than it does.
__device__ __forceinline__ real depth_reach(const Form& f, double cutoff)
{
    return sqrt(real(cutoff) / real(f.through)) * real(1.00001);
}

// The number of planes below `depth`.
__device__ __forceinline__ int planes_below(const Stack& stack, double depth)
{
    int low = 0, high = stack.planes;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (stack.depths[middle] < depth) low = middle + 1; else high = middle;
    }
    return low;
}

// The planes that a Gaussian may reach: first <= plane < end.
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

// ---- bounds

// Raises bounds (COUNT,) to the largest of `largest` (COUNT,) in the block.  NaN counts as more than infinity.  All
// threads of the block must call it.
template <int COUNT>
__device__ __forceinline__ void raise(float* bounds, const float* largest)
{
    __shared__ unsigned of_block[COUNT];
    if (threadIdx.x < COUNT) of_block[threadIdx.x] = 0;
    __syncthreads();
    for (int n = 0; n < COUNT; ++n) {
        unsigned bits = __float_as_uint(largest[n]) & 0x7fffffffu;  // non-negative floats are ordered as their bits are
        for (int step = 16; step; step >>= 1) bits = max(bits, __shfl_xor_sync(FULL_WARP, bits, step));
        if (threadIdx.x % 32 == 0) atomicMax(of_block + n, bits);
    }
    __syncthreads();
    if (threadIdx.x < COUNT) atomicMax((unsigned*)bounds + threadIdx.x, of_block[threadIdx.x]);
}

// Raises bounds (BOUNDS,) to the largest weight, weight times value inside a Gaussian, value, and reach in depth (mm).
extern "C" __global__ __launch_bounds__(LIGHT_THREADS) void
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
    const float largest[BOUNDS] = {weight, product, value, reach};
    raise<BOUNDS>(bounds, largest);
}
