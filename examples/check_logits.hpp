// Compares two models by their logits: for each, the program `logits` is built for its shape and run.
#pragma once

#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "midus/core/random.hpp"
#include "midus/io/atomic_file.hpp"
#include "midus/io/in_quotes.hpp"
#include "midus/io/llama_config_reader.hpp"
#include "midus/io/safetensors.hpp"
#include "midus/io/tensor_convert.hpp"

/// The logits of models, for the same fixed random tokens.
class LogitsCheck {
 public:
  /// `build_for`: examples/build_for.sh. The tokens fit every model with the vocabulary of `config`.
  LogitsCheck(std::filesystem::path build_for, const midus::LlamaConfig& config)
      : build_for_(std::move(build_for)) {
    if (!std::filesystem::exists(build_for_))
      midus::fail("cannot check the logits: there is no ", build_for_.string(),
                  " to build programs with; name it with --build-for, or write without a check (--no-check)");
    std::string name = (std::filesystem::temp_directory_path() / "midus-upscale-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) midus::fail("cannot make the temporary directory ", name);
    folder_ = name;
    const midus::Random random(0, "upscale.check");
    const midus::Index length = std::min<midus::Index>(32, config.max_position_embeddings);
    midus::Json ids = midus::Json::array();
    for (midus::Index b = 0; b < 2; ++b) {
      midus::Json row = midus::Json::array();
      for (midus::Index t = 0; t < length; ++t)
        row.push_back(random.below(b * length + t, static_cast<std::uint64_t>(config.vocab_size)));
      ids.push_back(std::move(row));
    }
    midus::write_file(folder_ / "ids.json", ids.dump());
  }
  LogitsCheck(const LogitsCheck&) = delete;
  LogitsCheck& operator=(const LogitsCheck&) = delete;
  ~LogitsCheck() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  /// The logits of the model in a directory, flat.
  std::vector<double> logits(const std::filesystem::path& model) const {
    const std::string output =
        run("bash " + midus::shell_quoted(build_for_.string()) + " " + midus::shell_quoted(model.string()));
    const std::filesystem::path program = std::filesystem::path(last_line(output)) / "logits";
    const std::filesystem::path out = folder_ / "logits.safetensors";
    run(midus::shell_quoted(program.string()) + " " + midus::shell_quoted(model.string()) + " --ids " +
        midus::shell_quoted((folder_ / "ids.json").string()) + " --out " + midus::shell_quoted(out.string()));
    const midus::SafetensorsFile file(out);
    const midus::StoredTensor& tensor = file.at("logits");
    std::vector<double> values(tensor.bytes.size() * 8 /
                               static_cast<std::size_t>(midus::info(tensor.dtype).bits));
    midus::read_weights(tensor.dtype, tensor.bytes, std::span(values));
    std::filesystem::remove(out);
    return values;
  }

 private:
  static std::string last_line(std::string output) {
    while (!output.empty() && output.back() == '\n') output.pop_back();
    return output.substr(output.rfind('\n') + 1);
  }

  /// Standard output of a command; what it says on standard error goes to the user.
  static std::string run(const std::string& command) {
    std::cout.flush();
    FILE* const pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) midus::fail("cannot run ", command);
    std::string output;
    std::array<char, 4096> part;
    while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe))
      output.append(part.data(), count);
    const int status = ::pclose(pipe);
    if (status != 0)
      midus::fail("this command failed (status ", WIFEXITED(status) ? WEXITSTATUS(status) : status,
                  "): ", command, "\n", output);
    return output;
  }

  std::filesystem::path build_for_, folder_;
};

/// How far two models are apart.
struct LogitsDifference {
  std::size_t count = 0, differing = 0;  ///< of logits; −0 = +0
  double largest = 0;                    ///< NaN where one is not a number
};

inline LogitsDifference compare_logits(const std::vector<double>& left, const std::vector<double>& right) {
  if (left.size() != right.size())
    midus::fail("the models have ", left.size(), " and ", right.size(), " logits for the same tokens");
  LogitsDifference difference;
  difference.count = left.size();
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i] == right[i]) continue;
    ++difference.differing;
    const double distance = std::fabs(left[i] - right[i]);
    if (!(distance <= difference.largest)) difference.largest = distance;
  }
  return difference;
}
