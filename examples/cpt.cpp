// Continues the pre-training of a checkpoint: only what its last expansion inserted, everything, or any
// parameters by name. Build it for the checkpoint's shape with `bash examples/build_for.sh DIRECTORY`; copy
// it to start an experiment of your own.
//
//     cpt CHECKPOINT_DIR --train inserted --data bible.train.bin --eval new=bible.validation.bin --out run
#include "midus_model.hpp"
#include "training.hpp"

int main(int argc, char** argv) {
  CLI::App app("Continues the pre-training of a model on token files (see prepare).", "cpt");
  std::string directory;
  std::vector<std::string> train{"inserted"};
  TrainingArguments arguments;
  app.add_option("CHECKPOINT_DIR", directory, "The model's directory")->required();
  app.add_option("--train", train,
                 "What trains: inserted (the last expansion's blocks), inserted:all (every expansion's), "
                 "everything, or patterns of names (* and ?)")
      ->capture_default_str();
  arguments.add_to(app);
  add_dtype(app, "--store-frozen", arguments.store_frozen,
            "Keep frozen weights as this type; bfloat16 rounds them",
            {midus::Dtype::f32, midus::Dtype::bf16});
  return run_program(app, argc, argv, [&] {
    midus::refuse_run(directory);
    midus::Cpu<float> device(arguments.threads);
    const auto checkpoint = arguments.checkpoint();
    arguments.run.like = directory;
    const auto say = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
    if (const std::string rest = midus::what_stays_behind(directory); !rest.empty()) say("warning: " + rest);
    return arguments.start(checkpoint, [&] {
      auto model = load_model<midus_model::Model>(
          checkpoint.value_or(directory), device,
          {.say = say, .store_bfloat16 = arguments.store_frozen == midus::Dtype::bf16, .train = train});
      return arguments(model, checkpoint, argc, argv);
    });
  });
}
