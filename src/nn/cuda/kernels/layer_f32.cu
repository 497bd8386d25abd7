// The kernels of layer.cuh.
#include "numbers.cuh"
typedef float T;
#include "layer.cuh"
