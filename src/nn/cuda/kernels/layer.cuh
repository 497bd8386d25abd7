// What a layer of a decoder does beside its products, for rows of T with sums in f32. A file for each type includes this with T
// defined. Lengths of rows are multiples of 8, and rows begin at multiples of 16 bytes.
#include "numbers.cuh"

// A block has the keys and values of so many tokens: kv_blocks.rs.
#define BLOCK_TOKENS 128

// Where a row's token is, from the table of a run (block_table.rs): two numbers a row, its place in its sequence and where in
// the table the addresses of the sequence's blocks begin.
struct Place {
  long long at;
  const long long *blocks;
};
__device__ __forceinline__ Place place_of(const long long *table, int row) {
  return {table[2 * row], table + table[2 * row + 1]};
}

// sum = x + delta, rounded as T keeps it, and normed = sum / rms(sum) · weight. A block a row.
extern "C" __global__ void add_norm(const T *x, const T *delta, const float *weight, T *sum, T *normed, int cols, float eps) {
  SHARED float shared[32];
  const long long row = (long long)blockIdx.x * cols;
  float squares = 0;
  for (int i = threadIdx.x * 8; i < cols; i += blockDim.x * 8) {
    Eight<T> e = *(const Eight<T> *)(x + row + i);
    const Eight<T> d = *(const Eight<T> *)(delta + row + i);
    for (int j = 0; j < 8; j++) {
      e.v[j] = narrow<T>(wide(e.v[j]) + wide(d.v[j]));
      squares += wide(e.v[j]) * wide(e.v[j]);
    }
    *(Eight<T> *)(sum + row + i) = e;
  }
  const float scale = rsqrtf(block_sum(squares, shared) / cols + eps);
  for (int i = threadIdx.x * 8; i < cols; i += blockDim.x * 8) {
    Eight<T> e = *(const Eight<T> *)(sum + row + i);
    for (int j = 0; j < 8; j++) e.v[j] = narrow<T>(wide(e.v[j]) * scale * weight[i + j]);
    *(Eight<T> *)(normed + row + i) = e;
  }
}

// silu(gate)·up of rows (gate, up), each of `size` numbers, of which there are `total` in all.
extern "C" __global__ void swiglu(const T *x, T *out, int size, long long total) {
  const long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (i >= total) return;
  const long long row = i / size, col = i % size;
  const Eight<T> gate = *(const Eight<T> *)(x + row * 2 * size + col), up = *(const Eight<T> *)(x + row * 2 * size + size + col);
  Eight<T> o;
  for (int j = 0; j < 8; j++) {
    const float g = wide(gate.v[j]);
    o.v[j] = narrow<T>(rounded<T>(g / (1.0f + expf(-g))) * wide(up.v[j]));
  }
  *(Eight<T> *)(out + i) = o;
}

