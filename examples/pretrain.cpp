// Pre-trains a new model of the shape that a config.json describes. Build it for that shape with
// `bash examples/build_for.sh DIRECTORY`; copy it to start an experiment of your own.
//
//     pretrain CONFIG_DIR --data glosses.train.bin --eval glosses=glosses.validation.bin --out run
#include "midus_model.hpp"
#include "training.hpp"

int main(int argc, char** argv) {
  CLI::App app("Trains a new model from scratch on token files (see prepare).", "pretrain");
  std::string directory;
  TrainingArguments arguments;
  app.add_option("CONFIG_DIR", directory, "A directory with the config.json of the model to make")
      ->required();
  arguments.add_to(app);
  return run_program(app, argc, argv, [&] {
    midus::Cpu<float> device(arguments.threads);
    const auto checkpoint = arguments.checkpoint();
    arguments.run.like = directory;
    return arguments.start(checkpoint, [&] {
      auto model = checkpoint
                       ? midus::load<midus_model::Model>(*checkpoint, device)
                       : midus::make_model<midus_model::Model>(midus::read_llama_config(directory), device);
      if (!checkpoint) midus::initialise(model, arguments.train.seed);
      model.train(midus::everything);
      return arguments(model, checkpoint, argc, argv);
    });
  });
}
