// Makes a model deeper: Memory blocks (MIDUS, or its baseline PKM), LLaMA-Pro's copies, or SOLAR's overlap.
//
//     upscale llama/ llama-midus/ --policy midus --positions 1,3 --num-keys 64 --top-k 8 --value-rank 32
//
// prints what it is going to do, writes the deeper model beside its place, checks that it computes the very
// same logits as the base, and only then moves it there.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "check_logits.hpp"
#include "command_line.hpp"
#include "midus/train/interrupt.hpp"
#include "midus/train/run_directory.hpp"
#include "midus/upscale/expand_files.hpp"
#include "midus/upscale/plan_text.hpp"

namespace mi = midus;
namespace fs = std::filesystem;

namespace {

/// Headers of value policies that this program was built with and that are not midus' own; build_for.sh,
/// which must build with them too, knows them by the variable.
const std::string own_policies = MIDUS_VALUE_POLICIES;
constexpr const char* policies_variable = "MIDUS_VALUE_POLICIES";

struct Options {
  fs::path base, out, build_for = MIDUS_SOURCE_DIR "/examples/build_for.sh";
  mi::UpscaleOptions upscale;
  bool no_check = false, force = false, dry_run = false;
};

/// Throws where a policy that promises the base's logits does not keep the promise.
void check(const Options& options, const mi::Plan& plan, const fs::path& deeper,
           const mi::Interrupt& interrupt) {
  std::cout
      << "checking: building and running the program logits for both models (about 2 minutes for each of the "
         "two shapes that was not built before; --no-check writes without it)"
      << std::endl;
  const LogitsCheck logits(options.build_for, plan.base, interrupt);
  const LogitsDifference difference = compare_logits(logits.logits(options.base), logits.logits(deeper));
  if (difference.differing == 0) {
    std::cout << "checked: all " << mi::grouped(difference.count) << " logits equal the base's\n";
    return;
  }
  const std::string found = mi::text(mi::grouped(difference.differing), " of ", mi::grouped(difference.count),
                                     " logits differ from the base's, by up to ", difference.largest);
  if (mi::names_of(plan.deepening.policy).keeps_logits)
    mi::fail(found, "; ", plan.deepening.policy, " promises equal ones, so nothing was written");
  std::cout << "checked: " << found << " (SOLAR starts from another function than the base's)\n";
}

/// The options by which the tables of new memories, which start at zero, learn faster than the rest.
std::string rate_scales(const mi::Plan& plan) {
  std::set<std::string> options;
  for (const mi::PlannedTensor& tensor : plan.tensors)
    if (tensor.inserted && tensor.is_table)
      options.insert(mi::text(" --rate-scale '*.", mi::BlockTensor(tensor.info.name).part, "=20'"));
  std::string all;
  for (const std::string& option : options) all += option;
  return all;
}

int upscale(const Options& options) {
  const std::string obstacle = mi::why_not_write(options.base, options.out, options.force);
  if (!obstacle.empty() && !options.dry_run) mi::fail(obstacle);
  mi::refuse_run(options.base);
  const mi::ModelOnDisk base(options.base);
  for (const std::string& warning : base.warnings) std::cerr << "warning: " << warning << "\n";
  const mi::Plan plan = mi::make_plan(base, options.upscale);
  std::cout << mi::plan_text(plan) << std::flush;
  if (options.dry_run) {
    std::cout << "nothing was written (--dry-run)" << (obstacle.empty() ? "" : ", nor could it be: ")
              << obstacle << "\n";
    return 0;
  }
  const mi::Interrupt interrupt("\nStopping; nothing is written.\n");
  mi::AtomicDirectory directory(options.out, options.force);
  mi::write_expanded(base, plan, directory.path());
  try {
    if (options.no_check)
      std::cout << "not checked (--no-check): whether the logits equal the base's\n";
    else if (!interrupt.requested())
      check(options, plan, directory.path(), interrupt);
  } catch (const mi::Error&) {
    if (!interrupt.requested()) throw;
  }
  if (interrupt.requested()) return interrupt.exit_code();
  directory.commit();
  const std::string out = mi::shell_quoted(options.out.string());
  const bool inserts = plan.trained_parameters > 0;
  const std::string policies =
      own_policies.empty() ? "" : policies_variable + ("=" + mi::shell_quoted(own_policies) + " ");
  std::cout << "wrote " << options.out.string() << "\nthe programs of its shape, and how to train it:\n"
            << "  programs=$(" << policies << "bash " << mi::shell_quoted(options.build_for.string()) << " "
            << out << " | tail -n 1)\n  \"$programs/cpt\" " << out
            << (inserts ? " --train inserted" : " --train everything") << rate_scales(plan)
            << (inserts ? " --learning-rate 3e-3 --warmup 50" : "") << " --data ... --out ...\n";
  return 0;
}

}  // namespace

