// The kernels of layer.cuh.
#include "numbers.cuh"
typedef __nv_bfloat16 T;
#include "layer.cuh"
