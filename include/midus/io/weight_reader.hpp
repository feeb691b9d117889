// A model's weights out of its files, into memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "midus/core/error.hpp"
#include "midus/core/view.hpp"
#include "midus/device/arena.hpp"
#include "midus/io/checkpoint_files.hpp"
#include "midus/io/tensor_convert.hpp"

namespace midus {

/// How `load` works, and what it tells meanwhile; every member may be left out.
struct LoadOptions {
  std::function<void(const std::string&)> say{};  ///< which files were read, and warnings
  bool store_bfloat16 = false;       ///< keep frozen weights as bfloat16; they cannot be trained then
  std::vector<std::string> train{};  ///< what trains from the start, as `model.train` takes it
  bool require_finite = false;       ///< refuse a weight that is infinite or NaN, by name
  std::function<void(std::uint64_t, std::uint64_t)> progress{};  ///< bytes read so far, and of all
};

namespace detail {

inline double as_double(float value) { return static_cast<double>(value); }
inline double as_double(double value) { return value; }
inline double as_double(bfloat16 value) { return static_cast<double>(value.to_float()); }

/// Whether every value is finite, with no branch in the loop.
template <class T>
bool all_finite(std::span<const T> values) {
  bool finite = true;
  for (const T& value : values) {
    if constexpr (std::is_same_v<T, bfloat16>)
      finite &= (value.bits & 0x7f80u) != 0x7f80u;
    else
      finite &= std::abs(value) <= std::numeric_limits<T>::max();
  }
  return finite;
}

}  // namespace detail

/// Reads tensors to their places: a few megabytes of a file at a time, which the device's threads convert and
/// which are then given back to the system. Must not outlive what it was made of.
template <class Device>
class WeightReader {
 public:
  WeightReader(Device& device, const CheckpointFiles& files, const LoadOptions& options)
      : device_(device), files_(files), options_(options) {
    for (const auto& [name, located] : files.tensors()) all_ += located.tensor->bytes.size();
  }

  /// Reads the tensor `name`, which has as many elements as there is room for. Throws `Error` where a weight
  /// is not finite and must be.
  template <WeightScalar To>
  void read(const std::string& name, View<To, 1> to) {
    const CheckpointFiles::Located& from = files_.locate(name);
    const Index width = info(from.tensor->dtype).bits / 8;
    if (static_cast<Index>(from.tensor->bytes.size()) != to.size() * width)
      fail(files_.where(name), ": expected ", to.size(), " weights of ", to_string(from.tensor->dtype),
           ", found ", from.tensor->bytes.size(), " bytes");
    constexpr Index piece = Index{1} << 16, batch = 128 * piece;  // elements: of a task, and at a time
    for (Index begin = 0; begin < to.size(); begin += batch) {
      const Index count = std::min(batch, to.size() - begin);
      const auto bytes = from.tensor->bytes.subspan(static_cast<std::size_t>(begin * width),
                                                    static_cast<std::size_t>(count * width));
      for_tasks((count + piece - 1) / piece, [&](Index task) {
        const Index first = task * piece, size = std::min(piece, count - first);
        const std::span<To> part(to.data() + begin + first, static_cast<std::size_t>(size));
        read_weights(
            from.tensor->dtype,
            bytes.subspan(static_cast<std::size_t>(first * width), static_cast<std::size_t>(size * width)),
            part);
        if (options_.require_finite && !detail::all_finite(std::span<const To>(part)))
          refuse(name, to, begin + first);
      });
      from.file->release(bytes);
      done_ += bytes.size();
      if (options_.progress) options_.progress(done_, all_);
    }
  }

 private:
  template <class F>
  void for_tasks(Index tasks, F&& f) {
    if constexpr (requires { device_.parallel_for(tasks, [](Index, Arena&) {}); })
      device_.parallel_for(tasks, [&](Index task, Arena&) { f(task); });
    else
      for (Index task = 0; task < tasks; ++task) f(task);
  }

  /// The first weight from `first` on that is not finite.
  template <class To>
  [[noreturn]] void refuse(const std::string& name, View<To, 1> values, Index first) const {
    while (std::isfinite(detail::as_double(values(first)))) ++first;
    fail(files_.locate(name).file->path().string(), ": ", name, " holds ", detail::as_double(values(first)),
         " (element ", first, " of ", values.size(), "); every weight must be finite");
  }

  Device& device_;
  const CheckpointFiles& files_;
  const LoadOptions& options_;
  std::uint64_t done_ = 0, all_ = 0;
};

}  // namespace midus
