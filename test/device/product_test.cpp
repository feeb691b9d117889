#include "midus/device/product.hpp"

#include <vector>

#include "midus/core/random.hpp"
#include "support/catch.hpp"

namespace midus {
namespace {

/// Small whole numbers: every sum is exact, so results are compared with ==.
template <class S>
std::vector<S> whole_numbers(Index count, const char* name) {
  const Random random(1, name);
  std::vector<S> x;
  for (Index i = 0; i < count; ++i) x.push_back(static_cast<S>(static_cast<int>(random.below(i, 9)) - 4));
  return x;
}

struct Sizes {
  Index m, n, k;
};

TEMPLATE_TEST_CASE("product: all layouts of both factors, at all edges", "", float, double) {
  using S = TestType;
  const auto [m, n, k] = GENERATE(Sizes{1, 1, 1}, Sizes{5, 17, 3}, Sizes{6, 16, 8}, Sizes{13, 31, 600},
                                  Sizes{250, 40, 9}, Sizes{12, 9, 257}, Sizes{3, 4, 0});
  INFO(m << " x " << n << " x " << k);
  const auto a = whole_numbers<S>(m * k, "a"), b = whole_numbers<S>(k * n, "b"),
             f = whole_numbers<S>(m * n, "f");
  std::vector<S> product(f.size()), at(a.size()), bt(b.size());
  const auto i_of = [](Index i) { return static_cast<std::size_t>(i); };
  for (Index i = 0; i < m; ++i)
    for (Index s = 0; s < k; ++s) {
      at[i_of(s * m + i)] = a[i_of(i * k + s)];
      for (Index j = 0; j < n; ++j) product[i_of(i * n + j)] += a[i_of(i * k + s)] * b[i_of(s * n + j)];
    }
  for (Index s = 0; s < k; ++s)
    for (Index j = 0; j < n; ++j) bt[i_of(j * k + s)] = b[i_of(s * n + j)];

  std::vector<S> panels(i_of(panel_size<S>(k, n)), S(99)), panels_of_transposed(panels),
      left(i_of(left_size<S>(m, k)));
  for (Index s = 0; s < k; s += 7)
    pack_rows(b.data() + s * n, n, n, k, s, std::min<Index>(7, k - s), panels.data());
  pack_transposed(bt.data(), k, n, k, panels_of_transposed.data());
  CHECK(panels == panels_of_transposed);

  const Left<S> packed = pack_left(at.data(), m, m, k, left.data());
  for (const Left<S>& factor : {left_rows(a.data(), k), packed}) {
    std::vector<S> c(f.size(), std::numeric_limits<S>::quiet_NaN());
    multiply<S>(m, n, k, factor, panels.data(), c.data(), n, nullptr, 0);
    CHECK(c == product);
    multiply<S>(m, n, k, factor, panels.data(), c.data(), n, f.data(), n);
    std::vector<S> sum(f);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += product[i];
    CHECK(c == sum);
    c = f;
    multiply<S>(m, n, k, factor, panels.data(), c.data(), n, c.data(), n);
    CHECK(c == sum);
  }
}

TEMPLATE_TEST_CASE("product: writes its tile and nothing beside it", "", float, double) {
  using S = TestType;
  constexpr Index m = 7, n = 19, k = 5, ldc = 23;
  const auto a = whole_numbers<S>(m * k, "a"), b = whole_numbers<S>(k * n, "b");
  std::vector<S> panels(panel_size<S>(k, n)), c(m * ldc, S(1000));
  pack_rows(b.data(), n, n, k, 0, k, panels.data());
  multiply<S>(m, n, k, left_rows(a.data(), k), panels.data(), c.data(), ldc, nullptr, 0);
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < ldc; ++j) CHECK((c[static_cast<std::size_t>(i * ldc + j)] == S(1000)) == (j >= n));
}

}  // namespace
}  // namespace midus
