// A backward form of the reference against derivatives by complex steps.
#pragma once

#include <cmath>
#include <complex>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/tensors.hpp"

namespace midus {

/// An input by the name of its numbers, and the kept tensor that is its gradient. `start`: the name of the
/// random numbers that the gradient was before (it was added to); empty: it was overwritten.
struct GradientOf {
  std::string input, gradient, start;
};
/// An output as it was kept, and the name of the numbers that are its upstream gradient.
struct OutputOf {
  std::string output, upstream;
};

/// For every element of every input: the derivative of Σ upstream · output along it, from one forward with an
/// imaginary part of 1e-30 there, against the gradient that backward gave. Nothing is subtracted, so the two
/// agree to rounding: 1e-11 of the largest element.
template <class Case>
void check_complex_step(const Case& run_case, const std::vector<GradientOf>& gradients,
                        const std::vector<OutputOf>& outputs) {
  Tensors<Reference<double>> real;
  run_case(real);
  const auto numbers = [](const std::string& name, std::size_t count) {
    Tensors<Reference<double>> tensors;
    const auto x = tensors.random(name, Shape{static_cast<Index>(count)});
    return std::vector<double>(x.data(), x.data() + count);
  };
  for (const GradientOf& g : gradients) {
    const std::vector<double>& got = real.results().at(g.gradient).values;
    const std::vector<double> start =
        g.start.empty() ? std::vector<double>(got.size()) : numbers(g.start, got.size());
    double largest = 0, worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      Tensors<Reference<std::complex<double>>> complex;
      complex.perturbation = {g.input, static_cast<Index>(i)};
      run_case(complex);
      double derivative = 0;
      for (const OutputOf& o : outputs) {
        const Result& y = complex.results().at(o.output);
        const std::vector<double> dy = numbers(o.upstream, y.imaginary.size());
        for (std::size_t j = 0; j < dy.size(); ++j)
          derivative += dy[j] * (y.imaginary[j] / Perturbation::step);
      }
      largest = std::max(largest, std::fabs(derivative));
      const double error = std::fabs(got[i] - start[i] - derivative);
      worst = std::isnan(error) || error > worst ? error : worst;
      if (std::isnan(error)) break;
    }
    INFO(g.gradient << " is off by " << worst << ", the largest element is " << largest);
    CHECK(largest > 0);
    CHECK(worst <= 1e-11 * largest);
  }
}

}  // namespace midus