// Of rows (heads · per_head + 2 · kv_heads, head_dim), to which `bias` is added unless it is null: norms queries and keys by the
// weights, unless these are null, turns the first 2 · half dimensions by the rows' cosines and sines, and leaves queries in
// `q`, keys and values in the blocks of `table`, from `offset` on, and unless `k` is null there too. A head's row is the
// (row · row_stride + head · head_stride)th of `q`, and so in `k` and `v` with kv_row_stride and kv_head_stride. Behind each head's
// queries there may be others (per_head 2), which are left alone. Grid (rows, heads + 2 · kv_heads), a warp a block;
// head_dim ≤ 256.
extern "C" __global__ void prepare(const T *qkv, const T *bias, const float *q_weight, const float *k_weight, const T *cos,
                                   const T *sin, const long long *table, T *q, T *k, T *v, int heads, int per_head, int kv_heads,
                                   int head_dim, int half, float eps, long long offset, int row_stride, int head_stride,
                                   int kv_row_stride, int kv_head_stride) {
  SHARED float x[256];
  const int row = blockIdx.x, lane = threadIdx.x;
  const int is_query = (int)blockIdx.y < heads, is_value = (int)blockIdx.y >= heads + kv_heads;
  const int head = is_query ? blockIdx.y : blockIdx.y - heads - (is_value ? kv_heads : 0);
  const int column = is_query ? head * per_head : heads * per_head + head + (is_value ? kv_heads : 0);
  const long long from = ((long long)row * (heads * per_head + 2 * kv_heads) + column) * head_dim;
  float squares = 0;
  for (int i = lane; i < head_dim; i += 32) {
    float value = wide(qkv[from + i]);
    if (bias) value = rounded<T>(value + wide(bias[column * head_dim + i]));
    x[i] = value;
    squares += value * value;
  }
  const float *weight = is_query ? q_weight : k_weight;
  if (!is_value && weight) {
    const float scale = rsqrtf(warp_sum(squares) / head_dim + eps);
    for (int i = lane; i < head_dim; i += 32) x[i] = rounded<T>(x[i] * scale * weight[i]);
  }
  __syncwarp();
  T *to, *also = 0;
  if (is_query) {
    to = q + ((long long)row * row_stride + (long long)head * head_stride) * head_dim;
  } else {
    const Place place = place_of(table, row);
    T *block = (T *)place.blocks[place.at / BLOCK_TOKENS] + offset;
    if (is_value) block += (long long)kv_heads * BLOCK_TOKENS * head_dim;
    to = block + ((long long)head * BLOCK_TOKENS + place.at % BLOCK_TOKENS) * head_dim;
    if (k) also = (is_value ? v : k) + ((long long)row * kv_row_stride + (long long)head * kv_head_stride) * head_dim;
  }
  for (int i = lane; i < head_dim; i += 32) {
    float value = x[i];
    if (!is_value && i < 2 * half) {
      const int at = i % half;
      const float c = wide(cos[(long long)row * half + at]), s = wide(sin[(long long)row * half + at]);
      value = i < half ? value * c - x[i + half] * s : value * c + x[i - half] * s;
    }
    to[i] = narrow<T>(value);
    if (also) also[i] = narrow<T>(value);
  }
}

// An output of attention, which a gate, unless it is null, lets through by its sigmoid.
__device__ __forceinline__ T gated(float x, const T *gate) {
  if (!gate) return narrow<T>(x);
  return narrow<T>(rounded<T>(x) * rounded<T>(1.0f / (1.0f + expf(-wide(*gate)))));
}