int main(int argc, char* argv[]) {
  if (!own_policies.empty()) setenv(policies_variable, own_policies.c_str(), 0);
  Options options;
  mi::UpscaleOptions& upscaling = options.upscale;
  CLI::App app("Makes a model deeper: inserts blocks into BASE and writes the result to OUT.", "upscale");
  app.add_option("BASE", options.base, "The model's directory: config.json and safetensors files")
      ->required();
  app.add_option("OUT", options.out, "The directory to write; it appears when it is complete and checked")
      ->required();
  std::vector<std::string> policies;
  for (const mi::PolicyNames& policy : mi::policies) policies.emplace_back(policy.name);
  app.add_option_function<std::string>(
         "--policy", [&](const std::string& name) { upscaling.policy = *mi::policy_from(name); },
         "midus: head-wise Memory blocks; pkm: Memory blocks with one product-key memory each; "
         "llama_pro: copies of layers that start as the identity; solar: two overlapping copies of "
         "the stack")
      ->default_str(policies.front())
      ->check(CLI::IsMember(policies));
  add_number(app, "--positions", upscaling.positions,
             "Layers of BASE, such as 1,3: midus and pkm insert just before them, llama_pro just after "
             "them (default: as many as --count says, spread evenly)",
             0);
  add_number(app, "--count", upscaling.count,
             "How many blocks to insert, where there are no --positions (default: half as many as BASE "
             "has layers, for llama_pro a quarter)",
             1);
  add_number(app, "--num-keys", upscaling.num_keys,
             "n: sub-keys per side, n² slots (default: 128, or as the Memory blocks of BASE)", 1);
  add_number(app, "--top-k", upscaling.top_k, "k: slots read per query (default: 16, or as in BASE)", 1);
  app.add_option("--values", upscaling.values,
                 "midus: how slots are read: " + mi::value_kind_names() +
                     " (default: factorized, dense where the value rank is 0, or as in BASE)");
  add_number(app, "--value-rank", upscaling.value_rank,
             "midus: rank r of the values, 0 for dense banks per head (default: 64, 0 for values that have "
             "none, or as in BASE)",
             0);
  add_number(app, "--memory-heads", upscaling.memory_heads, "pkm: heads (default: 4, or as in BASE)", 1);
  add_number(app, "--query-dim", upscaling.query_dim,
             "pkm: width of a query, even (default: BASE's width of a head)", 1);
  add_number(app, "--key-spread", upscaling.key_spread,
             "midus, pkm: sub-keys are N(0, X²) in place of U(±1/√D); wider keys, such as 0.5, make "
             "sharper choices");
  add_number(app, "--overlap", upscaling.overlap,
             "solar: m, the layers that each of the two copies leaves out (default: a quarter of BASE's)", 0);
  add_seed(app, upscaling.seed, "Seed of the random numbers; the same seed gives the same bytes");
  app.add_flag("--no-check", options.no_check, "Write without comparing the logits with the base's");
  app.add_option("--build-for", options.build_for, "The script that builds the programs for the check")
      ->capture_default_str();
  app.add_flag("--force", options.force,
               "Replace the model at OUT (refused where other files lie there too)");
  app.add_flag("--dry-run", options.dry_run, "Print the plan and write nothing");
  return run_program(app, argc, argv, [&] { return upscale(options); });
}
