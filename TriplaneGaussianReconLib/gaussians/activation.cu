// From what is trained to what is drawn: `GaussianParameters.precisions` and `.drawn` of cloud.py.

// xx, xy, yy: in-plane precision.  x, y: tilts.  depth: precision along the depth axis.
struct Shape {
    real xx, xy, yy, x, y, depth;
};

__device__ __forceinline__ Shape shape_of(const real* tilts, const real* in_plane, const real* log_depths, i64 i)
{
    const real a = exp(in_plane[3 * i]), b = in_plane[3 * i + 1], c = exp(in_plane[3 * i + 2]);
    return {a * a, a * b, b * b + c * c, tilts[2 * i], tilts[2 * i + 1], exp(real(-2) * log_depths[i])};
}

__device__ __forceinline__ real sigmoid(real x) { return real(1) / (real(1) + exp(-x)); }

// Fills precisions (N, 6) and weights (N,).
extern "C" __global__ __launch_bounds__(THREADS) void
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

// Fills the gradients of the inputs of `activate` from those of its results.
extern "C" __global__ __launch_bounds__(THREADS) void
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