// Decode attention of a part of the keys: each row attends to the tokens of its sequence up to itself. A warp has DIM / 8 lanes
// for each key that it reads at a time, each with 8 dimensions, and these go through the keys by themselves, as do the warps;
// what they find is joined at the end. Grid (parts, kv_heads · ceil(group / GROUP), rows), WARPS warps a block; a part has a
// multiple of BLOCK_TOKENS keys. Queries are (rows, heads, DIM), times `scale`, in which is log2(e).
// With one part it writes `out` (rows, heads, DIM); else it leaves for each (row, head, part) the weighted sum of the values in
// `sums` (…, DIM), and the largest score and the sum of the weights in `shares` (…, 2).
#define WARPS 4
#define AHEAD 2
template <int DIM, int GROUP>
__device__ __forceinline__ void attend_part(const T *q, const T *gate, const long long *table, T *out, float *sums, float *shares,
                                            int heads, int kv_heads, int gate_stride, long long offset, float scale,
                                            int part_keys) {
  constexpr int LANES = DIM / 8, STREAMS = WARPS * 32 / LANES;
  SHARED float all_sums[STREAMS][GROUP][DIM];
  SHARED float all_tops[STREAMS][GROUP], all_totals[STREAMS][GROUP];
  const int part = blockIdx.x, parts = gridDim.x, row = blockIdx.z;
  const int group = heads / kv_heads, kv = blockIdx.y % kv_heads, first_of_group = blockIdx.y / kv_heads * GROUP;
  const int stream = threadIdx.x / LANES, lane = threadIdx.x % LANES;
  const int queries = group - first_of_group < GROUP ? group - first_of_group : GROUP;
  const int first_head = kv * group + first_of_group;
  const Place place = place_of(table, row);
  const int keys = (int)place.at + 1, from = part * part_keys, end = from + part_keys < keys ? from + part_keys : keys;
  float query[GROUP][8], sum[GROUP][8], top[GROUP], total[GROUP];
  for (int g = 0; g < GROUP; g++) {
    const int head = first_head + (g < queries ? g : 0);
    const Eight<T> e = *(const Eight<T> *)(q + ((long long)row * heads + head) * DIM + 8 * lane);
    for (int j = 0; j < 8; j++) query[g][j] = wide(e.v[j]) * scale, sum[g][j] = 0;
    top[g] = -INFINITY, total[g] = 0;
  }
  for (int start = from; start < end; start += BLOCK_TOKENS) {
    const T *k = (const T *)place.blocks[start / BLOCK_TOKENS] + offset + (long long)kv * BLOCK_TOKENS * DIM + 8 * lane;
    const T *v = k + (long long)kv_heads * BLOCK_TOKENS * DIM;
    const int there = end - start < BLOCK_TOKENS ? end - start : BLOCK_TOKENS;
    // All lanes go around as often, since they exchange numbers; a key beyond the last is the last one, with no weight.
    for (int i = 0; i < there; i += AHEAD * STREAMS) {
      Eight<T> key[AHEAD], value[AHEAD];
      bool is_key[AHEAD];
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        const int at = i + a * STREAMS + stream;
        is_key[a] = at < there;
        const long long skip = (long long)(is_key[a] ? at : there - 1) * DIM;
        key[a] = *(const Eight<T> *)(k + skip), value[a] = *(const Eight<T> *)(v + skip);
      }
#pragma unroll
      for (int g = 0; g < GROUP; g++) {
        float score[AHEAD], larger = top[g];
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
          float dot = 0;
          for (int j = 0; j < 8; j++) dot += query[g][j] * wide(key[a].v[j]);
          for (int mask = LANES / 2; mask > 0; mask >>= 1) dot += __shfl_xor_sync(0xffffffffu, dot, mask);
          score[a] = is_key[a] ? dot : -INFINITY;
          larger = fmaxf(larger, score[a]);
        }
        // Without a key there is nothing to add up, and infinity less infinity is no number.
        if (!is_key[0]) continue;
        const float fade = exp2f(top[g] - larger);
        top[g] = larger, total[g] *= fade;
        for (int j = 0; j < 8; j++) sum[g][j] *= fade;
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
          const float share = exp2f(score[a] - larger);
          total[g] += share;
          for (int j = 0; j < 8; j++) sum[g][j] += share * wide(value[a].v[j]);
        }
      }
    }
  }
  for (int g = 0; g < GROUP; g++) {
    for (int j = 0; j < 8; j++) all_sums[stream][g][8 * lane + j] = sum[g][j];
    if (lane == 0) all_tops[stream][g] = top[g], all_totals[stream][g] = total[g];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < queries * DIM; i += blockDim.x) {
    const int g = i / DIM, d = i % DIM, head = first_head + g;
    float larger = -INFINITY, whole = 0, x = 0;
    for (int s = 0; s < STREAMS; s++) larger = fmaxf(larger, all_tops[s][g]);
    for (int s = 0; s < STREAMS; s++) {
      const float share = all_totals[s][g] > 0 ? exp2f(all_tops[s][g] - larger) : 0;
      whole += all_totals[s][g] * share, x += all_sums[s][g][d] * share;
    }
    const long long at = (long long)row * heads + head;
    if (parts == 1) {
      out[at * DIM + d] = gated(x / whole, gate ? gate + (long long)row * gate_stride + (long long)head * 2 * DIM + d : 0);
    } else {
      sums[(at * parts + part) * DIM + d] = x;
      if (d == 0) shares[(at * parts + part) * 2] = larger, shares[(at * parts + part) * 2 + 1] = whole;
    }
  }
}

