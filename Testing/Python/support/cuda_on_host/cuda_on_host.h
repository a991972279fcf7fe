// The CUDA C++ that our kernels use, for a host compiler: a launch runs on one CPU thread, without a GPU.
//
// Every CUDA thread is a fiber that runs until it waits for others, so atomics need no locks. What a GPU leaves
// undefined is made to show: shared memory and values of absent lanes are NaN bytes, and threads that wait for others
// which never come are reported. Inline PTX, dynamic shared memory and waiting for another block are not supported.
#pragma once

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <type_traits>
#include <utility>

// ---------------------------------------------------------------------------------------------------- vector types

template <class T, int alignment> struct alignas(alignment) Vector2 { T x, y; };
template <class T> struct Vector3 { T x, y, z; };
template <class T> struct alignas(16) Vector4 { T x, y, z, w; };

#define CUDA_ON_HOST_VECTORS(type, name)                                                             \
  using name##2 = Vector2<type, 2 * sizeof(type)>;                                                   \
  using name##3 = Vector3<type>;                                                                     \
  using name##4 = Vector4<type>;                                                                     \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                   \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                        \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
CUDA_ON_HOST_VECTORS(int, int)
CUDA_ON_HOST_VECTORS(unsigned, uint)
CUDA_ON_HOST_VECTORS(float, float)
CUDA_ON_HOST_VECTORS(double, double)
CUDA_ON_HOST_VECTORS(long long, longlong)
CUDA_ON_HOST_VECTORS(unsigned long long, ulonglong)
#undef CUDA_ON_HOST_VECTORS
using dim3 = uint3;

// ------------------------------------------------------------------------------------------- the thread that runs now

extern uint3 threadIdx, blockIdx, blockDim, gridDim;  // the scheduler sets them before it resumes a thread
constexpr int warpSize = 32;

namespace cuda_on_host {

using Bits = unsigned long long;
constexpr Bits POISON = 0x7ffdcdcd7ffdcdcdULL;  // NaN as float and as double, far out of range as an index

enum class Meeting { BLOCK, WARP, SHUFFLE, BALLOT, MATCH, ACTIVE };

// Where a function is called in the source: threads meet only at the same place.
struct Place {
  const char* file;
  int line;

