// Any bytes as a safetensors file: refused with an Error, or every tensor lies inside the file and can be
// read.
#include "fuzz.hpp"
#include "midus/io/safetensors.hpp"
#include "midus/io/tensor_convert.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const midus::fuzz::MemoryFile input;
  input.hold({reinterpret_cast<const char*>(data), size});
  midus::fuzz::accepts([] {
    const midus::SafetensorsFile file(input.path());
    std::uint64_t held = 0;
    unsigned sum = 0;
    for (const auto& [name, tensor] : file.tensors()) {
      midus::fuzz::require(midus::tensor_bytes(name, tensor.dtype, tensor.shape) == tensor.bytes.size());
      held += tensor.bytes.size();
      for (const std::byte byte : tensor.bytes) sum += static_cast<unsigned>(byte);
    }
    volatile unsigned read = sum;
    static_cast<void>(read);
    midus::fuzz::require(held <= static_cast<std::uint64_t>(std::filesystem::file_size(input.path())));
  });
  return 0;
}
