// Runs the launches that `HostKernels` asks for: requests on the standard input, tensors back on the standard output.
#include "cuda_on_host.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#if CUDA_ON_HOST_SANITIZE
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_host {
namespace {

// ------------------------------------------------------------------------------------------------------------ fibers

// A place to return to, in a stack of its own. `ucontext` enters a stack; from then on the compiler's own jumps, which
// no sanitizer intercepts, are many times faster.
struct Context {
  void* place[5];
  const void* stack = nullptr;
  size_t size = 0;
  void* fake_stack = nullptr;  // belongs to the address sanitizer
};

// The address sanitizer wants to know on which stack the program is.
#if CUDA_ON_HOST_SANITIZE
void announce_jump(Context& from, const Context& to) {
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.size);
}
void announce_arrival(const Context& at) { __sanitizer_finish_switch_fiber(at.fake_stack, nullptr, nullptr); }
void announce_entry(Context& left) { __sanitizer_finish_switch_fiber(nullptr, &left.stack, &left.size); }
#else
void announce_jump(Context&, const Context&) {}
void announce_arrival(const Context&) {}
void announce_entry(Context&) {}
#endif

enum class State { READY, WAITING, EXITED };

struct Fiber {
  Context context;
  uint3 index;
  State state = State::EXITED;
  bool entered = false;
  Visit visit;
};

struct Range { Bits address, size; };

constexpr size_t STACK_SIZE = 256 * 1024;
constexpr int MAX_THREADS = 1024;

Context scheduler;
Fiber fibers[MAX_THREADS];
Fiber* current;
int thread_count;
const Kernel* kernel;  // the one that runs
std::vector<Argument> arguments;
std::vector<Range> shared;  // every variable that is declared __shared__

[[noreturn]] __attribute__((noinline)) void go_to(Context& to) { __builtin_longjmp(to.place, 1); }

// `noipa`: the compiler must not tell the caller that registers survive.
__attribute__((noinline, noipa)) void jump(Context& from, Context& to) {
  announce_jump(from, to);
  if (!__builtin_setjmp(from.place)) go_to(to);
  announce_arrival(from);
}

void run_fiber() {
  announce_entry(scheduler);
  for (;;) {  // the next block uses the same fibers
    kernel->call(arguments.data(), static_cast<int>(arguments.size()));
    current->state = State::EXITED;
    jump(current->context, scheduler);
  }
}

// The page below each stack is out of bounds.
void allocate_stack(Fiber& fiber) {
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, STACK_SIZE + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE)) fail("no memory for the stacks of the threads");
  fiber.context.stack = static_cast<char*>(memory) + page;
  fiber.context.size = STACK_SIZE;
}

__attribute__((noinline, noipa)) void enter(Fiber& fiber) {
  if (!fiber.context.stack) allocate_stack(fiber);
  ucontext_t target;
  getcontext(&target);
  target.uc_stack.ss_sp = const_cast<void*>(fiber.context.stack);
  target.uc_stack.ss_size = fiber.context.size;
  makecontext(&target, run_fiber, 0);
  fiber.entered = true;
  announce_jump(scheduler, fiber.context);
  if (!__builtin_setjmp(scheduler.place)) setcontext(&target);
  announce_arrival(scheduler);
}

void resume(Fiber& fiber) {
  current = &fiber;
  threadIdx = fiber.index;
  if (fiber.entered)
    jump(scheduler, fiber.context);
  else
    enter(fiber);
}

// Says on the standard error which thread is running.
void tell_place() {
  fprintf(stderr, "kernel %s, block (%u, %u, %u)", kernel->name, blockIdx.x, blockIdx.y, blockIdx.z);
  if (current) fprintf(stderr, ", thread (%u, %u, %u)", threadIdx.x, threadIdx.y, threadIdx.z);
  fprintf(stderr, ": ");
}

// ---------------------------------------------------------------------------------------------------------- meetings

int first_lane(int warp) { return warp * warpSize; }
int lane_count(int warp) { return std::min(warpSize, thread_count - first_lane(warp)); }

bool same_place(const Visit& a, const Visit& b) {
  return a.meeting == b.meeting && a.place.line == b.place.line && !strcmp(a.place.file, b.place.file) &&
         a.mask == b.mask;
}

