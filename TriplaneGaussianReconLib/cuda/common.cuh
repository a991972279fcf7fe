// What all GPU programs share.  cuda/source.py joins this file and those of one program into one text, which NVRTC
// compiles without any header.  The text begins with macros that Python defines: REAL (float or double), and the
// constants that both sides use.
//
// Every kernel parameter is a pointer, `long long` or `double`.
//
// Sums repeat bit by bit.  Where threads add to the same number they add 64-bit integers, whose order does not matter.
// The integers are scaled so that the largest possible sum just fits.  Everything else is summed by one thread, or by
// one warp in a fixed order.

typedef REAL real;
typedef long long i64;
typedef unsigned long long u64;

#define FULL_WARP 0xffffffffu  // mask of all lanes

__device__ __forceinline__ real not_a_number() { return __int_as_float(0x7fc00000); }

// ---- sums in scaled integers

__device__ __forceinline__ i64 nearest(float x) { return __float2ll_rn(x); }
__device__ __forceinline__ i64 nearest(double x) { return __double2ll_rn(x); }

// The power of two by which to multiply numbers of magnitude up to `largest`, so that `count` of them add up to at most
// 62 bits.
__device__ __forceinline__ real scale_for(float largest, i64 count)
{
    const int exponent = int((__float_as_uint(largest) >> 23) & 255u) - 126;  // largest < 2^exponent
    return real(ldexp(1.0, min(62 - exponent - (64 - __clzll(count)), 120)));
}

// Whether `largest` is neither infinite nor NaN.  If it is not usable, kernels write NaN: NaN in, NaN out.
__device__ __forceinline__ bool usable(float largest) { return largest <= 3.4e38f; }

__device__ __forceinline__ void add(u64* sum, real number) { atomicAdd(sum, u64(nearest(number))); }
