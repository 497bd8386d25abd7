// Holds the kernels of src/nn/cuda/kernels to double precision on a CPU, for the number type that NUMBER names: check-cuda.sh
// compiles it with g++ for each. Prints a line for each kernel, and ends with 1 if one is wrong.
#define OMNIDOCS_SHIM
#include "shim.h"
typedef NUMBER T;
#include "layer.cuh"

#include <cstdio>
#include <functional>
#include <random>
#include <string>

static int bad;
// Half of the last place of T.
static const double EPS = sizeof(T) == 4 ? 6e-8 : std::is_same_v<T, __half> ? 5e-4 : 4e-3;

static void say(const std::string &what, bool good, double found) {
  if (!good) printf("BAD  kernel %s: %.2e\n", what.c_str(), found);
  else printf("ok   kernel %s: %.1e\n", what.c_str(), found);
  bad += !good;
}

// The length of the difference of all that was found from all that was wanted, by the length of that.
struct Distance {
  double of_difference = 0, of_wanted = 0;
  void add(double found, double wanted) { of_difference += (found - wanted) * (found - wanted), of_wanted += wanted * wanted; }
  double relative() const { return std::sqrt(of_difference / of_wanted); }
  // NaN is never within.
  void within(const std::string &what, double bound) const { say(what, relative() < bound, relative()); }
};

static std::mt19937 generator(1);
template <class N = T> std::vector<N> numbers(size_t count, float deviation = 1) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<N> made(count);
  for (auto &x : made) x = narrow<N>(normal(generator));
  return made;
}

static void add_norms() {
  for (int cols : {256, 1032}) {
    const int rows = 3;
    auto x = numbers(rows * cols), delta = numbers(rows * cols), sum = x, normed = x;
    auto weight = numbers<float>(cols);
    launch({rows}, 64, add_norm, (const T *)x.data(), (const T *)delta.data(), (const float *)weight.data(), sum.data(), normed.data(),
           cols, 1e-6f);
    Distance of_sum, of_norm;
    for (int r = 0; r < rows; r++) {
      double squares = 0;
      for (int i = 0; i < cols; i++) {
        const int at = r * cols + i;
        of_sum.add(wide(sum[at]), (double)wide(x[at]) + wide(delta[at]));
        squares += (double)wide(sum[at]) * wide(sum[at]);
      }
      for (int i = 0; i < cols; i++)
        of_norm.add(wide(normed[r * cols + i]), wide(sum[r * cols + i]) / std::sqrt(squares / cols + 1e-6) * weight[i]);
    }
    of_sum.within("sum of " + std::to_string(cols), EPS), of_norm.within("norm of " + std::to_string(cols), 2 * EPS + 1e-7);
  }
}

static void swiglus() {
  const int rows = 3, size = 264;
  auto x = numbers(rows * 2 * size, 2), out = numbers(rows * size);
  launch({(rows * size / 8 + 31) / 32}, 32, swiglu, (const T *)x.data(), out.data(), size, (long long)rows * size);
  Distance distance;
  for (int r = 0; r < rows; r++)
    for (int i = 0; i < size; i++) {
      const double gate = wide(x[r * 2 * size + i]), up = wide(x[r * 2 * size + size + i]);
      distance.add(wide(out[r * size + i]), gate / (1 + std::exp(-gate)) * up);
    }
  distance.within("SwiGLU", 2 * EPS + 1e-7);
}

// Sequences of so many tokens in blocks of two layers, and the table of a run of a row for each place that is named.
struct Sequences {
  int kv_heads, dim;
  std::vector<std::vector<std::vector<T>>> blocks;
  std::vector<int> sequence, at;
  std::vector<long long> table;

  Sequences(int kv_heads, int dim, std::vector<std::vector<int>> places) : kv_heads(kv_heads), dim(dim) {
    std::vector<long long> addresses;
    std::vector<size_t> starts;
    size_t rows = 0;
    for (auto &of_one : places) rows += of_one.size();
    for (auto &of_one : places) {
      blocks.emplace_back();
      starts.push_back(2 * rows + addresses.size());
      for (int i = 0; i <= of_one.back() / BLOCK_TOKENS; i++) {
        blocks.back().push_back(numbers(4 * kv_heads * BLOCK_TOKENS * dim));
        addresses.push_back((long long)blocks.back().back().data());
      }
    }
    for (size_t s = 0; s < places.size(); s++)
      for (int place : places[s]) sequence.push_back(s), at.push_back(place), table.push_back(place), table.push_back(starts[s]);
    table.insert(table.end(), addresses.begin(), addresses.end());
  }
  int rows() const { return at.size(); }
  long long offset() const { return 2ll * kv_heads * BLOCK_TOKENS * dim; }
  // A key or value of the second layer.
  T *row(int of, int value, int head, int place) {
    return &blocks[of][place / BLOCK_TOKENS][offset() + ((value * kv_heads + head) * BLOCK_TOKENS + place % BLOCK_TOKENS) * dim];
  }
};

static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