// The lanes of a warp that wait where `visit` waits.
unsigned lanes_at(int warp, const Visit& visit) {
  unsigned lanes = 0;
  for (int lane = 0; lane < lane_count(warp); ++lane) {
    const Fiber& fiber = fibers[first_lane(warp) + lane];
    if (fiber.state == State::WAITING && same_place(fiber.visit, visit)) lanes |= 1U << lane;
  }
  return lanes;
}

unsigned unfinished_lanes(int warp) {
  unsigned lanes = 0;
  for (int lane = 0; lane < lane_count(warp); ++lane)
    if (fibers[first_lane(warp) + lane].state != State::EXITED) lanes |= 1U << lane;
  return lanes;
}

Bits brought(int warp, int lane) { return fibers[first_lane(warp) + lane].visit.value; }

// The lanes among `present` that brought `value`.
unsigned lanes_with(int warp, unsigned present, Bits value) {
  unsigned lanes = 0;
  for (int lane = 0; lane < lane_count(warp); ++lane)
    if (present >> lane & 1U && brought(warp, lane) == value) lanes |= 1U << lane;
  return lanes;
}

// What a visit to a meeting of the lanes `present` results in; `ballot` is the lanes that brought a 1.
Bits outcome(int warp, unsigned present, Bits ballot, const Visit& visit) {
  switch (visit.meeting) {
    case Meeting::SHUFFLE: return present >> visit.source & 1U ? brought(warp, visit.source) : POISON;
    case Meeting::BALLOT: return ballot;
    case Meeting::MATCH: return lanes_with(warp, present, visit.value);
    case Meeting::ACTIVE: return present;
    default: return 0;
  }
}

void conclude(int warp, unsigned present) {
  Bits ballot = lanes_with(warp, present, 1);
  for (int lane = 0; lane < lane_count(warp); ++lane) {
    if (!(present >> lane & 1U)) continue;
    Fiber& fiber = fibers[first_lane(warp) + lane];
    fiber.visit.result = outcome(warp, present, ballot, fiber.visit);
    fiber.state = State::READY;
  }
}

// Ends the meetings of a warp to which all its expected lanes have come.
bool conclude_warp_meetings(int warp) {
  bool any = false;
  unsigned unfinished = unfinished_lanes(warp);
  for (int lane = 0; lane < lane_count(warp); ++lane) {
    const Fiber& fiber = fibers[first_lane(warp) + lane];
    const Visit& visit = fiber.visit;
    if (fiber.state != State::WAITING || visit.meeting == Meeting::BLOCK || visit.meeting == Meeting::ACTIVE) continue;
    unsigned present = lanes_at(warp, visit);
    if (present != (visit.mask & unfinished)) continue;
    conclude(warp, present);
    any = true;
  }
  return any;
}

bool conclude_active(int warp) {
  for (int lane = 0; lane < lane_count(warp); ++lane) {
    const Fiber& fiber = fibers[first_lane(warp) + lane];
    if (fiber.state != State::WAITING || fiber.visit.meeting != Meeting::ACTIVE) continue;
    conclude(warp, lanes_at(warp, fiber.visit));
    return true;
  }
  return false;
}

// Ends the meeting of a block if all its threads that have not finished are there.
bool conclude_block_meeting() {
  const Visit* first = nullptr;
  Bits holds = 0;
  for (Fiber* fiber = fibers; fiber < fibers + thread_count; ++fiber) {
    if (fiber->state == State::EXITED) continue;
    if (!first) first = &fiber->visit;
    if (fiber->visit.meeting != Meeting::BLOCK || !same_place(fiber->visit, *first)) return false;
    holds += fiber->visit.value;
  }
  if (!first) return false;
  for (Fiber* fiber = fibers; fiber < fibers + thread_count; ++fiber) {
    if (fiber->state == State::EXITED) continue;
    fiber->visit.result = holds;
    fiber->state = State::READY;
  }
  return true;
}

}  // namespace

Visit meet(Visit visit) {
  bool chosen = visit.meeting != Meeting::BLOCK && visit.meeting != Meeting::ACTIVE;
  if (chosen && !(visit.mask >> lane() & 1U))
    fail("%s:%d: lane %u is not in its own mask %08x", visit.place.file, visit.place.line, lane(), visit.mask);
  Fiber& self = *current;
  self.visit = visit;
  self.state = State::WAITING;
  jump(self.context, scheduler);
  return self.visit;
}

