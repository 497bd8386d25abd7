// What CUDA kernels have of the device, on a CPU: blocks run one after the other, and the threads of a block take turns, each up
// to where it waits for others.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <setjmp.h>
#include <ucontext.h>
#include <vector>

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};
inline Dim threadIdx, blockIdx, blockDim, gridDim;
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define SHARED static

struct __nv_bfloat16 {
  uint16_t bits;
};
typedef _Float16 __half;
inline float wide(float x) { return x; }
inline float wide(__half x) { return (float)x; }
inline float wide(__nv_bfloat16 x) {
  uint32_t bits = (uint32_t)x.bits << 16;
  float y;
  memcpy(&y, &bits, 4);
  return y;
}
template <class T> T narrow(float x);
template <> inline float narrow<float>(float x) { return x; }
template <> inline __half narrow<__half>(float x) { return (__half)x; }
template <> inline __nv_bfloat16 narrow<__nv_bfloat16>(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return {(uint16_t)(x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

// The threads of a block, each with a stack.
struct Fiber {
  std::vector<char> stack = std::vector<char>(1 << 18);
  jmp_buf here;
  uint64_t sent[2];
  int exchanges;
  bool started, ended;
};
inline struct Block {
  std::vector<Fiber> fibers;
  std::function<void()> kernel;
  unsigned turn, arrived, barriers;
  ucontext_t caller;
} block;

inline void begin_fiber();
// Gives the turn to the next thread that has not ended, if there is one.
inline void next_turn() {
  const unsigned threads = blockDim.x;
  for (unsigned i = 0; i < threads; i++) {
    block.turn = (block.turn + 1) % threads;
    Fiber &fiber = block.fibers[block.turn];
    if (fiber.ended) continue;
    threadIdx.x = block.turn;
    if (fiber.started) _longjmp(fiber.here, 1);
    fiber.started = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack.data(), context.uc_stack.ss_size = fiber.stack.size(), context.uc_link = 0;
    makecontext(&context, begin_fiber, 0);
    setcontext(&context);
  }
  setcontext(&block.caller);
}
inline void begin_fiber() {
  block.kernel();
  block.fibers[block.turn].ended = true;
  next_turn();
}
inline void yield() {
  if (!_setjmp(block.fibers[block.turn].here)) next_turn();
}

// When a thread has its next turn, all of its warp have come as far.
inline void __syncwarp() { yield(); }
inline void __syncthreads() {
  const unsigned before = block.barriers;
  if (++block.arrived == blockDim.x) block.arrived = 0, block.barriers++;
  // The last one too, so that a warp goes on in one round.
  do yield();
  while (block.barriers == before);
}
template <class T> T __shfl_xor_sync(unsigned, T x, int mask) {
  // Two places by turns: the next number may be sent before all have this one.
  Fiber &own = block.fibers[block.turn];
  const int place = own.exchanges++ % 2;
  memcpy(&own.sent[place], &x, sizeof x);
  yield();
  memcpy(&x, &block.fibers[threadIdx.x ^ mask].sent[place], sizeof x);
  return x;
}

template <class K, class... A> void launch(Dim grid, unsigned threads, K kernel, A... arguments) {
  blockDim = {threads}, gridDim = grid;
  if (block.fibers.size() < threads) block.fibers.resize(threads);
  block.kernel = [=] { kernel(arguments...); };
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        blockIdx = {x, y, z};
        for (auto &fiber : block.fibers) fiber.exchanges = 0, fiber.started = fiber.ended = false;
        block.turn = threads - 1, block.arrived = block.barriers = 0;
        volatile bool ran = false;
        getcontext(&block.caller);
        if (!ran) ran = true, next_turn();
      }
}
