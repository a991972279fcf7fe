// The tri-plane field: sampling, fusion and decoder.
//
// A program is for one size of the field: FEATURES of a texel, FUSED inputs of the decoder (FEATURES if the planes are
// summed, 3 * FEATURES if they are concatenated), HIDDEN units and OUTPUTS.

#define CONCATENATED (FUSED == 3 * FEATURES)

// box: (2, 3) corners.  texels: the feature planes xy, yz, xz, one after the other, each [row][column][feature].
// hidden (HIDDEN, FUSED) and output (OUTPUTS, HIDDEN): the decoder's matrices, with their biases.  limits: (OUTPUTS,).
// fusion: (3, FEATURES) weights of the planes; null if they are concatenated.
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

// Where a point lies on one plane.  texel: the one before it.  columns: of the plane.  x, y: shares of the next texel
// along columns and rows.
struct Spot {
    int texel, columns;
    real x, y;
};

static_assert(sizeof(Spot) == 2 * sizeof(int) + 2 * sizeof(real), "`fits` of triplane_cuda.py counts on it");

__device__ __forceinline__ Spot spot_of(const Field& field, const real* point, int plane)
{
    const int a = plane == 1 ? 1 : 0, b = plane == 0 ? 1 : 2;  // xy, yz, xz
    const int nx = field.counts[0], ny = field.counts[1], nz = field.counts[2];
    const int start = plane == 0 ? 0 : plane == 1 ? nx * ny : nx * ny + ny * nz;
    int whole[2];
    real part[2];
    for (int n = 0; n < 2; ++n) {
        const int axis = n ? b : a, most = field.counts[axis] - 1;
        const real extent = max(field.box[3 + axis] - field.box[axis], SMALLEST_EXTENT);
        const real at = min(max((point[axis] - field.box[axis]) / extent * real(most), real(0)), real(most));
        whole[n] = min(int(at), most - 1);
        part[n] = at - real(whole[n]);
    }
    return {start + whole[1] * field.counts[a] + whole[0], field.counts[a], part[0], part[1]};
}

// Samples the planes at a point and fuses them to inputs (FUSED,).
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

// The value of hidden unit `h`.
__device__ __forceinline__ real unit(const Field& field, const real* inputs, int h)
{
    real sum = field.hidden_bias[h];
#pragma unroll
    for (int f = 0; f < FUSED; ++f) sum += field.hidden[h * FUSED + f] * inputs[f];
    return max(sum, real(0));
}

// Fills residuals (N, OUTPUTS).
extern "C" __global__ __launch_bounds__(DECODE_THREADS) void
field_decode(FIELD_ARGUMENTS, real* residuals)
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

// No gradient of a sampled feature is larger than this.  All threads of the block must call it.
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
#define SHARE ((DECODER_WEIGHTS + POINTS_PER_BLOCK - 1) / POINTS_PER_BLOCK)

// Adds to texel_sums, scaled integers in the order of texels, and writes to `largest_of_all` what `field_resolve` needs
// to scale them back.  Fills decoder_gradient (blocks, DECODER_WEIGHTS), one sum per block: hidden, its bias, output,
// its bias, fusion.  It must be NaN before, and stays so if a gradient is not finite.
//
// Every block goes through consecutive points, POINTS_PER_BLOCK at a time.  First each thread decodes one of them
// again.  Then each thread sums the gradients of some features over some points, of which neighbours mostly fall on the
// same texels, and those of some of the decoder's weights.
extern "C" __global__ __launch_bounds__(POINTS_PER_BLOCK) void
field_backward(FIELD_ARGUMENTS, const real* residual_gradient, const real* largest_gradient, float* largest_of_all,
               u64* texel_sums, real* decoder_gradient)
{
    __shared__ real weights[DECODER_WEIGHTS];  // from global memory, the compiler would load them all into registers
    for (int n = threadIdx.x; n < DECODER_WEIGHTS; n += POINTS_PER_BLOCK) {
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
    __shared__ Spot spots[3][POINTS_PER_BLOCK];
    const float largest = largest_feature_gradient(field, float(*largest_gradient));
    if (blockIdx.x == 0 && threadIdx.x == 0) *largest_of_all = largest;
    if (!usable(largest)) return;
    const real scale = scale_for(largest, count);
    const int thread = threadIdx.x;
    real sums[SHARE];
    for (int n = 0; n < SHARE; ++n) sums[n] = 0;
    const i64 rounds = (count + i64(gridDim.x) * POINTS_PER_BLOCK - 1) / (i64(gridDim.x) * POINTS_PER_BLOCK);
    for (i64 turn = 0; turn < rounds; ++turn) {
        const i64 first = (i64(blockIdx.x) * rounds + turn) * POINTS_PER_BLOCK, i = first + thread;
        const bool there = i < count;
        __syncthreads();
        if (there) {
            // Loops over units are not unrolled: the decoder's weights would fill the registers.
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
        const int size = int(min(i64(POINTS_PER_BLOCK), count - first));
        // Features of texels, summed over runs of points that lie between the same four texels.
        const int lanes = 3 * FEATURES, groups = max(POINTS_PER_BLOCK / lanes, 1);
        const int run = (POINTS_PER_BLOCK + groups - 1) / groups;
        for (int lane = thread; lane < lanes * groups; lane += POINTS_PER_BLOCK) {
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
#pragma unroll  // keeps `sums` in registers
        for (int n = 0; n < SHARE; ++n) {
            int weight = thread + n * POINTS_PER_BLOCK;
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
        if (thread + n * POINTS_PER_BLOCK < DECODER_WEIGHTS)
            decoder_gradient[i64(blockIdx.x) * DECODER_WEIGHTS + thread + n * POINTS_PER_BLOCK] = sums[n];
}

// Turns sums (size,) over `count` points, scaled integers, into gradients.
extern "C" __global__ __launch_bounds__(RESOLVE_THREADS) void
field_resolve(i64 size, i64 count, const float* largest, const u64* sums, real* gradient)
{
    const i64 n = i64(blockIdx.x) * blockDim.x + threadIdx.x;
    if (n >= size) return;
    gradient[n] = usable(*largest) ? real(i64(sums[n])) / scale_for(*largest, count) : not_a_number();
}