unsigned lane() { return static_cast<unsigned>(current - fibers) % warpSize; }

void fail(const char* format, ...) {
  char message[1000];
  va_list values;
  va_start(values, format);
  vsnprintf(message, sizeof message, format, values);
  va_end(values);
  tell_place();
  fprintf(stderr, "%s\n", message);
  _exit(1);
}

namespace {

void on_signal(int signal) {
  fail("%s", signal == SIGALRM ? "not done in time: does a thread wait in a loop for another?" : strsignal(signal));
}

void watch_for_signals() {
  static_cast<void>(signal(SIGALRM, on_signal));
#if CUDA_ON_HOST_SANITIZE
  __sanitizer_set_death_callback(tell_place);
#else
  stack_t stack = {};
  stack.ss_size = STACK_SIZE;
  stack.ss_sp = malloc(stack.ss_size);  // a stack that has overflowed has no room for the handler
  sigaltstack(&stack, nullptr);
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(signal, &action, nullptr);
#endif
}

// -------------------------------------------------------------------------------------------------------- scheduling

// In which order blocks, warps and lanes take their turns.
class Order {
 public:
  Order(long long kind, long long seed) : kind_(kind), random_(static_cast<unsigned>(seed)) {}

  std::vector<int> of(int count) {
    std::vector<int> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    if (kind_ == 'r') std::reverse(order.begin(), order.end());
    if (kind_ == 's') std::shuffle(order.begin(), order.end(), random_);
    return order;
  }

  // Whether a warp that could go on lets others go first.
  bool interrupts() { return kind_ == 's' && (random_() & 1U); }

