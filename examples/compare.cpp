// Says what differs between two models on disk.
//
//     compare llama/ llama-midus/                                      what was inserted
//     compare llama-midus/ run/final --only 'model.layers.*'           whether frozen layers stayed
//
// Like that of diff(1), its status is 0 where nothing differs, 1 where something does, 2 where a model cannot
// be read.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/train/run_directory.hpp"
#include "midus/upscale/compare_files.hpp"

namespace mi = midus;
namespace fs = std::filesystem;

namespace {

void print(const mi::TensorDifference& difference) {
  std::cout << "differs: " << difference.name << ": ";
  if (difference.left != difference.right) std::cout << difference.left << " / " << difference.right << "; ";
  if (!difference.differing)
    std::cout << "not compared by value\n";
  else if (*difference.differing == 0)
    std::cout << "equal as numbers, in other bytes\n";
  else
    std::cout << *difference.differing << " of " << difference.elements << " elements, by up to "
              << difference.largest << "\n";
}

/// Status 0 or 1.
int compare(const fs::path& left, const fs::path& right, const std::vector<std::string>& only) {
  for (const fs::path& model : {left, right}) mi::refuse_run(model);
  const std::vector<std::string> keys =
      only.empty() ? mi::differing_keys(mi::read_llama_config(left), mi::read_llama_config(right))
                   : std::vector<std::string>();
  for (const std::string& key : keys) std::cout << "config.json differs: " << key << "\n";
  const mi::CheckpointFiles ours(left), theirs(right);
  const mi::FilesDifference difference = mi::compare_files(ours, theirs, only);
  for (const std::string& name : difference.only_left)
    std::cout << "only in " << left.string() << ": " << name << "\n";
  for (const std::string& name : difference.only_right)
    std::cout << "only in " << right.string() << ": " << name << "\n";
  for (const mi::TensorDifference& tensor : difference.different) print(tensor);
  const std::size_t compared = difference.different.size() + static_cast<std::size_t>(difference.equal);
  if (compared + difference.only_left.size() + difference.only_right.size() == 0)
    mi::fail("no tensor of either model has a name of the form that --only asks for");
  std::cout << difference.equal << " of " << compared << " tensors that both have are equal; "
            << difference.only_left.size() << " only in " << left.string() << ", "
            << difference.only_right.size() << " only in " << right.string() << "\n";
  return difference.none() && keys.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char* argv[]) {
  fs::path left, right;
  std::vector<std::string> only;
  CLI::App app("Compares two models tensor by tensor. Status 0: no difference, 1: differences, 2: trouble.",
               "compare");
  app.add_option("A", left, "The directory of a model")->required();
  app.add_option("B", right, "The directory of another")->required();
  app.add_option(
         "--only", only,
         "Compare only tensors whose names have this form (* and ?), and not config.json; may be given "
         "several times")
      ->type_name("PATTERN");
  constexpr int trouble = 2;
  return run_program(
      app, argc, argv, [&] { return compare(left, right, only); }, trouble);
}