  static constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// What a thread brings to a meeting, and what it takes home.
struct Visit {
  Meeting meeting;
  Place place;
  unsigned mask;   // the lanes that meet; unused where a block does
  Bits value;      // the value to share; a predicate is 0 or 1
  int source;      // SHUFFLE: the lane to take the value from
  Bits result;     // the value taken, the lanes found; BLOCK: number of threads whose predicate holds
};

Visit meet(Visit visit);  // waits until all that are expected have come
unsigned lane();
[[noreturn]] void fail(const char* format, ...);

template <class T> Bits to_bits(T value) {
  static_assert(sizeof(T) <= 8, "at most 8 bytes go through a shuffle");
  Bits bits = 0;
  memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class T> T from_bits(Bits bits) {
  T value;
  memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class To, class From> To reinterpret(From value) {
  static_assert(sizeof(To) == sizeof(From), "");
  return from_bits<To>(to_bits(value));
}

inline Visit vote(unsigned mask, bool predicate, Place place) {
  return meet({Meeting::BALLOT, place, mask, predicate, 0, 0});
}

inline Visit gather(bool predicate, Place place) { return meet({Meeting::BLOCK, place, 0, predicate, 0, 0}); }

template <class T> T shuffle(unsigned mask, T value, int source, Place place) {
  static_assert(std::is_arithmetic<T>::value && sizeof(T) >= 4, "CUDA shuffles numbers of 4 and 8 bytes");
  return from_bits<T>(meet({Meeting::SHUFFLE, place, mask, to_bits(value), source, 0}).result);
}

inline void check_width(int width) {
  if (width < 1 || width > 32 || (width & (width - 1))) fail("a shuffle of width %d", width);
}

}  // namespace cuda_on_host

// -------------------------------------------------------------------------------------- waiting and exchanging values

#define CUDA_ON_HOST_PLACE cuda_on_host::Place place = cuda_on_host::Place::here()  // last parameter, never given

inline void __syncthreads(CUDA_ON_HOST_PLACE) { cuda_on_host::gather(false, place); }
inline int __syncthreads_count(int predicate, CUDA_ON_HOST_PLACE) {
  return static_cast<int>(cuda_on_host::gather(predicate != 0, place).result);
}
inline int __syncthreads_or(int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::gather(predicate != 0, place).result != 0;
}
inline int __syncthreads_and(int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::gather(predicate == 0, place).result == 0;
}

inline void __syncwarp(unsigned mask = 0xffffffffU, CUDA_ON_HOST_PLACE) {
  cuda_on_host::meet({cuda_on_host::Meeting::WARP, place, mask, 0, 0, 0});
}
// The lanes that come here while no other can move: what a warp in lockstep would see.
inline unsigned __activemask(CUDA_ON_HOST_PLACE) {
  return static_cast<unsigned>(cuda_on_host::meet({cuda_on_host::Meeting::ACTIVE, place, 0, 0, 0, 0}).result);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_ON_HOST_PLACE) {
  return static_cast<unsigned>(cuda_on_host::vote(mask, predicate != 0, place).result);
}
inline int __any_sync(unsigned mask, int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::vote(mask, predicate != 0, place).result != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDA_ON_HOST_PLACE) {
  return cuda_on_host::vote(mask, predicate == 0, place).result == 0;
}
template <class T> unsigned __match_any_sync(unsigned mask, T value, CUDA_ON_HOST_PLACE) {
  using namespace cuda_on_host;
  return static_cast<unsigned>(meet({Meeting::MATCH, place, mask, to_bits(value), 0, 0}).result);
}

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_ON_HOST_PLACE) {
  using namespace cuda_on_host;
  check_width(width);
  return shuffle(mask, value, (static_cast<int>(lane()) & ~(width - 1)) | (source & (width - 1)), place);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, CUDA_ON_HOST_PLACE) {
  using namespace cuda_on_host;
  check_width(width);
  int own = static_cast<int>(lane()), source = own - static_cast<int>(by);
  return shuffle(mask, value, source < (own & ~(width - 1)) ? own : source, place);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                                      CUDA_ON_HOST_PLACE) {
  using namespace cuda_on_host;
  check_width(width);
  int own = static_cast<int>(lane()), source = own + static_cast<int>(by);
  return shuffle(mask, value, source > (own | (width - 1)) ? own : source, place);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32, CUDA_ON_HOST_PLACE) {
  using namespace cuda_on_host;
  check_width(width);
  int own = static_cast<int>(lane()), source = own ^ flip;
  return shuffle(mask, value, source > (own | (width - 1)) ? own : source, place);
}
#undef CUDA_ON_HOST_PLACE

inline void __threadfence() {}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap() { cuda_on_host::fail("__trap()"); }

// ---------------------------------------------------------------------------------------------------------- atomics

namespace cuda_on_host {

template <class T, class... Allowed> constexpr bool one_of = (std::is_same<T, Allowed>::value || ...);
template <class T> struct Exactly { using type = T; };
template <class T> using Same = typename Exactly<T>::type;  // a parameter that takes no part in deduction

template <class T, class Change> T replace(T* address, Change change) {
  T old = *address;
  *address = change(old);
  return old;
}

}  // namespace cuda_on_host

#define CUDA_ON_HOST_ATOMIC(name, expression, ...)                                                              \
  template <class T> T name(T* address, cuda_on_host::Same<T> value) {                                          \
    static_assert(cuda_on_host::one_of<T, __VA_ARGS__>, "CUDA has no " #name " for this type");                 \
    return cuda_on_host::replace(address, [=](T old) -> T { return expression; });                              \
  }
CUDA_ON_HOST_ATOMIC(atomicAdd, old + value, int, unsigned, unsigned long long, float, double)
CUDA_ON_HOST_ATOMIC(atomicSub, old - value, int, unsigned)
CUDA_ON_HOST_ATOMIC(atomicMax, old < value ? value : old, int, unsigned, long long, unsigned long long)
CUDA_ON_HOST_ATOMIC(atomicMin, value < old ? value : old, int, unsigned, long long, unsigned long long)
CUDA_ON_HOST_ATOMIC(atomicExch, (static_cast<void>(old), value), int, unsigned, unsigned long long, float)
CUDA_ON_HOST_ATOMIC(atomicAnd, old & value, int, unsigned, unsigned long long)
CUDA_ON_HOST_ATOMIC(atomicOr, old | value, int, unsigned, unsigned long long)
CUDA_ON_HOST_ATOMIC(atomicXor, old ^ value, int, unsigned, unsigned long long)
#undef CUDA_ON_HOST_ATOMIC

template <class T> T atomicCAS(T* address, cuda_on_host::Same<T> expected, cuda_on_host::Same<T> value) {
  static_assert(cuda_on_host::one_of<T, int, unsigned, unsigned long long>, "CUDA has no atomicCAS for this type");
  return cuda_on_host::replace(address, [=](T old) { return old == expected ? value : old; });
}

// -------------------------------------------------------------------------------------------------------- arithmetic

template <class A, class B> std::common_type_t<A, B> min(A first, B second) {
  using T = std::common_type_t<A, B>;
  T a = static_cast<T>(first), b = static_cast<T>(second);
  if constexpr (std::is_floating_point<T>::value) return a < b || b != b ? a : b;
  return a < b ? a : b;
}
template <class A, class B> std::common_type_t<A, B> max(A first, B second) {
  using T = std::common_type_t<A, B>;
  T a = static_cast<T>(first), b = static_cast<T>(second);
  if constexpr (std::is_floating_point<T>::value) return a > b || b != b ? a : b;
  return a > b ? a : b;
}

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
#define __expf(x) expf(x)  // macros, because glibc has declared functions of these names
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __powf(x, y) powf(x, y)

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline unsigned __umulhi(unsigned x, unsigned y) {
  return static_cast<unsigned>((static_cast<unsigned long long>(x) * y) >> 32);
}

inline unsigned __float_as_uint(float x) { return cuda_on_host::reinterpret<unsigned>(x); }
inline int __float_as_int(float x) { return cuda_on_host::reinterpret<int>(x); }
inline float __uint_as_float(unsigned x) { return cuda_on_host::reinterpret<float>(x); }
inline float __int_as_float(int x) { return cuda_on_host::reinterpret<float>(x); }
inline long long __double_as_longlong(double x) { return cuda_on_host::reinterpret<long long>(x); }
inline double __longlong_as_double(long long x) { return cuda_on_host::reinterpret<double>(x); }

namespace cuda_on_host {

// As a GPU converts: what is out of range becomes the nearest integer there is, NaN 0 in 32 bits and else the lowest.
template <class To, class From> To saturate(From x) {
  constexpr To low = static_cast<To>(Bits{1} << (8 * sizeof(To) - 1)), high = static_cast<To>(~low);
  if (x != x) return sizeof(From) == 4 && sizeof(To) == 4 ? 0 : low;
  if (x < static_cast<From>(low)) return low;
  return x >= -static_cast<From>(low) ? high : static_cast<To>(x);
}

}  // namespace cuda_on_host

#define CUDA_ON_HOST_CONVERSIONS(prefix, from, to)                                               \
  inline to prefix##_rn(from x) { return cuda_on_host::saturate<to>(rint(x)); }                  \
  inline to prefix##_rz(from x) { return cuda_on_host::saturate<to>(trunc(x)); }                 \
  inline to prefix##_rd(from x) { return cuda_on_host::saturate<to>(floor(x)); }                 \
  inline to prefix##_ru(from x) { return cuda_on_host::saturate<to>(ceil(x)); }
CUDA_ON_HOST_CONVERSIONS(__float2int, float, int)
CUDA_ON_HOST_CONVERSIONS(__float2ll, float, long long)
CUDA_ON_HOST_CONVERSIONS(__double2int, double, int)
CUDA_ON_HOST_CONVERSIONS(__double2ll, double, long long)
#undef CUDA_ON_HOST_CONVERSIONS
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline double __ll2double_rn(long long x) { return static_cast<double>(x); }
inline double __int2double_rn(int x) { return x; }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

template <class T> T __ldg(const T* address) { return *address; }
template <class T> T __ldcg(const T* address) { return *address; }
template <class T> T __ldcs(const T* address) { return *address; }
template <class T> void __stcg(T* address, cuda_on_host::Same<T> value) { *address = value; }
template <class T> void __stcs(T* address, cuda_on_host::Same<T> value) { *address = value; }

// ----------------------------------------------------------------------------------------------- launching a kernel

namespace cuda_on_host {

// One argument as `HostKernels.launch` sends it.
struct Argument {
  long long kind;       // 'i' long long, 'f' double, 'I' integers or 'F' floating point numbers in memory, 'N' null
  long long item_size;  // of the numbers in memory, bytes
  Bits bits;            // the number, or the address
};

template <class P> P convert(const Argument& argument, int position) {
  auto kind = argument.kind;
  if constexpr (std::is_pointer<P>::value) {
    using Item = std::remove_cv_t<std::remove_pointer_t<P>>;
    if (kind != 'I' && kind != 'F' && kind != 'N') fail("argument %d is a pointer; a number was passed", position);
    if constexpr (std::is_arithmetic<Item>::value)
      if (kind != 'N' && argument.item_size != 1 &&
          (argument.item_size != sizeof(Item) || (kind == 'F') != std::is_floating_point<Item>::value))
        fail("argument %d points to another type than the tensor passed", position);
  } else {
    static_assert(one_of<P, long long, double>, "parameters of kernels are pointers, long long or double");
    if (kind != (one_of<P, double> ? 'f' : 'i')) fail("argument %d has another type than was passed", position);
  }
  return from_bits<P>(argument.bits);
}

template <class... P, size_t... n>
void call(void (*kernel)(P...), const Argument* arguments, std::index_sequence<n...>) {
  kernel(convert<P>(arguments[n], static_cast<int>(n))...);
}

template <class... P> void call(void (*kernel)(P...), const Argument* arguments, int count) {
  if (count != sizeof...(P)) fail("%d arguments were passed, it takes %d", count, static_cast<int>(sizeof...(P)));
  call(kernel, arguments, std::index_sequence_for<P...>());
}

struct Kernel {
  const char* name;
  void (*call)(const Argument* arguments, int count);
};

extern const Kernel kernels[];  // the program that `HostKernels` writes around the source defines them

}  // namespace cuda_on_host

// -------------------------------------------------------------------------------------------------------- qualifiers

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static __attribute__((used))  // blocks run one after another; poisoned before each
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
