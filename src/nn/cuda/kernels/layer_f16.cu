// The kernels of layer.cuh.
#include "numbers.cuh"
typedef __half T;
#include "layer.cuh"