#define ATTEND(DIM, GROUP)                                                                                                   \
  extern "C" __global__ void __launch_bounds__(32 * WARPS) attend_##DIM##_##GROUP(                                           \
      const T *q, const T *gate, const long long *table, T *out, float *sums, float *shares, int heads, int kv_heads,       \
      int gate_stride, long long offset, float scale, int part_keys) {                                                      \
    attend_part<DIM, GROUP>(q, gate, table, out, sums, shares, heads, kv_heads, gate_stride, offset, scale, part_keys);     \
  }
#define ATTEND_GROUPS(DIM) ATTEND(DIM, 1) ATTEND(DIM, 2) ATTEND(DIM, 4) ATTEND(DIM, 8)
ATTEND_GROUPS(32) ATTEND_GROUPS(64) ATTEND_GROUPS(128) ATTEND_GROUPS(256)

// Joins the parts of attend_part to `out` (rows, heads, dim). Grid (heads, rows), a thread a dimension.
extern "C" __global__ void join(const float *sums, const float *shares, const T *gate, T *out, int gate_stride, int parts) {
  const int dim = blockDim.x, d = threadIdx.x, heads = gridDim.x;
  const long long at = (long long)blockIdx.y * heads + blockIdx.x;
  float larger = -INFINITY, whole = 0, x = 0;
  for (int part = 0; part < parts; part++) larger = fmaxf(larger, shares[(at * parts + part) * 2]);
  for (int part = 0; part < parts; part++) {
    const long long there = at * parts + part;
    const float total = shares[there * 2 + 1], share = total > 0 ? exp2f(shares[there * 2] - larger) : 0;
    whole += total * share, x += sums[there * dim + d] * share;
  }
  out[at * dim + d] = gated(x / whole, gate ? gate + (long long)blockIdx.y * gate_stride + (long long)blockIdx.x * 2 * dim + d : 0);
}

// The largest of some logits, the first place of it, and the sum of all by their exponential relative to it.
struct Best {
  float top, total;
  int place;
};

__device__ __forceinline__ Best better(Best a, Best b) {
  const float top = fmaxf(a.top, b.top);
  // A sum of nothing has no largest. NaN stays in a sum.
  const float of_a = a.total == 0 || a.top == top ? a.total : a.total * expf(a.top - top);
  const float of_b = b.total == 0 || b.top == top ? b.total : b.total * expf(b.top - top);
  const bool is_b = b.top > a.top || (b.top == a.top && b.place < a.place);
  return {top, of_a + of_b, is_b ? b.place : a.place};
}

// The first of the largest of each row of logits, and the logarithm of its probability; NaN where the largest is not finite or
// one of them is NaN. `tokens` (rows), `choices` (rows, 2): likeliest.rs. A block of whole warps a row.
extern "C" __global__ void likeliest(const T *logits, uint32_t *tokens, float *choices, int cols) {
  SHARED Best of_warps[32];
  const T *row = logits + (long long)blockIdx.x * cols;
  const int none = 0x7fffffff;
  Best best = {-INFINITY, 0, none};
  for (int i = threadIdx.x * 8; i < cols; i += blockDim.x * 8) {
    const Eight<T> e = *(const Eight<T> *)(row + i);
    for (int j = 0; j < 8; j++) {
      const float x = wide(e.v[j]);
      if (x > best.top) {
        best = {x, best.total * expf(best.top - x) + 1, i + j};
      } else if (x != -INFINITY) {
        best.total += expf(x - best.top);
      }
    }
  }
  for (int mask = 16; mask > 0; mask >>= 1) {
    const float top = __shfl_xor_sync(0xffffffffu, best.top, mask), total = __shfl_xor_sync(0xffffffffu, best.total, mask);
    const int place = __shfl_xor_sync(0xffffffffu, best.place, mask);
    best = better(best, {top, total, place});
  }
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (unsigned w = 1; w < blockDim.x / 32; w++) best = better(best, of_warps[w]);
  const int token = best.place == none ? 0 : best.place;
  tokens[blockIdx.x] = token;
  choices[2 * blockIdx.x] = (float)token;
  choices[2 * blockIdx.x + 1] = best.top > -INFINITY && best.top < INFINITY ? -logf(best.total) : NAN;
}
