#include "midus/layers/rotary_table.hpp"

#include <cmath>
#include <vector>

#include "midus/device/cpu.hpp"
#include "support/catch.hpp"

using namespace midus;

namespace {

RopeSettings llama31(double factor = 8) { return {500000, Llama3Scaling{.factor = factor}}; }

void check_close(double got, double expected) { CHECK(std::fabs(got / expected - 1) < 1e-12); }

template <class S>
std::vector<double> values_of(const View<const S, 2>& table) {
  return {table.data(), table.data() + table.size()};
}

}  // namespace

TEST_CASE("rotary table: Llama 3.1's inverse frequencies, from 50 digits of the formula") {
  const std::vector<double> expected{
      1.0000000000000e+00, 8.1461723385654e-01, 6.6360123769609e-01, 5.4058100463577e-01, 4.4036660267178e-01,
      3.5873022375129e-01, 2.9222782257302e-01, 2.3805382048035e-01, 1.9392274474869e-01, 1.5797280990904e-01,
      1.2868737343265e-01, 1.0483095217797e-01, 8.5397100285766e-02, 6.9565949614160e-02, 5.6669621445291e-02,
      4.6164050265461e-02, 3.7606030930864e-02, 3.0634520893224e-02, 2.4955408670559e-02, 2.0329105980970e-02,
      1.6560440080994e-02, 1.3490419890227e-02, 1.0989528534540e-02, 8.9522593361944e-03, 7.2926647372171e-03,
      5.9407303756750e-03, 4.8394213457199e-03, 3.9422760301167e-03, 3.2114459947526e-03, 2.1665707635034e-03,
      1.3718935677611e-03, 8.5675141291963e-04, 5.2484616099295e-04, 3.1269375038407e-04, 1.7850781276800e-04,
      9.5562123539647e-05, 7.7846552739324e-05, 6.3415143457776e-05, 5.1659068748190e-05, 4.2082367687255e-05,
      3.4281021959526e-05, 2.7925911282444e-05, 2.2748928601828e-05, 1.8531669290821e-05, 1.5096217176433e-05,
      1.2297638677964e-05, 1.0017868402810e-05, 8.1607282474359e-06, 6.6478698711812e-06, 5.4154693654999e-06,
      4.4115346745584e-06, 3.5937121736510e-06, 2.9274998701762e-06, 2.3847918463583e-06, 1.9426925372040e-06,
      1.5825508208909e-06, 1.2891731721516e-06, 1.0501826834602e-06, 8.5549691264437e-07, 6.9690252855117e-07,
      5.6770881007598e-07, 4.6246538050009e-07, 3.7673226901740e-07, 3.0689259889145e-07};
  const auto frequencies = inverse_frequencies(llama31(), 128);
  REQUIRE(frequencies.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("frequency " << i);
    check_close(frequencies[i], expected[i]);
  }
}

TEST_CASE("rotary table: without scaling the frequencies are powers of theta") {
  const auto plain = inverse_frequencies({500000, std::nullopt}, 128);
  check_close(plain[28], 0.0032114459947525909);  // the last that Llama 3.1 keeps
  check_close(plain[29], 0.0026160992529250353);
  check_close(plain[36], 0.00062277242191459599);
  check_close(plain[63], 2.4551407911316089e-06);
}

TEST_CASE("rotary table: the factor that is asked for is the one that is used (AR-04)") {
  check_close(inverse_frequencies(llama31(8), 64)[18], 7.7846552739324498e-05);
  check_close(inverse_frequencies(llama31(32), 64)[18], 1.9461638184831125e-05);
  const auto as_it_was = inverse_frequencies(llama31(), 64);
  const auto changed = [&](RopeSettings settings) { return inverse_frequencies(settings, 64) != as_it_was; };
  CHECK_FALSE(changed(llama31()));
  CHECK(changed({10000, Llama3Scaling{}}));
  CHECK(changed({500000, Llama3Scaling{.low_freq_factor = 2}}));
  CHECK(changed({500000, Llama3Scaling{.high_freq_factor = 5}}));
  CHECK(changed({500000, Llama3Scaling{.original_max_position_embeddings = 4096}}));
}

TEST_CASE("rotary table: a position far out is no noise (AR-10), and float is double rounded") {
  RotaryTable<Cpu<double>> exact(llama31(), 128);
  RotaryTable<Cpu<float>> rounded(llama31(), 128);
  exact.cover(15963), rounded.cover(15963);
  CHECK(exact.cos()(15962, 0) == Approx(-0.90801590125103204).epsilon(1e-12));
  CHECK(exact.sin()(15962, 0) == Approx(0.41893570279372955).epsilon(1e-12));
  const double angle = 15962 * 7.7846552739324498e-05;
  CHECK(exact.cos()(15962, 36) == Approx(std::cos(angle)).epsilon(1e-11));
  CHECK(exact.sin()(15962, 36) == Approx(std::sin(angle)).epsilon(1e-11));
  REQUIRE(rounded.cos().shape() == Shape<2>{{15963, 64}});
  Index different = 0;
  for (Index i = 0; i < exact.cos().size(); ++i)
    different += rounded.cos().data()[i] != static_cast<float>(exact.cos().data()[i]) ||
                 rounded.sin().data()[i] != static_cast<float>(exact.sin().data()[i]);
  CHECK(different == 0);
}

TEST_CASE("rotary table: it grows when more is asked of it, and keeps what it had") {
  RotaryTable<Cpu<double>> table(llama31(), 6);
  table.cover(5);
  const auto cos = values_of(table.cos()), sin = values_of(table.sin());
  REQUIRE(cos.size() == 15);
  CHECK(std::vector(cos.begin(), cos.begin() + 3) == std::vector<double>{1, 1, 1});
  CHECK(std::vector(sin.begin(), sin.begin() + 3) == std::vector<double>{0, 0, 0});
  table.cover(3);
  CHECK(values_of(table.cos()) == cos);
  table.cover(40);
  auto more_cos = values_of(table.cos()), more_sin = values_of(table.sin());
  REQUIRE(more_cos.size() == 120);
  more_cos.resize(15), more_sin.resize(15);
  CHECK(more_cos == cos);
  CHECK(more_sin == sin);
}
