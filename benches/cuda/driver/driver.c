/* A CUDA driver, cuBLAS and cuRAND that keep count: for running the program's CUDA path where there is no GPU. Device memory
   is the host's; kernels are counted and not run, so what the model computes means nothing. Copies to the host arrive only
   when the program waits for them, and until then it finds 0xEE there: what is read too early shows. In the environment:

   FAKE_LOG   file for the counts, written at the end: a name, how often, bytes or operations
   FAKE_GPUS  how many devices (1)
   FAKE_MEM   bytes of device memory (80e9); what goes beyond is CUDA_ERROR_OUT_OF_MEMORY
   FAKE_OOM   the allocation of this number, counted from 1, is CUDA_ERROR_OUT_OF_MEMORY, and so are the two after it
   FAKE_LOST  after this many launches every call says CUDA_ERROR_ILLEGAL_ADDRESS, and cuBLAS that it failed
   FAKE_GEMM  products of cuBLAS with bf16, f16 and f32 are computed: for single operations, not for models
   FAKE_BIG   copies of this many bytes or more are not made (1 MiB; weights need no memory then) */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef int R;
enum { OOM = 2, NO_DEVICE = 100, BAD_DEVICE = 101, NO_CONTEXT = 201, LOST = 700 };
/* cuBLAS has codes of its own: any other is none of the program's. */
enum { CUBLAS_EXECUTION_FAILED = 13 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t used, most, limit, big;
static long lost_after = -1, launches, allocations, oom_at;
static int gpus = 1, lost, computes;

static struct { char name[96]; long n; long bytes; } counts[512];
static int kinds, counting;

static void count(const char *name, long bytes) {
  if (!counting) return;
  pthread_mutex_lock(&lock);
  int i = 0;
  while (i < kinds && strcmp(counts[i].name, name)) i++;
  if (i == kinds && kinds < 512) strncpy(counts[kinds++].name, name, 95);
  if (i < 512) counts[i].n++, counts[i].bytes += bytes;
  pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void start(void) {
  char *v;
  counting = getenv("FAKE_LOG") != 0;
  computes = getenv("FAKE_GEMM") != 0;
  limit = (v = getenv("FAKE_MEM")) ? (size_t)strtod(v, 0) : (size_t)80e9;
  big = (v = getenv("FAKE_BIG")) ? (size_t)strtod(v, 0) : (1u << 20);
  gpus = (v = getenv("FAKE_GPUS")) ? atoi(v) : 1;
  lost_after = (v = getenv("FAKE_LOST")) ? atol(v) : -1;
  oom_at = (v = getenv("FAKE_OOM")) ? atol(v) : 0;
}

__attribute__((destructor)) static void end(void) {
  char *v = getenv("FAKE_LOG");
  FILE *f = v ? fopen(v, "w") : 0;
  if (!f) return;
  fprintf(f, "peak 1 %zu\nlaunches %ld 0\nallocations %ld 0\n", most, launches, allocations);
  for (int i = 0; i < kinds; i++) fprintf(f, "%s %ld %ld\n", counts[i].name, counts[i].n, counts[i].bytes);
  fclose(f);
}

/* --- device and context */
static __thread void *current;
static int device_of(void *context) { return (int)((intptr_t)context - 0x1000); }
R cuInit(unsigned f) { return gpus ? 0 : NO_DEVICE; }
R cuDriverGetVersion(int *v) { *v = 13000; return 0; }
R cuDeviceGetCount(int *c) { *c = gpus; return 0; }
R cuDeviceGet(int *d, int o) { if (o >= gpus) return BAD_DEVICE; *d = o; return 0; }
R cuDeviceGetName(char *n, int l, int d) { snprintf(n, l, "Counting"); return 0; }
R cuDeviceGetUuid(void *u, int d) { memset(u, d, 16); return 0; }
R cuDeviceGetUuid_v2(void *u, int d) { memset(u, d, 16); return 0; }
R cuDeviceTotalMem_v2(size_t *b, int d) { *b = limit; return 0; }
R cuDeviceGetAttribute(int *v, int a, int d) {
  switch (a) {
    case 10: *v = 32; break;      /* warp */
    case 16: *v = 132; break;     /* multiprocessors */
    case 75: *v = 9; break;       /* compute capability */
    case 76: *v = 0; break;
    case 97: *v = 232448; break;  /* shared memory of a block */
    case 115: *v = 1; break;      /* memory pools */
    default: *v = 0;
  }
  return 0;
}
R cuDevicePrimaryCtxRetain(void **c, int d) { *c = (void *)(intptr_t)(0x1000 + d); return 0; }
R cuDevicePrimaryCtxRelease_v2(int d) { return 0; }
R cuCtxGetCurrent(void **c) { *c = current; return 0; }
R cuCtxSetCurrent(void *c) { if (c != current) count("cuCtxSetCurrent", 0); current = c; return 0; }
R cuCtxGetDevice(int *d) { if (!current) return NO_CONTEXT; *d = device_of(current); return 0; }
R cuMemGetInfo_v2(size_t *f, size_t *t) { if (!current) return NO_CONTEXT; *f = limit - used; *t = limit; return 0; }

/* --- copies to the host, which arrive when somebody waits */
/* Memory that is page-locked. A copy to any other is over when the call returns, as CUDA promises. */
static struct pinned { char *start; size_t n; struct pinned *next; } *locked;

static void *lock_pages(size_t n) {
  struct pinned *p = calloc(1, sizeof *p);
  p->start = calloc(1, n + 64); p->n = n;
  pthread_mutex_lock(&lock);
  p->next = locked;
  locked = p;
  pthread_mutex_unlock(&lock);
  return p->start;
}
static int is_locked(void *h) {
  int found = 0;
  pthread_mutex_lock(&lock);
  for (struct pinned *p = locked; p; p = p->next) found |= (char *)h >= p->start && (char *)h < p->start + p->n;
  pthread_mutex_unlock(&lock);
  return found;
}
static void unlock_pages(void *h) {
  pthread_mutex_lock(&lock);
  for (struct pinned **p = &locked; *p; p = &(*p)->next) {
    if ((*p)->start != h) continue;
    struct pinned *gone = *p;
    *p = gone->next;
    free(gone->start);
    free(gone);
    break;
  }
  pthread_mutex_unlock(&lock);
}

static struct copy { long number; void *to, *data; size_t n; struct copy *next; } *first, **last = &first;
static long copies;

static void arrive(long number) {
  pthread_mutex_lock(&lock);
  while (first && first->number <= number) {
    struct copy *c = first;
    memcpy(c->to, c->data, c->n);
    first = c->next;
    if (!first) last = &first;
    free(c->data);
    free(c);
  }
  pthread_mutex_unlock(&lock);
}
R cuMemcpyDtoHAsync_v2(void *h, uint64_t d, size_t n, void *s) {
  count("cuMemcpyDtoHAsync", n);
  if (lost) return LOST;
  if (n >= big) { memset(h, 0, n); return 0; }
  if (!is_locked(h)) { arrive(copies); memcpy(h, (void *)d, n); return 0; }
  struct copy *c = calloc(1, sizeof *c);
  c->to = h; c->n = n; c->data = malloc(n + 1);
  memcpy(c->data, (void *)d, n);
  memset(h, 0xEE, n);
  pthread_mutex_lock(&lock);
  c->number = ++copies;
  *last = c;
  last = &c->next;
  pthread_mutex_unlock(&lock);
  return 0;
}

/* --- streams and events */
struct event { int recorded; long copies; };
R cuCtxSynchronize(void) { count("cuCtxSynchronize", 0); arrive(copies); return lost ? LOST : 0; }
R cuStreamCreate(void **s, unsigned f) { *s = malloc(8); return 0; }
R cuStreamDestroy_v2(void *s) { return 0; }
R cuStreamSynchronize(void *s) { count("cuStreamSynchronize", 0); arrive(copies); return lost ? LOST : 0; }
R cuStreamWaitEvent(void *s, struct event *e, unsigned f) { count(e->recorded ? "cuStreamWaitEvent" : "cuStreamWaitEvent(never recorded)", 0); return 0; }
R cuStreamIsCapturing(void *s, int *c) { *c = 0; return 0; }
R cuEventCreate(struct event **e, unsigned f) { *e = calloc(1, sizeof **e); return 0; }
R cuEventDestroy_v2(struct event *e) { free(e); return 0; }
R cuEventRecord(struct event *e, void *s) { e->recorded = 1; e->copies = copies; count("cuEventRecord", 0); return 0; }
R cuEventQuery(struct event *e) { return 0; }
R cuEventSynchronize(struct event *e) {
  count(e->recorded ? "cuEventSynchronize" : "cuEventSynchronize(never recorded)", 0);
  if (e->recorded) arrive(e->copies);
  return lost ? LOST : 0;
}

/* --- memory: its size is kept before it */
static R take(uint64_t *p, size_t n) {
  if (lost) return LOST;
  size_t whole = (n + 4096 + 4095) & ~4095ul;
  pthread_mutex_lock(&lock);
  long number = ++allocations;
  int full = used + n > limit || (oom_at && number >= oom_at && number < oom_at + 3);
  if (!full) used += n;
  if (used > most) most = used;
  pthread_mutex_unlock(&lock);
  if (full) { count("OUT_OF_MEMORY", n); return OOM; }
  char *m = n >= big ? mmap(0, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : calloc(1, whole);
  if (!m || m == MAP_FAILED) return OOM;
  ((size_t *)m)[0] = n;
  ((size_t *)m)[1] = whole;
  *p = (uint64_t)(m + 4096);
  return 0;
}
static R give(uint64_t p) {
  if (!p) return 0;
  char *m = (char *)p - 4096;
  size_t n = ((size_t *)m)[0], whole = ((size_t *)m)[1];
  pthread_mutex_lock(&lock);
  used -= n;
  pthread_mutex_unlock(&lock);
  if (n >= big) munmap(m, whole); else free(m);
  return 0;
}
R cuMemAllocAsync(uint64_t *p, size_t n, void *s) { count("cuMemAllocAsync", n); return take(p, n); }
R cuMemFreeAsync(uint64_t p, void *s) { count("cuMemFreeAsync", 0); return give(p); }
R cuMemAlloc_v2(uint64_t *p, size_t n) { count("cuMemAlloc", n); return take(p, n); }
R cuMemFree_v2(uint64_t p) { count("cuMemFree", 0); return give(p); }
R cuMemHostAlloc(void **p, size_t n, unsigned f) { count("cuMemHostAlloc", n); *p = lock_pages(n); return 0; }
R cuMemFreeHost(void *p) { count("cuMemFreeHost", 0); arrive(copies); unlock_pages(p); return 0; }
R cuMemcpyHtoDAsync_v2(uint64_t d, const void *h, size_t n, void *s) { count("cuMemcpyHtoDAsync", n); if (n < big) memcpy((void *)d, h, n); return lost ? LOST : 0; }
R cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t e, size_t n, void *s) { count("cuMemcpyDtoDAsync", n); if (n < big) memmove((void *)d, (void *)e, n); return lost ? LOST : 0; }
R cuMemsetD8Async(uint64_t d, unsigned char v, size_t n, void *s) { count("cuMemsetD8Async", n); if (n < big) memset((void *)d, v, n); return lost ? LOST : 0; }
R cuDeviceGetMemPool(void **p, int d) { *p = (void *)1; return 0; }
R cuDeviceGetDefaultMemPool(void **p, int d) { *p = (void *)1; return 0; }
R cuMemPoolSetAttribute(void *p, int a, void *v) { count("cuMemPoolSetAttribute", 0); return 0; }

/* --- modules and launches */
static R launch(void) {
  pthread_mutex_lock(&lock);
  launches++;
  if (lost_after >= 0 && launches > lost_after) lost = 1;
  pthread_mutex_unlock(&lock);
  return lost ? LOST : 0;
}
R cuModuleLoadData(void **m, const void *i) { count("cuModuleLoadData", strlen(i)); *m = malloc(8); return 0; }
R cuModuleUnload(void *m) { return 0; }
R cuModuleGetFunction(void **f, void *m, const char *n) {
  static char *table[2048];
  static int have;
  pthread_mutex_lock(&lock);
  int i = 0;
  while (i < have && strcmp(table[i], n)) i++;
  if (i == have && have < 2048) table[have++] = strdup(n);
  *f = table[i];
  pthread_mutex_unlock(&lock);
  return 0;
}
R cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned sh, void *s, void **a, void **e) {
  char b[96];
  if (counting) { snprintf(b, 96, "kernel:%s", (char *)f); count(b, 0); }
  return launch();
}
R cuGetErrorName(int e, const char **s) {
  *s = e == OOM ? "CUDA_ERROR_OUT_OF_MEMORY" : e == LOST ? "CUDA_ERROR_ILLEGAL_ADDRESS" : e == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : e == BAD_DEVICE ? "CUDA_ERROR_INVALID_DEVICE" : "CUDA_ERROR";
  return 0;
}
R cuGetErrorString(int e, const char **s) { *s = e == OOM ? "out of memory" : e == LOST ? "an illegal memory access was encountered" : "error"; return 0; }

/* --- cuBLAS and cuRAND */
static float get(const void *p, int type, long i) {
  if (type == 0) return ((const float *)p)[i];
  uint16_t bits = ((const uint16_t *)p)[i];
  uint32_t wide;
  if (type == 14) wide = (uint32_t)bits << 16; /* bf16 */
  else { _Float16 h; memcpy(&h, &bits, 2); return (float)h; }
  float value;
  memcpy(&value, &wide, 4);
  return value;
}
static void put(void *p, int type, long i, float value) {
  if (type == 0) { ((float *)p)[i] = value; return; }
  uint16_t bits;
  if (type == 14) { uint32_t wide; memcpy(&wide, &value, 4); bits = (wide + 0x7FFF + (wide >> 16 & 1)) >> 16; }
  else { _Float16 h = (_Float16)value; memcpy(&bits, &h, 2); }
  ((uint16_t *)p)[i] = bits;
}
R cublasCreate_v2(void **h) { *h = malloc(8); return 0; }
R cublasDestroy_v2(void *h) { return 0; }
R cublasSetStream_v2(void *h, void *s) { return 0; }
R cublasGemmStridedBatchedEx(void *h, int ta, int tb, int m, int n, int k, const float *al, const void *A, int at, int lda, long long sa, const void *B, int bt, int ldb, long long sb, const float *be, void *C, int ct, int ldc, long long sc, int batch, int ct2, int algo) {
  count(batch > 1 ? "gemm:batched" : "gemm:one", 2l * m * n * k * batch);
  if (computes)
    for (int b = 0; b < batch; b++)
      for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) {
          double sum = 0;
          for (int l = 0; l < k; l++)
            sum += (double)get(A, at, b * sa + (ta ? l + (long)i * lda : i + (long)l * lda)) * get(B, bt, b * sb + (tb ? j + (long)l * ldb : l + (long)j * ldb));
          put(C, ct, b * sc + i + (long)j * ldc, *al * sum);
        }
  return launch() ? CUBLAS_EXECUTION_FAILED : 0;
}
R curandCreateGenerator(void **g, int t) { *g = malloc(8); return 0; }
R curandDestroyGenerator(void *g) { return 0; }
R curandSetStream(void *g, void *s) { return 0; }
R curandSetPseudoRandomGeneratorSeed(void *g, unsigned long long s) { return 0; }
/* All else that the program names is answered with 0: make.sh writes it. */
