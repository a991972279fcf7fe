// The rasterizer's backward pass: what pixels hand back, and how moments become gradients.

// Fills source (channels + 2, planes, height, width): the gradient of each channel's sum, that of the weight sum, and
// for mode alpha the gradient times the result, summed over all that was composited.  Raises gains (GAINS,), unless
// null, to the largest gradient of a channel and of the weight sum.
extern "C" __global__ __launch_bounds__(LIGHT_THREADS) void
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
    const float of_pixel[GAINS] = {float(largest), float(own)};
    raise<GAINS>(gains, of_pixel);
}

// The sum over the warp, in every lane.
__device__ __forceinline__ real over_warp(real number)
{
    for (int step = 16; step; step >>= 1) number += __shfl_xor_sync(FULL_WARP, number, step);
    return number;
}

// Where gradients go.  Null for those that are not wanted.
struct Gradients {
    real *centres, *precisions, *weights, *values, *slopes;
};

#define GRADIENT_ARGUMENTS                                                                                            \
    real *centre_gradient, real *precision_gradient, real *weight_gradient, real *value_gradient, real *slope_gradient
#define GRADIENTS {centre_gradient, precision_gradient, weight_gradient, value_gradient, slope_gradient}

// The vectors B_u, B_v and B_t of cuda_planes.cuh.
__device__ __forceinline__ void basis_of(const Stack& stack, const Form& f, real basis[3][3])
{
    const double *c = stack.frame, *r = c + 3, *n = c + 6;
    for (int a = 0; a < 3; ++a) {
        basis[0][a] = real(c[a]);
        basis[1][a] = real(r[a] - f.shear * c[a]);
        basis[2][a] = real(n[a] + f.column_drift * c[a] + f.row_drift * r[a]);
    }
}

// Writes the gradients of one slot, and adds what the centre gets from it to `pull` (3,).
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
