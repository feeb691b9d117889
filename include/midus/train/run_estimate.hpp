// What a training run will take: memory, time, and which parameters train.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "midus/device/machine.hpp"
#include "midus/device/peak.hpp"
#include "midus/train/beyond_memory.hpp"
#include "midus/train/trainer.hpp"

namespace midus {

/// What a training run takes in memory, in bytes.
struct RunMemory {
  double weights = 0, gradients_and_moments = 0, activations = 0;
  double all() const { return weights + gradients_and_moments + activations; }
};

/// Measures what a run of this trainer will take; nothing is computed.
template <class Model>
RunMemory run_memory(Trainer<Model>& trainer) {
  using S = typename Model::Scalar;
  Index stored = 0, trained = 0;
  trainer.model().visit([&](const Path&, const auto& parameter) {
    stored += parameter.shape.size() * static_cast<Index>(parameter.value.is_bfloat16() ? 2 : sizeof(S));
    trained += parameter.frozen() ? 0 : parameter.shape.size();
  });
  return {static_cast<double>(stored), 3.0 * sizeof(S) * static_cast<double>(trained),
          static_cast<double>(trainer.activation_bytes())};
}

/// The machine's peak after a step that reached `share` > 1 of it: the processor was busy with something else
/// when `peak` was measured. At least what the step reached, or what is measured now.
inline double raised_peak(double peak, double share, double measured) {
  return std::max(measured, share * peak);
}

/// What trains, a line for each tensor and a last one with the numbers; blocks of the same kind share a line:
/// "trains model.layers.{2,3}.mlp.up_proj.weight [352, 128]".
template <class Model>
std::string describe_trained(const Model& model) {
  struct Line {
    std::string before, indices, after;
    bool operator==(const Line& other) const { return before == other.before && after == other.after; }
  };
  std::vector<Line> lines;
  Index trained = 0, parameters = 0;
  model.visit([&](const Path& path, const auto& parameter) {
    parameters += parameter.shape.size();
    if (parameter.frozen()) return;
    trained += parameter.shape.size();
    const std::string name = path.str() + " " + to_string(parameter.shape);
    const std::size_t digits = name.find_first_of("0123456789"), dot = name.find('.', digits);
    Line line{name, "", ""};  // "model.norm.weight [128]" has digits, but no point after them
    if (dot != name.npos)
      line = {name.substr(0, digits), name.substr(digits, dot - digits), name.substr(dot)};
    const auto same = std::find(lines.begin(), lines.end(), line);
    if (same == lines.end())
      lines.push_back(line);
    else
      same->indices += "," + line.indices;
  });
  std::string out;
  for (const Line& line : lines) {
    const bool several = line.indices.find(',') != line.indices.npos;
    out +=
        text("trains ", line.before, several ? "{" : "", line.indices, several ? "}" : "", line.after, "\n");
  }
  return out + text("trains ", trained, " of ", parameters, " parameters\n");
}

/// Says, before anything starts, what a run will take: memory, steps, time.
template <class Model>
std::string describe_run(Trainer<Model>& trainer, double available = machine_memory()) {
  const RunMemory memory = run_memory(trainer);
  const auto& device = trainer.model().device();
  // What the process has beside the weights, a large page of scratch memory for each thread, and what a
  // checkpoint converts at once.
  const double program = std::max(0.0, static_cast<double>(resident_memory_bytes()) - memory.weights) +
                         static_cast<double>(device.threads()) * 0x1p21 + 3 * 0x1p20;
  const TrainOptions& options = trainer.options();
  const double tokens = static_cast<double>(options.batch * options.length * options.accumulate);
  const double peak = measure_peak(trainer.model().device());
  const double seconds =
      tokens * static_cast<double>(options.steps) * trainer.flops_per_token() / (0.45 * peak);
  char gigaflops[32];
  std::snprintf(gigaflops, sizeof gigaflops, "%.1f", peak / 1e9);
  const double all = 1.01 * (memory.all() + program);  // and what allocators round up
  const std::string beyond = beyond_memory(all, available);
  return text(describe_trained(trainer.model()), "memory       ", memory_text(all), ": weights ",
              memory_text(memory.weights), ", gradients and moments ",
              memory_text(memory.gradients_and_moments), ", activations ", memory_text(memory.activations),
              ", the program ", memory_text(program), "\n",
              beyond.empty() ? "" : "             " + beyond + "\n", "steps        ", options.steps, " of ",
              static_cast<Index>(tokens), " tokens\n", "time         about ", duration_text(seconds),
              " at 45 % of the machine's ", gigaflops, " GFLOP/s\n");
}

}  // namespace midus
