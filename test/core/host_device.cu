// In a kernel a view, a weight and a bfloat16 are what they are on the host: the same function runs on both,
// and both leave the same bits. Ends with 77 where there is no CUDA device.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "midus/core/view.hpp"
#include "midus/core/weight_view.hpp"

namespace {

using midus::bfloat16;
using midus::Index;
using midus::Shape;
using midus::View;
using midus::WeightView;

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "test/core/host_device.cu: %s: %s\n", what, cudaGetErrorString(status));
  std::exit(1);
}

// The lower halves of a float about which rounding to bfloat16 decides: nothing, the tie, all, and their
// neighbours.
constexpr Index num_lower = 48;
MIDUS_HOST_DEVICE std::uint32_t lower_half(Index i) {
  constexpr std::uint32_t begin[] = {0u, 0x7ff8u, 0xfff0u};
  return begin[i / 16] + static_cast<std::uint32_t>(i % 16);
}

struct Round {  // every upper half with each of the lower halves
  static constexpr Index size = 65536 * num_lower;
  MIDUS_HOST_DEVICE std::uint32_t operator()(Index i) const {
    const std::uint32_t word = static_cast<std::uint32_t>(i / num_lower) << 16 | lower_half(i % num_lower);
    return bfloat16::from(__builtin_bit_cast(float, word)).bits;
  }
};

struct Widen {  // every bfloat16
  static constexpr Index size = 65536;
  MIDUS_HOST_DEVICE std::uint32_t operator()(Index i) const {
    return __builtin_bit_cast(std::uint32_t, bfloat16{static_cast<std::uint16_t>(i)}.to_float());
  }
};

struct Address {  // where an element of a tensor lies that is longer than 2^31
  static constexpr Index size = 6;
  MIDUS_HOST_DEVICE std::uint32_t operator()(Index i) const {
    constexpr Index rows = 5, heads = 7, width = (Index{1} << 30) + 3;
    auto* const base = reinterpret_cast<char*>(std::uintptr_t{1} << 40);  // is only counted from
    const View<char, 3> view(base, Shape<3>{{rows, heads, width}});
    const Index at[] = {
        &view(4, 6, width - 1) - base, view.row(3) - base,
        view.row(2, 5) - base,         view.slice(4, 1).data() - base,
        view.flat().extent(0),         view.reshape(Shape<2>{{heads, rows * width}}).row(6) - base};
    return static_cast<std::uint32_t>(at[i] %
                                      4294967291);  // the largest prime below 2^32: the upper bits count too
  }
};

struct Weight {  // one tensor in both ways of storing it, under other extents
  static constexpr Index rows = 6, width = 35, size = 2 * rows * width;
  const float* full;
  const bfloat16* half;
  MIDUS_HOST_DEVICE std::uint32_t operator()(Index i) const {
    const Shape<2> shape{{rows, width}};
    const WeightView<float, 2> weight = i % 2 == 0
                                            ? WeightView<float, 2>(View<const float, 2>(full, shape))
                                            : WeightView<float, 2>(View<const bfloat16, 2>(half, shape));
    if (weight.is_bfloat16() != (i % 2 == 1) || weight.empty() || weight.size() != shape.size())
      return 0xffffffffu;
    const float value = weight.reshape(Shape<3>{{rows, 5, width / 5}}).at(i / 2);
    const float same =
        weight.is_bfloat16() ? weight.half().row(0)[i / 2].to_float() : weight.full().row(0)[i / 2];
    return __builtin_bit_cast(std::uint32_t, value + 2.0f * same);
  }
};

template <class Function>
__global__ void run(Function function, View<std::uint32_t, 1> out) {
  const Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < out.size()) out(i) = function(i);
}

/// Whether `there`, run by the device, leaves what `here` leaves on the host.
template <class Function>
bool agree(const char* name, Function here, Function there) {
  std::vector<std::uint32_t> expected(Function::size), found(Function::size, 0xdeadbeefu);
  for (Index i = 0; i < Function::size; ++i) expected[static_cast<std::size_t>(i)] = here(i);
  const std::size_t bytes = found.size() * sizeof(std::uint32_t);
  std::uint32_t* out = nullptr;
  check(cudaMalloc(&out, bytes), "cudaMalloc");
  check(cudaMemcpy(out, found.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  run<<<static_cast<unsigned>((Function::size + 255) / 256), 256>>>(
      there, View<std::uint32_t, 1>(out, Shape<1>{{Function::size}}));
  check(cudaGetLastError(), name);
  check(cudaMemcpy(found.data(), out, bytes, cudaMemcpyDeviceToHost), name);
  check(cudaFree(out), "cudaFree");
  for (std::size_t i = 0; i < found.size(); ++i)
    if (found[i] != expected[i]) {
      std::fprintf(stderr, "%s: number %zu is %08x on the host and %08x on the device\n", name, i,
                   expected[i], found[i]);
      return false;
    }
  std::printf("%s: %zu numbers, the same bits\n", name, found.size());
  return true;
}

template <class T>
const T* on_device(const std::vector<T>& values) {
  T* copy = nullptr;
  check(cudaMalloc(&copy, values.size() * sizeof(T)), "cudaMalloc");
  check(cudaMemcpy(copy, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  return copy;
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("there is no CUDA device");
    return 77;
  }
  std::vector<float> full;
  std::vector<bfloat16> half;
  for (Index i = 0; i < Weight::size / 2; ++i) {
    full.push_back(0.1f * static_cast<float>(i) - 3.0f);
    half.push_back(bfloat16::from(-full.back()));
  }
  bool right = agree("bfloat16 from float", Round{}, Round{});
  right &= agree("float from bfloat16", Widen{}, Widen{});
  right &= agree("addresses above 2^31", Address{}, Address{});
  right &= agree("weights", Weight{full.data(), half.data()}, Weight{on_device(full), on_device(half)});
  return right ? 0 : 1;
}
