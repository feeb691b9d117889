// Every program that runs a model, in one executable: what the compiler has to do for them is for the most
// part the same, and so is done once. It is the program by whose name it is called; midus_add_programs makes
// those names. To start a program of your own, copy one of the files below and not this one.
#include <algorithm>
#include <numbers>
#include <optional>
#include <string_view>

#include "common.hpp"
#include "load_tokenizer.hpp"
#include "midus/model/generate.hpp"
#include "midus/text/documents.hpp"
#include "midus/tokenizer.hpp"
#include "midus/train/head_ablation.hpp"
#include "midus/train/slot_use.hpp"
#include "midus_model.hpp"
#include "training.hpp"

// All headers came above, so these bring nothing but themselves, each with a main of its own.
namespace pretrain {
#include "pretrain.cpp"
}
namespace cpt {
#include "cpt.cpp"
}
namespace evaluate {
#include "evaluate.cpp"
}
namespace sample {
#include "sample.cpp"
}
namespace logits {
#include "logits.cpp"
}
namespace score {
#include "score.cpp"
}
namespace slot_use {
#include "slot_use.cpp"
}
namespace head_ablation {
#include "head_ablation.cpp"
}

int main(int argc, char** argv) {
  const std::string name = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "";
  if (name == "pretrain") return pretrain::main(argc, argv);
  if (name == "cpt") return cpt::main(argc, argv);
  if (name == "evaluate") return evaluate::main(argc, argv);
  if (name == "sample") return sample::main(argc, argv);
  if (name == "score") return score::main(argc, argv);
  if (name == "logits") return logits::main(argc, argv);
  if (name == "slot_use") return slot_use::main(argc, argv);
  if (name == "head_ablation") return head_ablation::main(argc, argv);
  std::fprintf(
      stderr,
      "%s: call this by the name of a program: pretrain, cpt, evaluate, sample, score, logits, slot_use or "
      "head_ablation\n",
      name.c_str());
  return 1;
}