 private:
  long long kind_;  // 'f' forward, 'r' reverse, 's' shuffled
  std::minstd_rand random_;
};

const char* const meeting_names[] = {"__syncthreads", "__syncwarp", "a shuffle", "a vote", "__match_any_sync",
                                     "__activemask"};

[[noreturn]] void report_deadlock() {
  std::string text = "deadlock:";
  std::vector<bool> told(static_cast<size_t>(thread_count));
  int exited = 0;
  for (int n = 0; n < thread_count; ++n) {
    exited += fibers[n].state == State::EXITED;
    if (fibers[n].state == State::EXITED || told[static_cast<size_t>(n)]) continue;
    const Visit& visit = fibers[n].visit;
    int count = 0;
    for (int m = n; m < thread_count; ++m) {
      if (fibers[m].state != State::WAITING || !same_place(fibers[m].visit, visit)) continue;
      told[static_cast<size_t>(m)] = true;
      ++count;
    }
    char entry[200];
    snprintf(entry, sizeof entry, " %d threads, the first of them %d, wait at %s, %s:%d (mask %08x);", count, n,
             meeting_names[static_cast<int>(visit.meeting)], visit.place.file, visit.place.line, visit.mask);
    if (text.size() < 700) text += entry;
  }
  current = nullptr;
  fail("%s %d have finished", text.c_str(), exited);
}

bool run_ready_lanes(int warp, const std::vector<int>& lanes) {
  bool any = false;
  for (int lane : lanes) {
    if (lane >= lane_count(warp)) continue;
    Fiber& fiber = fibers[first_lane(warp) + lane];
    if (fiber.state != State::READY) continue;
    resume(fiber);
    any = true;
  }
  return any;
}

// Runs a warp until it waits for the rest of the block, or is interrupted. Returns whether it moved.
bool run_warp(int warp, Order& order, const std::vector<int>& lanes) {
  bool any = false;
  while (run_ready_lanes(warp, lanes) || conclude_active(warp)) {
    any = true;
    conclude_warp_meetings(warp);
    if (order.interrupts()) break;
  }
  return any;
}

void poison_shared_memory() {
  for (const Range& range : shared) {
    auto* memory = reinterpret_cast<volatile unsigned char*>(range.address);
    for (Bits n = 0; n < range.size; ++n) memory[n] = static_cast<unsigned char>(POISON >> (8 * (n % 8)));
  }
}

void run_block(Order& order) {
  poison_shared_memory();
  for (int n = 0; n < thread_count; ++n) fibers[n].state = State::READY;
  auto warps = order.of((thread_count + warpSize - 1) / warpSize), lanes = order.of(warpSize);
  do {
    bool any = true;
    while (any) {
      any = false;
      for (int warp : warps) any |= run_warp(warp, order, lanes);
    }
  } while (conclude_block_meeting());
  for (int n = 0; n < thread_count; ++n)
    if (fibers[n].state != State::EXITED) report_deadlock();
}

void run_grid(Order order) {
  thread_count = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  for (int n = 0; n < thread_count; ++n) {
    unsigned number = static_cast<unsigned>(n);
    fibers[n].index = {number % blockDim.x, number / blockDim.x % blockDim.y, number / (blockDim.x * blockDim.y)};
  }
  for (int n : order.of(static_cast<int>(gridDim.x * gridDim.y * gridDim.z))) {
    unsigned number = static_cast<unsigned>(n);
    blockIdx = {number % gridDim.x, number / gridDim.x % gridDim.y, number / (gridDim.x * gridDim.y)};
    run_block(order);
  }
  current = nullptr;
}

// ---------------------------------------------------------------------------------------------------------- requests

struct Request {
  long long kernel, grid[3], block[3], order, seed, patience, storage_count, argument_count;
};

struct Storage {
  unsigned char* memory;
  size_t size;
};

bool read_all(void* target, size_t size) {
  auto* bytes = static_cast<char*>(target);
  while (size) {
    ssize_t done = read(STDIN_FILENO, bytes, size);
    if (done <= 0) return false;
    bytes += done;
    size -= static_cast<size_t>(done);
  }
  return true;
}

template <class T> T read_one() {
  T value;
  if (!read_all(&value, sizeof value)) _exit(0);  // who asks has gone
  return value;
}

void write_all(int file, const void* source, size_t size) {
  auto* bytes = static_cast<const char*>(source);
  while (size) {
    ssize_t done = write(file, bytes, size);
    if (done <= 0) _exit(1);
    bytes += done;
    size -= static_cast<size_t>(done);
  }
}

// Each in an allocation of exactly its size, so that the address sanitizer sees what lies outside.
Storage read_storage() {
  Storage storage{nullptr, static_cast<size_t>(read_one<long long>())};
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, storage.size)) fail("no memory for a tensor of %zu bytes", storage.size);
  storage.memory = static_cast<unsigned char*>(memory);
  if (!read_all(storage.memory, storage.size)) _exit(0);
  return storage;
}

uint3 to_size(const long long (&size)[3]) {
  return {static_cast<unsigned>(size[0]), static_cast<unsigned>(size[1]), static_cast<unsigned>(size[2])};
}

void serve(int answers) {
  auto request = read_one<Request>();
  kernel = &kernels[request.kernel];
  gridDim = to_size(request.grid);
  blockDim = to_size(request.block);
  std::vector<Storage> storages;
  for (long long n = 0; n < request.storage_count; ++n) storages.push_back(read_storage());
  arguments.clear();
  for (long long n = 0; n < request.argument_count; ++n) {
    arguments.push_back(read_one<Argument>());
    if (arguments.back().kind != 'I' && arguments.back().kind != 'F') continue;
    auto offset = read_one<long long>();
    arguments.back().bits = reinterpret_cast<Bits>(storages[arguments.back().bits].memory) + static_cast<Bits>(offset);
  }
  alarm(static_cast<unsigned>(request.patience));
  run_grid(Order(request.order, request.seed));
  alarm(0);
  for (const Storage& storage : storages) {
    write_all(answers, storage.memory, storage.size);
    free(storage.memory);
  }
  write_all(answers, "+", 1);
}

}  // namespace
}  // namespace cuda_on_host

int main() {
  using namespace cuda_on_host;
  int answers = dup(STDOUT_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);  // what kernels print does not mix with the answers
  setvbuf(stdout, nullptr, _IONBF, 0);
  watch_for_signals();
  auto count = read_one<long long>();
  for (long long n = 0; n < count; ++n) shared.push_back(read_one<Range>());
  for (;;) serve(answers);
}
