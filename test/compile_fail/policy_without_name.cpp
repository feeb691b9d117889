// expected: HeadwiseMemory: the value policy needs the constants name and rank, and tensors(sizes)
#include "compile_fail/model.hpp"

using namespace midus;
using namespace midus::test;

struct Nameless {
#ifdef MIDUS_FIXED
  static constexpr std::string_view name = "nameless";
#endif
  static constexpr int rank = 0;
  static constexpr std::array<TensorSpec, 1> tensors(const ValueSizes& m) {
    return {TensorSpec{"values", {m.slots, m.heads}, Role::table, Start::zero()}};
  }
  template <class Device, int Slots, int Heads, int HeadWidth>
  struct Layer {
    struct Saved {};
    static void visit(auto&, const Path&, auto&&) {}
    void forward(Device&, const MemoryRead<Device>&, Saved&, Out<Device, 3>) const;
    void backward(Device&, const MemoryRead<Device>&, const Saved&, In<Device, 3>, Out<Device, 3>) const;
  };
};
static_assert(compiles<Deeper<HeadwiseMemory<4, 6, 3, Nameless>>>);
