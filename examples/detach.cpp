// Takes the Memory blocks out of a model.
//
//     detach llama-midus/ llama/
//
// Where only Memory blocks were trained, what is left is the base, byte for byte.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>

#include "command_line.hpp"
#include "midus/io/mapped_file.hpp"
#include "midus/io/model_card.hpp"
#include "midus/train/run_directory.hpp"
#include "midus/upscale/expand_files.hpp"

namespace mi = midus;

namespace {

/// Whether a file is the card of a run that trained a memory.
bool tells_of_memory(const std::filesystem::path& file) {
  if (!mi::may_exist(file)) return false;
  const mi::ModelCard card = mi::read_model_card(mi::MappedFile(file).text());
  const auto tags = card.head.find("tags");
  return tags != card.head.end() &&
         std::find(tags->second.begin(), tags->second.end(), "midus") != tags->second.end();
}

}  // namespace

int main(int argc, char* argv[]) {
  std::filesystem::path model, out;
  bool force = false;
  CLI::App app(
      "Writes MODEL without its Memory blocks to OUT. All other tensors are copied bit for bit: the "
      "base model, where it was not trained since; layers that llama_pro inserted stay.",
      "detach");
  app.add_option("MODEL", model, "The directory of a model with Memory blocks")->required();
  app.add_option("OUT", out, "The directory to write; it appears when it is complete")->required();
  app.add_flag("--force", force, "Replace the model at OUT (refused where other files lie there too)");
  return run_program(app, argc, argv, [&] {
    mi::check_target(model, out, force);
    mi::refuse_run(model);
    const mi::ModelOnDisk deeper(model);
    for (const std::string& warning : deeper.warnings) std::cerr << "warning: " << warning << "\n";
    const std::size_t blocks = deeper.config.memory ? deeper.config.memory->positions.size() : 0;
    mi::AtomicDirectory directory(out, force);
    mi::write_detached(deeper, directory.path());
    directory.commit();
    if (tells_of_memory(out / "README.md"))
      std::cerr << "warning: " << (out / "README.md").string()
                << " is the card of the model with its Memory blocks: say in it what is left\n";
    std::cout << "wrote " << out.string() << " without " << blocks
              << (blocks == 1 ? " Memory block\n" : " Memory blocks\n");
    return 0;
  });
}