static void preparations() {
  struct Case { int dim, half, heads, kv, per_head; bool bias, norm, also; };
  for (Case c : {Case{64, 32, 4, 2, 1, false, true, false}, {128, 64, 7, 1, 1, true, false, true}, {256, 32, 4, 2, 2, false, true, true},
                 {32, 16, 1, 1, 1, true, true, false}}) {
    Sequences all(c.kv, c.dim, {{0}, {127, 128, 129}, {300}});
    const int rows = all.rows(), width = c.heads * c.per_head + 2 * c.kv;
    auto qkv = numbers(rows * width * c.dim), bias = numbers(width * c.dim), cos = numbers(rows * c.half, 0.7),
         sin = numbers(rows * c.half, 0.7), q = numbers(rows * c.heads * c.dim), k = numbers(rows * c.kv * c.dim), v = k;
    auto q_weight = numbers<float>(c.dim), k_weight = numbers<float>(c.dim);
    // Queries by rows, keys and values by heads.
    launch({(unsigned)rows, (unsigned)(c.heads + 2 * c.kv)}, 32, prepare, (const T *)qkv.data(), (const T *)(c.bias ? bias.data() : 0),
           (const float *)(c.norm ? q_weight.data() : 0), (const float *)(c.norm ? k_weight.data() : 0), (const T *)cos.data(),
           (const T *)sin.data(), (const long long *)all.table.data(), q.data(), c.also ? k.data() : (T *)0,
           c.also ? v.data() : (T *)0, c.heads, c.per_head, c.kv, c.dim, c.half, 1e-6f, all.offset(), c.heads, 1, 1, rows);
    Distance distance;
    for (int r = 0; r < rows; r++)
      for (int h = 0; h < c.heads + 2 * c.kv; h++) {
        const bool query = h < c.heads, value = h >= c.heads + c.kv;
        const int head = query ? h : (h - c.heads) % c.kv;
        const int column = query ? head * c.per_head : c.heads * c.per_head + head + value * c.kv;
        std::vector<double> x(c.dim), turned(c.dim);
        double squares = 0;
        for (int i = 0; i < c.dim; i++) {
          x[i] = wide(qkv[(r * width + column) * c.dim + i]);
          if (c.bias) x[i] += wide(bias[column * c.dim + i]);
          squares += x[i] * x[i];
        }
        if (c.norm && !value)
          for (int i = 0; i < c.dim; i++) x[i] *= (query ? q_weight : k_weight)[i] / std::sqrt(squares / c.dim + 1e-6);
        for (int i = 0; i < c.dim; i++) {
          turned[i] = x[i];
          if (value || i >= 2 * c.half) continue;
          const double co = wide(cos[r * c.half + i % c.half]), si = wide(sin[r * c.half + i % c.half]);
          turned[i] = i < c.half ? x[i] * co - x[i + c.half] * si : x[i] * co + x[i - c.half] * si;
        }
        const T *found = query ? &q[(r * c.heads + head) * c.dim] : all.row(all.sequence[r], value, head, all.at[r]);
        for (int i = 0; i < c.dim; i++) {
          distance.add(wide(found[i]), turned[i]);
          if (c.also && !query) distance.add(wide((value ? v : k)[(head * rows + r) * c.dim + i]), turned[i]);
        }
      }
    distance.within("prepare, heads of " + std::to_string(c.dim), 3 * EPS + 2e-7);
  }
}

#define ATTENDS(DIM) {DIM, 1, attend_##DIM##_1}, {DIM, 2, attend_##DIM##_2}, {DIM, 4, attend_##DIM##_4}, {DIM, 8, attend_##DIM##_8}
static void attentions() {
  struct Kernel { int dim, group; decltype(&attend_32_1) kernel; };
  for (Kernel kernel : {Kernel ATTENDS(32), ATTENDS(64), ATTENDS(128), ATTENDS(256)})
    // A group that fills the kernel's, one that does not, one that takes several.
    for (int group : {kernel.group, kernel.group - 1, kernel.group == 8 ? 12 : 0})
      for (int part : {1 << 20, BLOCK_TOKENS, 2 * BLOCK_TOKENS}) {
        if (group == 0 || (part == 2 * BLOCK_TOKENS && group != 2)) continue;
        const int kv = 2, heads = kv * group, dim = kernel.dim;
        // Also the rows of a draft, of which each sees one more.
        Sequences all(kv, dim, {{0}, {126, 127, 128, 129}, {385}});
        const int rows = all.rows(), longest = 386, parts = part > longest ? 1 : (longest + part - 1) / part;
        const bool has_gate = group % 2 == 0;
        auto q = numbers(rows * heads * dim, 1.5), gate = numbers(rows * heads * 2 * dim), out = q;
        std::vector<float> sums(rows * heads * parts * dim), shares(rows * heads * parts * 2);
        const T *gates = has_gate ? gate.data() + dim : 0;
        const double scale = 1 / std::sqrt((double)dim);
        launch({(unsigned)parts, (unsigned)(kv * ((group + kernel.group - 1) / kernel.group)), (unsigned)rows}, 32 * WARPS, kernel.kernel,
               (const T *)q.data(), gates, (const long long *)all.table.data(), out.data(), sums.data(), shares.data(), heads, kv,
               heads * 2 * dim, all.offset(), (float)(scale * 1.4426950408889634), part);
        if (parts > 1)
          launch({(unsigned)heads, (unsigned)rows}, dim, join, (const float *)sums.data(), (const float *)shares.data(), gates, out.data(),
                 heads * 2 * dim, parts);
        Distance distance;
        for (int r = 0; r < rows; r++)
          for (int h = 0; h < heads; h++) {
            std::vector<double> share(all.at[r] + 1);
            double top = -1e300, whole = 0;
            for (int i = 0; i <= all.at[r]; i++) {
              const T *key = all.row(all.sequence[r], 0, h / group, i);
              for (int d = 0; d < dim; d++) share[i] += scale * wide(q[(r * heads + h) * dim + d]) * wide(key[d]);
              top = std::max(top, share[i]);
            }
            for (auto &x : share) whole += x = std::exp(x - top);
            for (int d = 0; d < dim; d++) {
              double x = 0;
              for (int i = 0; i <= all.at[r]; i++) x += share[i] / whole * wide(all.row(all.sequence[r], 1, h / group, i)[d]);
              if (has_gate) x *= sigmoid(wide(gate[(r * heads + h) * 2 * dim + dim + d]));
              distance.add(wide(out[(r * heads + h) * dim + d]), x);
            }
          }
        distance.within("attention, " + std::to_string(group) + " heads of " + std::to_string(dim) + ", " + std::to_string(parts) +
                            " parts", 2 * EPS + 1e-6);
      }
}

