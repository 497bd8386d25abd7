// Number types, and what kernels have of the device. benches/cuda/kernels/shim.h has the same for a CPU.
#pragma once
#ifdef OMNIDOCS_SHIM
#include "shim.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#define SHARED __shared__

__device__ __forceinline__ float wide(float x) { return x; }
__device__ __forceinline__ float wide(__half x) { return __half2float(x); }
__device__ __forceinline__ float wide(__nv_bfloat16 x) { return __bfloat162float(x); }
template <class T> __device__ __forceinline__ T narrow(float x);
template <> __device__ __forceinline__ float narrow<float>(float x) { return x; }
template <> __device__ __forceinline__ __half narrow<__half>(float x) { return __float2half_rn(x); }
template <> __device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }
#endif

// x as T keeps it.
template <class T> __device__ __forceinline__ float rounded(float x) { return wide(narrow<T>(x)); }

// Eight numbers, which are read or written at once.
template <class T> struct alignas(16) Eight {
  T v[8];
};

__device__ __forceinline__ float warp_sum(float x) {
  for (int mask = 16; mask > 0; mask >>= 1) x += __shfl_xor_sync(0xffffffffu, x, mask);
  return x;
}

// Of all threads of a block of whole warps; `shared` has room for 32.
__device__ __forceinline__ float block_sum(float x, float *shared) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (unsigned i = 0; i < blockDim.x / 32; i++) sum += shared[i];
  __syncthreads();
  return sum;
}
