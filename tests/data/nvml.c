/* A library like NVIDIA's libnvidia-ml.so.1, with one GPU. */
#include <stdio.h>

struct memory { unsigned version; unsigned long long total, reserved, free, used; };
struct utilization { unsigned gpu, memory; };

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *to, unsigned size) { return snprintf(to, size, "550.54.15") < 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)&nvmlInit_v2; return index != 0; }
int nvmlDeviceGetName(void *device, char *to, unsigned size) { return snprintf(to, size, "NVIDIA H100 80GB HBM3") < 0; }
int nvmlDeviceGetUUID(void *device, char *to, unsigned size) { return snprintf(to, size, "GPU-6b0bf1a2") < 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { *major = 9; *minor = 0; return 0; }
int nvmlDeviceGetMemoryInfo_v2(void *device, struct memory *memory) {
    memory->total = 80000000000, memory->reserved = 0, memory->free = 58700000000, memory->used = 21300000000;
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, struct utilization *rates) { rates->gpu = 97, rates->memory = 40; return 0; }