// A key or value that is NaN makes NaN of the rows that see it, and of no other.
static void not_finite() {
  const int kv = 2, heads = 4, dim = 64;
  for (int value : {0, 1})
    for (int at : {0, 5, 127, 128}) {
      Sequences all(kv, dim, {{3}, {4, 126, 300}});
      const int rows = all.rows(), parts = 3;
      all.row(1, value, 1, at)[9] = narrow<T>(NAN);
      auto q = numbers(rows * heads * dim), out = q;
      std::vector<float> sums(rows * heads * parts * dim), shares(rows * heads * parts * 2);
      launch({(unsigned)parts, kv, (unsigned)rows}, 32 * WARPS, attend_64_2, (const T *)q.data(), (const T *)0,
             (const long long *)all.table.data(), out.data(), sums.data(), shares.data(), heads, kv, 0, all.offset(), 0.18f, BLOCK_TOKENS);
      launch({heads, (unsigned)rows}, dim, join, (const float *)sums.data(), (const float *)shares.data(), (const T *)0, out.data(), 0, parts);
      int wrong = 0;
      for (int r = 0; r < rows; r++)
        for (int h = 0; h < heads; h++) {
          const bool sees = all.sequence[r] == 1 && all.at[r] >= at && h / 2 == 1;
          wrong += (bool)std::isnan(wide(out[(r * heads + h) * dim + 9])) != sees;
        }
      say("NaN at token " + std::to_string(at) + (value ? " of values" : " of keys"), wrong == 0, wrong);
    }
}

static void choices() {
  const int rows = 9, cols = 4096;
  auto logits = numbers(rows * cols, 3);
  const T inf = narrow<T>(INFINITY), none = narrow<T>(-INFINITY), nan = narrow<T>(NAN);
  // Row 0 as it is; two alike, far apart and in one thread; the last; NaN; infinity; nothing; holes; NaN first.
  logits[cols + 100] = logits[cols + 3000] = narrow<T>(40), logits[2 * cols + 9] = logits[2 * cols + 11] = narrow<T>(40);
  logits[3 * cols + cols - 1] = narrow<T>(50), logits[4 * cols + 77] = nan, logits[5 * cols + 7] = inf;
  for (int i = 0; i < cols; i++) logits[6 * cols + i] = none;
  for (int i = 0; i < cols; i += 2) logits[7 * cols + i] = none;
  for (int i = 0; i < cols; i++) logits[8 * cols + i] = i ? none : nan;
  std::vector<uint32_t> tokens(rows);
  std::vector<float> found(2 * rows);
  launch({rows}, 128, likeliest, (const T *)logits.data(), tokens.data(), found.data(), cols);
  int wrong = 0;
  double worst = 0;
  for (int r = 0; r < rows; r++) {
    int token = 0;
    double sum = 0;
    bool finite = r < 4 || r == 7;
    for (int i = 0; i < cols; i++)
      if (wide(logits[r * cols + i]) > wide(logits[r * cols + token])) token = i;
    for (int i = 0; i < cols; i++) sum += std::exp((double)wide(logits[r * cols + i]) - wide(logits[r * cols + token]));
    wrong += (uint32_t)found[2 * r] != tokens[r] || tokens[r] >= cols || std::isnan(found[2 * r + 1]) == finite;
    if (finite) wrong += tokens[r] != (uint32_t)token, worst = std::max(worst, std::fabs(found[2 * r + 1] + std::log(sum)));
  }
  say("likeliest tokens", wrong == 0, wrong), say("log-probabilities", worst < 1e-5, worst);
}

int main() {
  add_norms(), swiglus(), preparations(), attentions(), not_finite(), choices();
  return bad > 0;
}
